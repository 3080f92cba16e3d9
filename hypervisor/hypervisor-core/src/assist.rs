//! `vm_assist`: habits that a domain switches on and off (pv-abi 8.6).

use hypercall_abi::Errno;

use crate::caller::Caller;
use crate::dispatch::{Arguments, argument};
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::sync::Ordering;

/// Types that exist: 0, 1 and 3 of no effect, 2 writable page tables, 4 IOPL, 5 runstate flag, 32 strict M2P. The M2P is
/// shown in kernel roots only whether type 32 is on or off.
pub const VALID: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 32;

mod commands {
    use super::{Caller, Errno, Machine, Ordering, VALID};
    use crate::operations::operations;

    hypercall_abi::for_each_assist_operation!(operations);

    fn bit(kind: u32) -> Result<u64, Errno> {
        1_u64
            .checked_shl(kind)
            .filter(|bit| bit & VALID != 0)
            .ok_or(Errno::EINVAL)
    }

    fn enable<M: Machine>(caller: &mut Caller<'_, M>, kind: u32) -> Result<(), Errno> {
        caller
            .domain
            .assist_word()
            .fetch_or(bit(kind)?, Ordering::Relaxed);
        Ok(())
    }

    fn disable<M: Machine>(caller: &mut Caller<'_, M>, kind: u32) -> Result<(), Errno> {
        caller
            .domain
            .assist_word()
            .fetch_and(!bit(kind)?, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs the call. The type is checked before the command.
pub(crate) fn operation<M: Machine>(
    caller: &mut Caller<'_, M>,
    arguments: &mut Arguments,
) -> Outcome {
    let kind: u32 = argument(arguments, 1);
    if 1_u64.checked_shl(kind).is_none_or(|bit| bit & VALID == 0) {
        return Outcome::Refused(Errno::EINVAL);
    }
    commands::operation(caller, arguments)
}
