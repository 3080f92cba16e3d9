//! The start information of QEMU's `-kernel` (the PVH protocol).
//!
//! It lies somewhere in low memory that is free from then on: all of it is copied before anything else is done.

use crate::boot::information::{BootInformation, InformationError, Line, MODULES, Module, read_at};
use crate::boot::memory_map::{MemoryKind, MemoryMap, PhysRange};
use arrayvec::ArrayVec;
use zerocopy::{FromBytes, Immutable, KnownLayout};

const MAGIC: u32 = 0x336e_c578;

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

/// Copies the boot loader's information out.
///
/// # Errors
/// When it is not what the PVH protocol promises.
///
/// # Safety
/// `start_info` must be the address that the boot loader gave, the boot tables must be loaded, and nothing may have
/// written to low memory yet.
pub(crate) unsafe fn read(start_info: u64) -> Result<BootInformation, InformationError> {
    // SAFETY: the caller vouches for the address and that the memory is still the loader's.
    let info: StartInfo = unsafe { read_at(start_info) }?;
    if info.magic != MAGIC || info.version < 1 {
        return Err(InformationError::NotPvh);
    }

    let mut map = MemoryMap::default();
    for index in 0..u64::from(info.memmap_entries) {
        let address = info.memmap_paddr + index * size_of::<MapEntry>() as u64;
        // SAFETY: the loader's list has `memmap_entries` entries.
        let entry: MapEntry = unsafe { read_at(address) }?;
        let range = PhysRange::with_length(entry.addr, entry.size);
        map.push(range, MemoryKind::from_e820(entry.kind))
            .map_err(|_| InformationError::MapTooLong)?;
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
        in_use: None,
    })
}

/// Copies a string that ends with a zero byte; address 0 is none.
///
/// # Safety
/// As for [`read_at`].
unsafe fn read_line(physical: u64) -> Result<Line, InformationError> {
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
