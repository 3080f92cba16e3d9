//! Registration of exception handlers and callbacks.

use hypercall_abi::number::{CALLBACK_OP, SET_TRAP_TABLE};
use hypercall_abi::trap::{CALLBACKF_MASK_EVENTS, CALLBACKOP_REGISTER, CallbackRegister, TrapInfo};

use super::{Errno, hypercall, operation};

/// Sets entries of this vCPU's trap table; the list ends with an entry of address 0.
///
/// # Safety
/// Each address is an entry stub of this kernel.
///
/// # Errors
/// `EINVAL` for an address that is not canonical.
pub(crate) unsafe fn set_trap_table(entries: &[TrapInfo]) -> Result<(), Errno> {
    let arguments = [entries.as_ptr().addr() as u64, 0, 0, 0, 0];
    // SAFETY: the list is read up to its end mark; the caller answers for the stubs.
    unsafe { hypercall(u64::from(SET_TRAP_TABLE), arguments) }.map(|_| ())
}

/// Registers the callback of a kind, `CALLBACKTYPE_*`; it is entered with upcalls masked.
///
/// # Safety
/// The address is an entry stub of this kernel.
///
/// # Errors
/// `ENOSYS` for an unknown kind, `EINVAL` for an address that is not canonical.
pub(crate) unsafe fn register_callback(kind: u16, address: u64) -> Result<(), Errno> {
    let mut argument = CallbackRegister {
        kind,
        flags: CALLBACKF_MASK_EVENTS,
        pad0: 0,
        address,
    };
    // SAFETY: reads `argument` only; the caller answers for the stub.
    unsafe { operation(CALLBACK_OP, CALLBACKOP_REGISTER, &mut argument) }.map(|_| ())
}
