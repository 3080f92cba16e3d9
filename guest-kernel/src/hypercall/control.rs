//! Hypercall 56, the interface of Paravane itself.

use hypercall_abi::number::PARAVANE_OP;
use zerocopy::{FromBytes, IntoBytes};

use super::{Errno, operation};

/// Issues one operation; outputs stand in the argument afterwards.
///
/// # Safety
/// Addresses inside the argument are those of memory that the operation may read or write, as long as it says.
///
/// # Errors
/// `ENOSYS` for an operation (or a hypervisor) that does not know it, `EOPNOTSUPP` for a newer version than known,
/// `EPERM` where it is not this domain's to ask; beyond that the operation's own.
pub unsafe fn paravane_op<T: FromBytes + IntoBytes>(
    op: u32,
    argument: &mut T,
) -> Result<u64, Errno> {
    // SAFETY: the caller answers for addresses inside the argument.
    unsafe { operation(PARAVANE_OP, op, argument) }
}
