//! `event_channel_op`: one function per row of the table.
//!
//! Each copies its structure in, once, and on success the whole of it out; a copy out that fails leaves what was done.

use hypercall_abi::event::{
    EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu, EvtchnBindVirq, EvtchnStatus,
};
use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, RawPort};

use super::bind::{self, Last};
use super::error::EventError;
use super::port::{Binding, Port, Record, VirqNumber};
use super::{deliver, queues};
use crate::caller::Caller;
use crate::domain::Domain;
use crate::domain::life::Life;
use crate::ids::VcpuId;
use crate::machine::{DeviceLine, Machine};
use crate::operations::operations;
use crate::outcome::Outcome;

hypercall_abi::for_each_event_operation!(operations);

/// The port that every domain has and nobody gets.
const RESERVED: RawPort = RawPort(0);

/// Ports that a reset closes between two looks at whether it should stop.
const RESET_STEP: usize = 64;

fn bind_interdomain<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnBindInterdomain>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let remote = caller.resolve(request.remote_dom)?;
    let bound = bind::bind_interdomain(
        caller.machine(),
        caller.domain,
        &remote,
        request.remote_port.0,
        &mut caller.held,
    );
    let port = bound?;
    // What the other end sent before is lost: the new end looks at once.
    let record = caller.domain.events.record(port);
    raise(caller, caller.domain, port, record.vcpu);
    request.local_port = raw(port);
    caller.copy_out(argument.0, &request)
}

fn bind_virq<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnBindVirq>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let virq = VirqNumber::new(request.virq).filter(|virq| virq.is_per_vcpu() || request.vcpu == 0);
    let virq = virq.ok_or(EventError::BadVirq)?;
    let vcpu = vcpu(caller, request.vcpu)?;
    let (machine, domain) = (caller.machine(), caller.domain);
    let bound = bind::bind_virq(machine, domain, virq, vcpu, &mut caller.held);
    request.port = raw(bound?);
    caller.copy_out(argument.0, &request)
}

fn bind_pirq<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnBindPirq>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let line = u8::try_from(request.pirq)
        .map(DeviceLine)
        .map_err(|_| Errno::EINVAL)?;
    let bound = bind::bind_line(caller.hv, caller.domain, line, &mut caller.held);
    request.port = raw(bound?);
    caller.machine().mask_line(line, false);
    caller.copy_out(argument.0, &request)
}

fn close<M: Machine>(caller: &mut Caller<'_, M>, argument: In<EvtchnClose>) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    let port = port(caller, request.port)?;
    let record = caller.domain.events.record(port);
    if let Binding::Line(line) = record.binding {
        caller.machine().mask_line(line, true);
    }
    Ok(bind::close(
        caller.hv,
        caller.domain,
        port,
        &mut caller.held,
    )?)
}

fn raise<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain, port: Port, vcpu: VcpuId) {
    let (effects, held) = (&mut caller.effects, &mut caller.held);
    deliver::raise(caller.hv, domain, port, vcpu, effects, held);
}

/// Raises `peer` of `remote`, the other end of the caller's `port`.
#[inline(always)]
fn tell_peer<M: Machine>(caller: &mut Caller<'_, M>, remote: &Domain, peer: Port, port: Port) {
    // Between the two looks the other end may have been closed: then there is nobody to tell.
    let Some(vcpu) = remote.events.end_of(peer, caller.domain.id(), port) else {
        return;
    };
    let (effects, held) = (&mut caller.effects, &mut caller.held);
    deliver::raise_at_once(caller.hv, remote, peer, vcpu, effects, held);
}

fn send<M: Machine>(caller: &mut Caller<'_, M>, argument: In<EvtchnSend>) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    let port = port(caller, request.port)?;
    if let Some(peer) = caller.domain.events.peer_in(port, caller.domain.id()) {
        tell_peer(caller, caller.domain, peer, port);
        return Ok(());
    }
    let record = caller.domain.events.record(port);
    match record.binding {
        Binding::Interdomain(remote, peer) => {
            let Some(remote) = caller.hv.domains.get(remote, &mut caller.held) else {
                return Ok(());
            };
            tell_peer(caller, &remote, peer, port);
            Ok(())
        }
        Binding::Ipi => {
            raise(caller, caller.domain, port, record.vcpu);
            Ok(())
        }
        Binding::Unbound(_) => Ok(()),
        Binding::Free | Binding::Line(_) | Binding::Virq(_) => Err(EventError::WrongKind.into()),
    }
}

fn status<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnStatus>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let domain = caller.resolve(request.dom)?;
    let record = match request.port {
        // It exists, though it is never anybody's.
        RESERVED => Record::free(),
        RawPort(number) => {
            let port = domain.events.port(number);
            domain.events.record(port.ok_or(EventError::BadPort)?)
        }
    };
    if domain.id() != caller.domain.id() {
        caller.control_right()?;
    }
    let (status, detail, remote) = record.status();
    request.status = status;
    request.vcpu = record.vcpu.get().into();
    request.detail = detail;
    request.remote_port = RawPort(remote);
    caller.copy_out(argument.0, &request)
}

fn alloc_unbound<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnAllocUnbound>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let domain = caller.resolve(request.dom)?;
    let own = RawDomId(caller.domain.id().get());
    let remote = if request.remote_dom == RawDomId::SELF {
        own
    } else {
        request.remote_dom
    };
    let right = if domain.id() == caller.domain.id() {
        Ok(())
    } else {
        caller.control_right().map(drop)
    };
    let made = bind::alloc_unbound(
        caller.machine(),
        &domain,
        remote,
        || right.map_err(|_| EventError::Denied),
        &mut caller.held,
    );
    request.port = raw(made?);
    caller.copy_out(argument.0, &request)
}

fn bind_ipi<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnBindIpi>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let vcpu = vcpu(caller, request.vcpu)?;
    let bound = bind::bind_ipi(caller.machine(), caller.domain, vcpu, &mut caller.held);
    request.port = raw(bound?);
    caller.copy_out(argument.0, &request)
}

fn bind_vcpu<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<EvtchnBindVcpu>,
) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    let vcpu = vcpu(caller, request.vcpu)?;
    let (domain, port) = (caller.domain, request.port.0);
    Ok(bind::bind_vcpu(domain, port, vcpu, &mut caller.held)?)
}

fn unmask<M: Machine>(caller: &mut Caller<'_, M>, argument: In<EvtchnUnmask>) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    if request.port == RESERVED {
        return Ok(());
    }
    let port = port(caller, request.port)?;
    deliver::unmask(
        caller.hv,
        caller.domain,
        port,
        &mut caller.effects,
        &mut caller.held,
    );
    Ok(())
}

fn reset<M: Machine>(caller: &mut Caller<'_, M>, argument: In<EvtchnReset>) -> Outcome {
    match reset_domain(caller, argument) {
        Ok(true) => Outcome::OK,
        Ok(false) => Outcome::Again,
        Err(error) => Outcome::Refused(error),
    }
}

/// True when no port is left.
fn reset_domain<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<EvtchnReset>,
) -> Result<bool, Errno> {
    let request = caller.copy_in(argument.0)?;
    let domain = caller.resolve(request.dom)?;
    if domain.id() != caller.domain.id() {
        caller.control_right()?;
        let (life, _) = domain.life.lock(&mut caller.held);
        if life.state != Life::Building {
            return Err(EventError::NotBuilding.into());
        }
    }
    while !bind::close_some(caller.hv, &domain, RESET_STEP, Last::No, &mut caller.held) {
        if caller.machine().preempt_due() {
            return Ok(false);
        }
    }
    queues::reset(caller.hv, &domain, &mut caller.held)?;
    Ok(true)
}

fn init_control<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: InOut<EvtchnInitControl>,
) -> Result<(), Errno> {
    let mut request = caller.copy_in(argument.0)?;
    let vcpu = vcpu(caller, request.vcpu)?;
    queues::init_control(caller, vcpu, &mut request)?;
    caller.copy_out(argument.0, &request)
}

fn expand_array<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<EvtchnExpandArray>,
) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    Ok(queues::expand_array(caller, &request)?)
}

fn set_priority<M: Machine>(
    caller: &mut Caller<'_, M>,
    argument: In<EvtchnSetPriority>,
) -> Result<(), Errno> {
    let request = caller.copy_in(argument.0)?;
    let port = match request.port {
        RESERVED if caller.domain.events.is_queued() => return Err(EventError::FreePort.into()),
        RESERVED => return Err(EventError::NoPriorities.into()),
        port => self::port(caller, port)?,
    };
    Ok(queues::set_priority(caller, port, &request)?)
}

fn port<M: Machine>(caller: &Caller<'_, M>, port: RawPort) -> Result<Port, EventError> {
    let port = caller.domain.events.port(port.0);
    port.ok_or(EventError::BadPort)
}

fn vcpu<M: Machine>(caller: &Caller<'_, M>, number: u32) -> Result<VcpuId, EventError> {
    let vcpu = caller.domain.vcpu_named(number);
    Ok(vcpu.ok_or(EventError::NoVcpu)?.id())
}

fn raw(port: Port) -> RawPort {
    RawPort(port.get().into())
}
