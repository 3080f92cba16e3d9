//! `grant_table_op(cmd, uop, count)`: an array of requests, each with a status of its own.

use hypercall_abi::Errno;
use hypercall_abi::grant::{
    CacheFlush, GNTTABOP_CACHE_FLUSH, GNTTABOP_COPY, GNTTABOP_GET_STATUS_FRAMES,
    GNTTABOP_GET_VERSION, GNTTABOP_MAP_GRANT_REF, GNTTABOP_QUERY_SIZE, GNTTABOP_SET_VERSION,
    GNTTABOP_SETUP_TABLE, GNTTABOP_SWAP_GRANT_REF, GNTTABOP_TRANSFER, GNTTABOP_UNMAP_AND_REPLACE,
    GNTTABOP_UNMAP_GRANT_REF, GetStatusFrames, GetVersion, GrantCopy, MapGrantRef, QuerySize,
    SetupTable, SwapGrantRef, UnmapAndReplace, UnmapGrantRef,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::unmap::{self, GROUP, Unmapping};
use super::world::{GrantCall, World};
use super::{cache, copy, map, query};
use crate::guest::NoAccess;
use crate::machine::Machine;
use crate::paging::layout::is_guest;
use crate::sync::Held;

/// Bits of the command that may be set.
const COMMANDS: u32 = (1 << 12) - 1;
/// Requests of one call are fewer than this.
const TOO_MANY: u32 = 1 << 31;

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum GrantOutcome {
    /// All requests have a status.
    Done,
    /// Refused as a whole, or an element could not be read or written.
    Refused(Errno),
    /// To be repeated from this element on, with so many left.
    Again(u64, u32),
}

impl From<Result<(), Errno>> for GrantOutcome {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Done)
    }
}

impl From<NoAccess> for GrantOutcome {
    fn from(_: NoAccess) -> Self {
        Self::Refused(Errno::EFAULT)
    }
}

/// Runs a call.
pub fn grant_table_op<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    command: u32,
    array: u64,
    count: u32,
    held: &mut Held<'_, 0>,
) -> GrantOutcome {
    if count >= TOO_MANY || command & !COMMANDS != 0 {
        return GrantOutcome::Refused(Errno::EINVAL);
    }
    match command {
        GNTTABOP_MAP_GRANT_REF => each(call, array, count, |request: &mut MapGrantRef| {
            map::map(call, request, held);
        }),
        // Most calls are of one request, for which a whole group is too much to prepare.
        GNTTABOP_UNMAP_GRANT_REF if count == 1 => {
            unmap_all::<1, M, W, UnmapGrantRef>(call, array, count, held)
        }
        GNTTABOP_UNMAP_GRANT_REF => {
            unmap_all::<GROUP, M, W, UnmapGrantRef>(call, array, count, held)
        }
        GNTTABOP_UNMAP_AND_REPLACE => {
            unmap_all::<GROUP, M, W, UnmapAndReplace>(call, array, count, held)
        }
        GNTTABOP_SWAP_GRANT_REF => each(call, array, count, |request: &mut SwapGrantRef| {
            query::swap_grant_ref(call, request, held);
        }),
        GNTTABOP_COPY => each(call, array, count, |request: &mut GrantCopy| {
            copy::copy(call, request, held);
        }),
        // The two that tell and set a version have no list: their count says nothing.
        GNTTABOP_SETUP_TABLE | GNTTABOP_QUERY_SIZE | GNTTABOP_GET_STATUS_FRAMES if count != 1 => {
            GrantOutcome::Refused(Errno::EINVAL)
        }
        GNTTABOP_SETUP_TABLE => single(call, array, Tell::Done, |request: &mut SetupTable| {
            if !is_guest(request.frame_list.address()) {
                return Err(Errno::EFAULT);
            }
            query::setup_table(call, request, held);
            Ok(())
        }),
        GNTTABOP_QUERY_SIZE => single(call, array, Tell::Done, |request: &mut QuerySize| {
            query::query_size(call, request, held);
            Ok(())
        }),
        GNTTABOP_SET_VERSION => single(call, array, Tell::Always, query::set_version),
        GNTTABOP_GET_VERSION => single(call, array, Tell::Done, |request: &mut GetVersion| {
            query::get_version(call, request, held)
        }),
        GNTTABOP_GET_STATUS_FRAMES => {
            single(call, array, Tell::Done, |request: &mut GetStatusFrames| {
                query::get_status_frames(call, request, held);
                Ok(())
            })
        }
        GNTTABOP_CACHE_FLUSH => cache_flush(call, array, count, held),
        GNTTABOP_TRANSFER => GrantOutcome::Refused(Errno::EOPNOTSUPP),
        _ => GrantOutcome::Refused(Errno::ENOSYS),
    }
}

/// Runs a list of requests, each read once and written back with its status.
fn each<M: Machine, W: World, T: FromBytes + IntoBytes + Immutable>(
    call: GrantCall<'_, M, W>,
    array: u64,
    count: u32,
    mut run: impl FnMut(&mut T),
) -> GrantOutcome {
    if !is_guest(array) {
        return GrantOutcome::Refused(Errno::EFAULT);
    }
    let mut at = array;
    for done in 0..count {
        if done > 0 && call.ram.machine.preempt_due() {
            return GrantOutcome::Again(at, count.saturating_sub(done));
        }
        let mut request = match call.guest().read::<T>(at) {
            Ok(request) => request,
            Err(error) => return error.into(),
        };
        run(&mut request);
        if let Err(error) = call.guest().write(at, &request) {
            return error.into();
        }
        at = at.wrapping_add(u64::try_from(size_of::<T>()).unwrap_or(0));
    }
    GrantOutcome::Done
}

/// Runs a list of requests that have no status: the first error is the call's.
fn cache_flush<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    array: u64,
    count: u32,
    held: &mut Held<'_, 0>,
) -> GrantOutcome {
    if !is_guest(array) {
        return GrantOutcome::Refused(Errno::EFAULT);
    }
    let mut at = array;
    for done in 0..count {
        if done > 0 && call.ram.machine.preempt_due() {
            return GrantOutcome::Again(at, count.saturating_sub(done));
        }
        let request = match call.guest().read::<CacheFlush>(at) {
            Ok(request) => request,
            Err(error) => return error.into(),
        };
        if let Err(error) = cache::flush(call, &request, held) {
            return GrantOutcome::Refused(error);
        }
        at = at.wrapping_add(u64::try_from(size_of::<CacheFlush>()).unwrap_or(0));
    }
    GrantOutcome::Done
}

/// When a request is written back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// When it was carried out.
    Done,
    /// Whatever came out.
    Always,
}

/// Runs the one request of an operation on a whole table.
fn single<M: Machine, W: World, T: FromBytes + IntoBytes + Immutable>(
    call: GrantCall<'_, M, W>,
    at: u64,
    tell: Tell,
    run: impl FnOnce(&mut T) -> Result<(), Errno>,
) -> GrantOutcome {
    let mut request = match call.guest().read::<T>(at) {
        Ok(request) => request,
        Err(error) => return error.into(),
    };
    let result = run(&mut request);
    if result.is_err() && tell == Tell::Done {
        return result.into();
    }
    match call.guest().write(at, &request) {
        Ok(()) => result.into(),
        Err(error) => error.into(),
    }
}

/// Unmaps in groups that share a flush. A status is told before its group's flush, as the guest may not look at it before
/// the call returns.
fn unmap_all<
    const MEMBERS: usize,
    M: Machine,
    W: World,
    T: Unmapping + FromBytes + IntoBytes + Immutable,
>(
    call: GrantCall<'_, M, W>,
    array: u64,
    count: u32,
    held: &mut Held<'_, 0>,
) -> GrantOutcome {
    let mut at = array;
    let mut left = count;
    let size = u64::try_from(size_of::<T>()).unwrap_or(0);
    loop {
        let mut group = [const { None }; MEMBERS];
        let members = usize::try_from(left).unwrap_or(MEMBERS).min(MEMBERS);
        let mut slots = group.iter_mut().take(members);
        let outcome = each(
            call,
            at,
            u32::try_from(members).unwrap_or(0),
            |request: &mut T| {
                if let Some(slot) = slots.next() {
                    *slot = unmap::begin(call, request, held);
                }
            },
        );
        unmap::finish(call, &mut group, held);
        let done = match outcome {
            GrantOutcome::Done => u32::try_from(members).unwrap_or(0),
            GrantOutcome::Again(next, rest) => {
                let undone = u32::try_from(members).unwrap_or(0).saturating_sub(rest);
                return GrantOutcome::Again(next, left.saturating_sub(undone));
            }
            GrantOutcome::Refused(error) => return GrantOutcome::Refused(error),
        };
        left = left.saturating_sub(done);
        if left == 0 {
            return GrantOutcome::Done;
        }
        at = at.wrapping_add(size.wrapping_mul(u64::from(done)));
        if call.ram.machine.preempt_due() {
            return GrantOutcome::Again(at, left);
        }
    }
}
