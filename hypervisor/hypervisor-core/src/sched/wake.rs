//! The transitions of a vCPU: down and up, blocked and woken, its domain paused and unpaused.
//!
//! One function per transition, all of them through `settle`, which compares where the vCPU is with where it should be.

use super::entity::{EntityId, GroupId, Runstate};
use super::queue::Scheduler;
use crate::ids::{CpuSet, Nanos, PhysCpu};

/// Where a vCPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It may not run.
    Off,
    /// It waits for a CPU.
    Ready,
    /// It runs.
    Running {
        /// Where.
        cpu: PhysCpu,
        /// Counted up to then.
        since: Nanos,
    },
}

/// Why a vCPU may not run, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Not up.
    Down,
    /// Waits for an event.
    Blocked,
}

/// By how much a woken vCPU must be behind to end another's slice early: less would be spent on switching.
const PREEMPTS_BY: u64 = 500_000;

impl<T: Clone> Scheduler<T> {
    /// Halts a vCPU. If it runs, its CPU has to ask again: the answer.
    pub fn halt(&mut self, id: EntityId, why: Halt, now: Nanos) -> Option<PhysCpu> {
        if let Some(entity) = self.entity_mut(id) {
            match why {
                Halt::Down => entity.down = true,
                Halt::Blocked => entity.blocked = true,
            }
        }
        self.settle(id, now)
    }

    /// Ends a halt. The answer is a CPU that has to ask again.
    pub fn resume(&mut self, id: EntityId, why: Halt, now: Nanos) -> Option<PhysCpu> {
        let entity = self.entity_mut(id)?;
        let flag = match why {
            Halt::Down => &mut entity.down,
            Halt::Blocked => &mut entity.blocked,
        };
        if !core::mem::replace(flag, false) {
            return None;
        }
        if why == Halt::Blocked {
            entity.wakeups = entity.wakeups.saturating_add(1);
        }
        self.settle(id, now)
    }

    /// Whether a vCPU is down.
    #[must_use]
    pub fn is_down(&self, id: EntityId) -> bool {
        self.entity(id).is_none_or(|e| e.down)
    }

    /// Whether a vCPU is blocked.
    #[must_use]
    pub fn is_blocked(&self, id: EntityId) -> bool {
        self.entity(id).is_some_and(|e| e.blocked)
    }

    /// Pauses a domain once more. The answer: CPUs that have to ask again.
    pub fn pause(&mut self, group: GroupId, now: Nanos) -> CpuSet {
        if let Some(g) = self.group_mut(group) {
            g.paused = g.paused.saturating_add(1);
        }
        self.settle_group(group, now)
    }

    /// Takes back one pause. The answer: CPUs that have to ask again; `None` if the domain was not paused.
    pub fn unpause(&mut self, group: GroupId, now: Nanos) -> Option<CpuSet> {
        let g = self.group_mut(group)?;
        g.paused = g.paused.checked_sub(1)?;
        Some(self.settle_group(group, now))
    }

    /// How often a domain is paused.
    #[must_use]
    pub fn pauses(&self, group: GroupId) -> u32 {
        self.group(group).map_or(0, |g| g.paused)
    }

    pub(super) fn may_run(&self, id: EntityId) -> bool {
        self.entity(id).is_some_and(|e| !e.down && !e.blocked)
            && self.group_of(id).is_some_and(|g| g.paused == 0)
    }

    /// Moves an entity, and keeps queue, active count and runstate with it.
    pub(super) fn set_place(&mut self, id: EntityId, place: Place, now: Nanos) {
        let Some(entity) = self.entity_mut(id) else {
            return;
        };
        let (was, group) = (entity.place, entity.group);
        entity.place = place;
        if let Place::Running { cpu, .. } = place {
            entity.last = cpu;
        }
        if was == Place::Ready && place != Place::Ready {
            self.ready.retain(|&other| other != id);
        } else if was != Place::Ready
            && place == Place::Ready
            && self.ready.len() < self.ready.capacity()
        {
            // There is room: adding an entity reserved it.
            self.ready.extend([id]);
        }
        if let Some(g) = self.group_mut(group) {
            match (was == Place::Off, place == Place::Off) {
                (true, false) => {
                    g.active = g.active.saturating_add(1);
                    // Budgets of those who sleep are not looked after.
                    g.cap.refresh(now);
                }
                (false, true) => g.active = g.active.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        }
        self.note_runstate(id, now);
    }

    /// Puts an entity where its flags say, but does not take it off its CPU: that CPU has to ask.
    fn settle(&mut self, id: EntityId, now: Nanos) -> Option<PhysCpu> {
        let answer = match (self.place(id)?, self.may_run(id)) {
            (Place::Running { cpu, .. }, false) => Some(cpu),
            (Place::Running { .. } | Place::Ready, true) | (Place::Off, false) => None,
            (Place::Ready, false) => {
                self.set_place(id, Place::Off, now);
                None
            }
            (Place::Off, true) => {
                self.set_place(id, Place::Ready, now);
                self.catch_up(id, now);
                self.take_idle_cpu(id)
                    .or_else(|| self.preempted_by(id, now))
            }
        };
        self.note_runstate(id, now);
        answer
    }

    fn settle_group(&mut self, group: GroupId, now: Nanos) -> CpuSet {
        let mut cpus = CpuSet::EMPTY;
        for id in self.entity_ids() {
            if self.entity(id).is_some_and(|e| e.group == group)
                && let Some(cpu) = self.settle(id, now)
            {
                cpus = cpus.with(cpu);
            }
        }
        cpus
    }

    /// A sleeper does not save up: it starts at most one slice before those that ran meanwhile.
    fn catch_up(&mut self, id: EntityId, now: Nanos) {
        let floor = self
            .running
            .iter()
            .flatten()
            .chain(self.ready.iter())
            .filter(|&&other| other != id)
            .map(|&other| self.virtual_time_at(other, now))
            .min();
        let slice = self.slice().get();
        if let (Some(floor), Some(entity)) = (floor, self.entity_mut(id)) {
            entity.virtual_time = entity.virtual_time.max(floor.saturating_sub(slice));
        }
    }

    /// The CPU whose vCPU has had most more than `id`, enough to end its slice now.
    fn preempted_by(&self, id: EntityId, now: Nanos) -> Option<PhysCpu> {
        let group = self.group_of(id)?;
        if !group.cap.permits() {
            return None;
        }
        let mine = self.virtual_time_at(id, now).saturating_add(PREEMPTS_BY);
        group
            .affinity
            .iter()
            .filter_map(|cpu| {
                let other = self.running.get(cpu.index()).copied().flatten()?;
                Some((self.virtual_time_at(other, now), cpu))
            })
            .filter(|&(time, _)| time > mine)
            .max_by_key(|&(time, _)| time)
            .map(|(_, cpu)| cpu)
    }

    fn note_runstate(&mut self, id: EntityId, now: Nanos) {
        let paused = self.group_of(id).is_none_or(|g| g.paused != 0);
        let Some(entity) = self.entity_mut(id) else {
            return;
        };
        let state = match entity.place {
            Place::Running { .. } => Runstate::Running,
            Place::Ready | Place::Off if entity.blocked => Runstate::Blocked,
            Place::Ready | Place::Off if entity.down || paused => Runstate::Offline,
            Place::Ready | Place::Off => Runstate::Runnable,
        };
        entity.runstate.enter(state, now);
    }
}
