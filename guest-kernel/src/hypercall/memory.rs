//! `memory_op`: how many frames the domain has, getting more, giving some back.

use hypercall_abi::memory::{
    MemoryDomain, MemoryReservation, XENMEM_CURRENT_RESERVATION, XENMEM_DECREASE_RESERVATION,
    XENMEM_MAXIMUM_RESERVATION, XENMEM_POPULATE_PHYSMAP,
};
use hypercall_abi::number::MEMORY_OP;
use hypercall_abi::{GuestPtr, RawDomId, RawMfn};

use super::{Errno, operation, word};

/// Frames that the domain has now.
///
/// # Errors
/// None for oneself.
pub fn current_reservation() -> Result<u64, Errno> {
    let mut domain = MemoryDomain {
        domid: RawDomId::SELF,
    };
    // SAFETY: reads `domain` only.
    unsafe { operation(MEMORY_OP, XENMEM_CURRENT_RESERVATION, &mut domain) }
}

/// Frames that the domain may have at most.
///
/// # Errors
/// None for oneself.
pub fn maximum_reservation() -> Result<u64, Errno> {
    let mut domain = MemoryDomain {
        domid: RawDomId::SELF,
    };
    // SAFETY: reads `domain` only.
    unsafe { operation(MEMORY_OP, XENMEM_MAXIMUM_RESERVATION, &mut domain) }
}

/// Asks for 2^`order` frames for each page in the list, whose entries become machine frames. Returns how many entries
/// were served, from the first on: any failure ends the call there.
pub fn populate_physmap(list: &mut [u64], order: u32) -> usize {
    populate_physmap_of(RawDomId::SELF, list, order)
}

/// As [`populate_physmap`], for a domain that the caller may manage.
pub fn populate_physmap_of(domain: RawDomId, list: &mut [u64], order: u32) -> usize {
    let mut request = MemoryReservation {
        extent_start: GuestPtr::new(list.as_mut_ptr().addr() as u64),
        nr_extents: list.len() as u64,
        extent_order: order,
        domid: domain,
        ..MemoryReservation::default()
    };
    // SAFETY: reads and writes the list; new frames are mapped nowhere. The call returns a count, never an error.
    unsafe { operation(MEMORY_OP, XENMEM_POPULATE_PHYSMAP, &mut request) }.map_or(0, word)
}

/// Gives frames back. Returns how many, from the first on.
///
/// A frame that is still mapped or used stays until that ends, so nothing in use can vanish.
pub fn decrease_reservation(frames: &[RawMfn]) -> usize {
    let mut request = MemoryReservation {
        extent_start: GuestPtr::new(frames.as_ptr().addr() as u64),
        nr_extents: frames.len() as u64,
        domid: RawDomId::SELF,
        ..MemoryReservation::default()
    };
    // SAFETY: reads the list; mapped frames stay. The call returns a count, never an error.
    unsafe { operation(MEMORY_OP, XENMEM_DECREASE_RESERVATION, &mut request) }.map_or(0, word)
}
