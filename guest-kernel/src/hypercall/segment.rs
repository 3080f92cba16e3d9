//! `set_segment_base` and `stack_switch`: what a vCPU finds at its entries.

use hypercall_abi::number::{SET_SEGMENT_BASE, STACK_SWITCH};
use hypercall_abi::segment::SEGBASE_GS_KERNEL;
use hypercall_abi::trap::FLAT_KERNEL_SS;

use super::{Errno, hypercall};

/// Sets the GS base of kernel mode on this vCPU.
///
/// # Safety
/// The address is that of this vCPU's block, for good.
///
/// # Errors
/// `EINVAL` for an address that is not canonical.
pub(crate) unsafe fn set_kernel_gs_base(address: usize) -> Result<(), Errno> {
    let arguments = [u64::from(SEGBASE_GS_KERNEL), address as u64, 0, 0, 0];
    // SAFETY: the caller gives the right block.
    unsafe { hypercall(u64::from(SET_SEGMENT_BASE), arguments) }.map(|_| ())
}

/// Says where the next entry from user mode puts its frame: below `top`.
///
/// # Safety
/// The memory below `top` is writable, large enough for a frame and used for nothing else until that entry.
///
/// # Errors
/// None that the ABI documents.
pub(crate) unsafe fn stack_switch(top: usize) -> Result<(), Errno> {
    let arguments = [u64::from(FLAT_KERNEL_SS), top as u64, 0, 0, 0];
    // SAFETY: the caller answers for the stack.
    unsafe { hypercall(u64::from(STACK_SWITCH), arguments) }.map(|_| ())
}
