//! Which CPU may still hold a translation: a clock of full flushes, and what each CPU has reached (pv-abi 4.7, T8).
//!
//! The clock ticks *before* each full flush; a CPU that has flushed remembers that tick. A frame is stamped with the
//! clock's value when its last type reference or its last reference goes, that is after the entries that mapped it are
//! gone. So a CPU whose tick is greater than the stamp has begun a flush after the frame's last mapping was gone, and
//! cannot hold a translation of it. The counter has 64 bits and does not wrap.
//!
//! A CPU that has flushed with a root loaded that maps no guest memory caches nothing until it loads another root: it counts
//! as having reached everything, and is not woken for the sake of a flush.
//!
//! `SeqCst` throughout: a stamp must not be read older than the entry changes that precede it, nor a tick newer than the
//! flush that follows it, and no other word orders the two.

use crate::ids::{CpuSet, Mfn, PhysCpu};
use crate::machine::{Flush, Machine, RootFlush};
use crate::sync::{AtomicU64, Ordering};

use super::table::Ram;

/// The clock and the CPUs' ticks.
#[derive(Debug)]
pub struct FlushClock {
    now: AtomicU64,
    reached: [AtomicU64; PhysCpu::LIMIT],
}

/// What a CPU without a guest's root has reached.
const EVERYTHING: u64 = u64::MAX;

/// A point on the flush clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

/// A frame's stamp.
#[derive(Debug, Default)]
pub(super) struct StampWord(AtomicU64);

impl StampWord {
    /// Moves the stamp to the clock's present value.
    pub(super) fn set_now(&self, clock: &FlushClock) {
        self.0
            .store(clock.now.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(super) fn load(&self) -> Stamp {
        Stamp(self.0.load(Ordering::SeqCst))
    }

    /// Of the first frame of a free block, which needs no stamp: how many of the block's frames are scrubbed. Under the pool's
    /// lock.
    pub(super) fn set_scrubbed(&self, frames: u64) {
        self.0.store(frames, Ordering::Relaxed);
    }

    /// What was set; it is a stamp again, older than all.
    pub(super) fn take_scrubbed(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Stamp {
    /// Whether the stamp is older than a time that [`FlushClock::begin`] gave.
    pub(super) const fn is_before(self, time: u64) -> bool {
        self.0 < time
    }
}

impl FlushClock {
    /// A time that is later than all stamps there are, and not later than any that is set from now on. Never 0.
    pub(super) fn begin(&self) -> u64 {
        self.tick()
    }

    pub(super) fn new() -> Self {
        Self {
            now: AtomicU64::new(1),
            reached: [const { AtomicU64::new(EVERYTHING) }; PhysCpu::LIMIT],
        }
    }

    /// Those of `cpus` that may still hold a translation that was gone from memory at `stamp`.
    #[must_use]
    pub fn stale(&self, cpus: CpuSet, stamp: Stamp) -> CpuSet {
        let fresh = |cpu: &PhysCpu| {
            self.reached
                .get(cpu.index())
                .is_some_and(|tick| tick.load(Ordering::SeqCst) > stamp.0)
        };
        cpus.iter().filter(fresh).fold(cpus, CpuSet::without)
    }

    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst).wrapping_add(1)
    }

    /// This CPU is about to load a guest's root. If it had none, what it reaches begins anew.
    fn leave_idle(&self, cpu: PhysCpu, tick: u64) {
        if let Some(reached) = self.reached.get(cpu.index())
            && reached.load(Ordering::SeqCst) == EVERYTHING
        {
            reached.store(tick, Ordering::SeqCst);
        }
    }

    fn reach(&self, cpu: PhysCpu, tick: u64) {
        if let Some(reached) = self.reached.get(cpu.index()) {
            reached.fetch_max(tick, Ordering::SeqCst);
        }
    }
}

impl<M: Machine> Ram<'_, M> {
    /// Flushes everything on `cpus`.
    pub fn flush_all(self, cpus: CpuSet) {
        if cpus.is_empty() {
            return;
        }
        let clock = self.frames.clock();
        let tick = clock.tick();
        self.machine.flush(cpus, Flush::All);
        cpus.iter().for_each(|cpu| clock.reach(cpu, tick));
    }

    /// Flushes those of `cpus` that have not flushed since `stamp`.
    pub fn flush_stale(self, cpus: CpuSet, stamp: Stamp) {
        self.flush_all(self.frames.clock().stale(cpus, stamp));
    }

    /// Flushes one address on `cpus`. Only canonical addresses reach the CPU (T9).
    pub fn flush_page(self, cpus: CpuSet, address: u64) {
        if !cpus.is_empty() {
            self.machine.flush(cpus, Flush::Page(address));
        }
    }

    /// Loads a root on this CPU.
    pub fn load_root(self, root: Mfn, flush: RootFlush) {
        let (clock, cpu) = (self.frames.clock(), self.machine.cpu_id());
        match flush {
            RootFlush::NonGlobal => self.machine.load_root(root, flush),
            RootFlush::All => {
                let tick = clock.tick();
                clock.leave_idle(cpu, tick);
                self.machine.load_root(root, flush);
                clock.reach(cpu, tick);
            }
        }
    }

    /// Loads the root without guest mappings on this CPU.
    pub fn load_idle_root(self) {
        self.machine.load_idle_root();
        self.frames.clock().reach(self.machine.cpu_id(), EVERYTHING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_that_began_after_the_stamp_counts() {
        let clock = FlushClock::new();
        let [a, b] = [0, 1].map(|n| PhysCpu::new(n).unwrap());
        let both = CpuSet::only(a).with(b);
        let early = clock.tick();
        [a, b]
            .into_iter()
            .for_each(|cpu| clock.leave_idle(cpu, early));
        let word = StampWord::default();
        word.set_now(&clock);
        clock.reach(a, early);
        assert_eq!(clock.stale(both, word.load()), both);
        let late = clock.tick();
        clock.reach(b, late);
        assert_eq!(clock.stale(both, word.load()), CpuSet::only(a));
    }

    #[test]
    fn a_cpu_without_a_guest_is_never_stale() {
        let clock = FlushClock::new();
        let cpu = PhysCpu::new(3).unwrap();
        let word = StampWord::default();
        word.set_now(&clock);
        assert_eq!(clock.stale(CpuSet::only(cpu), word.load()), CpuSet::EMPTY);
        let tick = clock.tick();
        clock.leave_idle(cpu, tick);
        word.set_now(&clock);
        assert_eq!(
            clock.stale(CpuSet::only(cpu), word.load()),
            CpuSet::only(cpu)
        );
        clock.reach(cpu, EVERYTHING);
        assert_eq!(clock.stale(CpuSet::only(cpu), word.load()), CpuSet::EMPTY);
    }
}
