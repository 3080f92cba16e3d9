//! Making a domain: everything that can fail first, then its entry into the tables of the world.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::Errno;
use hypercall_abi::ids::XEN_LEGACY_MAX_VCPUS;

use super::account::DomainMemory;
use super::life::LifeRecord;
use super::{DomId, Domain};
use crate::console::ConsoleLine;
use crate::event::{DOMAIN_PORTS, EventTable, FIRST_DOMAIN_PORTS};
use crate::frame::AllocError;
use crate::grant::GrantTable;
use crate::heap;
use crate::hypervisor::Hypervisor;
use crate::ids::{Frames, Mfn, Place, VcpuId};
use crate::machine::Machine;
use crate::paging::Teardown;
use crate::sched::Share;
use crate::sync::{AtomicU32, AtomicU64, Held, Once, Ordering, Ranked};
use crate::time::{clock, wallclock};
use crate::vcpu::VcpuState;
use crate::vcpu::shared::{InfoPlace, Vcpu};

/// vCPUs of a domain at most.
pub const MAX_VCPUS: u16 = 128;
/// Offset of a vCPU's event mask in its `vcpu_info`, and the size of that.
const MASK: usize = 1;
const INFO: usize = 64;

/// What a domain is made with.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its number; `None` chooses one.
    pub id: Option<DomId>,
    /// vCPUs that exist: 1..=[`MAX_VCPUS`].
    pub vcpus: u16,
    /// The most frames that it may own.
    pub max_frames: Frames,
    /// What dom0 calls it.
    pub uuid: [u8; 16],
    /// Weight, cap, affinity.
    pub share: Share,
}

/// Makes a domain: paused once, its vCPUs down, without memory of its own.
///
/// # Errors
/// `EINVAL`, `EEXIST`, `ENOSPC`, `ENOMEM`; nothing is left behind then.
pub fn create<M: Machine>(
    hv: &Hypervisor<M>,
    request: &Request,
    held: &mut Held<'_, 0>,
) -> Result<Arc<Domain>, Errno> {
    if request.vcpus == 0 || request.vcpus > MAX_VCPUS {
        return Err(Errno::EINVAL);
    }
    let id = hv.domains.choose(request.id, held)?;
    let memory = DomainMemory::new(hv.ram(), id.get(), request.max_frames).map_err(errno)?;
    let shared_info = match hv.ram().allocate_special(memory.owner()) {
        Ok(frame) => frame,
        Err(error) => {
            release(hv, &memory, None);
            return Err(errno(error));
        }
    };
    mask_events(hv, shared_info);
    let domain = match assemble(hv, request, id, memory, shared_info) {
        Ok(domain) => domain,
        Err((memory, error)) => {
            release(hv, &memory, Some(shared_info));
            return Err(error);
        }
    };
    if let Err(error) = enter(hv, request, &domain, held) {
        hide(hv, &domain, held);
        leave(hv, &domain, held);
        domain
            .grants
            .end_sharing(hv.ram(), domain.memory.owner(), held);
        release(hv, &domain.memory, Some(shared_info));
        return Err(error);
    }
    for vcpu in domain.vcpus() {
        clock::write_record(hv, vcpu);
    }
    wallclock::write(hv, &domain);
    log::info!("d{}: created, vCPUs: {}", id.get(), request.vcpus);
    Ok(domain)
}

fn errno(error: AllocError) -> Errno {
    match error {
        AllocError::Account(_) => Errno::ENOSPC,
        AllocError::NoMemory | AllocError::NotYet => Errno::ENOMEM,
    }
}

/// All 32 places in `shared_info` begin with events masked.
fn mask_events<M: Machine>(hv: &Hypervisor<M>, shared_info: Mfn) {
    for index in 0..legacy_vcpus() {
        let mask = index.saturating_mul(INFO).saturating_add(MASK);
        hv.machine().store_u8(Place::new(shared_info, mask), 1);
    }
}

fn legacy_vcpus() -> usize {
    usize::try_from(XEN_LEGACY_MAX_VCPUS).unwrap_or(0)
}

fn assemble<M: Machine>(
    hv: &Hypervisor<M>,
    request: &Request,
    id: DomId,
    memory: DomainMemory,
    shared_info: Mfn,
) -> Result<Arc<Domain>, (DomainMemory, Errno)> {
    let vcpus = match make_vcpus(request.vcpus, shared_info) {
        Ok(vcpus) => vcpus,
        Err(error) => return Err((memory, error)),
    };
    // The first domain serves the others: what it maps of them must not be seen in what is free.
    let (ports, handle_frames) = if id == DomId::FIRST {
        (FIRST_DOMAIN_PORTS, 1)
    } else {
        (DOMAIN_PORTS, 0)
    };
    let events = match EventTable::new(ports, vcpus.len()) {
        Ok(events) => events,
        Err(error) => return Err((memory, error)),
    };
    let grants = match GrantTable::new(hv.ram(), &memory, handle_frames) {
        Ok(grants) => grants,
        Err(error) => return Err((memory, errno(error))),
    };
    let domain = Domain {
        id,
        serial: hv.next_serial.fetch_add(1, Ordering::Relaxed),
        uuid: request.uuid,
        created: hv.machine().now(),
        group: Once::new(),
        vcpus,
        shared_info,
        assists: AtomicU64::new(0),
        latches: AtomicU64::new(0),
        memory,
        events,
        grants,
        pollers: AtomicU32::new(0),
        teardown: Ranked::new(Teardown::new()),
        life: Ranked::new(LifeRecord::new()),
        console: Ranked::new(ConsoleLine::new()),
    };
    heap::shared(domain).map_err(|domain| {
        let owner = domain.memory.owner();
        domain
            .grants
            .end_sharing(hv.ram(), owner, &mut Held::enter());
        (domain.memory, Errno::ENOMEM)
    })
}

fn make_vcpus(count: u16, shared_info: Mfn) -> Result<Vec<Vcpu>, Errno> {
    let mut vcpus = heap::list(count.into())?;
    for number in 0..count {
        let index = usize::from(number);
        let place = InfoPlace::new(shared_info, index.saturating_mul(INFO));
        let state = heap::boxed(VcpuState::new())?;
        let info = (index < legacy_vcpus()).then_some(place);
        vcpus.extend([Vcpu::new(VcpuId::new(number), state, info)]);
    }
    Ok(vcpus)
}

/// Enters the domain into the scheduler, the timers and the table.
fn enter<M: Machine>(
    hv: &Hypervisor<M>,
    request: &Request,
    domain: &Arc<Domain>,
    held: &mut Held<'_, 0>,
) -> Result<(), Errno> {
    // First: whatever fails later, `hide` takes the reservation back.
    reserve_alarms(hv, domain.vcpus().len(), held)?;
    let now = hv.machine().now();
    {
        let (mut scheduler, _) = hv.scheduler.lock(held);
        let group = scheduler.add_group(Arc::clone(domain), request.share, now);
        let group = group.map_err(|_| Errno::ENOMEM)?;
        domain.group.call_once(|| group);
        for vcpu in domain.vcpus() {
            let entity = scheduler
                .add_entity(group, vcpu.id(), now)
                .map_err(|_| Errno::ENOMEM)?;
            vcpu.set_entity(entity);
        }
    }
    hv.domains.insert(domain, held)
}

/// Room in every CPU's list for all alarms of the new vCPUs.
fn reserve_alarms<M: Machine>(
    hv: &Hypervisor<M>,
    vcpus: usize,
    held: &mut Held<'_, 0>,
) -> Result<(), Errno> {
    let alarms = alarms_of(vcpus);
    let total = hv
        .alarms
        .fetch_add(alarms, Ordering::Relaxed)
        .saturating_add(alarms);
    let total = usize::try_from(total).map_err(|_| Errno::ENOMEM)?;
    for cpu in hv.online().iter() {
        let Some(record) = hv.cpu(cpu) else { continue };
        record.timers.lock(held).0.reserve(total)?;
    }
    Ok(())
}

/// Alarms that a domain may have set: two of each vCPU, and two watchdogs.
fn alarms_of(vcpus: usize) -> u64 {
    let pairs = u64::try_from(vcpus).unwrap_or(u64::MAX).saturating_add(1);
    pairs.saturating_mul(2)
}

/// Takes the domain out of table and timers: nobody finds it any more.
pub(super) fn hide<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, held: &mut Held<'_, 0>) {
    hv.domains.remove(domain, held);
    for cpu in hv.online().iter() {
        if let Some(record) = hv.cpu(cpu) {
            record.timers.lock(held).0.cancel_all_of(domain);
        }
    }
    let alarms = alarms_of(domain.vcpus().len());
    hv.alarms.fetch_sub(alarms, Ordering::Relaxed);
}

/// Takes the domain out of the scheduler. Nobody uses its numbers there any more.
pub(super) fn leave<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, held: &mut Held<'_, 0>) {
    if let Some(group) = domain.group() {
        // Dropped after the lock: it may be the last reference.
        let payload = hv.scheduler.lock(held).0.remove_group(group);
        drop(payload);
    }
}

/// Gives back what a domain without memory of its own has of the frame table.
fn release<M: Machine>(hv: &Hypervisor<M>, memory: &DomainMemory, shared_info: Option<Mfn>) {
    let ram = hv.ram();
    if let Some(frame) = shared_info {
        ram.end_sharing(memory.owner(), frame);
    }
    while !ram.drop_view_step(memory.owner()) {}
    let closed = hv.frames().close_account(memory.owner());
    debug_assert!(closed, "the domain owned nothing");
}
