//! Hypercall 56, the interface of Paravane itself.

use hypercall_abi::control::{ControlArgument, ControlHeader};
use hypercall_abi::number::PARAVANE_OP;
use zerocopy::IntoBytes;

use super::{Errno, operation};

/// Fills in the header that a structure begins with.
pub fn with_header<T: ControlArgument>(argument: &mut T) {
    argument.as_mut_bytes()[..size_of::<ControlHeader>()].copy_from_slice(T::HEADER.as_bytes());
}

/// Issues the operation that takes this structure, whose header is filled in here; outputs stand in it afterwards.
///
/// # Safety
/// Addresses inside the argument are those of memory that the operation may read or write, as long as it says.
///
/// # Errors
/// `ENOSYS` for an operation (or a hypervisor) that does not know it, `EOPNOTSUPP` for a newer version than known,
/// `EPERM` where it is not this domain's to ask; beyond that the operation's own.
pub unsafe fn paravane_op<T: ControlArgument>(argument: &mut T) -> Result<u64, Errno> {
    with_header(argument);
    // SAFETY: the caller answers for addresses inside the argument.
    unsafe { operation(PARAVANE_OP, T::OPERATION, argument) }
}
