//! Changing the vCPU that a CPU runs, and idling.
//!
//! The one that leaves is parked before the next is taken: two CPUs that exchange their vCPUs must not wait for each other.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Cpu, Current};
use crate::domain::life::ShutdownReason;
use crate::domain::{Domain, stop};
use crate::effects::Effects;
use crate::entry::Next;
use crate::hypervisor::Hypervisor;
use crate::ids::{Nanos, PhysCpu, VcpuId};
use crate::machine::Machine;
use crate::paging::{descriptor, root};
use crate::sync::{Held, Ordering, relax};
use crate::time::{clock, runstate, timer};
use crate::vcpu::VcpuState;
use crate::vcpu::shared::Vcpu;

/// Sets the deadline of this CPU, on which `vcpu` runs: the earliest of what the scheduler wants, of the alarms, and of the
/// vCPU's tick.
pub(super) fn arm<M: Machine>(hv: &Hypervisor<M>, cpu: PhysCpu, vcpu: Option<&Vcpu>) {
    let Some(record) = hv.cpu(cpu) else { return };
    let alarm = record.timers.lock(&mut Held::enter()).0.next();
    let tick = vcpu.and_then(timer::next_tick);
    let earliest = [record.until(), alarm, tick].into_iter().flatten().min();
    hv.machine().set_deadline(earliest);
}

impl<M: Machine> Cpu<M> {
    /// Asks the scheduler who runs, and switches to them.
    pub(super) fn reschedule(&mut self, hv: &Hypervisor<M>, effects: &mut Effects) {
        let mut held = Held::enter();
        if let Some(record) = hv.cpu(self.id) {
            record.take_reschedule();
        }
        hv.stand_still_if_wanted(self.id);
        let now = hv.machine().now();
        let decision = hv.scheduler.lock(&mut held).0.schedule(self.id, now);
        if let Some(record) = hv.cpu(self.id) {
            record.set_until(decision.until);
        }
        if let Some(cpu) = decision.kick {
            hv.reschedule(cpu, effects);
        }
        let goes_on = match (&self.current, &decision.next) {
            (Some(current), Some((_, domain, vcpu))) => {
                current.domain.serial() == domain.serial() && current.vcpu == *vcpu
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !goes_on {
            let left = self
                .current
                .take()
                .map(|current| switch_out(hv, current, &mut held));
            let entered = decision.next.is_some_and(|(_, domain, id)| {
                self.switch_in(hv, domain, id, left.as_deref(), effects, &mut held)
            });
            if let Some(domain) = left.filter(|_| !entered) {
                root::leave(hv.ram(), &domain.memory);
            }
        }
        self.arm(hv);
    }

    /// Brings a vCPU onto this CPU. False if it cannot run: its domain is stopped then.
    fn switch_in(
        &mut self,
        hv: &Hypervisor<M>,
        domain: Arc<Domain>,
        id: VcpuId,
        left: Option<&Domain>,
        effects: &mut Effects,
        held: &mut Held<'_, 0>,
    ) -> bool {
        let Some(vcpu) = domain.vcpu(id) else {
            return false;
        };
        let (ram, machine, now) = (hv.ram(), hv.machine(), hv.machine().now());
        let mut state = take_parked(vcpu, held);
        let previous = left.map(|domain| &domain.memory);
        if root::enter(ram, &domain.memory, &vcpu.memory, state.mode, previous).is_err() {
            // Only a vCPU with roots is brought up; were it not so, it must not run on another's.
            *vcpu.parked.lock(held).0 = Some(state);
            log::error!(
                "d{}v{}: has no page tables to run on",
                domain.id().get(),
                id.get()
            );
            stop::shut_down(hv, &domain, ShutdownReason::CRASH, effects, held);
            return false;
        }
        descriptor::show_window(ram, &vcpu.memory);
        if domain.serial() != self.last {
            machine.separate_domains();
            self.last = domain.serial();
        }
        machine.switch_in(&mut state);
        vcpu.set_running(Some(self.id));
        let clock_written = clock::refresh(hv, vcpu, now);
        state.area_due = !runstate::update_area(hv, &domain, vcpu, held) || !clock_written;
        timer::run_periodic(hv, &domain, id, now, effects);
        self.current = Some(Current {
            domain,
            vcpu: id,
            state,
        });
        true
    }

    /// Sets this CPU's deadline.
    pub(super) fn arm(&self, hv: &Hypervisor<M>) {
        let current = self.current.as_ref();
        arm(hv, self.id, current.and_then(|c| c.domain.vcpu(c.vcpu)));
    }

    /// Nothing runs here.
    pub(super) fn begin_idle(&mut self, hv: &Hypervisor<M>) -> Next {
        let machine = hv.machine();
        if let Some(record) = hv.cpu(self.id) {
            record
                .idle_since
                .store(machine.now().get().max(1), Ordering::SeqCst);
        }
        Next::Idle
    }

    /// A step of what a CPU that runs nothing does between interrupts: scrubbing freed frames, and some from boot before they
    /// are asked for. False if it may halt.
    #[must_use]
    pub fn spare_step(&mut self, hv: &Hypervisor<M>) -> bool {
        hv.ram().scrub_step() || hv.ram().clean_step()
    }

    /// Something ended the halt.
    pub(super) fn end_idle(&mut self, hv: &Hypervisor<M>) {
        let Some(record) = hv.cpu(self.id) else {
            return;
        };
        let since = record.idle_since.swap(0, Ordering::SeqCst);
        hv.stand_still_if_wanted(self.id);
        if since != 0 {
            let idle = hv.machine().now().saturating_sub(Nanos::new(since));
            record.idle.fetch_add(idle.get(), Ordering::AcqRel);
            record.wakeups.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes a vCPU out of this CPU's registers and parks it. Gives its domain.
fn switch_out<M: Machine>(
    hv: &Hypervisor<M>,
    current: Current,
    held: &mut Held<'_, 0>,
) -> Arc<Domain> {
    let Current {
        domain,
        vcpu: id,
        mut state,
    } = current;
    if let Some(vcpu) = domain.vcpu(id) {
        runstate::update_area(hv, &domain, vcpu, held);
        hv.machine().switch_out(&mut state);
        vcpu.set_running(None);
        *vcpu.parked.lock(held).0 = Some(state);
    }
    domain
}

/// Waits until the CPU that ran a vCPU last has parked it: it is on its way, and waits for nobody before that.
fn take_parked(vcpu: &Vcpu, held: &mut Held<'_, 0>) -> Box<VcpuState> {
    loop {
        let parked = vcpu.parked.lock(held).0.take();
        if let Some(state) = parked {
            return state;
        }
        relax();
    }
}
