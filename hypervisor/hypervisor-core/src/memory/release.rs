//! `decrease_reservation`: frames that a domain gives up.
//!
//! Only the allocation's own reference goes. A frame that is still mapped, pinned or granted stays owned and counted until
//! the last use of it ends (I6).

use core::ops::Deref;

use hypercall_abi::GuestPtr;
use hypercall_abi::memory::{MemoryReservation, XENMEM_DECREASE_RESERVATION};

use super::request::{Requester, Reservation, Stop};
use super::{MemoryOutcome, again};
use crate::machine::Machine;

pub(super) fn run<M: Machine, R: Requester<M>>(
    caller: &mut R,
    first: u64,
    argument: GuestPtr<MemoryReservation>,
) -> MemoryOutcome {
    let mut done = first;
    match extents(caller, argument, &mut done) {
        Err(Stop::Preempted) => again(XENMEM_DECREASE_RESERVATION, done),
        Ok(()) | Err(Stop::Ended) => MemoryOutcome::Done(done),
    }
}

fn extents<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryReservation>,
    done: &mut u64,
) -> Result<(), Stop> {
    let mut raw = caller.read(argument)?;
    // Guests leave garbage here, and nothing that it could mean matters to frames that go.
    raw.mem_flags = 0;
    let wanted = Reservation::check(&raw, caller.is_control()).ok_or(Stop::Ended)?;
    let target = caller.target(raw.domid)?;
    let owner = target.deref().owner();
    let first = *done;
    while *done < wanted.count {
        if *done != first && caller.ram().machine.preempt_due() {
            return Err(Stop::Preempted);
        }
        let number = caller.read(wanted.element(*done)?)?;
        for offset in 0..wanted.extent() {
            let number = number.checked_add(offset).ok_or(Stop::Ended)?;
            let ended = caller.ram().end_allocation(owner, number);
            ended.map_err(|_| Stop::Ended)?;
        }
        *done = done.saturating_add(1);
    }
    Ok(())
}
