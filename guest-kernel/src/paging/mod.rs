//! Memory as a PV kernel sees it: machine frames, its own page numbers, and page tables that only the hypervisor writes.
//!
//! The loader maps everything at the image's addresses. [`init`] replaces that by two maps without aliases: the image at
//! [`IMAGE_BASE`], with the rights of each section, and a *direct map* of every other page at [`DIRECT_BASE`], where
//! page `p` is at `DIRECT_BASE + 4096 * p`. One alias per frame means that turning a page into a page table, or giving
//! it back, is one change of one entry. The direct map's tables are also the only record of which frame a page has:
//! there is no P2M list. Frames from elsewhere (shared by the hypervisor, granted, of devices) are mapped in the
//! *area* at [`AREA_BASE`].
//!
//! Tables are read through the direct map, where they are mapped read-only, and changed by hypercalls.

mod area;
mod bootstrap;
mod contiguous;
mod direct;
mod frames;
mod grant_map;
mod m2p;
mod memory;
mod tables;

pub use area::{Access, Mapping};
pub(crate) use bootstrap::init;
pub use contiguous::Contiguous;
pub use direct::{address_of, frame_at, page_at, ramdisk};
pub use frames::{release, take};
pub(crate) use grant_map::GrantMapping;
pub use hypercall_abi::{RawMfn as Mfn, RawPfn as Pfn};
pub use memory::Memory;
pub use tables::{UserTables, root};

use hypercall_abi::mmu::EntryFlags;
use thiserror::Error;

use crate::hypercall::Errno;

/// Bytes of a page and of a frame.
pub const PAGE_SIZE: usize = 4096;
/// Entries of a table.
pub(crate) const ENTRIES: usize = 512;
/// Where the image is linked and the loader maps PFN 0.
pub const IMAGE_BASE: usize = 0xffff_ffff_8000_0000;
/// Where the direct map begins: the first address behind the hypervisor's part.
pub const DIRECT_BASE: usize = 0xffff_8800_0000_0000;
/// Bytes that the direct map may grow to.
pub(crate) const DIRECT_SIZE: usize = 1 << 39;
/// Pages that this kernel can have at most, however few it began with.
pub const MOST_PAGES: u64 = (DIRECT_SIZE / PAGE_SIZE) as u64;
/// Where frames from elsewhere are mapped.
pub const AREA_BASE: usize = 0xffff_9000_0000_0000;
/// Bytes of addresses for them.
pub const AREA_SIZE: usize = 1 << 36;

/// Flags of an entry that points to a lower table.
pub(crate) const TABLE_FLAGS: EntryFlags = EntryFlags::PRESENT
    .union(EntryFlags::WRITABLE)
    .union(EntryFlags::USER)
    .union(EntryFlags::ACCESSED);

/// Why memory could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PagingError {
    /// No page was free for a table or for the mapping itself.
    #[error("out of memory")]
    OutOfMemory,
    /// No addresses were free for the mapping.
    #[error("out of addresses")]
    OutOfAddresses,
    /// The hypervisor gave no frames.
    #[error("the hypervisor gives no more memory")]
    NoFrames,
    /// The hypervisor refused the entry.
    #[error("refused by the hypervisor: {}", .0.name())]
    Refused(Errno),
}

impl From<Errno> for PagingError {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}
