//! Machine-contiguous memory, for devices that read and write it by machine address.

use alloc::vec::Vec;

use super::{Access, Mapping, Mfn, PAGE_SIZE, PagingError, Pfn, frames};
use crate::hypercall::memory;

/// Name that the M2P gets for frames that are no page of the direct map.
const UNNAMED: Pfn = Pfn(u64::MAX >> 12);

/// 2^order frames in a row, zeroed by the hypervisor, mapped side by side.
#[derive(Debug)]
pub struct Contiguous {
    mapping: Mapping,
    first: Mfn,
}

/// `count` frames in a row.
fn run(first: Mfn, count: usize) -> Vec<Mfn> {
    (first.0..).take(count).map(Mfn).collect()
}

impl Contiguous {
    /// Takes 2^`order` frames. If the domain is at its maximum, that many pages of the heap are given back first.
    ///
    /// # Errors
    /// `NoFrames` without so many frames in a row; out of memory or addresses.
    pub fn new(order: u32) -> Result<Self, PagingError> {
        let count = 1_usize << order;
        let mut list = [UNNAMED.0];
        if memory::populate_physmap(&mut list, order) == 0 {
            let pages = frames::release(count)?;
            if memory::populate_physmap(&mut list, order) == 0 {
                // Another domain may have got them meanwhile: then they stay away.
                let _back = frames::take(&pages);
                return Err(PagingError::NoFrames);
            }
        }
        let first = Mfn(list[0]);
        let frames = run(first, count);
        let mapping = Mapping::new(&frames, Access::ReadWrite).inspect_err(|_| {
            // Mapped nowhere, they would be lost to everybody.
            memory::decrease_reservation(&frames);
        })?;
        Ok(Self { mapping, first })
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> usize {
        self.mapping.address()
    }

    /// Machine address of the first byte.
    #[must_use]
    pub fn machine_address(&self) -> u64 {
        self.first.0 * PAGE_SIZE as u64
    }

    /// Bytes of the memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: at least one frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }
}

impl Drop for Contiguous {
    fn drop(&mut self) {
        let frames = run(self.first, self.mapping.len() / PAGE_SIZE);
        // The frames leave the domain when their last mapping goes, which is when the field is dropped.
        let _given_back = memory::decrease_reservation(&frames);
    }
}
