//! Reads what a PVH boot loader hands over (Xen's public header `arch-x86/hvm/start_info.h`).
//!
//! All of it lies in memory that will be reused, so everything is copied out at once into [`BootInformation`].

use crate::boot::memory_map::{MemoryKind, MemoryMap, PhysRange};
use crate::mem::layout;
use arrayvec::ArrayVec;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

const MAGIC: u32 = 0x336e_c578;
/// How much of physical memory the boot tables reach.
const REACH: u64 = 1 << 30;
/// Longest command line that is read; what follows is cut off.
pub(crate) const COMMAND_LINE_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modlist_paddr: u64,
    cmdline_paddr: u64,
    rsdp_paddr: u64,
    memmap_paddr: u64,
    memmap_entries: u32,
    reserved: u32,
}

#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ModuleEntry {
    paddr: u64,
    size: u64,
    cmdline_paddr: u64,
    reserved: u64,
}

#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MapEntry {
    addr: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// Why the start information cannot be used.
#[derive(Debug, Error)]
pub(crate) enum StartInfoError {
    #[error("the start information is not PVH version 1 or later")]
    NotPvh,
    #[error("boot information at {0:#x} lies above the first GiB")]
    OutOfReach(u64),
    #[error("the memory map has more than {} entries", MemoryMap::CAPACITY)]
    MapTooLong,
}

/// Most modules that are looked at: one more than are of use, to tell when there are too many.
pub(crate) const MODULES: usize = 3;

/// A file that the boot loader has put into memory.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its bytes.
    pub(crate) range: PhysRange,
    /// Its line; cut off where it is too long.
    pub(crate) line: Line,
}

/// A line that the boot loader gave.
pub(crate) type Line = ArrayVec<u8, COMMAND_LINE_MAX>;

/// All that the boot loader said, owned.
#[derive(Debug)]
pub(crate) struct BootInformation {
    /// The machine's memory.
    pub(crate) map: MemoryMap,
    /// The boot modules, in the loader's order.
    pub(crate) modules: ArrayVec<Module, MODULES>,
    /// The hypervisor's command line.
    pub(crate) command_line: Line,
    /// Physical address of ACPI's root pointer, 0 if unknown.
    pub(crate) rsdp: u64,
}

/// Copies the boot loader's information out.
///
/// # Errors
/// When it is not what the PVH protocol promises.
///
/// # Safety
/// `start_info` must be the address that the boot loader gave, the boot tables must be loaded, and nothing may have
/// written to low memory yet.
pub(crate) unsafe fn read(start_info: u64) -> Result<BootInformation, StartInfoError> {
    // SAFETY: the caller vouches for the address and that the memory is still the loader's.
    let info: StartInfo = unsafe { read_at(start_info) }?;
    if info.magic != MAGIC || info.version < 1 {
        return Err(StartInfoError::NotPvh);
    }

    let mut map = MemoryMap::default();
    for index in 0..u64::from(info.memmap_entries) {
        let address = info.memmap_paddr + index * size_of::<MapEntry>() as u64;
        // SAFETY: the loader's list has `memmap_entries` entries.
        let entry: MapEntry = unsafe { read_at(address) }?;
        let range = PhysRange::with_length(entry.addr, entry.size);
        map.push(range, MemoryKind::from_e820(entry.kind))
            .map_err(|_| StartInfoError::MapTooLong)?;
    }

    let mut modules = ArrayVec::new();
    for index in 0..u64::from(info.nr_modules).min(MODULES as u64) {
        let address = info.modlist_paddr + index * size_of::<ModuleEntry>() as u64;
        // SAFETY: the loader's list has `nr_modules` entries.
        let entry: ModuleEntry = unsafe { read_at(address) }?;
        modules.push(Module {
            range: PhysRange::with_length(entry.paddr, entry.size),
            // SAFETY: the loader's string.
            line: unsafe { read_line(entry.cmdline_paddr) }?,
        });
    }

    // SAFETY: the loader's string.
    let command_line = unsafe { read_line(info.cmdline_paddr) }?;
    Ok(BootInformation {
        map,
        modules,
        command_line,
        rsdp: info.rsdp_paddr,
    })
}

/// Copies a string that ends with a zero byte; address 0 is none.
///
/// # Safety
/// As for [`read_at`].
unsafe fn read_line(physical: u64) -> Result<Line, StartInfoError> {
    let mut line = Line::new();
    while physical != 0 && !line.is_full() {
        // SAFETY: the caller's promise; the loop stops at the string's end.
        let byte: u8 = unsafe { read_at(physical + line.len() as u64) }?;
        if byte == 0 {
            break;
        }
        line.push(byte);
    }
    Ok(line)
}

/// Copies one value out of physical memory through the boot tables.
///
/// # Safety
/// The bytes must be memory that nobody writes meanwhile.
unsafe fn read_at<T: FromBytes>(physical: u64) -> Result<T, StartInfoError> {
    if physical > REACH - PAGE_MARGIN {
        return Err(StartInfoError::OutOfReach(physical));
    }
    let source = layout::direct(physical) as *const T;
    // SAFETY: below the reach of the boot tables, so mapped; any bytes are a `T`; the caller excludes writers.
    Ok(unsafe { source.read_unaligned() })
}

/// Every structure that is read is smaller than this.
const PAGE_MARGIN: u64 = layout::PAGE;
