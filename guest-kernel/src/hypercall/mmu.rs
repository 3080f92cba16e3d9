//! Page-table calls. All are `unsafe`: they change what addresses mean.

use hypercall_abi::RawDomId;
use hypercall_abi::mmu::{MmuUpdate, MmuextOp, RawEntry};
use hypercall_abi::number::{MMU_UPDATE, MMUEXT_OP, UPDATE_VA_MAPPING};

use super::{Errno, hypercall};

/// Changes the L1 entry of a virtual address; `flags` are `UVMF_*`.
///
/// # Safety
/// Nothing in use is at `address`, or the new entry keeps it in place with the rights that it needs.
///
/// # Errors
/// `EINVAL` without an L1 table there, `EBUSY` for a frame that may not be mapped so.
pub unsafe fn update_va_mapping(address: usize, entry: RawEntry, flags: u64) -> Result<(), Errno> {
    let arguments = [address as u64, entry.0, flags, 0, 0];
    // SAFETY: the caller answers for the mapping.
    unsafe { hypercall(u64::from(UPDATE_VA_MAPPING), arguments) }.map(|_| ())
}

/// Carries out requests in order until one fails.
///
/// # Safety
/// As [`update_va_mapping`], for each entry; a request on a frame that is no page table stores into that frame.
///
/// # Errors
/// That of the first request refused; those before it are done.
pub unsafe fn mmu_update(requests: &[MmuUpdate]) -> Result<(), Errno> {
    let list = requests.as_ptr().addr() as u64;
    let arguments = [
        list,
        requests.len() as u64,
        0,
        u64::from(RawDomId::SELF.0),
        0,
    ];
    // SAFETY: the list is read only; the caller answers for what it asks.
    unsafe { hypercall(u64::from(MMU_UPDATE), arguments) }.map(|_| ())
}

/// Carries out extended operations (pins, roots, flushes) in order until one fails.
///
/// # Safety
/// A root that is installed maps everything in use; a frame that is pinned is used as nothing else.
///
/// # Errors
/// That of the first operation refused; those before it are done.
pub unsafe fn mmuext_op(operations: &[MmuextOp]) -> Result<(), Errno> {
    let list = operations.as_ptr().addr() as u64;
    let arguments = [
        list,
        operations.len() as u64,
        0,
        u64::from(RawDomId::SELF.0),
        0,
    ];
    // SAFETY: the list is read only; the caller answers for what it asks.
    unsafe { hypercall(u64::from(MMUEXT_OP), arguments) }.map(|_| ())
}
