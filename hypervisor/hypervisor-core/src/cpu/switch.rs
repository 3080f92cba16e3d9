//! Changing the vCPU that a CPU runs, and idling.
//!
//! The one that leaves is parked before the next is taken: two CPUs that exchange their vCPUs must not wait for each other.

use alloc::boxed::Box;

use super::{Cpu, Current};
use crate::effects::Effects;
use crate::entry::Next;
use crate::hypervisor::Hypervisor;
use crate::ids::Nanos;
use crate::machine::Machine;
use crate::paging::{descriptor, root};
use crate::sync::{Held, Ordering, relax};
use crate::time::{clock, runstate, timer};
use crate::vcpu::VcpuState;
use crate::vcpu::shared::Vcpu;

impl<M: Machine> Cpu<M> {
    /// Asks the scheduler who runs, and switches to them.
    pub(super) fn reschedule(&mut self, hv: &Hypervisor<M>, effects: &mut Effects) {
        let mut held = Held::enter();
        if let Some(record) = hv.cpu(self.id) {
            record.take_reschedule();
        }
        let now = hv.machine().now();
        let decision = hv.scheduler.lock(&mut held).0.schedule(self.id, now);
        self.until = decision.until;
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
            if let Some((_, domain, id)) = decision.next
                && let Some(vcpu) = domain.vcpu(id)
            {
                let mut state = take_parked(vcpu, &mut held);
                let previous = left.as_ref().map(|domain| &domain.memory);
                let (ram, machine) = (hv.ram(), hv.machine());
                let entered = root::enter(ram, &domain.memory, &vcpu.memory, state.mode, previous);
                debug_assert!(entered.is_ok(), "only a vCPU with roots is brought up");
                descriptor::show_window(ram, &vcpu.memory, None);
                machine.switch_in(&mut state);
                vcpu.set_running(Some(self.id));
                clock::refresh(hv, vcpu, now);
                runstate::update_area(hv, &domain, vcpu, &mut held);
                timer::run_periodic(hv, &domain, id, now, effects);
                self.current = Some(Current {
                    domain,
                    vcpu: id,
                    state,
                });
            } else if let Some(domain) = left {
                root::leave(hv.ram(), &domain.memory);
            }
        }
        self.arm(hv);
    }

    /// Sets this CPU's next timer interrupt: the end of the slice, an alarm, or a tick of who runs here.
    pub(super) fn arm(&self, hv: &Hypervisor<M>) {
        let alarm = hv
            .cpu(self.id)
            .and_then(|record| record.timers.lock(&mut Held::enter()).0.next());
        let current = self.current.as_ref();
        let tick = current
            .and_then(|c| c.domain.vcpu(c.vcpu))
            .and_then(timer::next_tick);
        let earliest = [self.until, alarm, tick].into_iter().flatten().min();
        hv.machine().set_deadline(earliest);
    }

    /// Nothing runs here. Time to spare goes into scrubbing freed frames.
    pub(super) fn begin_idle(&mut self, hv: &Hypervisor<M>) -> Next {
        let machine = hv.machine();
        while !machine.preempt_due() && hv.ram().scrub_step() {}
        if let Some(record) = hv.cpu(self.id) {
            record
                .idle_since
                .store(machine.now().get().max(1), Ordering::Release);
        }
        Next::Idle
    }

    /// Something ended the halt.
    pub(super) fn end_idle(&mut self, hv: &Hypervisor<M>) {
        let Some(record) = hv.cpu(self.id) else {
            return;
        };
        let since = record.idle_since.swap(0, Ordering::AcqRel);
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
) -> alloc::sync::Arc<crate::domain::Domain> {
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
