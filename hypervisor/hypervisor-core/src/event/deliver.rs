//! Delivery: from a port that something happened on to a vCPU that is told of it.
//!
//! No lock of ports is needed here. Between the look at a record and the bits the port may be closed and given out again; the
//! worst of that is an event that nobody sent, which every guest must bear.

use super::fifo::{Fifo, News};
use super::port::Port;
use super::two_level::{self, Found};
use crate::domain::Domain;
use crate::effects::Effects;
use crate::hypervisor::Hypervisor;
use crate::ids::VcpuId;
use crate::machine::Machine;
use crate::sync::Held;
use crate::vcpu::shared::Vcpu;

/// Something happened on a port of `domain` whose events go to `vcpu`.
#[inline(never)]
pub(super) fn raise<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    vcpu: VcpuId,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    raise_at_once(hv, domain, port, vcpu, effects, held);
}

/// As [`raise`], for the way of most: a part of the caller's code.
#[inline(always)]
pub(super) fn raise_at_once<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    vcpu: VcpuId,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if domain.events.is_queued() {
        return queue(hv, domain, port, vcpu, effects, held, Fifo::set_pending);
    }
    let found = two_level::set_pending(hv.machine(), domain.shared_info(), port);
    if domain.events.is_queued() {
        // The guest changed to queues, and may have looked for the bit before it was there.
        queue(hv, domain, port, vcpu, effects, held, Fifo::set_pending);
    }
    match found {
        Found::Pending => return,
        Found::Masked => {}
        Found::Open => tell(hv, domain, port, vcpu, effects, held),
    }
    wake_pollers(hv, domain, port, effects, held);
}

/// Tells the vCPU of a pending, unmasked port.
#[inline(always)]
fn tell<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    vcpu: VcpuId,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if let Some(vcpu) = domain.vcpu(vcpu)
        && vcpu.post(hv.machine(), port.word().into())
    {
        hv.notify(vcpu, effects, held);
    }
}

/// Opens a port.
pub(super) fn unmask<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    effects: &mut Effects,
    held: &mut Held<'_, 0>,
) {
    let vcpu = domain.events.record(port).vcpu;
    if domain.events.is_queued() {
        queue(hv, domain, port, vcpu, effects, held, Fifo::unmask);
    } else if two_level::unmask(hv.machine(), domain.shared_info(), port) {
        tell(hv, domain, port, vcpu, effects, held);
    }
}

/// As [`raise`] or [`unmask`], where there are queues.
#[cold]
fn queue<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    vcpu: VcpuId,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
    change: fn(&mut Fifo, &M, Port, VcpuId) -> News,
) {
    let news = domain
        .events
        .with_queues(held, |fifo| change(fifo, hv.machine(), port, vcpu));
    let news = news.unwrap_or_default();
    if news.tell
        && let Some(vcpu) = domain.vcpu(vcpu)
        && vcpu.post_all(hv.machine(), 0)
    {
        hv.notify(vcpu, effects, held);
    }
    if news.fresh {
        wake_pollers(hv, domain, port, effects, held);
    }
}

#[inline(always)]
fn wake_pollers<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: Port,
    effects: &mut Effects,
    held: &mut Held<'_, TOP>,
) {
    if !domain.has_pollers() {
        return;
    }
    let polls = |vcpu: &&Vcpu| vcpu.polls_for(port.get());
    for vcpu in domain.vcpus().iter().filter(polls) {
        hv.wake(vcpu, effects, held);
    }
}
