//! `sched_op`: yield, block, poll, shutdown (pv-abi 7.2).

use hypercall_abi::sched::MAX_POLL_PORTS;
use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, GuestPtr};

use super::Halt;
use crate::caller::Caller;
use crate::domain::life::ShutdownReason;
use crate::domain::{crash, stop};
use crate::event;
use crate::ids::{Nanos, VcpuId};
use crate::machine::Machine;
use crate::operations::operations;
use crate::time::timer::{self, AlarmKind};
use crate::vcpu::shared::Polling;

hypercall_abi::for_each_sched_operation!(operations);

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

fn yield_cpu<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), Errno> {
    let now = caller.now();
    if let Some(entity) = caller.vcpu.entity() {
        caller
            .hv
            .scheduler
            .lock(&mut caller.held)
            .0
            .yield_now(entity, now);
    }
    caller.effects.reschedule();
    Ok(())
}

fn block<M: Machine>(caller: &mut Caller<'_, M>) -> Result<(), Errno> {
    caller.vcpu.set_upcall_mask(caller.machine(), 0);
    wait(caller, Polling::No);
    // Looked at after the mark: whoever sets pending later sees the mark.
    if caller.vcpu.upcall_due(caller.machine()) || caller.vcpu.nmi_pending() {
        caller
            .hv
            .wake(caller.vcpu, &mut caller.effects, &mut caller.held);
    }
    Ok(())
}

fn poll<M: Machine>(caller: &mut Caller<'_, M>, from: In<SchedPoll>) -> Result<(), Errno> {
    let wanted = caller.copy_in(from.0)?;
    if wanted.nr_ports > MAX_POLL_PORTS {
        return Err(Errno::EINVAL);
    }
    let size = usize::try_from(wanted.nr_ports)
        .unwrap_or(0)
        .saturating_mul(size_of::<u32>());
    caller.check_range(wanted.ports.address(), size)?;
    let first = wanted.ports.cast::<u32>();
    let only = if wanted.nr_ports == 1 {
        caller.copy_in(first).ok()
    } else {
        None
    };
    wait(
        caller,
        only.filter(|&port| port != 0)
            .map_or(Polling::Any, Polling::Port),
    );
    let answer = look(caller, first, wanted.nr_ports);
    if answer != Ok(false) {
        caller
            .hv
            .wake(caller.vcpu, &mut caller.effects, &mut caller.held);
        return answer.map(drop);
    }
    if wanted.timeout != 0 {
        timer::arm(caller, AlarmKind::Poll, Nanos::deadline(wanted.timeout));
    }
    Ok(())
}

/// Whether there is no need to wait: an upcall is due or a port is pending.
fn look<M: Machine>(
    caller: &mut Caller<'_, M>,
    ports: GuestPtr<u32>,
    count: u32,
) -> Result<bool, Errno> {
    if caller.vcpu.upcall_due(caller.machine()) || caller.vcpu.nmi_pending() {
        return Ok(true);
    }
    for index in 0..count {
        let at = ports.checked_add(index.into()).ok_or(Errno::EFAULT)?;
        let port = caller.copy_in(at)?;
        let pending = event::is_pending(caller.hv, caller.domain, port, &mut caller.held);
        if pending.ok_or(Errno::EINVAL)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Marks the vCPU as waiting. It goes on running until this entry ends.
fn wait<M: Machine>(caller: &mut Caller<'_, M>, polling: Polling) {
    let now = caller.now();
    caller
        .domain
        .count_poller(caller.vcpu, polling != Polling::No);
    caller.vcpu.set_polling(polling);
    if let Some(entity) = caller.vcpu.entity() {
        // Under the scheduler's lock, so that a wake finds both marks or none.
        let (mut scheduler, _) = caller.hv.scheduler.lock(&mut caller.held);
        let here = scheduler.halt(entity, Halt::Blocked, now);
        caller.vcpu.set_waiting(true);
        debug_assert!(here == Some(caller.cpu) || here.is_none(), "it runs here");
    }
    caller.effects.reschedule();
}

/// What a suspended domain's call returns when it goes on where it stood; one that is brought back elsewhere gets 0.
const NOT_SUSPENDED: u64 = 1;

fn shutdown<M: Machine>(caller: &mut Caller<'_, M>, from: In<SchedShutdown>) -> Result<u64, Errno> {
    let reason = ShutdownReason::new(caller.copy_in(from.0)?.reason);
    crash::shut_down(caller, reason);
    Ok(if reason == ShutdownReason::SUSPEND {
        NOT_SUSPENDED
    } else {
        0
    })
}

fn remote_shutdown<M: Machine>(
    caller: &mut Caller<'_, M>,
    from: In<SchedRemoteShutdown>,
) -> Result<(), Errno> {
    let wanted = caller.copy_in(from.0)?;
    // DOMID_SELF is no name here.
    if wanted.domain_id == RawDomId::SELF {
        return Err(Errno::ESRCH);
    }
    let target = caller.resolve(wanted.domain_id)?;
    caller.control_right()?;
    let reason = ShutdownReason::new(wanted.reason);
    stop::shut_down(
        caller.hv,
        &target,
        reason,
        &mut caller.effects,
        &mut caller.held,
    );
    Ok(())
}

fn shutdown_code<M: Machine>(
    caller: &mut Caller<'_, M>,
    from: In<SchedShutdown>,
) -> Result<(), Errno> {
    let reason = ShutdownReason::new(caller.copy_in(from.0)?.reason);
    caller
        .domain
        .life
        .lock(&mut caller.held)
        .0
        .latched
        .get_or_insert(reason);
    Ok(())
}

/// The watchdogs of a domain, whose numbers begin with 1.
const WATCHDOGS: [AlarmKind; 2] = [AlarmKind::FirstWatchdog, AlarmKind::SecondWatchdog];

fn watchdog<M: Machine>(caller: &mut Caller<'_, M>, from: In<SchedWatchdog>) -> Result<u64, Errno> {
    let wanted = caller.copy_in(from.0)?;
    let asked = usize::try_from(wanted.id).map_err(|_| Errno::EINVAL)?;
    if asked > WATCHDOGS.len() {
        return Err(Errno::EINVAL);
    }
    let (hv, domain, cpu) = (caller.hv, caller.domain, caller.cpu);
    let keeper = domain.vcpu(VcpuId::FIRST).ok_or(Errno::EINVAL)?;
    let at = Nanos::new(u64::from(wanted.timeout).saturating_mul(SECOND));
    let at = caller.now().saturating_add(at);
    let (mut life, mut held) = domain.life.lock(&mut caller.held);
    let fresh = asked == 0;
    let index = if fresh {
        let free = life.watchdogs.iter().position(|used| !used);
        free.ok_or(Errno::ENOSPC)?
    } else {
        asked.saturating_sub(1)
    };
    let (Some(used), Some(&kind)) = (life.watchdogs.get_mut(index), WATCHDOGS.get(index)) else {
        return Err(Errno::EINVAL);
    };
    if !fresh && !*used {
        return Err(Errno::EINVAL);
    }
    *used = fresh || wanted.timeout != 0;
    if *used {
        timer::set(hv, cpu, domain, keeper, kind, at, &mut held);
    } else {
        timer::take_back(hv, domain, keeper, kind, &mut held);
    }
    caller.effects.rearm();
    let number = u64::try_from(index).unwrap_or(0).saturating_add(1);
    Ok(if fresh { number } else { 0 })
}

fn pin_override<M: Machine>(caller: &mut Caller<'_, M>, from: In<i32>) -> Result<(), Errno> {
    caller.control_right()?;
    let _: i32 = caller.copy_in(from.0)?;
    Err(Errno::EINVAL)
}

#[cfg(test)]
mod tests;
