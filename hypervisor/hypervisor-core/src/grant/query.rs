//! Operations on a whole table: its frames, its size, its version.

use hypercall_abi::grant::{
    GetStatusFrames, GetVersion, MAX_GRANT_FRAMES, QuerySize, SetVersion, SetupTable, SwapGrantRef,
};
use hypercall_abi::{Errno, ids::RawMfn};

use super::status::{Status, number_of};
use super::world::{GrantCall, Member, World};
use crate::machine::Machine;
use crate::sync::Held;

/// The only version.
const VERSION: u32 = 1;

/// Makes a table larger and tells its frames.
pub(super) fn setup_table<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut SetupTable,
    held: &mut Held<'_, 0>,
) {
    request.status = number_of(try_setup(call, request, held));
}

fn try_setup<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &SetupTable,
    held: &mut Held<'_, 0>,
) -> Result<(), Status> {
    let peer = call.table_of(request.dom.0, held)?;
    let domain = peer.as_deref().unwrap_or_else(|| call.own());
    if request.nr_frames > MAX_GRANT_FRAMES {
        return Err(Status::GeneralError);
    }
    domain
        .grants()
        .shared
        .lock(held)
        .0
        .grow(call.ram, domain.memory().owner(), request.nr_frames)
        .map_err(|_| Status::GeneralError)?;
    for index in 0..request.nr_frames {
        // The lock is not held while guest memory is written; frames of a table only become more.
        let frame = usize::try_from(index)
            .ok()
            .and_then(|index| domain.grants().frame(index, held))
            .ok_or(Status::GeneralError)?;
        let written = request
            .frame_list
            .checked_add(index.into())
            .ok_or(Status::BadVirtualAddress)
            .map(|place| call.guest().write(place.address(), &RawMfn(frame.get())))?;
        written.map_err(|_| Status::BadVirtualAddress)?;
    }
    Ok(())
}

/// Tells a table's size.
pub(super) fn query_size<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut QuerySize,
    held: &mut Held<'_, 0>,
) {
    let size = call.table_of(request.dom.0, held).map(|peer| {
        let domain = peer.as_deref().unwrap_or_else(|| call.own());
        domain.grants().shared.lock(held).0.frames().len()
    });
    request.status = number_of(size.map(|frames| {
        request.nr_frames = u32::try_from(frames).unwrap_or(MAX_GRANT_FRAMES);
        request.max_nr_frames = MAX_GRANT_FRAMES;
    }));
}

/// Version 1 is the only one; the version in force is written back whatever was asked.
///
/// # Errors
/// `EINVAL`: no such version; `ENOSYS`: version 2.
pub(super) fn set_version(request: &mut SetVersion) -> Result<(), Errno> {
    let wanted = core::mem::replace(&mut request.version, VERSION);
    match wanted {
        VERSION => Ok(()),
        2 => Err(Errno::ENOSYS),
        _ => Err(Errno::EINVAL),
    }
}

/// Tells the version in force.
///
/// # Errors
/// `ESRCH`, `EPERM`.
pub(super) fn get_version<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut GetVersion,
    held: &mut Held<'_, 0>,
) -> Result<(), Errno> {
    match call.table_of(request.dom.0, held) {
        Ok(_) => {
            request.version = VERSION;
            Ok(())
        }
        Err(Status::PermissionDenied) => Err(Errno::EPERM),
        Err(_) => Err(Errno::ESRCH),
    }
}

/// Status frames are version 2's: there are none.
pub(super) fn get_status_frames<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut GetStatusFrames,
    held: &mut Held<'_, 0>,
) {
    let none = if request.nr_frames == 0 {
        Ok(())
    } else {
        Err(Status::GeneralError)
    };
    request.status = number_of(call.table_of(request.dom.0, held).and(none));
}

/// Exchanges two of the caller's entries.
pub(super) fn swap_grant_ref<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut SwapGrantRef,
    held: &mut Held<'_, 0>,
) {
    let (mut shared, _) = call.own().grants().shared.lock(held);
    let (a, b) = (request.ref_a.0, request.ref_b.0);
    request.status = number_of(shared.swap(call.ram, a, b));
}
