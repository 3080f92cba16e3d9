//! `vcpu_op`: starting and stopping vCPUs, and their timers.

use hypercall_abi::number::VCPU_OP;
use hypercall_abi::time::VcpuRunstateInfo;
use hypercall_abi::vcpu::{
    SetSingleshotTimer, VCPUOP_DOWN, VCPUOP_GET_RUNSTATE_INFO, VCPUOP_INITIALISE, VCPUOP_IS_UP,
    VCPUOP_SET_SINGLESHOT_TIMER, VCPUOP_STOP_PERIODIC_TIMER, VCPUOP_STOP_SINGLESHOT_TIMER,
    VCPUOP_UP, VcpuGuestContext,
};

use super::{Errno, hypercall};

/// Issues one operation on a vCPU; `argument` is an address or 0.
///
/// # Safety
/// As [`hypercall`].
unsafe fn vcpu_op(command: u32, vcpu: u32, argument: u64) -> Result<u64, Errno> {
    // SAFETY: the caller's duty.
    unsafe {
        hypercall(
            u64::from(VCPU_OP),
            [u64::from(command), u64::from(vcpu), argument, 0, 0],
        )
    }
}

/// Gives a vCPU its first registers.
///
/// # Safety
/// The context starts code of this kernel, on a stack of its own and with a root that maps the kernel.
///
/// # Errors
/// `EEXIST` if it has been given some before, `ENOENT` for a vCPU that does not exist, `EINVAL`.
pub(crate) unsafe fn initialise(vcpu: u32, context: &VcpuGuestContext) -> Result<(), Errno> {
    // SAFETY: the context is read; the caller answers for what it starts.
    unsafe {
        vcpu_op(
            VCPUOP_INITIALISE,
            vcpu,
            core::ptr::from_ref(context).addr() as u64,
        )
    }
    .map(|_| ())
}

/// Lets a vCPU run that was initialised.
///
/// # Errors
/// `EINVAL` if it was not, `ENOENT` for a vCPU that does not exist.
pub fn up(vcpu: u32) -> Result<(), Errno> {
    // SAFETY: what runs was answered for by `initialise`.
    unsafe { vcpu_op(VCPUOP_UP, vcpu, 0) }.map(|_| ())
}

/// How long a vCPU has been in each state since it was made.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist.
pub fn runstate(vcpu: u32) -> Result<VcpuRunstateInfo, Errno> {
    let mut info = VcpuRunstateInfo::default();
    let address = core::ptr::from_mut(&mut info).addr() as u64;
    // SAFETY: the structure of that command is written, which nobody else holds.
    unsafe { vcpu_op(VCPUOP_GET_RUNSTATE_INFO, vcpu, address) }?;
    Ok(info)
}

/// Stops a vCPU; for the caller itself the call returns when it is up again.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist.
pub fn down(vcpu: u32) -> Result<(), Errno> {
    // SAFETY: a vCPU that does not run changes nothing.
    unsafe { vcpu_op(VCPUOP_DOWN, vcpu, 0) }.map(|_| ())
}

/// Whether a vCPU runs.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist.
pub fn is_up(vcpu: u32) -> Result<bool, Errno> {
    // SAFETY: asks only.
    unsafe { vcpu_op(VCPUOP_IS_UP, vcpu, 0) }.map(|up| up != 0)
}

/// Arms this vCPU's timer for system time `deadline` (ns); a time that is past raises the interrupt at once.
///
/// # Errors
/// `EINVAL` for another vCPU than the caller.
pub fn set_singleshot_timer(vcpu: u32, deadline: u64) -> Result<(), Errno> {
    let argument = SetSingleshotTimer {
        timeout_abs_ns: deadline,
        ..SetSingleshotTimer::default()
    };
    // SAFETY: reads the argument only.
    unsafe {
        vcpu_op(
            VCPUOP_SET_SINGLESHOT_TIMER,
            vcpu,
            core::ptr::from_ref(&argument).addr() as u64,
        )
    }
    .map(|_| ())
}

/// Stops this vCPU's timer.
///
/// # Errors
/// `EINVAL` for another vCPU than the caller.
pub fn stop_singleshot_timer(vcpu: u32) -> Result<(), Errno> {
    // SAFETY: no argument.
    unsafe { vcpu_op(VCPUOP_STOP_SINGLESHOT_TIMER, vcpu, 0) }.map(|_| ())
}

/// Stops the tick with which some hypervisors start a vCPU.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist.
pub fn stop_periodic_timer(vcpu: u32) -> Result<(), Errno> {
    // SAFETY: no argument.
    unsafe { vcpu_op(VCPUOP_STOP_PERIODIC_TIMER, vcpu, 0) }.map(|_| ())
}
