//! `sched_op`: giving up the processor, waiting, shutting down.

use hypercall_abi::number::SCHED_OP;
use hypercall_abi::sched::{
    SCHEDOP_BLOCK, SCHEDOP_POLL, SCHEDOP_SHUTDOWN, SCHEDOP_YIELD, SHUTDOWN_SUSPEND, SchedPoll,
    SchedShutdown,
};
use hypercall_abi::{GuestPtr, RawPort};

use super::{Errno, hypercall, operation};

/// Why a domain stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ShutdownReason {
    /// Ended in order.
    PowerOff = 0,
    /// Wants to be started again.
    Reboot = 1,
    /// Could not go on.
    Crash = 3,
}

/// Lets every other runnable vCPU run first.
pub fn yield_now() {
    // SAFETY: changes nothing in this domain. The call cannot fail.
    let _always_zero =
        unsafe { hypercall(u64::from(SCHED_OP), [u64::from(SCHEDOP_YIELD), 0, 0, 0, 0]) };
}

/// Unmasks upcalls and sleeps until one is due. Call it with upcalls masked, after looking for work: an event that
/// came in between ends the sleep before it begins.
pub fn block() {
    // SAFETY: clears this vCPU's upcall mask, which its caller expects. The call cannot fail.
    let _always_zero =
        unsafe { hypercall(u64::from(SCHED_OP), [u64::from(SCHEDOP_BLOCK), 0, 0, 0, 0]) };
}

/// Sleeps until `port` is pending (even if masked), an upcall is due, or system time `deadline` (ns; 0 = never).
///
/// # Errors
/// `EINVAL` for a port that does not exist.
pub fn poll(port: RawPort, deadline: u64) -> Result<(), Errno> {
    let ports = [port];
    let mut argument = SchedPoll {
        ports: GuestPtr::new(ports.as_ptr().addr() as u64),
        nr_ports: 1,
        pad0: 0,
        timeout: deadline,
    };
    // SAFETY: reads `argument` and `ports` only, both alive.
    unsafe { operation(SCHED_OP, SCHEDOP_POLL, &mut argument) }.map(|_| ())
}

/// Stops the domain. A first domain stops the machine with it.
pub fn shutdown(reason: ShutdownReason) -> ! {
    let mut argument = SchedShutdown {
        reason: reason as u32,
    };
    loop {
        // SAFETY: reads `argument` only, and does not return to this domain.
        let _not_reached = unsafe { operation(SCHED_OP, SCHEDOP_SHUTDOWN, &mut argument) };
    }
}

/// Stops the domain until its manager lets it go on where it stood.
///
/// # Errors
/// `EINVAL`: it was brought back elsewhere, and nothing of this is prepared for that.
pub fn suspend() -> Result<(), Errno> {
    let mut argument = SchedShutdown {
        reason: SHUTDOWN_SUSPEND,
    };
    // SAFETY: reads `argument` only.
    match unsafe { operation(SCHED_OP, SCHEDOP_SHUTDOWN, &mut argument) }? {
        0 => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
