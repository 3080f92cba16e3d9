//! Memory operations that tell something, and those that no PV domain may use.

use core::ops::Deref;

use hypercall_abi::memory::{
    AddToPhysmap, AddToPhysmapBatch, E820_RAM, E820Entry, MachphysMapping, MemoryDomain, MemoryMap,
    VnumaTopologyInfo, XENMAPSPACE_GMFN_FOREIGN, XENMAPSPACE_GMFN_RANGE,
};
use hypercall_abi::{Errno, GuestPtr};

use super::MemoryOutcome;
use super::request::Requester;
use crate::ids::FRAME_SHIFT;
use crate::machine::Machine;

/// Where guests read the M2P.
const M2P_START: u64 = 0xffff_8000_0000_0000;
/// One beyond its last entry.
const M2P_END: u64 = 0xffff_8040_0000_0000;

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
        v_start: M2P_START,
        v_end: M2P_END,
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

/// Operations of Xen's own tools: others have no right to them, and ours do not use them.
pub(super) fn for_control<M: Machine, R: Requester<M>>(caller: &R) -> MemoryOutcome {
    MemoryOutcome::Refused(if caller.is_control() {
        Errno::ENOSYS
    } else {
        Errno::EPERM
    })
}

pub(super) fn vnuma<M: Machine, R: Requester<M>>(
    caller: &R,
    argument: GuestPtr<VnumaTopologyInfo>,
) -> Result<u64, Errno> {
    let request = caller.read(argument)?;
    Err(if request.pad == 0 {
        Errno::EOPNOTSUPP
    } else {
        Errno::EINVAL
    })
}
