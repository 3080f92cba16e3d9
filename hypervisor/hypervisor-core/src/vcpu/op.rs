//! `vcpu_op`: starting and stopping vCPUs, their timers and registered areas (pv-abi 7.3).

use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, RawMfn};

use super::initialise;
use super::shared::{InfoPlace, Vcpu};
use crate::caller::{Caller, is_guest_range};
use crate::dispatch::{Arguments, argument};
use crate::domain::life::ShutdownReason;
use crate::domain::stop;
use crate::event::{self, Virq};
use crate::ids::Nanos;
use crate::machine::Machine;
use crate::operations::operations;
use crate::outcome::Outcome;
use crate::sched::Halt;
use crate::sync::Ordering;
use crate::time::timer::AlarmKind;
use crate::time::{clock, runstate, timer};

hypercall_abi::for_each_vcpu_operation!(operations);

/// Whether the call's vCPU exists: checked before the command.
pub(crate) fn names_a_vcpu<M: Machine>(caller: &Caller<'_, M>, arguments: &Arguments) -> bool {
    caller.domain.vcpu_named(argument(arguments, 1)).is_some()
}

/// The vCPU, which has been found to exist.
fn named<'a, M: Machine>(caller: &Caller<'a, M>, number: u32) -> Result<&'a Vcpu, Errno> {
    caller.domain.vcpu_named(number).ok_or(Errno::ENOENT)
}

fn initialise<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<VcpuGuestContext>,
) -> Outcome {
    match named(caller, vcpu) {
        Ok(target) => initialise::by_guest(caller, target, from.0),
        Err(error) => Outcome::Refused(error),
    }
}

fn up<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    if !target.is_initialised() {
        return Err(Errno::EINVAL);
    }
    bring_up(caller, target);
    Ok(())
}

/// Clears "down".
pub(super) fn bring_up<M: Machine>(caller: &mut Caller<'_, M>, target: &Vcpu) {
    let now = caller.now();
    let Some(entity) = target.entity() else {
        return;
    };
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

fn down<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let (domain, now) = (caller.domain, caller.now());
    let (mut scheduler, _) = caller.hv.scheduler.lock(&mut caller.held);
    let others = domain
        .vcpus()
        .iter()
        .filter(|other| other.id() != target.id());
    let mut entities = others.filter_map(Vcpu::entity);
    if !entities.any(|entity| !scheduler.is_down(entity)) {
        drop(scheduler);
        stop::shut_down(
            caller.hv,
            domain,
            ShutdownReason::POWEROFF,
            &mut caller.effects,
            &mut caller.held,
        );
        return Ok(());
    }
    let cpu = target
        .entity()
        .and_then(|entity| scheduler.halt(entity, Halt::Down, now));
    drop(scheduler);
    if let Some(cpu) = cpu {
        caller.hv.reschedule(cpu, &mut caller.effects);
    }
    Ok(())
}

fn is_up<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32) -> Result<u64, Errno> {
    let entity = named(caller, vcpu)?.entity().ok_or(Errno::ENOENT)?;
    let down = caller.hv.scheduler.lock(&mut caller.held).0.is_down(entity);
    Ok(u64::from(!down))
}

fn get_runstate_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    to: Out<VcpuRunstateInfo>,
) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let record = runstate::record(caller.hv, target, &mut caller.held).ok_or(Errno::ENOENT)?;
    caller.copy_out(to.0, &record)
}

fn register_runstate_memory_area<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<RegisterRunstateMemoryArea>,
) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let address = area(
        caller.copy_in(from.0)?.address,
        size_of::<VcpuRunstateInfo>(),
    )?;
    target.runstate_area.store(address, Ordering::Release);
    runstate::update_area(caller.hv, caller.domain, target, &mut caller.held);
    Ok(())
}

fn register_vcpu_time_memory_area<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<RegisterTimeMemoryArea>,
) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let address = area(caller.copy_in(from.0)?.address, clock::RECORD)?;
    target.time_area.store(address, Ordering::Release);
    clock::write_record(caller.hv, target);
    clock::write_area(caller.hv, target);
    Ok(())
}

/// An address for a registered area: null, or one that a guest may use.
fn area(address: u64, size: usize) -> Result<u64, Errno> {
    if is_guest_range(address, size) {
        Ok(address)
    } else {
        Err(Errno::EFAULT)
    }
}

/// The shortest period, and one beyond the longest, in nanoseconds.
const PERIODS: core::ops::Range<u64> = 1_000_000..1 << 62;

fn set_periodic_timer<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<SetPeriodicTimer>,
) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let period = caller.copy_in(from.0)?.period_ns;
    if !PERIODS.contains(&period) {
        return Err(Errno::EINVAL);
    }
    target
        .last_tick
        .store(caller.now().get(), Ordering::Relaxed);
    target.period.store(period, Ordering::Relaxed);
    // Where it runs, the next deadline may be nearer now.
    if let Some(cpu) = target.running_on() {
        caller.hv.reschedule(cpu, &mut caller.effects);
    }
    Ok(())
}

fn stop_periodic_timer<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32) -> Result<(), Errno> {
    named(caller, vcpu)?.period.store(0, Ordering::Relaxed);
    Ok(())
}

fn own<M: Machine>(caller: &Caller<'_, M>, vcpu: u32) -> Result<(), Errno> {
    if vcpu == u32::from(caller.vcpu.id().get()) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn set_singleshot_timer<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<SetSingleshotTimer>,
) -> Result<(), Errno> {
    own(caller, vcpu)?;
    let wanted = caller.copy_in(from.0)?;
    let at = Nanos::deadline(wanted.timeout_abs_ns);
    if at > caller.now() {
        timer::arm(caller, AlarmKind::OneShot, at);
        return Ok(());
    }
    // A time that has passed fires before the call returns, whatever the flags say.
    timer::cancel(caller, AlarmKind::OneShot);
    event::send_virq(
        caller.hv,
        caller.domain,
        caller.vcpu.id(),
        Virq::Timer,
        &mut caller.effects,
        &mut caller.held,
    );
    Ok(())
}

fn stop_singleshot_timer<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32) -> Result<(), Errno> {
    own(caller, vcpu)?;
    timer::cancel(caller, AlarmKind::OneShot);
    Ok(())
}

/// Deadlines further ahead than this, and negative ones, are an old kernel's wrapped counter.
const FARTHEST: u64 = 1 << 50;
/// When those fire instead.
const SOON: Nanos = Nanos::new(100_000_000);

/// `set_timer_op`.
pub(crate) fn set_timer<M: Machine>(caller: &mut Caller<'_, M>, timeout: i64) {
    if timeout == 0 {
        return timer::cancel(caller, AlarmKind::OneShot);
    }
    let now = caller.now();
    let at = u64::try_from(timeout)
        .ok()
        .filter(|at| at.saturating_sub(now.get()) <= FARTHEST);
    timer::arm(
        caller,
        AlarmKind::OneShot,
        at.map_or(now.saturating_add(SOON), Nanos::new),
    );
}

fn send_nmi<M: Machine>(caller: &mut Caller<'_, M>, vcpu: u32, argument: u64) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    if argument != 0 {
        return Err(Errno::EINVAL);
    }
    target.raise_nmi();
    caller.effects.pass_loop();
    caller
        .hv
        .notify(target, &mut caller.effects, &mut caller.held);
    Ok(())
}

fn get_physid<M: Machine>(_: &mut Caller<'_, M>, _: u32, _: Out<GetPhysid>) -> Result<(), Errno> {
    // Nothing is pinned so that a guest could rely on it.
    Err(Errno::EINVAL)
}

fn register_vcpu_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    vcpu: u32,
    from: In<RegisterVcpuInfo>,
) -> Result<(), Errno> {
    let target = named(caller, vcpu)?;
    let wanted = caller.copy_in(from.0)?;
    let offset = usize::try_from(wanted.offset).map_err(|_| Errno::ENXIO)?;
    if wanted.offset > INFO_LAST || wanted.offset & 7 != 0 {
        return Err(Errno::ENXIO);
    }
    if target.has_registered_info() {
        return Err(Errno::EINVAL);
    }
    let own = target.id() == caller.vcpu.id();
    let entity = target.entity().ok_or(Errno::EINVAL)?;
    if !own && !caller.hv.scheduler.lock(&mut caller.held).0.is_down(entity) {
        return Err(Errno::EINVAL);
    }
    move_info(caller, target, wanted.mfn, offset)
}

/// The last offset in a page at which a `vcpu_info` ends inside it.
const INFO_LAST: u32 = 4096 - 64;

fn move_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    target: &Vcpu,
    mfn: RawMfn,
    offset: usize,
) -> Result<(), Errno> {
    let ram = caller.hv.ram();
    let owner = caller.domain.memory.owner();
    let frame = ram
        .reference(owner, mfn.0)
        .and_then(|frame| frame.writable())
        .map_err(|_| Errno::EINVAL)?;
    if !target.claim_registration() {
        return Err(Errno::EINVAL);
    }
    let place = InfoPlace::new(frame.mfn(), offset);
    let machine = caller.machine();
    let mut contents = [0; 64];
    match target.info() {
        Some(old) => machine.read_frame(old.frame(), old.offset(), &mut contents),
        // There was none: events are masked until the guest says otherwise.
        None => contents[1] = 1,
    }
    machine.write_frame(place.frame(), offset, &contents);
    // The references are the registration's from now on.
    let _recorded = frame.record();
    target.set_info(Some(place));
    // Whatever came while it moved is found by one scan too many.
    if target.post_all(machine, u64::MAX) {
        caller
            .hv
            .notify(target, &mut caller.effects, &mut caller.held);
    }
    clock::write_record(caller.hv, target);
    Ok(())
}
