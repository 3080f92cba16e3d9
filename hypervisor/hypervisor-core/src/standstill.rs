//! Making all other CPUs stand still for a moment: the recount compares what nobody is in the middle of changing.
//!
//! A CPU stands still where it has nothing half done and holds no lock: as it begins to choose anew who runs, as it comes out of idling,
//! and in loops that wait for another CPU without a lock. A CPU that idles need not be woken: it looks as it comes back. The
//! running number tells one standstill from the next, so that a CPU on its way out of one is never taken for being in another.

use crate::hypervisor::Hypervisor;
use crate::ids::{CpuSet, PhysCpu};
use crate::machine::Machine;
use crate::sync::{AtomicU64, Ordering, relax};

/// The number of the standstill that is wanted, odd; even: none is.
#[derive(Debug, Default)]
pub(crate) struct Standstill(AtomicU64);

impl<M: Machine> Hypervisor<M> {
    /// Runs `work` while all other CPUs stand still. The caller holds no lock, and only one CPU at a time may call: who calls holds the
    /// lock of the audit.
    pub(crate) fn stand_still(&self, work: impl FnOnce()) {
        // SeqCst: a CPU that comes out of idling says so before it looks here, and we look for that after this.
        let number = self
            .standstill
            .0
            .fetch_add(1, Ordering::SeqCst)
            .wrapping_add(1);
        let others = self.online().without(self.machine().cpu_id());
        for cpu in others.iter().filter(|&cpu| !self.is_still(cpu, number)) {
            if let Some(record) = self.cpu(cpu) {
                record.ask_reschedule();
            }
            self.machine().kick(cpu);
        }
        let moves = |cpus: CpuSet| cpus.iter().any(|cpu| !self.is_still(cpu, number));
        while moves(others) {
            relax();
        }
        work();
        self.standstill.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Stands still as long as that is wanted. This CPU, `here`, has nothing half done and holds no lock.
    pub(crate) fn stand_still_if_wanted(&self, here: PhysCpu) {
        loop {
            let number = self.standstill.0.load(Ordering::SeqCst);
            if number & 1 == 0 {
                return;
            }
            if let Some(record) = self.cpu(here) {
                record.still.store(number, Ordering::SeqCst);
            }
            while self.standstill.0.load(Ordering::SeqCst) == number {
                relax();
            }
        }
    }

    /// One turn of a loop that waits for another CPU without a lock.
    pub(crate) fn wait_a_turn(&self) {
        self.stand_still_if_wanted(self.machine().cpu_id());
        relax();
    }

    fn is_still(&self, cpu: PhysCpu, number: u64) -> bool {
        self.cpu(cpu).is_none_or(|record| {
            record.idle_since.load(Ordering::SeqCst) != 0
                || record.still.load(Ordering::SeqCst) == number
        })
    }
}
