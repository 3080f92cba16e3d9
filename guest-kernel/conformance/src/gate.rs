//! The instruction that enters the hypervisor, with all registers of the way out.

use core::arch::asm;

use hypercall_abi::number::EVENT_CHANNEL_OP;

use crate::asked;
use crate::fixture::read;
use crate::sabotage::{self, Act};

/// What a call leaves in registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The result.
    pub rax: u64,
    /// Address behind the instruction.
    pub rcx: u64,
    /// Flags.
    pub r11: u64,
    /// Address of the instruction behind `syscall`, found without it.
    pub behind: u64,
}

/// Issues a call and gives its registers. R9, where calls have no argument, holds a mark.
fn issue(number: u64, arguments: &[u64], mark: u64) -> Registers {
    let argument = |place: usize| arguments.get(place).copied().unwrap_or(0);
    let mut out = Registers::default();
    // SAFETY: `syscall` is the ABI's way in: rax, rcx, r11 and argument registers are lost, all else kept. The suite's
    // kernels name memory of their own, memory that is nobody's, or calls that are refused; each says where it does more.
    unsafe {
        asm!(
            "lea {behind}, [rip + 2f]",
            "syscall",
            "2:",
            behind = out(reg) out.behind,
            inlateout("rax") number => out.rax,
            inlateout("rdi") argument(0) => _,
            inlateout("rsi") argument(1) => _,
            inlateout("rdx") argument(2) => _,
            inlateout("r10") argument(3) => _,
            inlateout("r8") argument(4) => _,
            in("r9") mark,
            lateout("rcx") out.rcx,
            lateout("r11") out.r11,
            options(nostack),
        );
    }
    out
}

/// Issues a call that a check is about.
fn issue_noted(number: u64, arguments: &[u64]) -> Registers {
    let out = issue(number, arguments, sabotage::mark());
    asked::note(number, arguments, out.rax.cast_signed());
    out
}

/// The call under test: its result.
pub fn call(number: impl Into<u64>, arguments: &[u64]) -> i64 {
    match sabotage::act() {
        Act::Answer(instead) => instead,
        Act::Carry => issue_noted(number.into(), arguments).rax.cast_signed(),
    }
}

/// The call under test, with its registers.
pub fn call_with_registers(number: impl Into<u64>, arguments: &[u64]) -> Registers {
    match sabotage::act() {
        Act::Answer(instead) => Registers {
            rax: instead.cast_unsigned(),
            ..Registers::default()
        },
        Act::Carry => issue_noted(number.into(), arguments),
    }
}

/// The call under test, made by another domain: `make` gets the mark that the call must carry.
pub fn call_by(number: u32, arguments: &[u64], make: impl FnOnce(u64) -> i64) -> i64 {
    match sabotage::act() {
        Act::Answer(instead) => instead,
        Act::Carry => {
            let result = make(sabotage::mark());
            asked::note(number.into(), arguments, result);
            result
        }
    }
}

/// Makes a call for the domain whose check it belongs to, with the mark that came from there.
pub fn call_marked(number: u64, arguments: &[u64], mark: u64) -> i64 {
    issue(number, arguments, mark).rax.cast_signed()
}

/// A call that prepares a check or cleans up after it.
pub fn prepare(number: impl Into<u64>, arguments: &[u64]) -> i64 {
    issue(number.into(), arguments, 0).rax.cast_signed()
}

/// An event-channel operation under test on a structure of up to three words; its result and the structure afterwards.
pub fn event(operation: u64, words: [u64; 3]) -> (i64, [u64; 3]) {
    let place = words;
    let at = address_of(&place);
    let result = call(EVENT_CHANNEL_OP, &[operation, at]);
    (result, [read(at), read(at + 8), read(at + 16)])
}

/// The address of a value, for a call that reads or writes it.
pub fn address_of<T: ?Sized>(value: &T) -> u64 {
    core::ptr::from_ref(value).cast::<u8>().expose_provenance() as u64
}
