//! The scheduler: which vCPU runs where and for how long. A pure state machine, driven by the clock it is handed.
//!
//! There is one queue of ready vCPUs for the whole machine. Every CPU takes from it the eligible vCPU with the least virtual
//! time: so no CPU idles while something that may run on it waits (work-conserving), and shares are fair across CPUs, not
//! only on each. Virtual time advances as a vCPU runs, faster the smaller its domain's weight and the more of its vCPUs are
//! active ([`weight`]); a domain over its cap is not eligible until its period ends ([`cap`]); affinity is a filter
//! ([`affinity`]). A vCPU that wakes is put before those that have run (`wake`), so it waits for a slice at most.
//!
//! With the few hundred vCPUs that a machine of this size holds, a scan of the ready ones is shorter than keeping order.

pub mod affinity;
pub mod cap;
mod entity;
pub(crate) mod op;
mod queue;
mod wake;
pub mod weight;

pub use entity::{EntityId, GroupId, Runstate, RunstateTimes};
pub use queue::{Decision, Scheduler, SchedulerFull, Share};
pub use wake::{Halt, Place};

#[cfg(test)]
mod tests;
