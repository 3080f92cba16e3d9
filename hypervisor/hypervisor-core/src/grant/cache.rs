//! `cache_flush`: for devices that do not snoop, of which there are none. All RAM is mapped write-back, so what is left of it
//! are its checks.

use hypercall_abi::Errno;
use hypercall_abi::grant::{CacheFlush, GNTTAB_CACHE_CLEAN, GNTTAB_CACHE_INVAL};

use super::world::{GrantCall, Member, World};
use crate::frame::OwnerId;
use crate::ids::FRAME_BYTES;
use crate::machine::Machine;
use crate::sync::Held;

/// Checks one request.
///
/// # Errors
/// `EINVAL`, `EPERM`, `EOPNOTSUPP`: see the table.
pub(super) fn flush<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &CacheFlush,
    held: &mut Held<'_, 0>,
) -> Result<(), Errno> {
    let (offset, length) = (u64::from(request.offset), u64::from(request.length));
    let unknown = request.op & !(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL) != 0;
    if offset >= FRAME_BYTES || offset.saturating_add(length) > FRAME_BYTES || unknown {
        return Err(Errno::EINVAL);
    }
    if length == 0 || request.op == 0 {
        return Ok(());
    }
    let frames = call.ram.frames;
    let frame = frames.lookup(request.dev_bus_addr >> 12);
    let frame = frame.ok_or(Errno::EINVAL)?;
    let owner = frames.holding(frame).owner;
    if owner == OwnerId::NONE {
        return Err(Errno::EPERM);
    }
    if owner != call.own().memory().owner() {
        let (handles, _) = call.own().grants().handles.lock(held);
        let mapped = handles
            .mappings(call.ram)
            .any(|mapping| mapping.frame == frame);
        if !mapped {
            return Err(Errno::EINVAL);
        }
    }
    if request.op == GNTTAB_CACHE_INVAL {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}
