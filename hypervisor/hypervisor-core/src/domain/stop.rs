//! Stopping a domain: by its own wish or by a crash. Its vCPUs run no more, and dom0 is told.

use alloc::sync::Arc;

use super::Domain;
use super::life::{Life, LifeRecord, ShutdownReason};
use crate::effects::Effects;
use crate::event::{self, Virq};
use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, PowerAction};
use crate::sync::Held;

/// The domain shuts down. The first domain takes the machine with it.
pub fn shut_down<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    reason: ShutdownReason,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if let Some(life) = change(domain, held, |life| life.shut_down(reason, None)) {
        say(domain, &life);
        halt(hv, domain, life.state, effects, held);
    }
}

/// Logs why a domain shuts down. A reason that was latched before goes before that of the last call.
pub(super) fn say(domain: &Domain, life: &LifeRecord) {
    if let Life::Shutdown(reason) = life.state {
        log::info!("d{}: shuts down: {reason}", domain.id().get());
    }
}

/// Changes the record; what it is then, if `change` did.
pub(super) fn change<const TOP: u8>(
    domain: &Domain,
    held: &mut Held<'_, TOP>,
    change: impl FnOnce(&mut LifeRecord) -> bool,
) -> Option<LifeRecord> {
    let (mut life, _) = domain.life.lock(held);
    change(&mut life).then_some(*life)
}

/// Takes the vCPUs off their CPUs for good, and tells dom0.
pub(super) fn halt<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    life: Life,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if domain.is_first() {
        hv.machine().power(power_action(life));
    }
    if let Some(group) = domain.group() {
        let now = hv.machine().now();
        let cpus = hv.scheduler.lock(held).0.pause(group, now);
        hv.reschedule_all(cpus, effects);
    }
    tell(hv, effects, held);
}

/// Raises VIRQ_DOM_EXC in dom0: a domain has stopped, crashed or gone.
pub(crate) fn tell<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    event::send_first_domain(hv, Virq::DomExc, effects, held);
}

fn power_action(life: Life) -> PowerAction {
    match life {
        Life::Shutdown(ShutdownReason::REBOOT) => PowerAction::Reboot,
        // Watchdog and soft reset: start again.
        Life::Shutdown(reason) if reason.get() == 4 || reason.get() == 5 => PowerAction::Reboot,
        Life::Shutdown(ShutdownReason::CRASH) | Life::Crashed => PowerAction::FirstDomainCrashed,
        Life::Shutdown(_) | Life::Building | Life::Running | Life::Dying => PowerAction::Off,
    }
}
