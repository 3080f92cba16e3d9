//! `start_info`: the page that tells a kernel at its first instruction what it has.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::{RawMfn, RawPfn, RawPort};

/// Text in [`StartInfo::magic`]; the rest of the field is zero.
pub const START_MAGIC: &[u8] = b"xen-3.0-x86_64";

/// Given in a page of its own, zeroed first; RSI holds its address at entry. A resume rewrites what stands before `pt_base` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StartInfo {
    /// [`START_MAGIC`], padded with zeros.
    pub magic: [u8; 32],
    /// Frames given at start, all of them in the P2M.
    pub nr_pages: u64,
    /// *Machine address* of the shared info page (not its frame number).
    pub shared_info: u64,
    /// `SIF_*`.
    pub flags: u32,
    /// Zero.
    pub pad0: u32,
    /// Frame of the xenstore ring; 0 for the first domain.
    pub store_mfn: RawMfn,
    /// Port to the xenstore's domain; 0 for the first domain, which then serves its own store.
    pub store_evtchn: RawPort,
    /// Zero.
    pub pad1: u32,
    /// Frame of the console ring. For the first domain the same 8 bytes are a [`FirstDomainConsole`].
    pub console_mfn: RawMfn,
    /// Port to the console's domain; 0 for the first domain.
    pub console_evtchn: RawPort,
    /// Zero.
    pub pad2: u32,
    /// Virtual address of the L4 table.
    pub pt_base: u64,
    /// Page tables of the initial mapping, one block of frames that begins with the L4.
    pub nr_pt_frames: u64,
    /// Virtual address of the P2M: `nr_pages` entries of 8 bytes.
    pub mfn_list: u64,
    /// Ramdisk: virtual address, or with `SIF_MOD_START_PFN` its first PFN; 0 if there is none.
    pub mod_start: u64,
    /// Exact length of the ramdisk, in bytes.
    pub mod_len: u64,
    /// Command line, with a NUL at its end.
    pub cmd_line: [u8; MAX_GUEST_CMDLINE],
    /// First PFN of a P2M that lies outside the initial mapping; 0 if there is none.
    pub first_p2m_pfn: RawPfn,
    /// Frames of that P2M and of the tables that map it.
    pub nr_p2m_frames: u64,
}
layout!(StartInfo = "struct start_info": 1168 {
    magic @ 0, nr_pages @ 0x20, shared_info @ 0x28, flags @ 0x30, store_mfn @ 0x38, store_evtchn @ 0x40,
    console_mfn = "console.domU.mfn" @ 0x48, console_evtchn = "console.domU.evtchn" @ 0x50, pt_base @ 0x58,
    nr_pt_frames @ 0x60, mfn_list @ 0x68, mod_start @ 0x70, mod_len @ 0x78, cmd_line @ 0x80,
    first_p2m_pfn @ 0x480, nr_p2m_frames @ 0x488,
});

/// What the first domain finds in place of `console_mfn`: where the screen is described.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FirstDomainConsole {
    /// Offset of the description from the start of `start_info`, in bytes.
    pub info_off: u32,
    /// Its size in bytes; 0 = no screen.
    pub info_size: u32,
}
layout!(FirstDomainConsole = "": 8 { info_off = "" @ 0, info_size = "" @ 4 });

/// Bytes of the command line in [`StartInfo`], its NUL included.
pub const MAX_GUEST_CMDLINE: usize = 1024;

constants! {
    /// The domain is privileged.
    SIF_PRIVILEGED: u32 = 1 << 0;
    /// The domain is the first one, which owns console and devices.
    SIF_INITDOMAIN: u32 = 1 << 1;
    /// The module is a package of modules; never set.
    SIF_MULTIBOOT_MOD: u32 = 1 << 2;
    /// `mod_start` is a PFN: the ramdisk is not mapped.
    SIF_MOD_START_PFN: u32 = 1 << 3;
    /// Tools read the P2M by the `p2m_*` fields of shared info.
    SIF_VIRT_P2M_4TOOLS: u32 = 1 << 4;
    /// Power-management options of the first domain.
    SIF_PM_MASK: u32 = 0xff << 8;
}
