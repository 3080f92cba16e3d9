//! What must happen at the end of an entry, once, with no lock held: kicks of other CPUs, a new choice of who runs here.
//!
//! Flushes are not among them: paging owes them before it gives a frame back, so it carries them out itself.

use crate::ids::{CpuSet, PhysCpu};
use crate::machine::Machine;

/// Effects gathered while a call ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    kick: CpuSet,
    wanted: u8,
}

/// Other CPUs are to be kicked.
const KICK: u8 = 1 << 0;
/// This CPU chooses anew who runs.
const RESCHEDULE: u8 = 1 << 1;
/// This CPU's deadline may have changed.
const REARM: u8 = 1 << 2;
/// The exit loop has to be passed.
const LOOP: u8 = 1 << 3;

impl Effects {
    /// None.
    pub const fn new() -> Self {
        Self {
            kick: CpuSet::EMPTY,
            wanted: 0,
        }
    }

    /// Makes `cpu` pass its exit path.
    pub fn kick(&mut self, cpu: PhysCpu) {
        self.kick = self.kick.with(cpu);
        self.wanted |= KICK;
    }

    /// This CPU chooses anew who runs.
    pub fn reschedule(&mut self) {
        self.wanted |= RESCHEDULE;
    }

    /// This CPU's next deadline may have changed.
    pub fn rearm(&mut self) {
        self.wanted |= REARM;
    }

    /// The vCPU that runs here may have an NMI, for which only the exit loop looks.
    pub fn pass_loop(&mut self) {
        self.wanted |= LOOP;
    }

    /// Whether this CPU chooses anew.
    #[must_use]
    pub const fn wants_reschedule(&self) -> bool {
        self.wanted & RESCHEDULE != 0
    }

    /// Whether the deadline has to be set again.
    #[must_use]
    pub const fn wants_rearm(&self) -> bool {
        self.wanted & REARM != 0
    }

    /// Whether the deadline is all that there is to see to.
    #[must_use]
    pub const fn only_rearm(&self) -> bool {
        self.wanted == REARM
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.wanted == 0
    }

    /// Does what is for other CPUs. `here` is this CPU, which needs no kick.
    pub fn run<M: Machine>(&mut self, machine: &M, here: PhysCpu) {
        let kick = core::mem::take(&mut self.kick).without(here);
        for cpu in kick.iter() {
            machine.kick(cpu);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMachine;

    #[test]
    fn each_cpu_is_kicked_once_and_this_one_never() {
        let machine = FakeMachine::new(&[], 3);
        let [here, other] = [0, 2].map(|n| PhysCpu::new(n).unwrap());
        let mut effects = Effects::new();
        for cpu in [here, other, other] {
            effects.kick(cpu);
        }
        effects.run(&machine, here);
        assert_eq!(machine.take_kicked(), CpuSet::only(other));
        effects.run(&machine, here);
        assert_eq!(machine.take_kicked(), CpuSet::EMPTY);
    }
}
