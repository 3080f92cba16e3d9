//! Memory operations that tell something, and those that no PV domain may use.

use core::ops::Deref;

use hypercall_abi::memory::{
    AcquireResource, AddToPhysmap, AddToPhysmapBatch, E820_RAM, E820Entry, ForeignMemoryMap,
    MachphysMapping, MemoryDomain, MemoryMap, MemoryReservation, RemoveFromPhysmap,
    VnumaTopologyInfo, XENMAPSPACE_GMFN_FOREIGN, XENMAPSPACE_GMFN_RANGE,
};
use hypercall_abi::mmu::{MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START};
use hypercall_abi::{Errno, GuestPtr, RawDomId};

use super::request::Requester;
use crate::ids::FRAME_SHIFT;
use crate::machine::Machine;

/// Entries that a memory map may have.
const MOST_ENTRIES: u32 = 1024;

/// Which of a domain's numbers is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Frames that it has.
    Current,
    /// Frames that it may have.
    Maximum,
}

pub(super) fn reservation<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryDomain>,
    which: Which,
) -> Result<u64, Errno> {
    let named = caller.read(argument)?.domid;
    let target = caller.target(named)?;
    let frames = caller.ram().frames;
    let account = target.deref().account(frames).ok_or(Errno::ESRCH)?;
    Ok(match which {
        Which::Current => account.total().get(),
        Which::Maximum => account.maximum().get(),
    })
}

/// One range of RAM, from 0 to the domain's maximum: what it may ever have, so that it can grow.
pub(super) fn memory_map<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryMap>,
) -> Result<u64, Errno> {
    let frames = caller.ram().frames;
    let account = caller.own().account(frames).ok_or(Errno::ESRCH)?;
    let map = [E820Entry {
        address: 0,
        size: account.maximum().get() << FRAME_SHIFT,
        kind: E820_RAM,
    }];
    write_map(caller, argument, &map)
}

pub(super) fn machine_map<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryMap>,
) -> Result<u64, Errno> {
    if !caller.is_control() {
        return Err(Errno::EPERM);
    }
    write_map(caller, argument, caller.machine_map())
}

fn write_map<M: Machine, R: Requester<M>>(
    caller: &R,
    argument: GuestPtr<MemoryMap>,
    map: &[E820Entry],
) -> Result<u64, Errno> {
    let mut request = caller.read(argument)?;
    let mut written = 0;
    for (entry, index) in map.iter().zip(0..request.nr_entries) {
        let place = request.buffer.checked_add(u64::from(index));
        caller.write(place.ok_or(Errno::EFAULT)?, entry)?;
        written = index.saturating_add(1);
    }
    request.nr_entries = written;
    caller.write(argument, &request)?;
    Ok(0)
}

pub(super) fn machphys_mapping<M: Machine, R: Requester<M>>(
    caller: &R,
    argument: GuestPtr<MachphysMapping>,
) -> Result<u64, Errno> {
    let mapping = MachphysMapping {
        v_start: MACH2PHYS_VIRT_START,
        v_end: MACH2PHYS_VIRT_END,
        max_mfn: caller.ram().frames.limit().get().saturating_sub(1),
    };
    caller.write(argument, &mapping)?;
    Ok(0)
}

/// Translated guests only: a PV domain has no map to add to.
pub(super) fn add_to_physmap<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<AddToPhysmap>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    if request.space == XENMAPSPACE_GMFN_FOREIGN {
        return Err(Errno::ENOSYS);
    }
    caller.target(request.domid)?;
    Err(Errno::EACCES)
}

pub(super) fn add_to_physmap_batch<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<AddToPhysmapBatch>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    if u32::from(request.space) == XENMAPSPACE_GMFN_RANGE {
        return Err(Errno::EOPNOTSUPP);
    }
    caller.target(request.domid)?;
    Err(Errno::EACCES)
}

/// Translated guests only, as [`add_to_physmap`].
pub(super) fn remove_from_physmap<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<RemoveFromPhysmap>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    match caller.target(request.domid) {
        Err(Errno::ESRCH) => Err(Errno::ESRCH),
        Ok(_) | Err(_) => Err(Errno::EACCES),
    }
}

/// The highest PFN that a domain says it uses.
pub(super) fn maximum_gpfn<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryDomain>,
) -> Result<u64, Errno> {
    let named = caller.read(argument)?.domid;
    Ok(caller.announced_pfns(named)?.wrapping_sub(1))
}

/// Maps are made from the account: what is asked for is checked, and refused.
pub(super) fn set_memory_map<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<ForeignMemoryMap>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    if request.map.nr_entries > MOST_ENTRIES {
        return Err(Errno::EINVAL);
    }
    caller.target(request.domid)?;
    Err(Errno::EPERM)
}

/// An operation of Xen's own tools: others have no right to it, and ours do not use it.
fn for_control<M: Machine, R: Requester<M>>(caller: &R) -> Result<u64, Errno> {
    Err(if caller.is_control() {
        Errno::EOPNOTSUPP
    } else {
        Errno::EPERM
    })
}

pub(super) fn claim_pages<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<MemoryReservation>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    let plain = request.extent_start.is_null()
        && request.extent_order == 0
        && request.mem_flags == 0
        && request.domid != RawDomId::SELF;
    if !plain || caller.target(request.domid).err() == Some(Errno::ESRCH) {
        return Err(Errno::EINVAL);
    }
    for_control(caller)
}

pub(super) fn acquire_resource<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<AcquireResource>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    let end = request.frame.checked_add(request.nr_frames.into());
    if request.pad != 0 || end.is_none_or(|end| end >> 32 != 0) {
        return Err(Errno::EINVAL);
    }
    // It is about another domain: one's own has no name here.
    if request.domid == RawDomId::SELF {
        return Err(Errno::ESRCH);
    }
    let target = caller.target(request.domid)?;
    if target.owner() == caller.own().owner() {
        return Err(Errno::EPERM);
    }
    for_control(caller)
}

pub(super) fn vnuma<M: Machine, R: Requester<M>>(
    caller: &mut R,
    argument: GuestPtr<VnumaTopologyInfo>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    if request.pad != 0 {
        return Err(Errno::EINVAL);
    }
    caller.target(request.domid)?;
    Err(Errno::EOPNOTSUPP)
}
