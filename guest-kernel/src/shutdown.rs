//! The end of the domain.

use crate::hypercall::sched::{self, ShutdownReason};

/// Ends the domain in order.
pub fn power_off() -> ! {
    crate::console::flush();
    sched::shutdown(ShutdownReason::PowerOff)
}

/// Ends the domain in order and asks for a new start.
pub fn reboot() -> ! {
    crate::console::flush();
    sched::shutdown(ShutdownReason::Reboot)
}

/// Ends the domain as crashed.
pub fn crash() -> ! {
    sched::shutdown(ShutdownReason::Crash)
}
