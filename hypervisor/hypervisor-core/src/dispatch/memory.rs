//! The calls about memory and grants: from registers to the modules that carry them out, and back.

use hypercall_abi::{Errno, GuestPtr, RawMfn};

use super::{Arguments, argument};
use crate::caller::Caller;
use crate::grant::{self, GrantCall, GrantOutcome};
use crate::machine::Machine;
use crate::memory::{self, MemoryOutcome};
use crate::outcome::Outcome;
use crate::paging::descriptor::{GDT_LIMIT, Shown};
use crate::paging::vcpu::GDT_PAGES;
use crate::paging::{self, BatchArgs, BatchEnd, Call, PagingError, Tables};
use crate::peers::Peers;

/// Descriptors in a page.
const PER_PAGE: u32 = 512;

#[inline(never)]
pub(super) fn mmu_update<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let world = Peers::of(caller.hv, caller.domain);
    let end = paging::mmu_update(call(caller, &world), batch(arguments), &mut caller.held);
    batch_outcome(end, arguments)
}

#[inline(never)]
pub(super) fn mmuext_op<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let world = Peers::of(caller.hv, caller.domain);
    let end = paging::mmuext_op(call(caller, &world), batch(arguments), &mut caller.held);
    batch_outcome(end, arguments)
}

#[inline(never)]
pub(super) fn update_va_mapping<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let [address, entry, flags, ..] = *arguments;
    let world = Peers::of(caller.hv, caller.domain);
    plain(paging::update_va_mapping(
        call(caller, &world),
        address,
        entry,
        flags,
        &mut caller.held,
    ))
}

#[inline(never)]
pub(super) fn update_va_mapping_otherdomain<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let [address, entry, flags, ..] = *arguments;
    let domid = argument(arguments, 3);
    let world = Peers::of(caller.hv, caller.domain);
    let call = call(caller, &world);
    plain(paging::update_va_mapping_otherdomain(
        call,
        address,
        entry,
        flags,
        domid,
        &mut caller.held,
    ))
}

#[inline(never)]
pub(super) fn set_gdt<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let (list, entries): (GuestPtr<RawMfn>, u32) = (argument(arguments, 0), argument(arguments, 1));
    if entries > GDT_LIMIT {
        return Outcome::Refused(Errno::EINVAL);
    }
    let pages = usize::try_from(entries.div_ceil(PER_PAGE)).unwrap_or(0);
    let mut numbers = [0_u64; GDT_PAGES];
    let Some(wanted) = numbers.get_mut(..pages) else {
        return Outcome::Refused(Errno::EINVAL);
    };
    for (number, index) in wanted.iter_mut().zip(0..) {
        let at = list.checked_add(index).ok_or(Errno::EFAULT);
        match at.and_then(|at| caller.copy_in(at)) {
            Ok(RawMfn(mfn)) => *number = mfn,
            Err(error) => return Outcome::Refused(error),
        }
    }
    let (ram, memory) = (caller.hv.ram(), &caller.vcpu.memory);
    let (tables, _held) = Tables::lock(ram, &caller.domain.memory, memory, &mut caller.held);
    plain(tables.set_gdt(memory, wanted, entries, Shown::Here))
}

#[inline(never)]
pub(super) fn update_descriptor<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let [address, descriptor, ..] = *arguments;
    let (ram, memory) = (caller.hv.ram(), &caller.vcpu.memory);
    let (tables, _held) = Tables::lock(ram, &caller.domain.memory, memory, &mut caller.held);
    plain(tables.update_descriptor(address, descriptor))
}

#[inline(never)]
pub(super) fn memory_op<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let [command, argument, ..] = *arguments;
    match memory::memory_op(caller, command, argument) {
        MemoryOutcome::Done(value) => Outcome::Done(value),
        MemoryOutcome::Refused(error) => Outcome::Refused(error),
        MemoryOutcome::Again(command) => {
            let [first, ..] = arguments;
            *first = command;
            Outcome::Again
        }
    }
}

#[inline(never)]
pub(super) fn grant_table_op<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let world = Peers::of(caller.hv, caller.domain);
    let call = GrantCall {
        ram: caller.hv.ram(),
        vcpu: &caller.vcpu.memory,
        world: &world,
    };
    let (command, list, count) = (
        argument(arguments, 0),
        argument(arguments, 1),
        argument(arguments, 2),
    );
    match grant::grant_table_op(call, command, list, count, &mut caller.held) {
        GrantOutcome::Done => Outcome::OK,
        GrantOutcome::Refused(error) => Outcome::Refused(error),
        GrantOutcome::Again(list, count) => {
            let [_, second, third, ..] = arguments;
            (*second, *third) = (list, count.into());
            Outcome::Again
        }
    }
}

fn call<'a, M: Machine>(
    caller: &Caller<'a, M>,
    world: &'a Peers<'a, M>,
) -> Call<'a, M, Peers<'a, M>> {
    Call {
        ram: caller.hv.ram(),
        domain: &caller.domain.memory,
        vcpu: &caller.vcpu.memory,
        world,
    }
}

fn batch(arguments: &Arguments) -> BatchArgs {
    let [array, _, done, domain, _] = *arguments;
    BatchArgs {
        array,
        count: argument(arguments, 1),
        done,
        domain,
    }
}

fn batch_outcome(end: BatchEnd, arguments: &mut Arguments) -> Outcome {
    match end {
        BatchEnd::Done(value) => Outcome::Done(value.cast_unsigned()),
        BatchEnd::Again(args) => {
            let [array, count, done, domain, _] = arguments;
            (*array, *count, *done, *domain) =
                (args.array, args.count.into(), args.done, args.domain);
            Outcome::Again
        }
    }
}

fn plain(result: Result<(), PagingError>) -> Outcome {
    result.map_err(PagingError::errno).into()
}
