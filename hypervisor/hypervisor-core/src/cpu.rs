//! A CPU: what brings it into the hypervisor, and the loop through which it leaves (pv-abi 5.7).
//!
//! [`Cpu::enter`] is the only way in. It handles the entry on behalf of the vCPU that runs here, then passes the exit loop:
//! effects, a new choice of who runs, a failed segment load, NMI, event; anything delivered starts the loop again. Locks and
//! allocations have no place on the way of a plain hypercall.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::marker::PhantomData;

use hypercall_abi::version::GUEST_ABI_VERSION;

use crate::domain::Domain;
use crate::domain::crash::{self, CrashReason};
use crate::effects::Effects;
use crate::entry::{Entry, ExitPath, Interrupt, Next};
use crate::event::{self, Virq};
use crate::hypervisor::{CpuRecord, Hypervisor};
use crate::ids::{PhysCpu, VcpuId};
use crate::machine::{DeviceLine, Machine};
use crate::sync::{Held, Ordering};
use crate::vcpu::{Mode, VcpuState, deliver, trap};
use crate::{caller::Caller, dispatch, time};

mod switch;

/// Questions of other CPUs that one exit answers.
const MOST_ANSWERS: u8 = 8;

/// Pages of a CPU's descriptor window: 16 for the GDT, 16 for the LDT.
pub(crate) const WINDOW_PAGES: usize = 32;

/// The vCPU that runs on a CPU.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) domain: Arc<Domain>,
    pub(crate) vcpu: VcpuId,
    pub(crate) state: Box<VcpuState>,
}

/// A CPU's own state; nobody else touches it.
#[derive(Debug)]
pub struct Cpu<M: Machine> {
    pub(crate) id: PhysCpu,
    pub(crate) current: Option<Current>,
    /// Serial number of the domain that ran here last.
    last: u64,
    machine: PhantomData<fn() -> M>,
}

impl<M: Machine> Cpu<M> {
    /// A CPU that runs nothing. Its first entry should be [`Interrupt::Kick`].
    #[must_use]
    pub const fn new(id: PhysCpu) -> Self {
        Self {
            id,
            current: None,
            last: 0,
            machine: PhantomData,
        }
    }

    /// This CPU.
    #[must_use]
    pub const fn id(&self) -> PhysCpu {
        self.id
    }

    /// The state of the vCPU that runs here.
    pub fn current_state(&mut self) -> Option<&mut VcpuState> {
        self.current.as_mut().map(|current| &mut *current.state)
    }

    /// Handles an entry and says what the CPU does next.
    pub fn enter(&mut self, hv: &Hypervisor<M>, entry: Entry) -> Next {
        match entry {
            Entry::Syscall => return self.syscall(hv),
            Entry::Exception { vector, error, cr2 } => {
                return self.exception(hv, vector, error, cr2);
            }
            Entry::Syscall32 | Entry::Sysenter | Entry::ExitFault { .. } | Entry::Interrupt(_) => {}
        }
        let mut effects = Effects::new();
        if self.current.is_none() {
            self.end_idle(hv);
        }
        if let Entry::Interrupt(interrupt) = entry {
            if let Some(caller) = self.caller(hv, effects) {
                caller.state.exit = ExitPath::Iret;
            }
            self.interrupt(hv, interrupt, &mut effects);
        } else if let Some(mut caller) = self.caller(hv, effects) {
            match guest_entry(&mut caller, entry) {
                Ok(()) => {
                    if let Some(path) = leave_at_once(&mut caller) {
                        return Next::Guest(path);
                    }
                }
                Err(reason) => crash::crash(&mut caller, reason),
            }
            effects = caller.effects;
        }
        self.leave(hv, effects)
    }

    /// [`Self::enter`] with [`Entry::Syscall`], the entry that all hypercalls and system calls of guests come by.
    #[inline(always)]
    pub fn syscall(&mut self, hv: &Hypervisor<M>) -> Next {
        let mut effects = Effects::new();
        if let Some(mut caller) = self.caller(hv, Effects::new()) {
            match dispatch::syscall(&mut caller) {
                Ok(()) => {
                    if let Some(path) = leave_at_once(&mut caller) {
                        return Next::Guest(path);
                    }
                }
                Err(reason) => crash::crash(&mut caller, reason),
            }
            effects = caller.effects;
        }
        self.leave(hv, effects)
    }

    /// [`Self::enter`] with [`Entry::Exception`].
    #[inline(always)]
    pub fn exception(&mut self, hv: &Hypervisor<M>, vector: u8, error: u32, cr2: u64) -> Next {
        let mut effects = Effects::new();
        if let Some(mut caller) = self.caller(hv, Effects::new()) {
            caller.state.exit = ExitPath::Iret;
            caller.vcpu.counts.add_exception(vector);
            match trap::exception(&mut caller, vector, error, cr2) {
                Ok(()) => {
                    if let Some(path) = leave_at_once(&mut caller) {
                        return Next::Guest(path);
                    }
                }
                Err(reason) => crash::crash(&mut caller, reason),
            }
            effects = caller.effects;
        }
        self.leave(hv, effects)
    }

    /// The answer to `xen_version`'s question for the version, which guest kernels ask to have their events delivered.
    /// `None` where it has to be asked by [`Self::syscall`]: it is no hypercall, or there is something to deliver.
    #[inline]
    pub fn version(&mut self, hv: &Hypervisor<M>) -> Option<u64> {
        let caller = self.caller(hv, Effects::new())?;
        let short = caller.state.mode == Mode::Kernel
            && !hv.has_log_news()
            && !caller.vcpu.upcall_due(hv.machine());
        short.then(|| {
            caller
                .vcpu
                .counts
                .add_call(hypercall_abi::number::XEN_VERSION.into());
            GUEST_ABI_VERSION.into()
        })
    }

    /// The vCPU that runs here, as a caller.
    pub(crate) fn caller<'a>(
        &'a mut self,
        hv: &'a Hypervisor<M>,
        effects: Effects,
    ) -> Option<Caller<'a, M>> {
        let current = self.current.as_mut()?;
        Some(Caller {
            hv,
            domain: &current.domain,
            vcpu: current.domain.vcpu(current.vcpu)?,
            state: &mut current.state,
            cpu: self.id,
            effects,
            held: Held::enter(),
            in_multicall: false,
        })
    }

    fn interrupt(&mut self, hv: &Hypervisor<M>, interrupt: Interrupt, effects: &mut Effects) {
        if let Some(record) = hv.cpu(self.id) {
            record.interrupts.fetch_add(1, Ordering::Relaxed);
        }
        match interrupt {
            Interrupt::Timer => {
                let now = hv.machine().now();
                time::timer::run_due(hv, self.id, now, effects);
                if let Some(Current { domain, vcpu, .. }) = &self.current {
                    time::timer::run_periodic(hv, domain, *vcpu, now, effects);
                }
                let until = hv.cpu(self.id).and_then(CpuRecord::until);
                if until.is_some_and(|until| until <= now) {
                    effects.reschedule();
                }
                effects.rearm();
            }
            Interrupt::Device(line) => event::device_interrupt(hv, DeviceLine(line), effects),
            // A kick asks for no more than to pass the loop.
            Interrupt::Kick | Interrupt::Spurious => {}
        }
    }

    /// The exit loop.
    ///
    /// What other CPUs ask of this one is answered [`MOST_ANSWERS`] times at most: who asks kicks too, and that interrupt
    /// brings the CPU back here with the question still open. So a guest cannot hold it here by asking.
    #[inline(never)]
    fn leave(&mut self, hv: &Hypervisor<M>, mut effects: Effects) -> Next {
        let mut answers = 0;
        loop {
            if hv.take_log_news() {
                event::send_first_domain(hv, Virq::ConRing, &mut effects, &mut Held::enter());
            }
            effects.run(hv.machine(), self.id);
            let asked = answers < MOST_ANSWERS
                && hv
                    .cpu(self.id)
                    .is_some_and(|record| record.reschedule_asked());
            answers = answers.saturating_add(u8::from(asked));
            if asked || effects.wants_reschedule() {
                // A guest may ask for this again and again from its other vCPUs: nobody who waits for a flush shall wait for that.
                hv.machine().relax();
                effects = Effects::new();
                self.reschedule(hv, &mut effects);
                continue;
            }
            if effects.wants_rearm() {
                self.arm(hv);
            }
            let Some(mut caller) = self.caller(hv, Effects::new()) else {
                return self.begin_idle(hv);
            };
            match deliver_pending(&mut caller) {
                Ok(false) => return Next::Guest(caller.state.exit),
                Ok(true) => {}
                Err(reason) => crash::crash(&mut caller, reason),
            }
            effects = caller.effects;
        }
    }
}

/// What the guest itself brought the CPU in for.
fn guest_entry<M: Machine>(caller: &mut Caller<'_, M>, entry: Entry) -> Result<(), CrashReason> {
    match entry {
        // These have ways of their own.
        Entry::Interrupt(_) | Entry::Syscall | Entry::Exception { .. } => Ok(()),
        Entry::Syscall32 => deliver::syscall32(caller),
        Entry::Sysenter => deliver::sysenter(caller),
        Entry::ExitFault { vector, error, cr2 } => {
            caller.state.exit = ExitPath::Iret;
            trap::exit_fault(caller, vector, error, cr2)
        }
    }
}

/// Delivers the first thing that is pending. False if nothing is to be looked for after it.
///
/// An event is the last: it masks others, and where another vCPU of the guest opens the mask again at once, that must not
/// hold this CPU.
fn deliver_pending<M: Machine>(caller: &mut Caller<'_, M>) -> Result<bool, CrashReason> {
    if caller.state.segments.load_failed {
        deliver::failsafe(caller)?;
        return Ok(true);
    }
    if caller.vcpu.nmi_pending() && !caller.state.nmi_masked && deliver::nmi(caller)? {
        return Ok(true);
    }
    if caller.vcpu.upcall_due(caller.machine()) {
        deliver::event(caller)?;
    }
    Ok(false)
}

/// What one turn of the exit loop comes to where there is nothing to do for anyone but the vCPU that runs here, and no more
/// for it than to deliver an event: the way out. `None`: the loop itself has to see to it.
///
/// What is rare is not looked for, because it does not come unseen. What another CPU wants of this one, or of the vCPU that
/// runs here, comes with a kick, an interrupt that leads through the loop. What the call itself has brought about (an NMI of
/// the vCPU to itself, or one that it may have again) stands in its effects. Segments are loaded in the loop only.
#[inline(always)]
fn leave_at_once<M: Machine>(caller: &mut Caller<'_, M>) -> Option<ExitPath> {
    if !caller.effects.is_none() {
        if !caller.effects.only_rearm() {
            return None;
        }
        switch::arm(caller.hv, caller.cpu, Some(caller.vcpu));
        caller.effects = Effects::new();
    }
    if caller.hv.has_log_news() {
        return None;
    }
    if caller.vcpu.upcall_due(caller.machine())
        && let Err(reason) = deliver::event(caller)
    {
        crash::crash(caller, reason);
        return None;
    }
    Some(caller.state.exit)
}

#[cfg(test)]
mod tests;
