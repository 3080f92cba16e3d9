//! Virtual interrupts that the hypervisor raises.

use alloc::sync::Arc;

use hypercall_abi::event::{VIRQ_CON_RING, VIRQ_CONSOLE, VIRQ_DOM_EXC, VIRQ_TIMER};

use super::deliver;
use super::port::{Binding, VirqNumber};
use crate::domain::{DomId, Domain};
use crate::effects::Effects;
use crate::hypervisor::Hypervisor;
use crate::ids::VcpuId;
use crate::machine::Machine;
use crate::sync::Held;

/// Interrupts that the hypervisor raises, by their ABI number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the VIRQ of its ABI name")]
pub enum Virq {
    Timer,
    Console,
    DomExc,
    ConRing,
}

impl Virq {
    fn number(self) -> Option<VirqNumber> {
        VirqNumber::new(match self {
            Self::Timer => VIRQ_TIMER,
            Self::Console => VIRQ_CONSOLE,
            Self::DomExc => VIRQ_DOM_EXC,
            Self::ConRing => VIRQ_CON_RING,
        })
    }
}

/// Raises a VIRQ of a vCPU; dropped in silence where no port is bound to it.
pub fn send_virq<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: VcpuId,
    virq: Virq,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    let Some(number) = virq.number() else { return };
    let Some(port) = domain.events.virq_port(vcpu, number) else {
        return;
    };
    let record = domain.events.record(port);
    if record.binding == Binding::Virq(number) {
        deliver::raise(hv, domain, port, record.vcpu, effects, held);
    }
}

/// Raises a VIRQ that is the first domain's; dropped where it has no port for it.
pub fn send_first_domain<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    virq: Virq,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if let Some(first) = hv.domains.get(DomId::FIRST, held) {
        send_virq(hv, &first, VcpuId::FIRST, virq, effects, held);
    }
}
