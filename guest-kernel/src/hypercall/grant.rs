//! `grant_table_op`: one element per call, with its status as a typed error.

use hypercall_abi::grant::{
    GNTTABOP_COPY, GNTTABOP_MAP_GRANT_REF, GNTTABOP_SETUP_TABLE, GNTTABOP_UNMAP_GRANT_REF,
    GrantCopy, MapGrantRef, SetupTable, UnmapGrantRef,
};
use hypercall_abi::number::GRANT_TABLE_OP;
use hypercall_abi::{GuestPtr, RawDomId, RawMfn};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use super::{Errno, hypercall};

/// Why a grant operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GrantError {
    /// The call itself was refused.
    #[error("refused: {}", .0.name())]
    Call(Errno),
    /// The element was, with this status (`GNTST_*`).
    #[error("grant status {0}")]
    Status(i16),
}

impl From<Errno> for GrantError {
    fn from(error: Errno) -> Self {
        Self::Call(error)
    }
}

fn check(status: i16) -> Result<(), GrantError> {
    if status == 0 {
        Ok(())
    } else {
        Err(GrantError::Status(status))
    }
}

/// Issues one operation on one element.
///
/// # Safety
/// As [`hypercall`], beyond reading and writing the element.
unsafe fn grant_op<T: FromBytes + IntoBytes>(command: u32, element: &mut T) -> Result<(), Errno> {
    let address = core::ptr::from_mut(element).addr() as u64;
    // SAFETY: the element is ours alone and any bytes in it are a valid T; the rest is the caller's duty.
    unsafe {
        hypercall(
            u64::from(GRANT_TABLE_OP),
            [u64::from(command), address, 1, 0, 0],
        )
    }
    .map(|_| ())
}

/// Makes the table `frames.len()` frames long, at least, and tells which frames they are.
///
/// # Errors
/// Status -1 above the maximum or without memory.
pub fn setup_table(frames: &mut [RawMfn]) -> Result<(), GrantError> {
    let mut element = SetupTable {
        dom: RawDomId::SELF,
        nr_frames: u32::try_from(frames.len()).map_err(|_| Errno::EINVAL)?,
        frame_list: GuestPtr::new(frames.as_mut_ptr().addr() as u64),
        ..SetupTable::default()
    };
    // SAFETY: writes the list of frames, as long as stated.
    unsafe { grant_op(GNTTABOP_SETUP_TABLE, &mut element) }?;
    check(element.status)
}

/// Maps another domain's grant; fills the element's handle.
///
/// # Safety
/// Nothing in use is at `host_addr`.
///
/// # Errors
/// The element's status.
pub(crate) unsafe fn map(element: &mut MapGrantRef) -> Result<(), GrantError> {
    // SAFETY: the caller answers for the address.
    unsafe { grant_op(GNTTABOP_MAP_GRANT_REF, element) }?;
    check(element.status)
}

/// Takes such a mapping away.
///
/// # Safety
/// Nobody uses what was mapped.
///
/// # Errors
/// The element's status.
pub(crate) unsafe fn unmap(element: &mut UnmapGrantRef) -> Result<(), GrantError> {
    // SAFETY: the caller answers for the mapping's uses.
    unsafe { grant_op(GNTTABOP_UNMAP_GRANT_REF, element) }?;
    check(element.status)
}

/// Copies between frames, of which either may be granted by another domain.
///
/// # Safety
/// A destination that is this domain's own frame is not in use as anything that the bytes would break.
///
/// # Errors
/// The element's status.
pub unsafe fn copy(element: &mut GrantCopy) -> Result<(), GrantError> {
    // SAFETY: the caller answers for the destination.
    unsafe { grant_op(GNTTABOP_COPY, element) }?;
    check(element.status)
}
