//! Changing a domain to FIFO events and back: its control blocks, its array of words, its priorities.
//!
//! The first control block makes the queues and moves what is pending over; a reset takes them away. Who sends meanwhile looks
//! at the form again after it has set a two-level bit: either it sees the change, or the change sees the bit.

use hypercall_abi::event::{
    EVTCHN_FIFO_LINK_BITS, EvtchnExpandArray, EvtchnFifoControlBlock, EvtchnInitControl,
    EvtchnSetPriority,
};

use super::deliver;
use super::error::EventError;
use super::fifo::Fifo;
use super::port::{Binding, Port};
use super::two_level;
use crate::caller::Caller;
use crate::domain::Domain;
use crate::frame::{Ram, WritableRef};
use crate::hypervisor::Hypervisor;
use crate::ids::{Mfn, VcpuId};
use crate::machine::Machine;
use crate::sync::Held;

/// The last offset in a page at which a control block ends inside it.
const LAST_OFFSET: usize = 4096 - size_of::<EvtchnFifoControlBlock>();

/// `EVTCHNOP_init_control`, for a vCPU that exists: its control block. The domain's first one changes it to FIFO events.
pub(super) fn init_control<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: VcpuId,
    request: &mut EvtchnInitControl,
) -> Result<(), EventError> {
    let offset = usize::try_from(request.offset).map_err(|_| EventError::BadOffset)?;
    if offset > LAST_OFFSET || !offset.is_multiple_of(size_of::<u64>()) {
        return Err(EventError::BadOffset);
    }
    let (hv, domain) = (caller.hv, caller.domain);
    let events = &domain.events;
    let frame = writable(hv.ram(), domain, request.control_gfn.0)?;
    // Bindings stay as they are meanwhile.
    let (_ports, mut held) = events.lock(&mut caller.held);
    let mut queues = events.lock_queues(&mut held);
    if queues.as_deref().is_some_and(|fifo| fifo.has_control(vcpu)) {
        return Err(EventError::HasControl);
    }
    let (ports, vcpus) = events.size();
    let fifo = match &mut *queues {
        Some(fifo) => fifo,
        none => none.insert(Fifo::new(ports, vcpus).map_err(|_| EventError::NoMemory)?),
    };
    fifo.set_control(vcpu, frame.record(), offset);
    if !events.is_queued() {
        events.set_queued(true);
        move_pending(hv, domain, fifo);
    }
    request.link_bits = EVTCHN_FIFO_LINK_BITS.to_le_bytes()[0];
    Ok(())
}

/// What is pending in the bitmaps has no word yet: it is raised when the array gets one.
fn move_pending<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, fifo: &mut Fifo) {
    for (port, _) in domain.events.used() {
        if two_level::is_pending(hv.machine(), domain.shared_info(), port) {
            fifo.remember(port);
        }
    }
}

/// `EVTCHNOP_expand_array`: one more page of words. What was remembered of its ports is raised.
pub(super) fn expand_array<M: Machine>(
    caller: &mut Caller<'_, M>,
    request: &EvtchnExpandArray,
) -> Result<(), EventError> {
    let (hv, domain) = (caller.hv, caller.domain);
    let room = domain.events.with_queues(&mut caller.held, |fifo| {
        fifo.has_room().then_some(()).ok_or(EventError::FullArray)
    });
    room.ok_or(EventError::NoQueues)??;
    let frame = writable(hv.ram(), domain, request.array_gfn.0)?;
    let (_ports, mut held) = domain.events.lock(&mut caller.held);
    let added = domain.events.with_queues(&mut held, |fifo| {
        // Another vCPU may have been faster.
        if !fifo.has_room() {
            return Err(EventError::FullArray);
        }
        Ok(fifo.add_page(frame.record()))
    });
    for port in added.ok_or(EventError::NoQueues)??.filter_map(Port::new) {
        let remembered = domain
            .events
            .with_queues(&mut held, |fifo| fifo.take_remembered(port));
        let record = domain.events.record(port);
        if remembered == Some(true) && record.binding != Binding::Free {
            let effects = &mut caller.effects;
            deliver::raise(hv, domain, port, record.vcpu, effects, &mut held);
        }
    }
    Ok(())
}

/// `EVTCHNOP_set_priority`, for a port that exists.
pub(super) fn set_priority<M: Machine>(
    caller: &mut Caller<'_, M>,
    port: Port,
    request: &EvtchnSetPriority,
) -> Result<(), EventError> {
    let events = &caller.domain.events;
    let (ports, mut held) = events.lock(&mut caller.held);
    let used = ports.record(port).binding != Binding::Free;
    let set = events.with_queues(&mut held, |fifo| {
        if used {
            fifo.set_priority(port, request.priority)
        } else {
            Err(EventError::FreePort)
        }
    });
    set.unwrap_or(Err(EventError::NoPriorities))
}

/// Changes a domain without ports back to two-level events.
pub(super) fn reset<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    held: &mut Held<'_, 0>,
) -> Result<(), EventError> {
    {
        let (_ports, _) = domain.events.lock(held);
        if domain.events.used().next().is_some() {
            return Err(EventError::BoundMeanwhile);
        }
    }
    drop_queues(hv.ram(), domain, held);
    Ok(())
}

/// Takes a domain's queues away and lets their frames go.
pub fn drop_queues<M: Machine>(ram: Ram<'_, M>, domain: &Domain, held: &mut Held<'_, 0>) {
    let queues = {
        let mut queues = domain.events.lock_queues(held);
        domain.events.set_queued(false);
        queues.take()
    };
    // Nobody is at work on them: who is holds the lock.
    for frame in queues.iter().flat_map(|fifo| fifo.frames()) {
        drop(WritableRef::adopt(ram, frame));
    }
}

/// Calls `found` with each frame that a domain's queues hold.
pub fn for_each_frame<const TOP: u8>(
    domain: &Domain,
    held: &mut Held<'_, TOP>,
    found: &mut dyn FnMut(Mfn),
) {
    domain
        .events
        .with_queues(held, |fifo| fifo.frames().for_each(found));
}

fn writable<'a, M: Machine>(
    ram: Ram<'a, M>,
    domain: &Domain,
    number: u64,
) -> Result<WritableRef<'a, M>, EventError> {
    ram.reference(domain.memory.owner(), number)
        .and_then(|frame| frame.writable())
        .map_err(|_| EventError::BadFrame)
}
