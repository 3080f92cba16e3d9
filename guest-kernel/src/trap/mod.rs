//! Exceptions: the trap table, what happens when one is taken in kernel mode, and catching one on purpose.
//!
//! An exception of user mode is never handled here: it ends the call that entered user mode (see `user`). One of kernel
//! mode is a bug, so it prints the registers and stops the domain, unless [`probe`] asked for it.

mod fault;
mod frame;
mod probe;
mod table;

use core::arch::global_asm;

pub use fault::Fault;
pub use frame::{SYSTEM_CALL, TrapFrame, UPCALL};
pub use probe::probe;
pub(crate) use table::{callback_address, entries};
pub use table::{install, open_gate};

use crate::smp::USER_RETURN_OFFSET;
use crate::{console, event, shutdown};

global_asm!(
    include_str!("entry.s"),
    frame_cs = const core::mem::offset_of!(TrapFrame, cs),
    trap_from_kernel = sym from_kernel,
    user_return = const USER_RETURN_OFFSET,
    iret = const hypercall_abi::number::IRET,
);

unsafe extern "C" {
    /// Runs user mode from `frame` until it traps (`entry.s`).
    pub(crate) fn trap_enter_user(frame: *mut TrapFrame);
}

/// What the entry code calls for a trap taken in kernel mode.
extern "C" fn from_kernel(frame: &mut TrapFrame) {
    if frame.vector == UPCALL {
        event::dispatch();
        return;
    }
    let fault = Fault::of(frame);
    if probe::recover(frame, fault) {
        return;
    }
    console::emergency(format_args!(
        "exception in kernel mode: {fault}\n{frame:#x?}\n"
    ));
    shutdown::crash()
}
