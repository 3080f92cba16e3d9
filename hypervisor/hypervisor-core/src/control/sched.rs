//! Operations 0x500..: shares of CPU time.

use hypercall_abi::Errno;
use hypercall_abi::control::sched::{SchedGet, SchedSet};

use super::{Answer, End, require};
use crate::caller::Caller;
use crate::domain::rights::ControlRight;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sched::weight::{MAX_WEIGHT, MIN_WEIGHT};
use crate::sched::{Share, affinity};

pub(super) fn sched_set<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut SchedSet,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    let share = share(
        caller.hv,
        request.weight,
        request.cap_percent,
        request.affinity,
    )?;
    let group = domain.group().ok_or(Errno::ESRCH)?;
    let cpus = caller
        .hv
        .scheduler
        .lock(&mut caller.held)
        .0
        .set_share(group, share);
    caller.hv.reschedule_all(cpus, &mut caller.effects);
    Ok(End::Done)
}

pub(super) fn sched_get<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut SchedGet,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    let group = domain.group().ok_or(Errno::ESRCH)?;
    let share = caller
        .hv
        .scheduler
        .lock(&mut caller.held)
        .0
        .share(group)
        .ok_or(Errno::ESRCH)?;
    request.weight = share.weight;
    request.cap_percent = share.cap_percent;
    request.affinity = share.affinity.bits();
    Ok(End::Done)
}

/// A share as dom0 asks for it. `EINVAL`: no weight, one that is too large, or no CPU that exists. A very small weight counts as the
/// least one that the scheduler knows.
pub(super) fn share<M: Machine>(
    hv: &Hypervisor<M>,
    weight: u32,
    cap_percent: u32,
    affinity: u64,
) -> Result<Share, Errno> {
    require((1..=MAX_WEIGHT).contains(&weight))?;
    let affinity = affinity::resolve(affinity, hv.online()).ok_or(Errno::EINVAL)?;
    Ok(Share {
        weight: weight.max(MIN_WEIGHT),
        cap_percent,
        affinity,
    })
}
