//! Making ports and closing them: what changes records, under the lock of one domain's ports or of two.

use hypercall_abi::RawDomId;

use super::error::EventError;
use super::port::{Binding, Port, Record, VirqNumber};
use super::table::{EventTable, Ports};
use super::two_level;
use crate::domain::{DomId, Domain};
use crate::hypervisor::Hypervisor;
use crate::ids::VcpuId;
use crate::machine::{DeviceLine, Machine};
use crate::sync::Held;

/// Makes a port of `domain` that waits for `remote`. `allowed` is asked once a port is found, as Xen does.
pub(super) fn alloc_unbound<M: Machine>(
    machine: &M,
    domain: &Domain,
    remote: RawDomId,
    allowed: impl FnOnce() -> Result<(), EventError>,
    held: &mut Held<'_, 0>,
) -> Result<Port, EventError> {
    let (mut ports, mut held) = domain.events.lock(held);
    let port = ports.free_port(machine, &mut held)?;
    allowed()?;
    ports.set(
        port,
        Record {
            binding: Binding::Unbound(remote),
            vcpu: VcpuId::FIRST,
        },
    );
    Ok(port)
}

/// Connects a new port of `local` with `number`, a port of `remote` that waits for it.
pub(super) fn bind_interdomain<M: Machine>(
    machine: &M,
    local: &Domain,
    remote: &Domain,
    number: u32,
    held: &mut Held<'_, 0>,
) -> Result<Port, EventError> {
    let waits = |record: Record| record.binding == Binding::Unbound(RawDomId(local.id().get()));
    let end = |domain: DomId, port: Port, vcpu: VcpuId| Record {
        binding: Binding::Interdomain(domain, port),
        vcpu,
    };
    if local.serial() == remote.serial() {
        let (mut ports, mut held) = local.events.lock(held);
        let port = ports.free_port(machine, &mut held)?;
        let peer = local.events.port(number).ok_or(EventError::BadPort)?;
        let record = ports.record(peer);
        if !waits(record) {
            return Err(EventError::NotWaiting);
        }
        ports.set(port, end(local.id(), peer, VcpuId::FIRST));
        ports.set(peer, end(local.id(), port, record.vcpu));
        return Ok(port);
    }
    let locked = EventTable::lock_pair(
        (&local.events, local.serial()),
        (&remote.events, remote.serial()),
        held,
    );
    let (mut ours, mut theirs, mut held) = locked.ok_or(EventError::NoDomain)?;
    let port = ours.free_port(machine, &mut held)?;
    let peer = remote.events.port(number).ok_or(EventError::BadPort)?;
    let record = theirs.record(peer);
    if !waits(record) {
        return Err(EventError::NotWaiting);
    }
    ours.set(port, end(remote.id(), peer, VcpuId::FIRST));
    theirs.set(peer, end(local.id(), port, record.vcpu));
    Ok(port)
}

/// Makes a port for a virtual interrupt.
pub(super) fn bind_virq<M: Machine>(
    machine: &M,
    domain: &Domain,
    virq: VirqNumber,
    vcpu: VcpuId,
    held: &mut Held<'_, 0>,
) -> Result<Port, EventError> {
    let (mut ports, mut held) = domain.events.lock(held);
    if domain.events.virq_port(vcpu, virq).is_some() {
        return Err(EventError::AlreadyBound);
    }
    let port = ports.free_port(machine, &mut held)?;
    ports.set(
        port,
        Record {
            binding: Binding::Virq(virq),
            vcpu,
        },
    );
    ports.set_virq(vcpu, virq, Some(port));
    Ok(port)
}

/// Makes a port by which a domain's vCPUs notify one of them.
pub(super) fn bind_ipi<M: Machine>(
    machine: &M,
    domain: &Domain,
    vcpu: VcpuId,
    held: &mut Held<'_, 0>,
) -> Result<Port, EventError> {
    let (mut ports, mut held) = domain.events.lock(held);
    let port = ports.free_port(machine, &mut held)?;
    ports.set(
        port,
        Record {
            binding: Binding::Ipi,
            vcpu,
        },
    );
    Ok(port)
}

/// Makes a port for a device's interrupt.
pub(super) fn bind_line<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    line: DeviceLine,
    held: &mut Held<'_, 0>,
) -> Result<Port, EventError> {
    let lines = hv.lines();
    let (mut ports, mut held) = domain.events.lock(held);
    if !domain.is_first() || !lines.is_claimed(line) {
        return Err(EventError::NotItsLine);
    }
    if lines.port(line).is_some() {
        return Err(EventError::AlreadyBound);
    }
    let port = ports.free_port(hv.machine(), &mut held)?;
    ports.set(
        port,
        Record {
            binding: Binding::Line(line),
            vcpu: VcpuId::FIRST,
        },
    );
    lines.bind(line, Some(port));
    Ok(port)
}

/// Makes later events of a port notify another vCPU.
pub(super) fn bind_vcpu(
    domain: &Domain,
    number: u32,
    vcpu: VcpuId,
    held: &mut Held<'_, 0>,
) -> Result<(), EventError> {
    let (mut ports, _) = domain.events.lock(held);
    let port = domain.events.port(number).ok_or(EventError::BadPort)?;
    let binding = ports.record(port).binding;
    match binding {
        Binding::Unbound(_) | Binding::Interdomain(..) | Binding::Line(_) => {}
        Binding::Virq(virq) if !virq.is_per_vcpu() => {}
        Binding::Free | Binding::Virq(_) | Binding::Ipi => return Err(EventError::WrongKind),
    }
    ports.set(port, Record { binding, vcpu });
    Ok(())
}

/// Closes a port. The other end, if there is one, waits for this domain again; it is told nothing.
pub(super) fn close<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    held: &mut Held<'_, 0>,
) -> Result<(), EventError> {
    loop {
        let record = domain.events.record(port);
        let closed = match record.binding {
            Binding::Free => return Err(EventError::BadPort),
            Binding::Interdomain(remote, peer) if remote != domain.id() => {
                match hv.domains.get(remote, held) {
                    Some(remote) => close_both(hv, domain, port, record, &remote, peer, held),
                    None => close_one(hv, domain, port, record, held),
                }
            }
            Binding::Interdomain(..)
            | Binding::Unbound(_)
            | Binding::Line(_)
            | Binding::Virq(_)
            | Binding::Ipi => close_one(hv, domain, port, record, held),
        };
        // Somebody was faster and the record is another one now: look again.
        if closed {
            return Ok(());
        }
    }
}

fn close_both<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    record: Record,
    remote: &Domain,
    peer: Port,
    held: &mut Held<'_, 0>,
) -> bool {
    let locked = EventTable::lock_pair(
        (&domain.events, domain.serial()),
        (&remote.events, remote.serial()),
        held,
    );
    let Some((mut ours, mut theirs, mut held)) = locked else {
        return false;
    };
    if ours.record(port) != record {
        return false;
    }
    wait_again(&mut theirs, peer, domain.id());
    free(hv, domain, &mut ours, port, &mut held);
    true
}

fn close_one<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    record: Record,
    held: &mut Held<'_, 0>,
) -> bool {
    let (mut ports, mut held) = domain.events.lock(held);
    if ports.record(port) != record {
        return false;
    }
    match record.binding {
        Binding::Interdomain(remote, peer) if remote == domain.id() && peer != port => {
            wait_again(&mut ports, peer, remote)
        }
        Binding::Virq(virq) => ports.set_virq(record.vcpu_of_virq(virq), virq, None),
        Binding::Line(line) => hv.lines().bind(line, None),
        Binding::Free | Binding::Interdomain(..) | Binding::Unbound(_) | Binding::Ipi => {}
    }
    free(hv, domain, &mut ports, port, &mut held);
    true
}

/// The port's other end is gone: it accepts the same domain again.
fn wait_again(ports: &mut Ports<'_>, port: Port, remote: DomId) {
    let vcpu = ports.record(port).vcpu;
    ports.set(
        port,
        Record {
            binding: Binding::Unbound(RawDomId(remote.get())),
            vcpu,
        },
    );
}

fn free<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ports: &mut Ports<'_>,
    port: Port,
    held: &mut Held<'_, TOP>,
) {
    // Before the record, so that who finds the port free finds it quiet.
    let events = &domain.events;
    let queued = events.with_queues(held, |fifo| fifo.free(hv.machine(), port));
    if queued.is_none() {
        two_level::clear_pending(hv.machine(), domain.shared_info(), port);
    }
    ports.set(port, Record::free());
}

impl Record {
    /// The vCPU in whose list a virtual interrupt is. A global one may have been moved, but is in vCPU 0's.
    fn vcpu_of_virq(self, virq: VirqNumber) -> VcpuId {
        if virq.is_per_vcpu() {
            self.vcpu
        } else {
            VcpuId::FIRST
        }
    }
}

/// Closes up to `limit` ports of a domain; true if none is left. For a domain that is being taken apart no port is given out
/// afterwards.
pub fn close_some<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    limit: usize,
    last: Last,
    held: &mut Held<'_, 0>,
) -> bool {
    if last == Last::Yes {
        domain.events.lock(held).0.close();
    }
    let mut left = limit;
    for (port, _) in domain.events.used() {
        if left == 0 {
            return false;
        }
        left = left.saturating_sub(1);
        // A port that another end's closing has changed meanwhile is closed as it is now; one closed by another vCPU is done.
        if close(hv, domain, port, held).is_err() {
            continue;
        }
    }
    true
}

/// Whether a domain will have no ports any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is being taken apart.
    Yes,
    /// It starts afresh.
    No,
}
