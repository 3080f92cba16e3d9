//! The counted operations: `populate_physmap` and `increase_reservation` give a domain frames, `decrease_reservation` takes
//! some that it gives up.
//!
//! Of those only the allocation's own reference goes. A frame that is still mapped, pinned or granted stays owned and counted
//! until the last use of it ends (I6).

use core::ops::Deref;

use hypercall_abi::GuestPtr;
use hypercall_abi::memory::{
    MemoryReservation, XENMEM_DECREASE_RESERVATION, XENMEM_POPULATE_PHYSMAP,
};

use super::request::{Requester, Reservation, Stop, patiently};
use super::{MemoryOutcome, again};
use crate::frame::{OwnerId, Ram};
use crate::ids::{Mfn, Pfn};
use crate::machine::Machine;

pub(super) fn run<M: Machine, R: Requester<M>>(
    caller: &mut R,
    operation: u32,
    first: u64,
    argument: GuestPtr<MemoryReservation>,
) -> MemoryOutcome {
    let mut done = first;
    match extents(caller, operation, argument, &mut done) {
        Err(Stop::Preempted) => again(operation, done),
        Ok(()) | Err(Stop::Ended) => MemoryOutcome::Done(done),
    }
}

fn extents<M: Machine, R: Requester<M>>(
    caller: &mut R,
    operation: u32,
    argument: GuestPtr<MemoryReservation>,
    done: &mut u64,
) -> Result<(), Stop> {
    let mut raw = caller.read(argument)?;
    if operation == XENMEM_DECREASE_RESERVATION {
        // Guests leave garbage here, and nothing that it could mean matters to frames that go.
        raw.mem_flags = 0;
    }
    let wanted = Reservation::check(&raw, caller.is_control()).ok_or(Stop::Ended)?;
    let target = caller.target(raw.domid)?;
    let owner = target.deref().owner();
    let first = *done;
    while *done < wanted.count {
        if *done != first && caller.ram().machine.preempt_due() {
            return Err(Stop::Preempted);
        }
        match operation {
            XENMEM_POPULATE_PHYSMAP => populate(caller, owner, &wanted, *done)?,
            XENMEM_DECREASE_RESERVATION => release(caller, owner, &wanted, *done)?,
            _ => increase(caller, owner, &wanted, *done)?,
        }
        *done = done.saturating_add(1);
    }
    Ok(())
}

/// One extent at the PFN that the list names; the list gets the first frame's number.
fn populate<M: Machine, R: Requester<M>>(
    caller: &R,
    owner: OwnerId,
    wanted: &Reservation,
    index: u64,
) -> Result<(), Stop> {
    let element = wanted.element(index)?;
    let pfn = caller.read(element)?;
    let given = Given::take(caller.ram(), owner, wanted)?;
    given.name(|offset| Pfn::new(pfn.wrapping_add(offset)))?;
    caller.write(element, &given.first.get())?;
    given.keep();
    Ok(())
}

/// One extent without PFNs; the list, if there is one, gets the first frame's number.
fn increase<M: Machine, R: Requester<M>>(
    caller: &R,
    owner: OwnerId,
    wanted: &Reservation,
    index: u64,
) -> Result<(), Stop> {
    let given = Given::take(caller.ram(), owner, wanted)?;
    // No number, but a place for one: the view leads to all frames of the domain.
    given.name(|_| Pfn::NONE)?;
    if wanted.has_list() {
        caller.write(wanted.element(index)?, &given.first.get())?;
    }
    given.keep();
    Ok(())
}

/// The extent that the list names goes.
fn release<M: Machine, R: Requester<M>>(
    caller: &R,
    owner: OwnerId,
    wanted: &Reservation,
    index: u64,
) -> Result<(), Stop> {
    let number = caller.read(wanted.element(index)?)?;
    for offset in 0..wanted.extent() {
        let number = number.checked_add(offset).ok_or(Stop::Ended)?;
        let ended = caller.ram().end_allocation(owner, number);
        ended.map_err(|_| Stop::Ended)?;
    }
    Ok(())
}

/// An extent that the domain owns, but has not been told of: taken away again unless it is kept.
struct Given<'a, M: Machine> {
    ram: Ram<'a, M>,
    owner: OwnerId,
    first: Mfn,
    frames: u64,
}

impl<'a, M: Machine> Given<'a, M> {
    fn take(ram: Ram<'a, M>, owner: OwnerId, wanted: &Reservation) -> Result<Self, Stop> {
        let first = patiently(ram.machine, || {
            ram.allocate_for(owner, wanted.order, wanted.below)
        })?;
        Ok(Self {
            ram,
            owner,
            first,
            frames: wanted.extent(),
        })
    }

    /// Enters the frames into the domain's M2P view, by their place in the extent.
    fn name(&self, pfn: impl Fn(u64) -> Pfn) -> Result<(), Stop> {
        self.ram
            .set_pfns(self.owner, self.first, self.frames, pfn)
            .map_err(|_| Stop::Ended)
    }

    fn keep(self) {
        core::mem::forget(self);
    }
}

impl<M: Machine> Drop for Given<'_, M> {
    fn drop(&mut self) {
        for (number, _) in (self.first.get()..).zip(0..self.frames) {
            let ended = self.ram.end_allocation(self.owner, number);
            debug_assert!(ended.is_ok(), "the frame was given a moment ago");
        }
    }
}
