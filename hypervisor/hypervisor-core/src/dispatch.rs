//! From the table of hypercalls to their handlers, and from what comes out back to registers.
//!
//! The `match` is made from hypercall-abi's table: a row without a handler here does not compile. This is the one place
//! where an [`Outcome`] becomes a result, a repetition or a crash.

use hypercall_abi::Errno;
use hypercall_abi::table::prelude::*;

use crate::caller::Caller;
use crate::domain::crash::CrashReason;
use crate::entry::ExitPath;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::vcpu::{Mode, deliver};

mod handlers;
mod memory;

/// The arguments of a call, in the order of its registers. A call that stops half-way leaves here what is left to do.
pub type Arguments = [u64; 5];

/// `iret`, which gives no result.
const IRET: u64 = 23;

/// `syscall` of 64-bit code: a hypercall from kernel mode, a guest's own system call from user mode.
///
/// # Errors
/// Why the domain cannot go on.
#[inline(always)]
pub fn syscall<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), CrashReason> {
    if caller.state.mode == Mode::User {
        return deliver::syscall(caller);
    }
    let registers = &caller.state.registers;
    let number = registers.rax;
    if number == IRET {
        caller.vcpu.counts.add_call(IRET);
        return crate::vcpu::iret::iret(caller);
    }
    let mut arguments = [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
    ];
    let outcome = call(caller, number, &mut arguments);
    #[cfg(feature = "breach")]
    let outcome = wrong(caller.state.registers.r9, outcome);
    apply(caller, number, &arguments, outcome)
}

/// What a hypervisor that is built to fail answers to a call that asks for it: an error for success, and success for an error. No
/// call has `EDOM` among its errors.
#[cfg(feature = "breach")]
fn wrong(asked: u64, outcome: Outcome) -> Outcome {
    match outcome {
        _ if asked != hypercall_abi::control::audit::BREACH_ANSWER => outcome,
        Outcome::Done(_) => Outcome::Refused(Errno::EDOM),
        Outcome::Refused(_) => Outcome::OK,
        Outcome::Again | Outcome::Crash(_) => outcome,
    }
}

/// Makes registers of an outcome.
#[inline(always)]
fn apply<M: Machine>(
    caller: &mut Caller<'_, M>,
    number: u64,
    arguments: &Arguments,
    outcome: Outcome,
) -> Result<(), CrashReason> {
    let registers = &mut caller.state.registers;
    match outcome {
        Outcome::Done(value) => registers.rax = value,
        Outcome::Refused(error) => registers.rax = error.to_register(),
        Outcome::Again => {
            [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
            ] = *arguments;
            registers.rax = number;
            // Back over the two bytes of `syscall`: the guest repeats it, after an upcall if one is due.
            registers.rip = registers.rip.wrapping_sub(2);
        }
        Outcome::Crash(reason) => return Err(reason),
    }
    registers.rcx = registers.rip;
    registers.r11 = registers.rflags;
    caller.state.exit = ExitPath::Sysret;
    Ok(())
}

macro_rules! calls {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
        since $since:literal by $who:ident $(, operations $module:ident)?;)*) => {
        /// Runs one hypercall from kernel mode. `arguments` are changed only with [`Outcome::Again`].
        #[inline(always)]
        pub fn call<M: Machine>(
            caller: &mut Caller<'_, M>,
            number: u64,
            arguments: &mut Arguments,
        ) -> Outcome {
            match number {
                $($number => {
                    caller.vcpu.counts.add_call($number);
                    handlers::$name(caller, arguments)
                })*
                _ => {
                    caller.vcpu.counts.add_call(u64::MAX);
                    Outcome::Refused(Errno::ENOSYS)
                }
            }
        }

        /// Whether a call of this number exists: for the test that compares with the table.
        #[cfg(test)]
        fn exists(number: u64) -> bool {
            matches!(number, $($number)|*)
        }
    };
}
hypercall_abi::for_each_hypercall!(calls);

/// The argument in a register, by its type.
pub(crate) fn argument<T: RegisterArgument>(arguments: &Arguments, index: usize) -> T {
    T::from_register(arguments.get(index).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::bench::{Bench, DATA};
    use hypercall_abi::{number, table};

    #[test]
    fn unassigned_numbers_do_not_exist() {
        for number in [11, 38, 43, 47, 57, 64, u64::MAX, 1 << 32 | 17] {
            assert!(!exists(number), "{number:#x}");
        }
        for number in [0, 1, 12, 17, 23, 24, 29, 32, 56] {
            assert!(exists(number), "{number}");
        }
    }

    /// The result of sub-operation `number` of a call, on arguments that are all zero.
    fn probe(bench: &mut Bench, call: u32, number: u32) -> u64 {
        let [low, ..] = number.to_le_bytes();
        let mut request = [0; 64];
        request[0] = low;
        let is_request = matches!(call, number::MMU_UPDATE | number::MMUEXT_OP);
        bench.write(DATA, &if is_request { request } else { [0; 64] });
        bench.state().registers.r10 = RawDomId::SELF.0.into();
        if is_request {
            bench.result(call, [DATA, 1, 0])
        } else {
            bench.result(call, [number.into(), DATA, 1])
        }
    }

    #[test]
    fn exactly_the_operations_of_the_table_exist() {
        // The others are dispatched by the table itself.
        let by_hand = [
            number::MMU_UPDATE,
            number::MMUEXT_OP,
            number::MEMORY_OP,
            number::GRANT_TABLE_OP,
        ];
        for call in by_hand {
            let mut bench = Bench::new();
            let rows = table::hypercall(call.into()).unwrap().operations;
            // The lowest bits of an address, the whole of the others.
            let numbers = if call == number::MMU_UPDATE {
                0..8
            } else {
                0..64
            };
            for operation in numbers {
                let listed = rows.iter().any(|row| row.number == operation);
                let refused =
                    Errno::from_register(probe(&mut bench, call, operation)) == Err(Errno::ENOSYS);
                assert_eq!(refused, !listed, "{call} {operation}");
            }
        }
    }
}
