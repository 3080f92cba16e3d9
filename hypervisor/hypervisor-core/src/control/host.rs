//! Operations 0x100..: the machine, its CPUs, its clock, the hypervisor's log.

use hypercall_abi::Errno;
use hypercall_abi::control::host::{CpuInfo, HostInfo, HostPromises, LogRead, SetWallclock};

use super::{Answer, End};
use crate::caller::Caller;
use crate::console::{LOG, LOG_BYTES};
use crate::domain::DomId;
use crate::domain::rights::ControlRight;
use crate::ids::{Frames, Nanos, PhysCpu};
use crate::machine::Machine;
use crate::sync::Ordering;
use crate::time::wallclock;

/// What the hypervisor calls itself.
const VERSION: &str = concat!("Paravane ", env!("CARGO_PKG_VERSION"));
/// Bytes of the log copied at a time: they pass through the stack.
const CHUNK: usize = 256;

pub(super) fn host_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    info: &mut HostInfo,
) -> Answer {
    let hv = caller.hv;
    let frames = hv.frames();
    let (total, free) = (hv.ram_frames(), frames.free());
    let owned = frames
        .accounts()
        .map(|(_, account)| sum([account.total(), account.special(), account.overhead()]));
    let owned = sum(owned);
    info.total_frames = total.get();
    info.free_frames = free.get();
    info.hypervisor_frames = total
        .get()
        .saturating_sub(free.get())
        .saturating_sub(owned.get());
    info.uptime_ns = caller.now().get();
    let origin = hv.wallclock.load(Ordering::Acquire);
    info.wallclock_ns = if origin == 0 {
        0
    } else {
        origin.saturating_add(info.uptime_ns)
    };
    info.sched_slice_ns = hv.options().slice.get();
    info.tsc_khz = hv.machine().clock().frequency_khz;
    info.cpus = hv.online().len();
    info.max_domains = hv.options().max_domains.into();
    info.version.fill(0);
    for (to, from) in info.version.iter_mut().zip(VERSION.bytes()) {
        *to = from;
    }
    Ok(End::Done)
}

pub(super) fn host_promises<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    answer: &mut HostPromises,
) -> Answer {
    let frames = caller.hv.frames();
    let first = DomId::FIRST.get();
    let others = (frames.accounts()).filter(|(_, account)| account.domid() != first);
    // A domain that takes or gives back meanwhile changes both: the lower count of free frames is right with the promises.
    let before = frames.free();
    answer.promised_frames = sum(others.map(|(_, account)| account.promised())).get();
    answer.free_frames = before.min(frames.free()).get();
    Ok(End::Done)
}

fn sum(frames: impl IntoIterator<Item = Frames>) -> Frames {
    Frames::new(
        frames
            .into_iter()
            .fold(0, |sum, frames| sum.saturating_add(frames.get())),
    )
}

pub(super) fn cpu_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    info: &mut CpuInfo,
) -> Answer {
    let cpu = u8::try_from(info.cpu)
        .ok()
        .and_then(PhysCpu::new)
        .filter(|&cpu| caller.hv.online().contains(cpu));
    let record = cpu
        .and_then(|cpu| caller.hv.cpu(cpu))
        .ok_or(Errno::ENOENT)?;
    let now = caller.now();
    let idle = record.idle_until(now);
    info.idle_ns = idle.get();
    info.busy_ns = now.saturating_sub(idle).get();
    info.wakeups = record.wakeups.load(Ordering::Relaxed);
    info.interrupts = record.interrupts.load(Ordering::Relaxed);
    Ok(End::Done)
}

pub(super) fn log_read<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut LogRead,
) -> Answer {
    let mut left = usize::try_from(request.len).map_or(LOG_BYTES, |len| len.min(LOG_BYTES));
    let mut to = request.buffer;
    request.copied = 0;
    while left > 0 {
        let mut text = [0; CHUNK];
        let room = text.get_mut(..left.min(CHUNK)).unwrap_or_default();
        // The guest's memory is touched after the lock: it may fault.
        let (copied, next) = LOG.lock_leaf().read(request.cursor, room);
        caller.copy_out_bytes(to.address(), text.get(..copied).unwrap_or_default())?;
        request.cursor = next;
        if copied == 0 {
            break;
        }
        left = left.saturating_sub(copied);
        let copied = u32::try_from(copied).unwrap_or(0);
        request.copied = request.copied.saturating_add(copied);
        to = to.checked_add(copied.into()).ok_or(Errno::EFAULT)?;
    }
    Ok(End::Done)
}

pub(super) fn set_wallclock<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut SetWallclock,
) -> Answer {
    wallclock::set(
        caller.hv,
        Nanos::new(request.wallclock_ns),
        &mut caller.held,
    );
    Ok(End::Done)
}
