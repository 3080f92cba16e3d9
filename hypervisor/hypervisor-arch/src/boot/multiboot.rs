//! The information of a multiboot2 loader, GRUB for one.
//!
//! The root pointer of ACPI comes as a copy inside the information, so that memory is kept until the CPUs are known.

use crate::boot::information::{
    BootInformation, InformationError, MODULES, Module, check_reach, cut, read_at,
};
use crate::boot::memory_map::{MemoryKind, PhysRange};
use crate::mem::layout;
use multiboot2::BootInformationHeader;

/// Bytes before the root pointer in its tag.
const TAG_HEADER: usize = 8;

/// Copies the loader's information out.
///
/// # Errors
/// When it is not what the protocol promises.
///
/// # Safety
/// As for [`read`](crate::boot::information::read).
pub(crate) unsafe fn read(address: u64) -> Result<BootInformation, InformationError> {
    // SAFETY: the information begins with its length; the caller excludes writers.
    let length: u32 = unsafe { read_at(address) }?;
    check_reach(address, u64::from(length))?;
    let start = layout::direct(address) as *const BootInformationHeader;
    // SAFETY: the loader's information, all of it mapped by the boot tables, which nobody writes meanwhile.
    let loader = unsafe { multiboot2::BootInformation::load(start) }
        .map_err(|_| InformationError::NotMultiboot)?;

    let mut information = BootInformation {
        in_use: Some(PhysRange::with_length(address, u64::from(length))),
        ..BootInformation::default()
    };
    let map = loader.memory_map_tag().ok_or(InformationError::NoMap)?;
    for area in map.memory_areas() {
        let range = PhysRange::with_length(area.start_address(), area.size());
        let kind = MemoryKind::from_e820(u32::from(area.typ()));
        let pushed = information.map.push(range, kind);
        pushed.map_err(|_| InformationError::MapTooLong)?;
    }
    for module in loader.module_tags().take(MODULES) {
        information.modules.push(Module {
            range: PhysRange {
                start: u64::from(module.start_address()),
                end: u64::from(module.end_address()),
            },
            line: cut(module.cmdline().unwrap_or_default().as_bytes()),
        });
    }
    if let Some(Ok(line)) = loader.command_line_tag().map(|tag| tag.cmdline()) {
        information.command_line = cut(line.as_bytes());
    }
    let old = loader.rsdp_v1_tag().map(|tag| (&raw const *tag).addr());
    let new = loader.rsdp_v2_tag().map(|tag| (&raw const *tag).addr());
    if let Some(tag) = new.or(old) {
        information.rsdp = (tag + TAG_HEADER) as u64 - layout::DIRECT_MAP;
    }
    Ok(information)
}
