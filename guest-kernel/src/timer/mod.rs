//! Time: the clock, and tasks that sleep.
//!
//! Each vCPU has one one-shot timer in the hypervisor. It is armed for the earliest sleeper of that vCPU only, so a
//! vCPU without sleepers gets no timer interrupt at all.

mod clock;
mod sleep;

pub use clock::{now, since, wall_clock};
pub use sleep::{Sleep, sleep, sleep_until};
pub(crate) use sleep::{init_here, interrupt_within};

/// Nanoseconds of a millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000 * MILLISECOND;
