//! What the scheduler knows of a domain (a group) and of a vCPU (an entity), and the runstate that a guest may read.

use super::cap::Cap;
use super::wake::Place;
use crate::ids::{CpuSet, Nanos, PhysCpu, VcpuId};

/// A vCPU's place in the scheduler's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityId(pub(super) u16);

/// A domain's place in the scheduler's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupId(pub(super) u16);

/// The state of a vCPU as pv-abi 7.1.3 counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runstate {
    /// On a CPU.
    Running,
    /// Wants one.
    Runnable,
    /// Waits for an event.
    Blocked,
    /// Down or paused.
    Offline,
}

impl Runstate {
    /// The ABI's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Runnable => 1,
            Self::Blocked => 2,
            Self::Offline => 3,
        }
    }
}

/// A vCPU's state, since when, and the time spent in each state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunstateTimes {
    /// The state now.
    pub state: Runstate,
    /// Since when.
    pub since: Nanos,
    /// Nanoseconds per state, up to `since`.
    pub time: [u64; 4],
}

impl RunstateTimes {
    /// Enters `state`: the time since the last change goes to the state left.
    pub(super) fn enter(&mut self, state: Runstate, now: Nanos) {
        if state != self.state {
            *self = self.until(now);
            self.since = now;
            self.state = state;
        }
    }

    /// The record with the running state's time counted up to `now`; `since` stays.
    #[must_use]
    pub fn until(&self, now: Nanos) -> Self {
        let mut counted = *self;
        if let Some(bucket) = counted.time.get_mut(usize::from(self.state.number())) {
            *bucket = bucket.saturating_add(now.saturating_sub(self.since).get());
        }
        counted
    }
}

/// A domain.
#[derive(Debug)]
pub(super) struct Group<T> {
    pub(super) payload: T,
    pub(super) weight: u32,
    pub(super) cap: Cap,
    pub(super) affinity: CpuSet,
    pub(super) paused: u32,
    /// Members that are ready or running.
    pub(super) active: u32,
}

/// A vCPU.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) group: GroupId,
    pub(super) vcpu: VcpuId,
    pub(super) place: Place,
    pub(super) down: bool,
    pub(super) blocked: bool,
    pub(super) last: PhysCpu,
    pub(super) virtual_time: u64,
    pub(super) runstate: RunstateTimes,
    pub(super) wakeups: u64,
}
