//! `physdev_op`: the one operation that kernels without devices use.

use hypercall_abi::number::PHYSDEV_OP;
use hypercall_abi::physdev::{PHYSDEVOP_SET_IOPL, PhysdevSetIopl};

use super::{Errno, operation};

/// Sets this vCPU's I/O privilege level; 1 or more lets the kernel use ports that its domain was given.
///
/// # Errors
/// `EINVAL` for a level above 3.
pub fn set_iopl(iopl: u32) -> Result<(), Errno> {
    // SAFETY: reads the argument only; ports that the domain has no right to stay closed.
    unsafe { operation(PHYSDEV_OP, PHYSDEVOP_SET_IOPL, &mut PhysdevSetIopl { iopl }) }.map(|_| ())
}
