//! `exchange`: frames for as many others, of another size or below an address.
//!
//! It works in chunks of the larger of both extents. A chunk is checked whole before anything changes: its old frames are
//! taken out of use, its new ones allocated and entered into the M2P view; from there on it cannot fail. `nr_exchanged` in
//! the guest's structure says how many input extents are done, at every exit.

use alloc::vec::Vec;
use core::ops::Deref;

use hypercall_abi::memory::{
    MemoryExchange, MemoryReservation, XENMEM_EXCHANGE, XENMEMF_EXACT_NODE_REQUEST,
};
use hypercall_abi::{Errno, GuestPtr};

use super::request::{Requester, Reservation, Stop, WIDTH_BITS, highest, patiently};
use super::{MemoryOutcome, again};
use crate::frame::stolen::Stolen;
use crate::frame::{Allocation, OwnerId, Ram};
use crate::heap;
use crate::ids::Pfn;
use crate::machine::Machine;

/// Why a chunk was not exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Preempted,
    Refused(Errno),
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        Self::Refused(error)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Preempted => Self::Preempted,
            Stop::Ended => Self::Refused(Errno::ENOMEM),
        }
    }
}

/// An exchange that was checked as a whole.
struct Plan {
    owner: OwnerId,
    input: Reservation,
    output: Reservation,
    /// Extents of each side in a chunk.
    inputs: u64,
    outputs: u64,
}

pub(super) fn run<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryExchange>,
) -> MemoryOutcome {
    let mut raw = match caller.read(argument) {
        Ok(raw) => raw,
        Err(error) => return MemoryOutcome::Refused(error),
    };
    let (plan, _target) = match check(caller, &raw) {
        Ok(Some(checked)) => checked,
        Ok(None) => return MemoryOutcome::Done(0),
        Err(error) => return MemoryOutcome::Refused(error),
    };
    let ended = chunks(caller, &plan, &mut raw.nr_exchanged);
    let told = caller.write(argument, &raw);
    match (ended, told) {
        (Err(Trouble::Refused(error)), _) | (Ok(()), Err(error)) => MemoryOutcome::Refused(error),
        // Where it stands is kept in the structure; without it nothing would say where to go on.
        (Err(Trouble::Preempted), Err(error)) => MemoryOutcome::Refused(error),
        (Err(Trouble::Preempted), Ok(())) => again(XENMEM_EXCHANGE, 0),
        (Ok(()), Ok(())) => MemoryOutcome::Done(0),
    }
}

/// None: there is nothing left to exchange.
fn check<M: Machine, R: Requester<M>>(
    caller: &mut R,
    raw: &MemoryExchange,
) -> Result<Option<(Plan, R::Target)>, Errno> {
    let control = caller.is_control();
    let plain = |side: &MemoryReservation| {
        let without_flags = MemoryReservation {
            mem_flags: 0,
            ..*side
        };
        Reservation::check(&without_flags, control).ok_or(Errno::EPERM)
    };
    let (input, mut output) = (plain(&raw.input)?, plain(&raw.output)?);
    let frames = |side: &Reservation| side.count.checked_mul(side.extent());
    if raw.nr_exchanged > input.count
        || raw.input.domid != raw.output.domid
        || frames(&input) != frames(&output)
    {
        return Err(Errno::EINVAL);
    }
    if raw.nr_exchanged == input.count {
        return Ok(None);
    }
    let done = frames_done(raw.nr_exchanged, &input, &output);
    if !input.list_is_guests(raw.nr_exchanged) || !output.list_is_guests(done) {
        return Err(Errno::EFAULT);
    }
    let flags = raw.output.mem_flags;
    if !control && flags & XENMEMF_EXACT_NODE_REQUEST != 0 {
        return Err(Errno::EINVAL);
    }
    // No frame is below an address of so few bits.
    output.below = highest(flags & WIDTH_BITS).unwrap_or(0);
    let target = caller.target(raw.input.domid)?;
    let plan = Plan {
        owner: target.deref().owner(),
        inputs: 1 << output.order.saturating_sub(input.order),
        outputs: 1 << input.order.saturating_sub(output.order),
        input,
        output,
    };
    Ok(Some((plan, target)))
}

/// The output extent that input extent `exchanged` begins.
fn frames_done(exchanged: u64, input: &Reservation, output: &Reservation) -> u64 {
    let frames = exchanged.saturating_mul(input.extent());
    frames.checked_div(output.extent()).unwrap_or(0)
}

fn chunks<M: Machine, R: Requester<M>>(
    caller: &R,
    plan: &Plan,
    exchanged: &mut u64,
) -> Result<(), Trouble> {
    let first = *exchanged;
    while *exchanged < plan.input.count {
        if *exchanged != first && caller.ram().machine.preempt_due() {
            return Err(Trouble::Preempted);
        }
        chunk(caller, plan, *exchanged)?;
        *exchanged = exchanged.saturating_add(plan.inputs);
    }
    Ok(())
}

fn chunk<M: Machine, R: Requester<M>>(
    caller: &R,
    plan: &Plan,
    exchanged: u64,
) -> Result<(), Trouble> {
    let ram = caller.ram();
    let first_output = exchanged
        .checked_mul(plan.outputs)
        .map(|extents| extents.checked_div(plan.inputs).unwrap_or(0))
        .ok_or(Errno::EINVAL)?;
    let old = steal(caller, ram, plan, exchanged)?;
    let new = allocate(ram, plan)?;
    let names = Names::enter(caller, plan, first_output, &new)?;
    names.keep();
    // From here on nothing fails.
    old.into_iter().for_each(Stolen::free);
    let mut told = Ok(());
    for (allocation, index) in new.into_iter().zip(first_output..) {
        let first = allocation.assign(plan.owner);
        let place = plan.output.element(index);
        told = told.and(place.and_then(|place| caller.write(place, &first.get())));
    }
    // The frames have changed hands; a list that cannot be written any more is the guest's loss.
    Ok(told?)
}

/// Takes the chunk's old frames out of use.
fn steal<'a, M: Machine, R: Requester<M>>(
    caller: &R,
    ram: Ram<'a, M>,
    plan: &Plan,
    exchanged: u64,
) -> Result<Vec<Stolen<'a, M>>, Errno> {
    let frames = plan.inputs.saturating_mul(plan.input.extent());
    let mut old = reserved(frames)?;
    for index in (exchanged..plan.input.count)
        .zip(0..plan.inputs)
        .map(|(i, _)| i)
    {
        let first = caller.read(plan.input.element(index)?)?;
        for offset in 0..plan.input.extent() {
            let number = first.checked_add(offset).ok_or(Errno::EINVAL)?;
            old.push(ram.steal(plan.owner, number).map_err(|_| Errno::EINVAL)?);
        }
    }
    // A start that the guest forged may leave less than a chunk in the list.
    if u64::try_from(old.len()) == Ok(frames) {
        Ok(old)
    } else {
        Err(Errno::EINVAL)
    }
}

fn allocate<'a, M: Machine>(
    ram: Ram<'a, M>,
    plan: &Plan,
) -> Result<Vec<Allocation<'a, M>>, Trouble> {
    let mut new = reserved(plan.outputs)?;
    for _ in 0..plan.outputs {
        new.push(patiently(ram.machine, || {
            ram.allocate(plan.output.order, plan.output.below)
        })?);
    }
    Ok(new)
}

fn reserved<T>(count: u64) -> Result<Vec<T>, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::ENOMEM)?;
    Ok(heap::list(count)?)
}

/// Entries of the M2P view for frames that are not the domain's yet: taken out again unless they are kept.
struct Names<'a, 'b, M: Machine> {
    ram: Ram<'a, M>,
    owner: OwnerId,
    new: &'b [Allocation<'a, M>],
    extent: u64,
}

impl<'a, 'b, M: Machine> Names<'a, 'b, M> {
    fn enter<R: Requester<M>>(
        caller: &'a R,
        plan: &Plan,
        first_output: u64,
        new: &'b [Allocation<'a, M>],
    ) -> Result<Self, Errno> {
        let names = Self {
            ram: caller.ram(),
            owner: plan.owner,
            new,
            extent: plan.output.extent(),
        };
        for (allocation, index) in new.iter().zip(first_output..) {
            let pfn = caller.read(plan.output.element(index)?)?;
            let name = |offset| Pfn::new(pfn.wrapping_add(offset));
            let set = names
                .ram
                .set_pfns(names.owner, allocation.first(), names.extent, name);
            set.map_err(|_| Errno::ENOMEM)?;
        }
        Ok(names)
    }

    fn keep(self) {
        core::mem::forget(self);
    }
}

impl<M: Machine> Drop for Names<'_, '_, M> {
    fn drop(&mut self) {
        for allocation in self.new {
            for offset in 0..self.extent {
                let number = allocation.first().get().saturating_add(offset);
                if let Some(mfn) = self.ram.frames.lookup(number) {
                    self.ram.clear_pfn(self.owner, mfn);
                }
            }
        }
    }
}
