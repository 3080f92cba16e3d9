//! Operations 0x200..: domains, from creation to the last frame given back.

use alloc::sync::Arc;
use core::fmt::{self, Write};

use hypercall_abi::control::counters::{COUNTER_KINDS, DomainCounters};
use hypercall_abi::control::domain::{
    CrashInfo as CrashRecord, DOMAIN_STATE_BUILDING, DOMAIN_STATE_CRASHED, DOMAIN_STATE_DYING,
    DOMAIN_STATE_PAUSED, DOMAIN_STATE_RUNNING, DOMAIN_STATE_SHUTDOWN, DomainCreate, DomainDestroy,
    DomainInfo, DomainPause, DomainRecord, DomainResume, DomainSetLimit, DomainSetMax,
    DomainUnpause,
};
use hypercall_abi::sched::SHUTDOWN_CRASH;
use hypercall_abi::{Errno, RawDomId, RawMfn};
use zerocopy::FromZeros;

use super::sched::share;
use super::{Answer, End, require};
use crate::caller::Caller;
use crate::domain::crash::{CrashInfo, CrashReason};
use crate::domain::create::{self, Request};
use crate::domain::life::{Life, LifeRecord};
use crate::domain::rights::ControlRight;
use crate::domain::{DomId, Domain, teardown};
use crate::frame::Account;
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;

pub(super) fn domain_create<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainCreate,
) -> Answer {
    let id = if request.domid == RawDomId::INVALID {
        None
    } else {
        Some(DomId::new(request.domid.0).ok_or(Errno::EINVAL)?)
    };
    let wanted = Request {
        id,
        vcpus: u16::try_from(request.max_vcpus).map_err(|_| Errno::EINVAL)?,
        max_frames: Frames::new(request.max_frames),
        uuid: request.uuid,
        share: share(
            caller.hv,
            request.weight,
            request.cap_percent,
            request.affinity,
        )?,
    };
    let domain = create::create(caller.hv, &wanted, &mut caller.held)?;
    request.domid = RawDomId(domain.id().get());
    request.shared_info_mfn = RawMfn(domain.shared_info().get());
    request.grant_table_mfn = RawMfn(domain.grants.frame(0, &mut caller.held).map_or(0, Mfn::get));
    Ok(End::Done)
}

pub(super) fn domain_destroy<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainDestroy,
) -> Answer {
    let domain = other(caller, request.domid)?;
    match teardown::go_on(caller, &domain)? {
        teardown::Progress::Gone => Ok(End::Done),
        teardown::Progress::More => Ok(End::Again),
    }
}

pub(super) fn domain_pause<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainPause,
) -> Answer {
    let domain = other(caller, request.domid)?;
    alive(caller, &domain)?;
    caller.hv.pause_and_wait(&domain, &mut caller.held);
    Ok(End::Done)
}

pub(super) fn domain_unpause<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainUnpause,
) -> Answer {
    let domain = other(caller, request.domid)?;
    {
        let (mut life, _) = domain.life.lock(&mut caller.held);
        // One that has stopped is paused for good, by the hypervisor.
        require(matches!(life.state, Life::Building | Life::Running))?;
        // The first unpause ends the building.
        life.start();
    }
    require(
        caller
            .hv
            .unpause(&domain, &mut caller.effects, &mut caller.held),
    )?;
    Ok(End::Done)
}

pub(super) fn domain_resume<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainResume,
) -> Answer {
    let domain = other(caller, request.domid)?;
    let resumed = domain.life.lock(&mut caller.held).0.resume();
    require(resumed)?;
    // What stopped it paused it once.
    let (effects, held) = (&mut caller.effects, &mut caller.held);
    let paused = caller.hv.unpause(&domain, effects, held);
    debug_assert!(paused, "a domain that stopped was paused then");
    Ok(End::Done)
}

pub(super) fn domain_set_max<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainSetMax,
) -> Answer {
    let account = account(caller, request.domid)?;
    account.set_maximum(Frames::new(request.max_frames));
    Ok(End::Done)
}

pub(super) fn domain_set_limit<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainSetLimit,
) -> Answer {
    let account = account(caller, request.domid)?;
    account.set_limit(Frames::new(request.limit_frames));
    Ok(End::Done)
}

/// The account of a domain that is not being destroyed.
fn account<'a, M: Machine>(
    caller: &mut Caller<'a, M>,
    named: RawDomId,
) -> Result<&'a Account, Errno> {
    let domain = caller.resolve(named)?;
    alive(caller, &domain)?;
    let account = domain.memory.account(caller.hv.frames());
    account.ok_or(Errno::EINVAL)
}

pub(super) fn domain_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainInfo,
) -> Answer {
    let domain = caller
        .hv
        .domains
        .next_from(request.first.0, &mut caller.held)
        .ok_or(Errno::ESRCH)?;
    request.record = record(caller, &domain);
    Ok(End::Done)
}

/// Another domain than the caller's.
pub(super) fn other<M: Machine>(
    caller: &mut Caller<'_, M>,
    named: RawDomId,
) -> Result<Arc<Domain>, Errno> {
    let domain = caller.resolve(named)?;
    if domain.id() == caller.domain.id() {
        Err(Errno::EPERM)
    } else {
        Ok(domain)
    }
}

/// A domain that is still being built.
pub(super) fn building<M: Machine>(
    caller: &mut Caller<'_, M>,
    domain: &Domain,
) -> Result<(), Errno> {
    let state = domain.life.lock(&mut caller.held).0.state;
    if state == Life::Building {
        Ok(())
    } else {
        Err(Errno::EBUSY)
    }
}

fn alive<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain) -> Result<(), Errno> {
    let state = domain.life.lock(&mut caller.held).0.state;
    require(state != Life::Dying)
}

fn record<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain) -> DomainRecord {
    let mut record = DomainRecord::new_zeroed();
    record.domid = RawDomId(domain.id().get());
    record.vcpus_max = u32::try_from(domain.vcpus().len()).unwrap_or(u32::MAX);
    record.uuid = *domain.uuid();
    record.created_ns = domain.created().get();
    for vcpu in domain.vcpus() {
        let (calls, faults) = vcpu.counts.totals();
        record.hypercalls = record.hypercalls.wrapping_add(calls);
        record.faults = record.faults.wrapping_add(faults);
    }
    if let Some(account) = domain.memory.account(caller.hv.frames()) {
        record.frames = account.total().get();
        record.max_frames = account.maximum().get();
        record.shared_frames = account.special().get();
        record.overhead_frames = account.overhead().get();
    }
    let paused = count_vcpus(caller, domain, &mut record);
    let life = *domain.life.lock(&mut caller.held).0;
    tell_life(&life, paused, &mut record);
    record
}

pub(super) fn domain_counters<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut DomainCounters,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    request.counts = [0; COUNTER_KINDS];
    for vcpu in domain.vcpus() {
        for (sum, count) in request.counts.iter_mut().zip(vcpu.counts.all()) {
            *sum = sum.wrapping_add(count);
        }
    }
    Ok(End::Done)
}

/// What the scheduler knows. True if the domain is paused.
fn count_vcpus<M: Machine>(
    caller: &mut Caller<'_, M>,
    domain: &Domain,
    record: &mut DomainRecord,
) -> bool {
    let now = caller.now();
    let (scheduler, _) = caller.hv.scheduler.lock(&mut caller.held);
    for entity in domain
        .vcpus()
        .iter()
        .filter_map(crate::vcpu::shared::Vcpu::entity)
    {
        if !scheduler.is_down(entity) {
            record.vcpus_online = record.vcpus_online.saturating_add(1);
            record.vcpus_blocked = record
                .vcpus_blocked
                .saturating_add(scheduler.is_blocked(entity).into());
        }
        if let Some(times) = scheduler.runstate(entity, now) {
            let [running, ..] = times.time;
            record.cpu_time_ns = record.cpu_time_ns.saturating_add(running);
        }
        record.wakeups = record.wakeups.saturating_add(scheduler.wakeups(entity));
    }
    let Some(group) = domain.group() else {
        return true;
    };
    if let Some(share) = scheduler.share(group) {
        record.weight = share.weight;
        record.cap_percent = share.cap_percent;
        record.affinity = share.affinity.bits();
    }
    scheduler.pauses(group) > 0
}

fn tell_life(life: &LifeRecord, paused: bool, record: &mut DomainRecord) {
    record.state = match life.state {
        Life::Building => DOMAIN_STATE_BUILDING,
        Life::Running if paused => DOMAIN_STATE_PAUSED,
        Life::Running => DOMAIN_STATE_RUNNING,
        Life::Shutdown(reason) => {
            record.shutdown_reason = reason.get().into();
            // The guest itself says that it crashed.
            if record.shutdown_reason == SHUTDOWN_CRASH {
                DOMAIN_STATE_CRASHED
            } else {
                DOMAIN_STATE_SHUTDOWN
            }
        }
        Life::Crashed => {
            record.shutdown_reason = SHUTDOWN_CRASH;
            DOMAIN_STATE_CRASHED
        }
        Life::Dying => DOMAIN_STATE_DYING,
    };
    if let Some(crash) = life.crash {
        record.crash = tell_crash(&crash);
    }
}

fn tell_crash(crash: &CrashInfo) -> CrashRecord {
    let mut record = CrashRecord::new_zeroed();
    record.reason = crash.reason.number();
    record.vcpu = crash.vcpu.get().into();
    record.rip = crash.rip;
    record.cr2 = crash.cr2;
    if let CrashReason::NoHandler { error, .. } = crash.reason {
        record.error_code = error.into();
    }
    let mut words = Words {
        text: &mut record.text,
        length: 0,
    };
    // A reason that does not fit is cut.
    let _cut = write!(words, "{}", crash.reason).is_err();
    record
}

/// Text for a field of fixed size.
struct Words<'a> {
    text: &'a mut [u8],
    length: usize,
}

impl Write for Words<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..).ok_or(fmt::Error)?;
        for (to, from) in room.iter_mut().zip(part.bytes()) {
            *to = from;
        }
        self.length = self.length.saturating_add(part.len());
        Ok(())
    }
}
