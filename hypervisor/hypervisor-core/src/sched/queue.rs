//! The table of domains and vCPUs, and the choice of who runs next.

use alloc::vec::Vec;

use super::affinity;
use super::cap::Cap;
use super::entity::{Entity, EntityId, Group, GroupId, Runstate, RunstateTimes};
use super::wake::Place;
use super::weight::virtual_time;
use crate::heap;
use crate::ids::{CpuSet, Nanos, PhysCpu, VcpuId};

/// No memory or no number for another domain or vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerFull;

/// A domain's share: weight, cap and CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Relative to [`super::weight::DEFAULT_WEIGHT`].
    pub weight: u32,
    /// Percent of one CPU, 0 for no cap.
    pub cap_percent: u32,
    /// CPUs that may be used.
    pub affinity: CpuSet,
}

/// What a CPU is to do until it asks again.
#[derive(Debug)]
pub struct Decision<T> {
    /// The vCPU to run: its number here, its domain and its number there. `None`: idle.
    pub next: Option<(EntityId, T, VcpuId)>,
    /// When to ask again at the latest.
    pub until: Option<Nanos>,
    /// A CPU that should ask too, for the vCPU that had to leave this one.
    pub kick: Option<PhysCpu>,
}

/// The shortest run: less would be spent on switching.
const MIN_RUN: Nanos = Nanos::new(100_000);

/// How long a vCPU runs while another one of its domain waits: it may well spin for that one, as kernels do when all their CPUs
/// must meet, and several such meetings in a row shall not cost a slice for every vCPU each.
const SIBLING_RUN: Nanos = Nanos::new(1_000_000);

/// The scheduler's whole state. `T` stands for a domain.
#[derive(Debug)]
pub struct Scheduler<T> {
    groups: Vec<Option<Group<T>>>,
    entities: Vec<Option<Entity>>,
    /// Entities that wait for a CPU, in no order; has room for all.
    pub(super) ready: Vec<EntityId>,
    /// Who runs, by CPU.
    pub(super) running: [Option<EntityId>; PhysCpu::LIMIT],
    /// CPUs that wait for work and have not been kicked for some yet.
    idle: CpuSet,
    slice: Nanos,
}

impl<T: Clone> Scheduler<T> {
    /// Nobody to run. A vCPU runs for `slice` while others wait.
    #[must_use]
    pub const fn new(slice: Nanos) -> Self {
        Self {
            groups: Vec::new(),
            entities: Vec::new(),
            ready: Vec::new(),
            running: [None; PhysCpu::LIMIT],
            idle: CpuSet::EMPTY,
            slice,
        }
    }

    /// The time slice.
    #[must_use]
    pub const fn slice(&self) -> Nanos {
        self.slice
    }

    /// Adds a domain, paused once.
    ///
    /// # Errors
    /// [`SchedulerFull`]; nothing has changed then.
    pub fn add_group(
        &mut self,
        payload: T,
        share: Share,
        now: Nanos,
    ) -> Result<GroupId, SchedulerFull> {
        let group = Group {
            payload,
            weight: share.weight,
            cap: Cap::new(share.cap_percent, now),
            affinity: share.affinity,
            paused: 1,
            active: 0,
        };
        fill(&mut self.groups, group).map(GroupId)
    }

    /// Adds a vCPU to a domain, down.
    ///
    /// # Errors
    /// [`SchedulerFull`]; nothing has changed then.
    pub fn add_entity(
        &mut self,
        group: GroupId,
        vcpu: VcpuId,
        now: Nanos,
    ) -> Result<EntityId, SchedulerFull> {
        let wanted = self
            .entities
            .len()
            .saturating_add(1)
            .saturating_sub(self.ready.len());
        heap::reserve(&mut self.ready, wanted).map_err(|_| SchedulerFull)?;
        let last = self
            .group(group)
            .and_then(|g| g.affinity.iter().next())
            .ok_or(SchedulerFull)?;
        let entity = Entity {
            group,
            vcpu,
            place: Place::Off,
            down: true,
            blocked: false,
            last,
            virtual_time: 0,
            runstate: RunstateTimes {
                state: Runstate::Offline,
                since: now,
                time: [0; 4],
            },
            wakeups: 0,
        };
        fill(&mut self.entities, entity).map(EntityId)
    }

    /// Removes a domain that does not run any more, with all its vCPUs. Gives what stood for it.
    pub fn remove_group(&mut self, group: GroupId) -> Option<T> {
        for slot in &mut self.entities {
            if slot.as_ref().is_some_and(|entity| entity.group == group) {
                *slot = None;
            }
        }
        let entities = &self.entities;
        self.ready
            .retain(|id| entities.get(usize::from(id.0)).is_some_and(Option::is_some));
        self.groups
            .get_mut(usize::from(group.0))
            .and_then(Option::take)
            .map(|group| group.payload)
    }

    /// Who runs next on `cpu`. Charges who ran until now.
    pub fn schedule(&mut self, cpu: PhysCpu, now: Nanos) -> Decision<T> {
        let old = self.running.get_mut(cpu.index()).and_then(Option::take);
        if let Some(id) = old {
            self.charge(id, now);
            self.set_place(
                id,
                if self.may_run(id) {
                    Place::Ready
                } else {
                    Place::Off
                },
                now,
            );
        }
        let next = self.pick(cpu, now);
        let mut decision = Decision {
            next: None,
            until: None,
            kick: None,
        };
        if let Some(id) = next {
            self.set_place(id, Place::Running { cpu, since: now }, now);
            if let Some(slot) = self.running.get_mut(cpu.index()) {
                *slot = Some(id);
            }
            self.idle = self.idle.without(cpu);
            decision.next = self.describe(id);
            decision.until = Some(now.saturating_add(self.run_length(id)));
        } else {
            self.idle = self.idle.with(cpu);
            decision.until = self.next_budget(cpu);
            decision.kick = self.blocker_of_stuck(cpu);
        }
        // Who had to leave may run elsewhere.
        if let Some(id) = old.filter(|&id| next != Some(id) && self.place(id) == Some(Place::Ready))
        {
            decision.kick = self.take_idle_cpu(id);
        }
        decision
    }

    /// `yield`: everyone else who is ready comes first.
    pub fn yield_now(&mut self, id: EntityId, now: Nanos) {
        self.charge(id, now);
        let last = self
            .ready
            .iter()
            .filter_map(|&other| self.entity(other))
            .map(|e| e.virtual_time)
            .max();
        if let (Some(last), Some(entity)) = (last, self.entity_mut(id)) {
            entity.virtual_time = entity.virtual_time.max(last.saturating_add(1));
        }
    }

    /// Changes a domain's share. The CPUs given back have to ask again.
    pub fn set_share(&mut self, group: GroupId, share: Share) -> CpuSet {
        if let Some(g) = self.group_mut(group) {
            g.weight = share.weight;
            g.cap.set(share.cap_percent);
            g.affinity = share.affinity;
        }
        let claimed = self.idle.intersection(share.affinity);
        self.idle = CpuSet::from_bits(self.idle.bits() & !claimed.bits());
        self.cpus_of(group).union(claimed)
    }

    /// A domain's share.
    #[must_use]
    pub fn share(&self, group: GroupId) -> Option<Share> {
        self.group(group).map(|g| Share {
            weight: g.weight,
            cap_percent: g.cap.percent(),
            affinity: g.affinity,
        })
    }

    /// CPUs on which a domain's vCPUs run now.
    #[must_use]
    pub fn cpus_of(&self, group: GroupId) -> CpuSet {
        let mut set = CpuSet::EMPTY;
        for entity in self.entities.iter().flatten().filter(|e| e.group == group) {
            if let Place::Running { cpu, .. } = entity.place {
                set = set.with(cpu);
            }
        }
        set
    }

    /// A vCPU's runstate, counted up to `now`.
    #[must_use]
    pub fn runstate(&self, id: EntityId, now: Nanos) -> Option<RunstateTimes> {
        self.entity(id).map(|e| e.runstate.until(now))
    }

    /// How often a vCPU was woken.
    #[must_use]
    pub fn wakeups(&self, id: EntityId) -> u64 {
        self.entity(id).map_or(0, |e| e.wakeups)
    }

    /// Where a vCPU is.
    #[must_use]
    pub fn place(&self, id: EntityId) -> Option<Place> {
        self.entity(id).map(|e| e.place)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group<T>> {
        self.groups.get(usize::from(id.0)).and_then(Option::as_ref)
    }

    pub(super) fn group_mut(&mut self, id: GroupId) -> Option<&mut Group<T>> {
        self.groups
            .get_mut(usize::from(id.0))
            .and_then(Option::as_mut)
    }

    pub(super) fn entity(&self, id: EntityId) -> Option<&Entity> {
        self.entities
            .get(usize::from(id.0))
            .and_then(Option::as_ref)
    }

    pub(super) fn entity_mut(&mut self, id: EntityId) -> Option<&mut Entity> {
        self.entities
            .get_mut(usize::from(id.0))
            .and_then(Option::as_mut)
    }

    pub(super) fn group_of(&self, id: EntityId) -> Option<&Group<T>> {
        self.entity(id).and_then(|e| self.group(e.group))
    }

    /// All numbers that may be an entity's.
    pub(super) fn entity_ids(&self) -> impl Iterator<Item = EntityId> + use<T> {
        (0..u16::try_from(self.entities.len()).unwrap_or(u16::MAX)).map(EntityId)
    }

    /// Counts what a running vCPU has used up to `now`.
    fn charge(&mut self, id: EntityId, now: Nanos) {
        let Some(Entity {
            group,
            place: Place::Running { since, .. },
            ..
        }) = self.entity(id)
        else {
            return;
        };
        let (group, ran) = (*group, now.saturating_sub(*since));
        let Some(g) = self.group_mut(group) else {
            return;
        };
        g.cap.refresh(now);
        g.cap.charge(ran);
        let used = virtual_time(ran, g.weight, g.active);
        if let Some(entity) = self.entity_mut(id) {
            entity.virtual_time = entity.virtual_time.saturating_add(used);
            if let Place::Running { since, .. } = &mut entity.place {
                *since = now;
            }
        }
    }

    /// The virtual time that a vCPU would have if it were charged now.
    pub(super) fn virtual_time_at(&self, id: EntityId, now: Nanos) -> u64 {
        let (Some(entity), Some(group)) = (self.entity(id), self.group_of(id)) else {
            return 0;
        };
        let ran = match entity.place {
            Place::Running { since, .. } => now.saturating_sub(since),
            Place::Ready | Place::Off => Nanos::new(0),
        };
        entity
            .virtual_time
            .saturating_add(virtual_time(ran, group.weight, group.active))
    }

    /// An idle CPU for a ready vCPU; it counts as busy from now on.
    pub(super) fn take_idle_cpu(&mut self, id: EntityId) -> Option<PhysCpu> {
        let (entity, group) = (self.entity(id)?, self.group_of(id)?);
        let cpu = affinity::prefer(self.idle.intersection(group.affinity), entity.last)?;
        self.idle = self.idle.without(cpu);
        Some(cpu)
    }

    fn describe(&self, id: EntityId) -> Option<(EntityId, T, VcpuId)> {
        let vcpu = self.entity(id)?.vcpu;
        Some((id, self.group_of(id)?.payload.clone(), vcpu))
    }

    fn pick(&mut self, cpu: PhysCpu, now: Nanos) -> Option<EntityId> {
        // Only who waits is asked for its budget, however many sleep.
        let Self {
            ready,
            entities,
            groups,
            ..
        } = self;
        for id in ready.iter() {
            let entity = entities.get(usize::from(id.0)).and_then(Option::as_ref);
            let group = entity.and_then(|entity| groups.get_mut(usize::from(entity.group.0)));
            if let Some(group) = group.and_then(Option::as_mut) {
                group.cap.refresh(now);
            }
        }
        // Who could run on a CPU that idles leaves this one to those that cannot; it is sent there afterwards.
        let others = self.idle.without(cpu);
        self.ready
            .iter()
            .copied()
            .filter_map(|id| Some((id, self.entity(id)?, self.group_of(id)?)))
            .filter(|(_, _, group)| group.affinity.contains(cpu) && group.cap.permits())
            .min_by_key(|(_, entity, group)| {
                let elsewhere = !group.affinity.intersection(others).is_empty();
                (elsewhere, entity.virtual_time, entity.last != cpu)
            })
            .map(|(id, ..)| id)
    }

    /// For an idle CPU: another one, whose vCPU could move here and make room for a ready vCPU that cannot.
    fn blocker_of_stuck(&self, idle: PhysCpu) -> Option<PhysCpu> {
        let groups = self.ready.iter().filter_map(|&id| self.group_of(id));
        let mut stuck = groups.filter(|g| g.cap.permits() && !g.affinity.contains(idle));
        stuck.find_map(|g| {
            g.affinity.iter().find(|cpu| {
                let runs = self.running.get(cpu.index()).copied().flatten();
                runs.and_then(|id| self.group_of(id))
                    .is_some_and(|g| g.affinity.contains(idle))
            })
        })
    }

    /// How long `id` may run before its CPU asks again.
    fn run_length(&self, id: EntityId) -> Nanos {
        let left = self.group_of(id).and_then(|g| {
            let share = u64::from(g.active.max(1));
            g.cap
                .left()
                .map(|left| Nanos::new(left.get().checked_div(share).unwrap_or(0)))
        });
        let slice = if self.sibling_waits(id) {
            self.slice.min(SIBLING_RUN)
        } else {
            self.slice
        };
        left.map_or(slice, |left| left.max(MIN_RUN).min(slice))
    }

    fn sibling_waits(&self, id: EntityId) -> bool {
        let group = |id| self.entity(id).map(|entity| entity.group);
        self.ready.iter().any(|&other| group(other) == group(id))
    }

    /// When a ready vCPU that may use `cpu` gets a new budget.
    fn next_budget(&self, cpu: PhysCpu) -> Option<Nanos> {
        self.ready
            .iter()
            .filter_map(|&id| self.group_of(id))
            .filter(|g| g.affinity.contains(cpu))
            .map(|g| g.cap.period_end())
            .min()
    }
}

/// Puts a value into the first free slot, or behind the last.
fn fill<U>(slots: &mut Vec<Option<U>>, value: U) -> Result<u16, SchedulerFull> {
    let free = slots.iter().position(Option::is_none);
    let index = free.unwrap_or(slots.len());
    let number = u16::try_from(index).map_err(|_| SchedulerFull)?;
    if free.is_none() {
        heap::reserve(slots, 1).map_err(|_| SchedulerFull)?;
        slots.extend([None]);
    }
    if let Some(slot) = slots.get_mut(index) {
        *slot = Some(value);
    }
    Ok(number)
}
