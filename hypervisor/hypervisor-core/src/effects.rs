//! What must happen at the end of an entry, once, with no lock held: flushes, kicks, a new choice of who runs.

use crate::ids::{CpuSet, PhysCpu};
use crate::machine::{Flush, Machine};

/// Effects gathered while a call ran. Flushes are merged: two different ones become one of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    flush: Option<(CpuSet, Flush)>,
    kick: CpuSet,
    reschedule: bool,
    rearm: bool,
}

impl Effects {
    /// None.
    pub const fn new() -> Self {
        Self {
            flush: None,
            kick: CpuSet::EMPTY,
            reschedule: false,
            rearm: false,
        }
    }

    /// Flushes `what` on `cpus`.
    pub fn flush(&mut self, cpus: CpuSet, what: Flush) {
        if cpus.is_empty() {
            return;
        }
        self.flush = Some(match self.flush {
            None => (cpus, what),
            Some((before, same)) if same == what => (before.union(cpus), what),
            Some((before, _)) => (before.union(cpus), Flush::All),
        });
    }

    /// Makes `cpu` pass its exit path.
    pub fn kick(&mut self, cpu: PhysCpu) {
        self.kick = self.kick.with(cpu);
    }

    /// This CPU chooses anew who runs.
    pub fn reschedule(&mut self) {
        self.reschedule = true;
    }

    /// This CPU's next deadline may have changed.
    pub fn rearm(&mut self) {
        self.rearm = true;
    }

    /// Whether this CPU chooses anew.
    #[must_use]
    pub const fn wants_reschedule(&self) -> bool {
        self.reschedule
    }

    /// Whether the deadline has to be set again.
    #[must_use]
    pub const fn wants_rearm(&self) -> bool {
        self.rearm
    }

    /// Does what is for other CPUs, and the flushes. `here` is this CPU, which needs no kick.
    pub fn run<M: Machine>(&mut self, machine: &M, here: PhysCpu) {
        if let Some((cpus, what)) = self.flush.take() {
            machine.flush(cpus, what);
        }
        let kick = core::mem::take(&mut self.kick).without(here);
        for cpu in kick.iter() {
            machine.kick(cpu);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_of_one_page_merge_and_different_ones_become_all() {
        let [a, b] = [0b01, 0b10].map(CpuSet::from_bits);
        let mut effects = Effects::new();
        effects.flush(CpuSet::EMPTY, Flush::All);
        assert_eq!(effects, Effects::new());
        effects.flush(a, Flush::Page(0x1000));
        effects.flush(b, Flush::Page(0x1000));
        assert_eq!(effects.flush, Some((a.union(b), Flush::Page(0x1000))));
        effects.flush(a, Flush::Page(0x2000));
        assert_eq!(effects.flush, Some((a.union(b), Flush::All)));
    }
}
