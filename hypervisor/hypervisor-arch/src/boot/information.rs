//! What a boot loader says, in one form for all loaders.

use crate::boot::memory_map::{MemoryMap, PhysRange};
use crate::boot::{multiboot, pvh};
use crate::mem::layout;
use arrayvec::ArrayVec;
use thiserror::Error;
use zerocopy::FromBytes;

/// How much of physical memory the boot tables reach.
const REACH: u64 = 1 << 30;
/// Longest command line that is read; what follows is cut off.
const LINE_MAX: usize = 1024;
/// Most modules that are looked at: one more than are of use, to tell when there are too many.
pub(crate) const MODULES: usize = 3;

/// Why the boot information cannot be used.
#[derive(Debug, Error)]
pub(crate) enum InformationError {
    #[error("the start information is not PVH version 1 or later")]
    NotPvh,
    #[error("the multiboot information is damaged")]
    NotMultiboot,
    #[error("boot information at {0:#x} lies above the first GiB")]
    OutOfReach(u64),
    #[error("the memory map is missing")]
    NoMap,
    #[error("the memory map has more than {} entries", MemoryMap::CAPACITY)]
    MapTooLong,
}

/// A line that the boot loader gave.
pub(crate) type Line = ArrayVec<u8, LINE_MAX>;

/// A file that the boot loader has put into memory.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its bytes.
    pub(crate) range: PhysRange,
    /// Its line.
    pub(crate) line: Line,
}

/// All that the boot loader said, owned.
#[derive(Debug, Default)]
pub(crate) struct BootInformation {
    /// The machine's memory.
    pub(crate) map: MemoryMap,
    /// The boot modules, in the loader's order.
    pub(crate) modules: ArrayVec<Module, MODULES>,
    /// The hypervisor's command line.
    pub(crate) command_line: Line,
    /// Physical address of ACPI's root pointer, 0 if unknown.
    pub(crate) rsdp: u64,
    /// Memory of the loader's that is still referred to, by [`Self::rsdp`].
    pub(crate) in_use: Option<PhysRange>,
}

/// Copies the boot loader's information out. `magic` is what a multiboot2 loader leaves in EAX, or 0 for PVH.
///
/// # Errors
/// When it is not what the loader's protocol promises.
///
/// # Safety
/// `address` must be the one that the boot loader gave, the boot tables must be loaded, and nothing may have written to
/// the loader's memory yet.
pub(crate) unsafe fn read(magic: u64, address: u64) -> Result<BootInformation, InformationError> {
    if magic == u64::from(multiboot2::MAGIC) {
        // SAFETY: the caller's promise.
        unsafe { multiboot::read(address) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { pvh::read(address) }
    }
}

/// The line as far as there is room for it.
pub(crate) fn cut(text: &[u8]) -> Line {
    text.iter().copied().take(LINE_MAX).collect()
}

/// Whether the boot tables reach `length` bytes at an address.
pub(crate) fn check_reach(physical: u64, length: u64) -> Result<(), InformationError> {
    match physical.checked_add(length) {
        Some(end) if end <= REACH => Ok(()),
        _ => Err(InformationError::OutOfReach(physical)),
    }
}

/// Copies one value out of physical memory through the boot tables.
///
/// # Safety
/// The bytes must be memory that nobody writes meanwhile.
pub(crate) unsafe fn read_at<T: FromBytes>(physical: u64) -> Result<T, InformationError> {
    check_reach(physical, size_of::<T>() as u64)?;
    let source = layout::direct(physical) as *const T;
    // SAFETY: below the reach of the boot tables, so mapped; any bytes are a `T`; the caller excludes writers.
    Ok(unsafe { source.read_unaligned() })
}
