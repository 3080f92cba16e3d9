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

impl Contiguous {
    /// Takes 2^`order` frames. If the domain is at its maximum, that many pages of the heap are given back first.
    ///
    /// # Errors
    /// `NoFrames` without so many frames in a row; out of memory or addresses.
    pub fn new(order: u32) -> Result<Self, PagingError> {
        let count = 1_usize << order;
        let mut list = [UNNAMED.0];
        if memory::populate_physmap(&mut list, order) == 0 {
            frames::release(count)?;
            if memory::populate_physmap(&mut list, order) == 0 {
                return Err(PagingError::NoFrames);
            }
        }
        let first = Mfn(list[0]);
        let frames: Vec<Mfn> = (first.0..).take(count).map(Mfn).collect();
        Ok(Self {
            mapping: Mapping::new(&frames, Access::ReadWrite)?,
            first,
        })
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
        let count = self.mapping.len() / PAGE_SIZE;
        let frames: Vec<Mfn> = (self.first.0..).take(count).map(Mfn).collect();
        // The frames leave the domain when their last mapping goes, which is when the field is dropped.
        let _given_back = memory::decrease_reservation(&frames);
    }
}
