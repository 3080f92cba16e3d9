//! `memory_op`: what a domain owns grows, shrinks and is swapped (pv-abi 4.11).
//!
//! Three calls are *counted* (increase, decrease, populate): they never fail, they tell how many extents they did, and any
//! trouble only ends them early. Long ones stop between two extents and go on at the extent that the command's upper bits
//! name. Each structure is read anew at every entry, so what a guest changes meanwhile harms only itself.

mod counted;
mod exchange;
mod query;
mod request;

pub use request::{Requester, Reservation};

use hypercall_abi::memory::{
    MEMOP_CMD_MASK, MEMOP_EXTENT_SHIFT, XENMEM_ACQUIRE_RESOURCE, XENMEM_ADD_TO_PHYSMAP,
    XENMEM_ADD_TO_PHYSMAP_BATCH, XENMEM_CLAIM_PAGES, XENMEM_CURRENT_RESERVATION,
    XENMEM_DECREASE_RESERVATION, XENMEM_EXCHANGE, XENMEM_GET_SHARING_FREED_PAGES,
    XENMEM_GET_SHARING_SHARED_PAGES, XENMEM_GET_VNUMAINFO, XENMEM_INCREASE_RESERVATION,
    XENMEM_MACHINE_MEMORY_MAP, XENMEM_MACHPHYS_COMPAT_MFN_LIST, XENMEM_MACHPHYS_MAPPING,
    XENMEM_MACHPHYS_MFN_LIST, XENMEM_MAXIMUM_GPFN, XENMEM_MAXIMUM_RAM_PAGE,
    XENMEM_MAXIMUM_RESERVATION, XENMEM_MEMORY_MAP, XENMEM_POPULATE_PHYSMAP,
    XENMEM_REMOVE_FROM_PHYSMAP, XENMEM_SET_MEMORY_MAP,
};
use hypercall_abi::{Errno, GuestPtr};

use crate::machine::Machine;

/// How a memory operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum MemoryOutcome {
    /// RAX.
    Done(u64),
    /// Refused.
    Refused(Errno),
    /// To be repeated with this command in RDI.
    Again(u64),
}

impl From<Result<u64, Errno>> for MemoryOutcome {
    fn from(result: Result<u64, Errno>) -> Self {
        result.map_or_else(Self::Refused, Self::Done)
    }
}

/// The command that goes on with extent `next`.
fn again(operation: u32, next: u64) -> MemoryOutcome {
    MemoryOutcome::Again(u64::from(operation) | next << MEMOP_EXTENT_SHIFT)
}

/// Runs `memory_op(command, argument)`.
pub fn memory_op<M: Machine, R: Requester<M>>(
    caller: &mut R,
    command: u64,
    argument: u64,
) -> MemoryOutcome {
    let operation = u32::try_from(command & u64::from(MEMOP_CMD_MASK)).unwrap_or(0);
    let first = command >> MEMOP_EXTENT_SHIFT;
    match operation {
        XENMEM_INCREASE_RESERVATION | XENMEM_POPULATE_PHYSMAP | XENMEM_DECREASE_RESERVATION => {
            counted::run(caller, operation, first, GuestPtr::new(argument))
        }
        XENMEM_ADD_TO_PHYSMAP_BATCH => {
            query::add_to_physmap_batch(caller, GuestPtr::new(argument)).into()
        }
        _ if first != 0 => MemoryOutcome::Refused(Errno::EINVAL),
        XENMEM_EXCHANGE => exchange::run(caller, GuestPtr::new(argument)),
        XENMEM_MAXIMUM_RAM_PAGE => MemoryOutcome::Done(caller.ram().frames.limit().get()),
        XENMEM_CURRENT_RESERVATION => {
            query::reservation(caller, GuestPtr::new(argument), query::Which::Current).into()
        }
        XENMEM_MAXIMUM_RESERVATION => {
            query::reservation(caller, GuestPtr::new(argument), query::Which::Maximum).into()
        }
        XENMEM_MEMORY_MAP => query::memory_map(caller, GuestPtr::new(argument)).into(),
        XENMEM_MACHINE_MEMORY_MAP => query::machine_map(caller, GuestPtr::new(argument)).into(),
        XENMEM_MACHPHYS_MAPPING => query::machphys_mapping(caller, GuestPtr::new(argument)).into(),
        XENMEM_ADD_TO_PHYSMAP => query::add_to_physmap(caller, GuestPtr::new(argument)).into(),
        XENMEM_REMOVE_FROM_PHYSMAP => {
            query::remove_from_physmap(caller, GuestPtr::new(argument)).into()
        }
        XENMEM_MAXIMUM_GPFN => query::maximum_gpfn(caller, GuestPtr::new(argument)).into(),
        XENMEM_GET_SHARING_FREED_PAGES | XENMEM_GET_SHARING_SHARED_PAGES => MemoryOutcome::Done(0),
        // Frames of a table that all domains share do not exist here.
        XENMEM_MACHPHYS_MFN_LIST => MemoryOutcome::Refused(Errno::EPERM),
        XENMEM_SET_MEMORY_MAP => query::set_memory_map(caller, GuestPtr::new(argument)).into(),
        XENMEM_CLAIM_PAGES => query::claim_pages(caller, GuestPtr::new(argument)).into(),
        XENMEM_ACQUIRE_RESOURCE => query::acquire_resource(caller, GuestPtr::new(argument)).into(),
        XENMEM_MACHPHYS_COMPAT_MFN_LIST => MemoryOutcome::Refused(Errno::EOPNOTSUPP),
        XENMEM_GET_VNUMAINFO => query::vnuma(caller, GuestPtr::new(argument)).into(),
        _ => MemoryOutcome::Refused(Errno::ENOSYS),
    }
}

#[cfg(test)]
mod tests;
