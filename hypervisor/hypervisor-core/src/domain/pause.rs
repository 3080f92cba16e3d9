//! Pausing a domain from outside, so that it has really stopped.

use super::Domain;
use crate::effects::Effects;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::Held;

impl<M: Machine> Hypervisor<M> {
    /// Pauses a domain once more and waits until none of its vCPUs runs and no CPU has its tables loaded. The caller is not one of
    /// its vCPUs and holds no lock: the other CPUs leave the domain by themselves, and wait for nobody before that.
    pub fn pause_and_wait(&self, domain: &Domain, held: &mut Held<'_, 0>) {
        let Some(group) = domain.group() else { return };
        let (machine, mut effects) = (self.machine(), Effects::new());
        let cpus = self.scheduler.lock(held).0.pause(group, machine.now());
        self.reschedule_all(cpus, &mut effects);
        effects.run(machine, machine.cpu_id());
        while self.is_somewhere(domain, held) {
            self.wait_a_turn();
        }
    }

    /// Takes back one pause. False if the domain was not paused.
    pub fn unpause(&self, domain: &Domain, effects: &mut Effects, held: &mut Held<'_, 0>) -> bool {
        let Some(group) = domain.group() else {
            return false;
        };
        let cpus = self
            .scheduler
            .lock(held)
            .0
            .unpause(group, self.machine().now());
        if let Some(cpus) = cpus {
            self.reschedule_all(cpus, effects);
        }
        cpus.is_some()
    }

    /// Whether a vCPU of a domain runs, or a CPU has its tables loaded.
    ///
    /// The scheduler is asked first. A CPU that it has given a vCPU shows that only when it has put the vCPU on, and is taken
    /// off the scheduler's list before it puts the vCPU off again: whoever asks in the other order may see neither.
    pub(super) fn is_somewhere(&self, domain: &Domain, held: &mut Held<'_, 0>) -> bool {
        let given = domain
            .group()
            .is_some_and(|group| !self.scheduler.lock(held).0.cpus_of(group).is_empty());
        let running = || {
            let mut vcpus = domain.vcpus().iter();
            vcpus.any(|vcpu| vcpu.running_on().is_some())
        };
        let loaded = || {
            let account = domain.memory.account(self.frames());
            account.is_some_and(|account| !account.dirty().is_empty())
        };
        given || running() || loaded()
    }
}
