//! Timers: each CPU keeps the alarms that were set on it, in the order of their deadlines.
//!
//! An alarm belongs to a vCPU and fires on the CPU where it was set, whether or not the vCPU runs. Setting it anew on another
//! CPU takes it out of the first one's list. The lists have room for all alarms there are: creating vCPUs reserves it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::caller::Caller;
use crate::domain::life::ShutdownReason;
use crate::domain::{Domain, stop};
use crate::effects::Effects;
use crate::event::{self, Virq};
use crate::heap::{self, NoMemory};
use crate::hypervisor::Hypervisor;
use crate::ids::{Nanos, PhysCpu, VcpuId};
use crate::machine::Machine;
use crate::sync::{AtomicU8, Held, Ordering};
use crate::vcpu::shared::{Polling, Vcpu};

/// Which alarm of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The one-shot timer: raises VIRQ_TIMER.
    OneShot,
    /// The deadline of a poll: wakes.
    Poll,
    /// The domain's first watchdog, which vCPU 0 keeps: shuts the domain down.
    FirstWatchdog,
    /// Its second one.
    SecondWatchdog,
}

/// Alarms that a vCPU may have set.
pub const KINDS: usize = 4;

impl AlarmKind {
    /// Index into [`crate::vcpu::shared::Vcpu::alarms`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::OneShot => 0,
            Self::Poll => 1,
            Self::FirstWatchdog => 2,
            Self::SecondWatchdog => 3,
        }
    }
}

/// The CPU whose list an alarm is in, if it is in one.
#[derive(Debug)]
pub struct Alarm(AtomicU8);

impl Default for Alarm {
    fn default() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }
}

impl Alarm {
    /// The CPU.
    #[must_use]
    pub fn home(&self) -> Option<PhysCpu> {
        PhysCpu::new(self.0.load(Ordering::Acquire))
    }

    /// Notes the CPU.
    pub fn set_home(&self, cpu: Option<PhysCpu>) {
        self.0
            .store(cpu.map_or(u8::MAX, PhysCpu::get), Ordering::Release);
    }
}

/// Whose alarm.
#[derive(Clone, Debug)]
pub struct AlarmOf {
    domain: Weak<Domain>,
    serial: u64,
    vcpu: VcpuId,
    kind: AlarmKind,
}

/// What tells alarms apart: the domain's serial number, the vCPU, which of its alarms.
type Key = (u64, VcpuId, AlarmKind);

impl AlarmOf {
    /// An alarm of a vCPU.
    #[must_use]
    pub fn new(domain: &Arc<Domain>, vcpu: VcpuId, kind: AlarmKind) -> Self {
        Self {
            domain: Arc::downgrade(domain),
            serial: domain.serial(),
            vcpu,
            kind,
        }
    }

    /// The domain, if it still exists.
    #[must_use]
    pub fn domain(&self) -> Option<Arc<Domain>> {
        self.domain.upgrade()
    }

    /// The vCPU.
    #[must_use]
    pub const fn vcpu(&self) -> VcpuId {
        self.vcpu
    }

    /// Which alarm.
    #[must_use]
    pub const fn kind(&self) -> AlarmKind {
        self.kind
    }

    fn is(&self, (serial, vcpu, kind): Key) -> bool {
        self.serial == serial && self.vcpu == vcpu && self.kind == kind
    }
}

/// A CPU's alarms; the earliest is last.
#[derive(Debug)]
pub struct TimerQueue<A = AlarmOf> {
    alarms: Vec<(Nanos, A)>,
}

impl<A> TimerQueue<A> {
    /// No alarm.
    #[must_use]
    pub const fn new() -> Self {
        Self { alarms: Vec::new() }
    }

    /// Makes room for `count` alarms in all.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), NoMemory> {
        let more = count.saturating_sub(self.alarms.len());
        heap::reserve(&mut self.alarms, more)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        self.alarms.last().map(|&(at, _)| at)
    }

    /// Takes the earliest alarm that is due.
    pub fn take_due(&mut self, now: Nanos) -> Option<A> {
        self.next().filter(|&at| at <= now)?;
        self.alarms.pop().map(|(_, alarm)| alarm)
    }

    /// Adds an alarm. False where there is no room, which reservation excludes.
    pub fn insert(&mut self, at: Nanos, alarm: A) -> bool {
        if self.alarms.len() == self.alarms.capacity() {
            return false;
        }
        let index = self.alarms.partition_point(|&(other, _)| other > at);
        self.alarms.insert(index, (at, alarm));
        true
    }

    /// Gives the alarm that `matches` picks, if it is here, another deadline, as if it were removed and inserted again.
    pub fn change(&mut self, matches: impl Fn(&A) -> bool, at: Nanos) -> bool {
        let mut alarms = self.alarms.iter_mut().enumerate();
        let Some((mut index, (deadline, _))) = alarms.find(|(_, (_, alarm))| matches(alarm)) else {
            return false;
        };
        *deadline = at;
        let is_later = |alarms: &[(Nanos, A)], index: usize| {
            alarms.get(index).is_some_and(|&(other, _)| other > at)
        };
        while index > 0 && !is_later(&self.alarms, index.saturating_sub(1)) {
            self.alarms.swap(index, index.saturating_sub(1));
            index = index.saturating_sub(1);
        }
        while is_later(&self.alarms, index.saturating_add(1)) {
            self.alarms.swap(index, index.saturating_add(1));
            index = index.saturating_add(1);
        }
        true
    }

    /// Removes the alarms that `matches` picks.
    pub fn remove(&mut self, mut matches: impl FnMut(&A) -> bool) {
        self.alarms.retain(|(_, alarm)| !matches(alarm));
    }
}

impl TimerQueue {
    /// Removes one vCPU's alarm.
    fn cancel(&mut self, key: Key) {
        self.remove(|other| other.is(key));
    }

    /// Removes all alarms of a domain.
    pub fn cancel_all_of(&mut self, domain: &Domain) {
        self.remove(|other| other.serial == domain.serial());
    }
}

impl<A> Default for TimerQueue<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Sets an alarm of the calling vCPU, in this CPU's list; the one set before is gone.
pub(crate) fn arm<M: Machine>(caller: &mut Caller<'_, M>, kind: AlarmKind, at: Nanos) {
    let (vcpu, held) = (caller.vcpu, &mut caller.held);
    set(caller.hv, caller.cpu, caller.domain, vcpu, kind, at, held);
    caller.effects.rearm();
}

/// Sets an alarm of a vCPU of the domain that runs on `cpu`, which has to set its deadline again.
pub(crate) fn set<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    cpu: PhysCpu,
    domain: &Arc<Domain>,
    vcpu: &Vcpu,
    kind: AlarmKind,
    at: Nanos,
    held: &mut Held<'_, TOP>,
) {
    let Some(record) = hv.cpu(cpu) else {
        return;
    };
    let key = (domain.serial(), vcpu.id(), kind);
    let home = vcpu.alarms.get(kind.index()).and_then(Alarm::home);
    if home == Some(cpu) && record.timers.lock(held).0.change(|alarm| alarm.is(key), at) {
        return;
    }
    take_back(hv, domain, vcpu, kind, held);
    let alarm = AlarmOf::new(domain, vcpu.id(), kind);
    let set = record.timers.lock(held).0.insert(at, alarm);
    debug_assert!(set, "creating the vCPU reserved room for its alarms");
    if let Some(alarm) = vcpu.alarms.get(kind.index()) {
        alarm.set_home(set.then_some(cpu));
    }
}

/// Takes back an alarm of the calling vCPU.
pub(crate) fn cancel<M: Machine>(caller: &mut Caller<'_, M>, kind: AlarmKind) {
    let (vcpu, held) = (caller.vcpu, &mut caller.held);
    take_back(caller.hv, caller.domain, vcpu, kind, held);
}

/// Takes back an alarm of a vCPU.
pub(crate) fn take_back<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: &Vcpu,
    kind: AlarmKind,
    held: &mut Held<'_, TOP>,
) {
    let Some(home) = vcpu.alarms.get(kind.index()).and_then(Alarm::home) else {
        return;
    };
    if let Some(record) = hv.cpu(home) {
        let key = (domain.serial(), vcpu.id(), kind);
        record.timers.lock(held).0.cancel(key);
    }
}

/// Fires the alarms of this CPU that are due.
pub(crate) fn run_due<M: Machine>(
    hv: &Hypervisor<M>,
    cpu: PhysCpu,
    now: Nanos,
    effects: &mut Effects,
) {
    let Some(record) = hv.cpu(cpu) else { return };
    let mut held = Held::enter();
    loop {
        let due = record.timers.lock(&mut held).0.take_due(now);
        let Some(alarm) = due else { return };
        let Some(domain) = alarm.domain() else {
            continue;
        };
        let Some(vcpu) = domain.vcpu(alarm.vcpu()) else {
            continue;
        };
        match alarm.kind() {
            AlarmKind::OneShot => {
                event::send_virq(hv, &domain, alarm.vcpu(), Virq::Timer, effects, &mut held);
            }
            AlarmKind::Poll => {
                if vcpu.polling() != Polling::No {
                    hv.wake(vcpu, effects, &mut held);
                }
            }
            AlarmKind::FirstWatchdog | AlarmKind::SecondWatchdog => {
                let reason = ShutdownReason::WATCHDOG;
                stop::shut_down(hv, &domain, reason, effects, &mut held);
            }
        }
    }
}

/// Fires the periodic timer of the vCPU that runs here, if it is due. Ticks that were missed are not made up for.
pub(crate) fn run_periodic<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: VcpuId,
    now: Nanos,
    effects: &mut Effects,
) {
    let Some(target) = domain.vcpu(vcpu) else {
        return;
    };
    if next_tick(target).is_some_and(|at| at <= now) {
        target.last_tick.store(now.get(), Ordering::Relaxed);
        event::send_virq(hv, domain, vcpu, Virq::Timer, effects, &mut Held::enter());
    }
}

/// When a vCPU's periodic timer is due, if it is on.
pub(crate) fn next_tick(vcpu: &Vcpu) -> Option<Nanos> {
    let period = vcpu.period.load(Ordering::Relaxed);
    let last = Nanos::new(vcpu.last_tick.load(Ordering::Relaxed));
    (period != 0).then(|| last.saturating_add(Nanos::new(period)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_the_order_of_their_deadlines() {
        let mut queue = TimerQueue::new();
        queue.reserve(8).unwrap();
        for (at, name) in [(30, 'c'), (10, 'a'), (20, 'b')] {
            assert!(queue.insert(Nanos::new(at), name));
        }
        assert_eq!(queue.next(), Some(Nanos::new(10)));
        assert_eq!(queue.take_due(Nanos::new(9)), None);
        assert_eq!(queue.take_due(Nanos::new(25)), Some('a'));
        assert_eq!(queue.take_due(Nanos::new(25)), Some('b'));
        assert_eq!(queue.take_due(Nanos::new(25)), None);
        queue.remove(|&name| name == 'c');
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn an_alarm_changed_is_where_one_removed_and_inserted_is() {
        for (name, at) in (0..4).flat_map(|name| (0..10).map(move |at| (name, Nanos::new(at)))) {
            let queues: [TimerQueue<i32>; 2] = core::array::from_fn(|_| {
                let mut queue = TimerQueue::new();
                queue.reserve(4).unwrap();
                for (at, name) in [(2, 0), (4, 1), (4, 2), (8, 3)] {
                    assert!(queue.insert(Nanos::new(at), name));
                }
                queue
            });
            let [mut changed, mut inserted] = queues;
            assert!(changed.change(|&other| other == name, at));
            inserted.remove(|&other| other == name);
            assert!(inserted.insert(at, name));
            assert_eq!(changed.alarms, inserted.alarms);
            assert!(!changed.change(|_| false, at));
        }
    }

    #[test]
    fn an_alarm_without_room_is_refused() {
        let mut queue = TimerQueue::new();
        assert!(!queue.insert(Nanos::new(1), ()));
    }
}
