//! `sched_op`: giving up the CPU, waiting, shutting down.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guest_ptr::GuestPtr;
use crate::ids::{RawDomId, RawPort};

/// Argument of `SCHEDOP_shutdown` and `SCHEDOP_shutdown_code`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedShutdown {
    /// `SHUTDOWN_*`; only the low 8 bits count.
    pub reason: u32,
}
layout!(SchedShutdown = "struct sched_shutdown": 4 { reason @ 0 });

/// Argument of `SCHEDOP_poll`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedPoll {
    /// The ports.
    pub ports: GuestPtr<RawPort>,
    /// How many; 0 = wait for any event.
    pub nr_ports: u32,
    /// Ignored.
    pub pad0: u32,
    /// System time at which to give up, in nanoseconds; 0 = never.
    pub timeout: u64,
}
layout!(SchedPoll = "struct sched_poll": 24 { ports @ 0, nr_ports @ 8, timeout @ 16 });

/// Argument of `SCHEDOP_remote_shutdown`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedRemoteShutdown {
    /// The domain.
    pub domain_id: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// `SHUTDOWN_*`.
    pub reason: u32,
}
layout!(SchedRemoteShutdown = "struct sched_remote_shutdown": 8 { domain_id @ 0, reason @ 4 });

/// Argument of `SCHEDOP_watchdog`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedWatchdog {
    /// Which watchdog; 0 = a new one.
    pub id: u32,
    /// Seconds from now; 0 = stop.
    pub timeout: u32,
}
layout!(SchedWatchdog = "struct sched_watchdog": 8 { id @ 0, timeout @ 4 });

/// Ports that one `SCHEDOP_poll` may name.
pub const MAX_POLL_PORTS: u32 = 128;

constants! {
    /// Lets others run.
    SCHEDOP_YIELD: u32 = 0 => "SCHEDOP_yield";
    /// Unmasks upcalls and waits for one.
    SCHEDOP_BLOCK: u32 = 1 => "SCHEDOP_block";
    /// Stops the domain.
    SCHEDOP_SHUTDOWN: u32 = 2 => "SCHEDOP_shutdown";
    /// Waits for one of some ports.
    SCHEDOP_POLL: u32 = 3 => "SCHEDOP_poll";
    /// Stops another domain.
    SCHEDOP_REMOTE_SHUTDOWN: u32 = 4 => "SCHEDOP_remote_shutdown";
    /// Fixes the reason that a later shutdown reports.
    SCHEDOP_SHUTDOWN_CODE: u32 = 5 => "SCHEDOP_shutdown_code";
    /// Sets a watchdog.
    SCHEDOP_WATCHDOG: u32 = 6 => "SCHEDOP_watchdog";
    /// Ties the vCPU to a CPU.
    SCHEDOP_PIN_OVERRIDE: u32 = 7 => "SCHEDOP_pin_override";
    /// Ended in order.
    SHUTDOWN_POWEROFF: u32 = 0 => "SHUTDOWN_poweroff";
    /// Wants to be started again.
    SHUTDOWN_REBOOT: u32 = 1 => "SHUTDOWN_reboot";
    /// Wants to be saved.
    SHUTDOWN_SUSPEND: u32 = 2 => "SHUTDOWN_suspend";
    /// Crashed.
    SHUTDOWN_CRASH: u32 = 3 => "SHUTDOWN_crash";
    /// A watchdog ran out.
    SHUTDOWN_WATCHDOG: u32 = 4 => "SHUTDOWN_watchdog";
    /// Wants a fresh start in place.
    SHUTDOWN_SOFT_RESET: u32 = 5 => "SHUTDOWN_soft_reset";
}
