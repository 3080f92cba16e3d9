//! Event channels: a domain's ports, and the interrupts that the hypervisor itself raises.

use alloc::sync::Arc;

use crate::domain::Domain;
use crate::effects::Effects;
use crate::hypervisor::Hypervisor;
use crate::ids::VcpuId;
use crate::machine::{DeviceLine, Machine};
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

/// A domain's ports.
#[derive(Debug, Default)]
pub struct EventTable {}

/// Raises a VIRQ of a vCPU; dropped in silence where no port is bound to it.
pub fn send_virq<M: Machine, const TOP: u8>(
    _hv: &Hypervisor<M>,
    _domain: &Arc<Domain>,
    _vcpu: VcpuId,
    _virq: Virq,
    _effects: &mut Effects,
    _held: &mut Held<'_, TOP>,
) {
}

/// Whether a port exists and is pending, for `SCHEDOP_poll`; `None` if it does not.
pub fn is_pending<M: Machine>(_hv: &Hypervisor<M>, _domain: &Domain, _port: u32) -> Option<bool> {
    None
}

/// A device interrupted: raises the port that is bound to its line.
pub fn device_interrupt<M: Machine>(
    _hv: &Hypervisor<M>,
    _line: DeviceLine,
    _effects: &mut Effects,
) {
}

/// `event_channel_op`.
pub(crate) fn operation<M: Machine>(
    _caller: &mut crate::caller::Caller<'_, M>,
    _arguments: &mut crate::dispatch::Arguments,
) -> crate::outcome::Outcome {
    crate::outcome::Outcome::Refused(hypercall_abi::Errno::ENOSYS)
}
