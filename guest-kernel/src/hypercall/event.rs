//! `event_channel_op`: ports.

use hypercall_abi::event::{
    EVTCHNOP_ALLOC_UNBOUND, EVTCHNOP_BIND_INTERDOMAIN, EVTCHNOP_BIND_IPI, EVTCHNOP_BIND_PIRQ,
    EVTCHNOP_BIND_VCPU, EVTCHNOP_BIND_VIRQ, EVTCHNOP_CLOSE, EVTCHNOP_EXPAND_ARRAY,
    EVTCHNOP_INIT_CONTROL, EVTCHNOP_RESET, EVTCHNOP_SEND, EVTCHNOP_SET_PRIORITY, EVTCHNOP_STATUS,
    EVTCHNOP_UNMASK, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq,
    EvtchnBindVcpu, EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset,
    EvtchnSend, EvtchnSetPriority, EvtchnStatus, EvtchnUnmask,
};
use hypercall_abi::number::EVENT_CHANNEL_OP;
use hypercall_abi::{RawDomId, RawMfn, RawPort};
use zerocopy::{FromBytes, IntoBytes};

use super::{Errno, operation};

/// Issues one operation and gives its structure back, with its outputs.
fn event_op<T: FromBytes + IntoBytes>(command: u32, mut argument: T) -> Result<T, Errno> {
    // SAFETY: port operations read and write their structure only; no memory of Rust hangs on a port.
    unsafe { operation(EVENT_CHANNEL_OP, command, &mut argument) }?;
    Ok(argument)
}

/// A port of `domain` to which `remote` may bind.
///
/// # Errors
/// `ESRCH`, `ENOSPC`, or `EPERM` for another domain without the right.
pub fn alloc_unbound(domain: RawDomId, remote: RawDomId) -> Result<RawPort, Errno> {
    let argument = EvtchnAllocUnbound {
        dom: domain,
        remote_dom: remote,
        ..EvtchnAllocUnbound::default()
    };
    event_op(EVTCHNOP_ALLOC_UNBOUND, argument).map(|done| done.port)
}

/// A port bound to `remote`'s port `remote_port`; it is pending at once.
///
/// # Errors
/// `ESRCH`, `ENOSPC`, or `EINVAL` for a port that does not wait for this domain.
pub fn bind_interdomain(remote: RawDomId, remote_port: RawPort) -> Result<RawPort, Errno> {
    let argument = EvtchnBindInterdomain {
        remote_dom: remote,
        remote_port,
        ..EvtchnBindInterdomain::default()
    };
    event_op(EVTCHNOP_BIND_INTERDOMAIN, argument).map(|done| done.local_port)
}

/// A port for a virtual interrupt of a vCPU (global ones: vCPU 0).
///
/// # Errors
/// `EEXIST` if it has one already, `ENOENT` for a vCPU that does not exist, `EINVAL`, `ENOSPC`.
pub fn bind_virq(virq: u32, vcpu: u32) -> Result<RawPort, Errno> {
    event_op(
        EVTCHNOP_BIND_VIRQ,
        EvtchnBindVirq {
            virq,
            vcpu,
            port: RawPort(0),
        },
    )
    .map(|done| done.port)
}

/// A port for a physical interrupt that the domain was given.
///
/// # Errors
/// `EPERM` for one that it was not, `EEXIST`, `EINVAL`, `ENOSPC`.
pub fn bind_pirq(pirq: u32) -> Result<RawPort, Errno> {
    event_op(
        EVTCHNOP_BIND_PIRQ,
        EvtchnBindPirq {
            pirq,
            flags: 0,
            port: RawPort(0),
        },
    )
    .map(|done| done.port)
}

/// A port by which vCPUs of this domain interrupt one of them.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist, `ENOSPC`.
pub fn bind_ipi(vcpu: u32) -> Result<RawPort, Errno> {
    event_op(
        EVTCHNOP_BIND_IPI,
        EvtchnBindIpi {
            vcpu,
            port: RawPort(0),
        },
    )
    .map(|done| done.port)
}

/// Sends a port's events to another vCPU from now on.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist, `EINVAL` for a port that is tied to its vCPU.
pub fn bind_vcpu(port: RawPort, vcpu: u32) -> Result<(), Errno> {
    event_op(EVTCHNOP_BIND_VCPU, EvtchnBindVcpu { port, vcpu }).map(|_| ())
}

/// Frees a port.
///
/// # Errors
/// `EINVAL` for a port that is not in use.
pub fn close(port: RawPort) -> Result<(), Errno> {
    event_op(EVTCHNOP_CLOSE, EvtchnClose { port }).map(|_| ())
}

/// Notifies the other end of a port.
///
/// # Errors
/// `EINVAL` for a port that has none.
pub fn send(port: RawPort) -> Result<(), Errno> {
    event_op(EVTCHNOP_SEND, EvtchnSend { port }).map(|_| ())
}

/// Opens a port for upcalls; one that is pending is delivered.
///
/// # Errors
/// `EINVAL` for a number that can be no port.
pub fn unmask(port: RawPort) -> Result<(), Errno> {
    event_op(EVTCHNOP_UNMASK, EvtchnUnmask { port }).map(|_| ())
}

/// Gives a vCPU its control block of FIFO events, at `offset` of a frame; the first one changes the domain to them.
///
/// # Errors
/// `ENOENT` for a vCPU that does not exist, `EINVAL` for a place that cannot take a block, or for its second one.
pub fn init_control(vcpu: u32, frame: u64, offset: u32) -> Result<(), Errno> {
    let argument = EvtchnInitControl {
        control_gfn: RawMfn(frame),
        offset,
        vcpu,
        ..EvtchnInitControl::default()
    };
    event_op(EVTCHNOP_INIT_CONTROL, argument).map(|_| ())
}

/// Adds a frame of event words.
///
/// # Errors
/// `EOPNOTSUPP` without FIFO events, `ENOSPC` when there are enough, `EINVAL` for a frame that cannot hold any.
pub fn expand_array(frame: u64) -> Result<(), Errno> {
    let argument = EvtchnExpandArray {
        array_gfn: RawMfn(frame),
    };
    event_op(EVTCHNOP_EXPAND_ARRAY, argument).map(|_| ())
}

/// Chooses the queue of a port's later events: 0 first, 15 last.
///
/// # Errors
/// `ENOSYS` without FIFO events, `EACCES` for a free port, `EINVAL`.
pub fn set_priority(port: RawPort, priority: u32) -> Result<(), Errno> {
    event_op(EVTCHNOP_SET_PRIORITY, EvtchnSetPriority { port, priority }).map(|_| ())
}

/// Closes all ports of this domain and goes back to bitmaps.
///
/// # Errors
/// `EAGAIN` if another vCPU bound a port meanwhile.
pub fn reset() -> Result<(), Errno> {
    let argument = EvtchnReset {
        dom: RawDomId::SELF,
    };
    event_op(EVTCHNOP_RESET, argument).map(|_| ())
}

/// What a port of this domain is bound to.
///
/// # Errors
/// `EINVAL` for a number that can be no port.
pub fn status(port: RawPort) -> Result<EvtchnStatus, Errno> {
    event_op(
        EVTCHNOP_STATUS,
        EvtchnStatus {
            dom: RawDomId::SELF,
            port,
            ..EvtchnStatus::default()
        },
    )
}
