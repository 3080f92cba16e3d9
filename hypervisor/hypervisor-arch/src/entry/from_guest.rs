//! What a guest did, told to the policy; and what the policy says, done.

use crate::cpu::percpu;
use crate::entry::frame::{self, Exit, Registers};
use crate::entry::probe;

/// Called by `trap.s` with the registers of the vCPU that ran, on the empty host stack.
pub(super) extern "sysv64" fn on_guest(registers: &Registers) -> Exit {
    let (vector, error) = frame::cause(registers);
    probe::finish(vector, error)
}

/// Called by `trap.s` on the empty host stack, for an entry that was noted elsewhere.
pub(super) extern "sysv64" fn on_again() -> Exit {
    panic!("again {:?}", percpu::local().exit_fault.get())
}
