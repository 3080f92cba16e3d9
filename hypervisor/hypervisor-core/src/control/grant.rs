//! Operation 0x600: grants that the builder writes for a new domain.

use hypercall_abi::Errno;
use hypercall_abi::control::grant::GrantSeed;
use hypercall_abi::grant::GNTTAB_NR_RESERVED_ENTRIES;

use super::domain::building;
use super::{Answer, End, require};
use crate::caller::Caller;
use crate::domain::rights::ControlRight;
use crate::machine::Machine;

pub(super) fn grant_seed<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut GrantSeed,
) -> Answer {
    let domain = caller.resolve(request.domid)?;
    building(caller, &domain)?;
    require(request.gref.0 < GNTTAB_NR_RESERVED_ENTRIES)?;
    let ram = caller.hv.ram();
    // Held only to see that the frame is the domain's: a grant holds nothing until it is used.
    let frame = ram
        .reference(domain.memory.owner(), request.mfn.0)
        .map_err(|_| Errno::EINVAL)?;
    let number = frame.mfn().get();
    let seeded = domain.grants.seed(
        ram,
        request.gref.0,
        request.backend.0,
        number,
        &mut caller.held,
    );
    require(seeded)?;
    Ok(End::Done)
}
