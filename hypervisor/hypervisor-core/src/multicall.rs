//! `multicall`: a list of hypercalls in one (pv-abi 8.4).
//!
//! Each entry is read once, run as by itself, and gets its result written back; an error in one does not stop the rest. What
//! is left to do stands in the registers, and within an entry in the entry: a preempted list starts again from there.

use core::mem::offset_of;

use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::{Errno, GuestPtr};
use zerocopy::transmute;

use crate::caller::Caller;
use crate::dispatch::{Arguments, argument, call};
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::vcpu::Mode;

/// Runs the list.
pub(crate) fn multicall<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    if caller.in_multicall {
        return Outcome::Refused(Errno::EINVAL);
    }
    caller.in_multicall = true;
    let outcome = run(caller, arguments);
    caller.in_multicall = false;
    outcome
}

fn run<M: Machine>(caller: &mut Caller<'_, M>, arguments: &mut Arguments) -> Outcome {
    let mut list: GuestPtr<MulticallEntry> = argument(arguments, 0);
    let mut left: u32 = argument(arguments, 1);
    let size = size_of::<MulticallEntry>();
    let bytes = usize::try_from(left)
        .ok()
        .and_then(|count| count.checked_mul(size));
    if bytes.is_none_or(|bytes| caller.check_range(list.address(), bytes).is_err()) {
        return Outcome::Refused(Errno::EFAULT);
    }
    let mut first = true;
    while left != 0 {
        if !core::mem::take(&mut first) && caller.machine().preempt_due() {
            return stop(arguments, list, left);
        }
        let words: [u64; size_of::<MulticallEntry>() / 8] =
            match caller.copy_in_words(list.address()) {
                Ok(words) => words,
                Err(error) => return Outcome::Refused(error),
            };
        let entry = transmute!(words);
        match one(caller, list, &entry) {
            Ok(Step::Next) => {}
            Ok(Step::Again) => return stop(arguments, list, left),
            Ok(Step::Crash(outcome)) => return outcome,
            Err(error) => return Outcome::Refused(error),
        }
        let Some(next) = list.checked_add(1) else {
            return Outcome::Refused(Errno::EFAULT);
        };
        list = next;
        left = left.saturating_sub(1);
        if caller.state.mode == Mode::User {
            break;
        }
    }
    Outcome::OK
}

enum Step {
    Next,
    Again,
    Crash(Outcome),
}

fn one<M: Machine>(
    caller: &mut Caller<'_, M>,
    at: GuestPtr<MulticallEntry>,
    entry: &MulticallEntry,
) -> Result<Step, Errno> {
    let [a, b, c, d, e, unused] = entry.args;
    let mut arguments = [a, b, c, d, e];
    let outcome = call(caller, entry.op, &mut arguments);
    let result = match outcome {
        Outcome::Done(value) => value,
        Outcome::Refused(error) => error.to_register(),
        Outcome::Again => {
            let [a, b, c, d, e] = arguments;
            let args: GuestPtr<[u64; 6]> = field(at, offset_of!(MulticallEntry, args))?;
            caller.copy_out(args, &[a, b, c, d, e, unused])?;
            return Ok(Step::Again);
        }
        Outcome::Crash(_) => return Ok(Step::Crash(outcome)),
    };
    let to: GuestPtr<u64> = field(at, offset_of!(MulticallEntry, result))?;
    caller.copy_out_words(to.address(), [result])?;
    Ok(Step::Next)
}

fn field<T>(entry: GuestPtr<MulticallEntry>, offset: usize) -> Result<GuestPtr<T>, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EFAULT)?;
    entry
        .address()
        .checked_add(offset)
        .map(GuestPtr::new)
        .ok_or(Errno::EFAULT)
}

fn stop(arguments: &mut Arguments, list: GuestPtr<MulticallEntry>, left: u32) -> Outcome {
    let [first, second, ..] = arguments;
    *first = list.address();
    *second = left.into();
    Outcome::Again
}
