//! Instructions under test: what they give, or the exception that they raise.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_kernel::trap::{Fault, probe};

use crate::sabotage::{self, Act};

/// What became of an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out; what it left in RAX.
    Gives(u64),
    /// It raised an exception: vector and error code.
    Raises(u64, u64),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gives(value) => write!(f, "{value:#x}"),
            Self::Raises(vector, code) => write!(f, "exception-{vector}({code:#x})"),
        }
    }
}

/// `#GP(0)`.
pub const GENERAL_PROTECTION: Outcome = Outcome::Raises(13, 0);
/// `#UD`.
pub const UNDEFINED: Outcome = Outcome::Raises(6, 0);

/// RAX before and after an instruction under test.
pub static RAX: AtomicU64 = AtomicU64::new(0);

/// Runs a function that [`instruction!`](crate::instruction!) made, with RAX and RCX.
pub fn run(instruction: extern "C" fn(u64), rax: u64, rcx: u64) -> Outcome {
    match catch(instruction, rax, rcx) {
        Ok(value) => Outcome::Gives(value),
        Err(fault) => Outcome::Raises(fault.vector, fault.error_code),
    }
}

/// As [`run`], without the value: some depend on the machine.
pub fn fault_of(instruction: extern "C" fn(u64), rax: u64, rcx: u64) -> Outcome {
    match run(instruction, rax, rcx) {
        Outcome::Gives(value) => Outcome::Gives(value & sabotage_mark()),
        raised @ Outcome::Raises(..) => raised,
    }
}

/// Nothing of the value, unless it is sabotage's own.
fn sabotage_mark() -> u64 {
    match sabotage::act() {
        Act::Carry => 0,
        Act::Answer(_) => u64::MAX,
    }
}

/// The exception that an instruction raises, whole.
///
/// # Errors
/// The exception.
pub fn catch(instruction: extern "C" fn(u64), rax: u64, rcx: u64) -> Result<u64, Fault> {
    match sabotage::act() {
        Act::Answer(0) => Ok(0x5a5a_5a5a),
        Act::Answer(_) => Err(Fault {
            vector: 255,
            error_code: 0,
            rip: 0,
            address: 0,
        }),
        Act::Carry => carry(instruction, rax, rcx),
    }
}

/// Runs an instruction that prepares a check or cleans up after it.
///
/// # Errors
/// The exception.
pub fn carry(instruction: extern "C" fn(u64), rax: u64, rcx: u64) -> Result<u64, Fault> {
    RAX.store(rax, Ordering::Relaxed);
    probe(instruction, rcx)?;
    Ok(RAX.load(Ordering::Relaxed))
}

/// Defines a function that runs a few instructions on RAX (in and out) and RCX (in); RDX and RBX are theirs.
#[macro_export]
macro_rules! instruction {
    ($($name:ident: $($line:literal),+;)+) => { $(
        extern "C" fn $name(rcx: u64) {
            let mut rax = $crate::instruction::RAX.load(core::sync::atomic::Ordering::Relaxed);
            // SAFETY: a fault is caught; the check that runs it names memory of its own and restores what it changed.
            unsafe {
                core::arch::asm!(
                    "push rbx",
                    $($line,)+
                    "pop rbx",
                    inout("rax") rax, inout("rcx") rcx => _, out("rdx") _, out("rsi") _, out("rdi") _,
                );
            }
            $crate::instruction::RAX.store(rax, core::sync::atomic::Ordering::Relaxed);
        }
    )+ };
}
