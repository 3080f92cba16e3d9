//! Operations 0x400..: vCPUs of other domains.

use alloc::sync::Arc;

use hypercall_abi::control::vcpu::{
    VCPU_ON_NO_CPU, VCPU_STATE_BLOCKED, VCPU_STATE_DOWN, VCPU_STATE_PAUSED, VCPU_STATE_RUNNABLE,
    VCPU_STATE_RUNNING, VcpuRecord, VcpuSetContext,
};
use hypercall_abi::vcpu::{VGCF_ONLINE, VcpuGuestContext};
use hypercall_abi::{Errno, RawDomId};
use zerocopy::{FromZeros, IntoBytes};

use super::domain::building;
use super::{Answer, End};
use crate::caller::Caller;
use crate::domain::Domain;
use crate::domain::rights::ControlRight;
use crate::heap;
use crate::machine::Machine;
use crate::paging::Step;
use crate::sched::{Halt, Runstate};
use crate::vcpu::initialise::initialise;
use crate::vcpu::shared::Vcpu;

pub(super) fn vcpu_set_context<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut VcpuSetContext,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    let vcpu = find(&domain, request.vcpu)?;
    building(caller, &domain)?;
    let mut context = heap::boxed(VcpuGuestContext::new_zeroed())?;
    caller.copy_in_bytes(request.context.address(), context.as_mut_bytes())?;
    if vcpu.is_initialised() {
        return Err(Errno::EEXIST);
    }
    let pending = &caller.vcpu.memory;
    if initialise(
        caller.hv,
        &domain,
        vcpu,
        &context,
        pending,
        &mut caller.held,
    )? == Step::Again
    {
        return Ok(End::Again);
    }
    if context.flags & VGCF_ONLINE != 0
        && let Some(entity) = vcpu.entity()
    {
        // The domain is paused as long as it is being built, so this puts no vCPU on a CPU.
        let now = caller.now();
        let cpu = caller
            .hv
            .scheduler
            .lock(&mut caller.held)
            .0
            .resume(entity, Halt::Down, now);
        if let Some(cpu) = cpu {
            caller.hv.reschedule(cpu, &mut caller.effects);
        }
    }
    Ok(End::Done)
}

pub(super) fn vcpu_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut VcpuRecord,
) -> Answer {
    let domain: Arc<Domain> = caller.resolve(RawDomId(request.domid.0))?;
    let vcpu = find(&domain, request.vcpu)?;
    let now = caller.now();
    let (scheduler, _) = caller.hv.scheduler.lock(&mut caller.held);
    let paused = domain
        .group()
        .is_none_or(|group| scheduler.pauses(group) > 0);
    let entity = vcpu.entity().ok_or(Errno::ENOENT)?;
    let times = scheduler.runstate(entity, now).ok_or(Errno::ENOENT)?;
    request.state = match times.state {
        _ if scheduler.is_down(entity) => VCPU_STATE_DOWN,
        Runstate::Running => VCPU_STATE_RUNNING,
        Runstate::Blocked => VCPU_STATE_BLOCKED,
        _ if paused => VCPU_STATE_PAUSED,
        Runstate::Runnable | Runstate::Offline => VCPU_STATE_RUNNABLE,
    };
    request.runstate_ns = times.time;
    let [running, ..] = times.time;
    request.cpu_time_ns = running;
    request.wakeups = scheduler.wakeups(entity);
    request.pcpu = vcpu
        .running_on()
        .map_or(VCPU_ON_NO_CPU, |cpu| cpu.get().into());
    Ok(End::Done)
}

fn find(domain: &Domain, number: u32) -> Result<&Vcpu, Errno> {
    domain.vcpu_named(number).ok_or(Errno::ENOENT)
}
