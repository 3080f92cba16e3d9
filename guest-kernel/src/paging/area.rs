//! Mapping frames that are not pages of this domain: shared by the hypervisor, granted, of devices.

use alloc::vec::Vec;

use hypercall_abi::mmu::{EntryFlags, RawEntry, UVMF_ALL, UVMF_INVLPG, UVMF_NONE};

use super::{AREA_BASE, AREA_SIZE, Mfn, PAGE_SIZE, PagingError, bootstrap, tables};
use crate::hypercall::mmu;
use crate::sync::Lock;

/// How a frame is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Cached, to read and write.
    ReadWrite,
    /// Cached, to read.
    ReadOnly,
    /// A device's registers: not cached.
    Device,
}

impl Access {
    fn flags(self) -> EntryFlags {
        let flags = EntryFlags::PRESENT | bootstrap::no_execute();
        match self {
            Self::ReadWrite => flags | EntryFlags::WRITABLE,
            Self::ReadOnly => flags,
            Self::Device => flags | EntryFlags::WRITABLE | EntryFlags::PCD | EntryFlags::PWT,
        }
    }
}

/// Free address ranges: first address and pages, in no order.
static FREE: Lock<Vec<(usize, usize)>> = Lock::new(Vec::new());

/// Makes all of the area free.
pub(super) fn init() {
    FREE.lock().push((AREA_BASE, AREA_SIZE / PAGE_SIZE));
}

/// A range of addresses in the area, with L1 tables and nothing mapped. Dropping it frees the addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    start: usize,
    pages: usize,
}

impl Addresses {
    /// Takes addresses for `pages` pages.
    pub(crate) fn reserve(pages: usize) -> Result<Self, PagingError> {
        let range = Self {
            start: take(pages).ok_or(PagingError::OutOfAddresses)?,
            pages,
        };
        for page in range.each() {
            tables::ensure(page)?;
        }
        Ok(range)
    }

    /// First address.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Pages of the range.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// The address of each page.
    pub(crate) fn each(&self) -> impl Iterator<Item = usize> + use<> {
        (self.start..self.start + self.pages * PAGE_SIZE).step_by(PAGE_SIZE)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let mut free = FREE.lock();
        let end = self.start + self.pages * PAGE_SIZE;
        let neighbour = free
            .iter_mut()
            .find(|(start, pages)| *start == end || start + pages * PAGE_SIZE == self.start);
        match neighbour {
            Some((start, pages)) => {
                *start = self.start.min(*start);
                *pages += self.pages;
            }
            None => free.push((self.start, self.pages)),
        }
    }
}

fn take(pages: usize) -> Option<usize> {
    let mut free = FREE.lock();
    let index = free.iter().position(|&(_, available)| available >= pages)?;
    let (start, available) = free[index];
    if available == pages {
        free.swap_remove(index);
    } else {
        free[index] = (start + pages * PAGE_SIZE, available - pages);
    }
    Some(start)
}

/// Frames mapped side by side; dropping it unmaps them.
#[derive(Debug)]
pub struct Mapping {
    addresses: Addresses,
}

impl Mapping {
    /// Maps `frames` in order.
    ///
    /// # Errors
    /// Out of memory or addresses, or what the hypervisor answers for a frame; then nothing stays mapped.
    pub fn new(frames: &[Mfn], access: Access) -> Result<Self, PagingError> {
        let mapping = Self {
            addresses: Addresses::reserve(frames.len())?,
        };
        for (address, frame) in mapping.addresses.each().zip(frames) {
            let entry = RawEntry(frame.0 << 12 | access.flags().bits());
            // SAFETY: the address is reserved for this mapping and nothing is there.
            unsafe { mmu::update_va_mapping(address, entry, UVMF_NONE) }?;
        }
        Ok(mapping)
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> usize {
        self.addresses.start
    }

    /// Bytes mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.pages * PAGE_SIZE
    }

    /// True for a mapping of no frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.pages == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        for address in self.addresses.each() {
            // SAFETY: the mapping's borrows have ended. An entry that is not there can be cleared too; the call cannot
            // fail, since the L1 table is.
            let _cleared =
                unsafe { mmu::update_va_mapping(address, RawEntry(0), UVMF_INVLPG | UVMF_ALL) };
        }
    }
}
