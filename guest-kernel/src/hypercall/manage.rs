//! Hypercall 56 as the management domain uses it: one function per operation, and the public calls that it makes in the
//! name of another domain.
//!
//! What happens to another domain's memory is no matter of Rust's in this one, so all of these are safe: addresses in a
//! structure are made here, of slices that live as long as the call.

use hypercall_abi::control::ControlArgument;
use hypercall_abi::control::audit::{Audit, AuditBreach};
use hypercall_abi::control::counters::{COUNTER_KINDS, DomainCounters};
use hypercall_abi::control::device::{MsixBind, PciRead, PciWrite};
use hypercall_abi::control::domain::{
    DomainCreate, DomainDestroy, DomainInfo, DomainPause, DomainRecord, DomainResume,
    DomainSetLimit, DomainSetMax, DomainUnpause,
};
use hypercall_abi::control::grant::GrantSeed;
use hypercall_abi::control::host::{CpuInfo, HostInfo, HostPromises, LogRead};
use hypercall_abi::control::memory::{MAX_MEMORY_FRAMES, MemoryWrite};
use hypercall_abi::control::sched::{SchedGet, SchedSet};
use hypercall_abi::control::vcpu::{VcpuRecord, VcpuSetContext};
use hypercall_abi::control::version::Query;
use hypercall_abi::mmu::{MMUEXT_PIN_L4_TABLE, MmuextOp};
use hypercall_abi::number::MMUEXT_OP;
use hypercall_abi::vcpu::VcpuGuestContext;
use hypercall_abi::{GuestPtr, RawDomId, RawMfn};
use zerocopy::FromZeros;

use super::control::paravane_op;
use super::{Errno, hypercall};
use crate::paging::PAGE_SIZE;

/// A structure without addresses in it: the operation reads and writes nothing else of this domain.
trait Plain: ControlArgument {}

macro_rules! plain {
    ($($type:ty),*) => { $(impl Plain for $type {})* };
}

plain!(
    Audit,
    AuditBreach,
    CpuInfo,
    DomainCounters,
    DomainCreate,
    DomainDestroy,
    DomainInfo,
    DomainPause,
    DomainResume,
    DomainSetLimit,
    DomainSetMax,
    DomainUnpause,
    GrantSeed,
    HostInfo,
    HostPromises,
    MsixBind,
    PciRead,
    PciWrite,
    Query,
    SchedGet,
    SchedSet,
    VcpuRecord
);

/// Issues an operation and gives its structure back.
fn plain<T: Plain>(mut argument: T) -> Result<T, Errno> {
    // SAFETY: there is no address in the structure.
    unsafe { paravane_op(&mut argument) }?;
    Ok(argument)
}

/// Versions, calls and features: `QUERY_*`.
///
/// # Errors
/// `ENOENT` past the last index.
pub fn query(topic: u32, index: u32) -> Result<[u64; 4], Errno> {
    let answer = plain(Query {
        topic,
        index,
        ..Query::default()
    })?;
    Ok(answer.values)
}

/// The machine.
///
/// # Errors
/// As every operation: `EPERM` for who is not the management domain.
pub fn host_info() -> Result<HostInfo, Errno> {
    plain(HostInfo::default())
}

/// What is free, and what of it is promised.
///
/// # Errors
/// As every operation: `EPERM` for who is not the management domain.
pub fn host_promises() -> Result<HostPromises, Errno> {
    plain(HostPromises::default())
}

/// One CPU.
///
/// # Errors
/// `ENOENT` past the last.
pub fn cpu_info(cpu: u32) -> Result<CpuInfo, Errno> {
    plain(CpuInfo {
        cpu,
        ..CpuInfo::default()
    })
}

/// The first domain with this number or a higher one.
///
/// # Errors
/// `ESRCH` if there is none.
pub fn domain_info(first: RawDomId) -> Result<DomainRecord, Errno> {
    let mut question = DomainInfo::new_zeroed();
    question.first = first;
    plain(question).map(|answer| answer.record)
}

/// How often a domain has asked for each kind of thing.
///
/// # Errors
/// `ESRCH`.
pub fn counters(domain: RawDomId) -> Result<[u64; COUNTER_KINDS], Errno> {
    let mut question = DomainCounters::new_zeroed();
    question.domid = domain;
    plain(question).map(|answer| answer.counts)
}

/// One vCPU.
///
/// # Errors
/// `ESRCH` and `ENOENT` for who is not there.
pub fn vcpu_info(domain: RawDomId, vcpu: u32) -> Result<VcpuRecord, Errno> {
    plain(VcpuRecord {
        domid: domain,
        vcpu,
        ..VcpuRecord::default()
    })
}

/// Makes an empty domain.
///
/// # Errors
/// `ENOMEM`, `EEXIST`, `EINVAL`, `ENOSPC`.
pub fn create(wish: DomainCreate) -> Result<DomainCreate, Errno> {
    plain(wish)
}

/// Sets how many frames a domain may ever have.
///
/// # Errors
/// `ESRCH`; `EINVAL` for one that is dying.
pub fn set_max(domain: RawDomId, max_frames: u64) -> Result<(), Errno> {
    let done = plain(DomainSetMax {
        domid: domain,
        max_frames,
        ..DomainSetMax::default()
    });
    done.map(|_| ())
}

/// Sets up to how many frames a domain may take more now.
///
/// # Errors
/// `ESRCH`; `EINVAL` for one that is dying.
pub fn set_limit(domain: RawDomId, limit_frames: u64) -> Result<(), Errno> {
    let done = plain(DomainSetLimit {
        domid: domain,
        limit_frames,
        ..DomainSetLimit::default()
    });
    done.map(|_| ())
}

/// Ends a domain; returns when all that it had is free.
///
/// # Errors
/// `ESRCH`; `EPERM` for oneself; `EBUSY` while others map memory of it: it is dying, and the call can be repeated.
pub fn destroy(domain: RawDomId) -> Result<(), Errno> {
    let done = plain(DomainDestroy {
        domid: domain,
        ..DomainDestroy::default()
    });
    done.map(|_| ())
}

/// Stops a domain's vCPUs once more.
///
/// # Errors
/// `ESRCH`; `EPERM` for oneself; `EINVAL` for one that is dying.
pub fn pause(domain: RawDomId) -> Result<(), Errno> {
    let done = plain(DomainPause {
        domid: domain,
        ..DomainPause::default()
    });
    done.map(|_| ())
}

/// Takes back one pause.
///
/// # Errors
/// `ESRCH`; `EPERM` for oneself; `EINVAL` if it is not paused, or dying.
pub fn unpause(domain: RawDomId) -> Result<(), Errno> {
    let done = plain(DomainUnpause {
        domid: domain,
        ..DomainUnpause::default()
    });
    done.map(|_| ())
}

/// Lets a domain that suspended itself go on where it stood.
///
/// # Errors
/// `ESRCH`; `EPERM` for oneself; `EINVAL` if it is not suspended.
pub fn resume(domain: RawDomId) -> Result<(), Errno> {
    let done = plain(DomainResume {
        domid: domain,
        ..DomainResume::default()
    });
    done.map(|_| ())
}

/// A domain's share of CPU time.
///
/// # Errors
/// `ESRCH`.
pub fn sched_get(domain: RawDomId) -> Result<SchedGet, Errno> {
    plain(SchedGet {
        domid: domain,
        ..SchedGet::default()
    })
}

/// Sets a domain's share of CPU time.
///
/// # Errors
/// `ESRCH`; `EINVAL` without weight, or without a CPU.
pub fn sched_set(
    domain: RawDomId,
    weight: u32,
    cap_percent: u32,
    affinity: u64,
) -> Result<(), Errno> {
    let done = plain(SchedSet {
        domid: domain,
        weight,
        cap_percent,
        affinity,
        ..SchedSet::default()
    });
    done.map(|_| ())
}

/// Writes a reserved entry of a building domain's grant table.
///
/// # Errors
/// `ESRCH`; `EBUSY` for a domain that is not being built; `EINVAL` for another entry, or a frame that is not its own.
pub fn grant_seed(seed: GrantSeed) -> Result<(), Errno> {
    plain(seed).map(|_| ())
}

/// Does a part of a recount of what the hypervisor counts: of a new one with `progress` 0, else of the one that gave it. In
/// the answer it is 0 when all is done.
///
/// # Errors
/// `EBUSY` another vCPU is at it; `EINVAL` that recount is not under way any more; `ENOMEM`.
pub fn audit_step(progress: u64) -> Result<Audit, Errno> {
    let mut question = Audit::new_zeroed();
    question.progress = progress;
    plain(question)
}

/// Recounts what the hypervisor counts, all of it.
///
/// # Errors
/// As [`audit_step`].
pub fn audit() -> Result<Audit, Errno> {
    let mut answer = audit_step(0)?;
    while answer.progress != 0 {
        answer = audit_step(answer.progress)?;
    }
    Ok(answer)
}

/// Breaks an invariant of the hypervisor's own in this domain, or mends it (`BREACH_*`); gives the place.
///
/// # Errors
/// `ENOSYS` in every hypervisor that was not built for it; `EINVAL` no such invariant.
pub fn audit_breach(invariant: u32, action: u32, place: u64) -> Result<u64, Errno> {
    let mut wish = AuditBreach::new_zeroed();
    (wish.invariant, wish.action, wish.place) = (invariant, action, place);
    wish.domid = RawDomId::SELF;
    plain(wish).map(|answer| answer.place)
}

/// Reads PCI configuration space.
///
/// # Errors
/// `EINVAL` for what is no register.
pub fn pci_read(question: PciRead) -> Result<u32, Errno> {
    plain(question).map(|answer| answer.value)
}

/// Writes PCI configuration space.
///
/// # Errors
/// `EACCES` for what is the hypervisor's, `EINVAL` for what is no register.
pub fn pci_write(wish: PciWrite) -> Result<(), Errno> {
    plain(wish).map(|_| ())
}

/// Makes an MSI-X entry an interrupt that can be bound.
///
/// # Errors
/// `EINVAL` for what is no address; `ENODEV` without such a device or entry, or with no interrupt left.
pub fn msix_bind(wish: MsixBind) -> Result<u32, Errno> {
    plain(wish).map(|answer| answer.pirq)
}

/// Copies the hypervisor's log from `cursor` on; returns how much came and the next cursor.
///
/// # Errors
/// None of its own.
pub fn log_read(cursor: u64, buffer: &mut [u8]) -> Result<(usize, u64), Errno> {
    let mut argument = LogRead {
        cursor,
        buffer: GuestPtr::new(buffer.as_mut_ptr().addr() as u64),
        len: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
        ..LogRead::default()
    };
    // SAFETY: the buffer is ours alone for the call, and as long as stated.
    unsafe { paravane_op(&mut argument) }?;
    let copied = usize::try_from(argument.copied).unwrap_or(0);
    Ok((copied.min(buffer.len()), argument.cursor))
}

/// Fills frames of a building domain, each with a page of `data`.
///
/// # Errors
/// `EINVAL` if there is not a page for each frame, or a frame is not the domain's, or a table; `EBUSY` for a domain that is
/// not being built; `ESRCH`.
pub fn memory_write(domain: RawDomId, frames: &[u64], data: &[u8]) -> Result<(), Errno> {
    if data.len() != frames.len().checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)? {
        return Err(Errno::EINVAL);
    }
    let batch = usize::try_from(MAX_MEMORY_FRAMES).unwrap_or(1);
    for (frames, data) in frames.chunks(batch).zip(data.chunks(batch * PAGE_SIZE)) {
        let mut argument = MemoryWrite {
            domid: domain,
            count: u32::try_from(frames.len()).unwrap_or(0),
            frames: GuestPtr::<RawMfn>::new(frames.as_ptr().addr() as u64),
            data: GuestPtr::new(data.as_ptr().addr() as u64),
            ..MemoryWrite::default()
        };
        // SAFETY: both lists are read only, alive, and as long as stated.
        unsafe { paravane_op(&mut argument) }?;
    }
    Ok(())
}

/// Gives a vCPU of a building domain its first state.
///
/// # Errors
/// `ESRCH`, `ENOENT`; `EBUSY` for a domain that is not being built; `EEXIST` the second time; `EINVAL` for a state that cannot be.
pub fn set_context(domain: RawDomId, vcpu: u32, context: &VcpuGuestContext) -> Result<(), Errno> {
    let mut argument = VcpuSetContext {
        domid: domain,
        vcpu,
        context: GuestPtr::new(core::ptr::from_ref(context).addr() as u64),
        ..VcpuSetContext::default()
    };
    // SAFETY: the context is read only and alive.
    unsafe { paravane_op(&mut argument) }.map(|_| ())
}

/// Validates and pins a root table of another domain.
///
/// # Errors
/// `EINVAL` for what is no proper root, `ESRCH`, `EPERM`.
pub fn pin_root_of(domain: RawDomId, root: RawMfn) -> Result<(), Errno> {
    let operation = [MmuextOp {
        cmd: MMUEXT_PIN_L4_TABLE,
        pad0: 0,
        arg1: root.0,
        arg2: 0,
    }];
    let list = operation.as_ptr().addr() as u64;
    // SAFETY: the list is read only; the frame is another domain's and no memory of this one.
    unsafe { hypercall(u64::from(MMUEXT_OP), [list, 1, 0, u64::from(domain.0), 0]) }.map(|_| ())
}
