//! What ACPI says: the CPUs (MADT).

use crate::mem::layout::direct;
use acpi::madt::{Madt, MadtEntry};
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use arrayvec::ArrayVec;
use core::ptr::NonNull;

/// Most local APICs that are listed.
const MAX_APICS: usize = 64;

/// Reads tables through the direct map, which covers all memory that the loader called ACPI's or RAM, and its
/// surroundings to the next 2 MiB.
#[derive(Debug, Clone)]
struct DirectMap;

impl AcpiHandler for DirectMap {
    unsafe fn map_physical_region<T>(
        &self,
        physical: usize,
        size: usize,
    ) -> PhysicalMapping<Self, T> {
        let address = direct(physical as u64) as *mut T;
        let address = NonNull::new(address).expect("the direct map does not begin at 0");
        // SAFETY: the mapping exists for ever, and nobody writes firmware's tables.
        unsafe { PhysicalMapping::new(physical, address, size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}
}

/// The machine's local APICs that may be started, the boot CPU's included.
pub(crate) fn cpus(rsdp: u64) -> ArrayVec<u8, MAX_APICS> {
    let mut found = ArrayVec::new();
    let tables = if rsdp == 0 {
        // SAFETY: the BIOS area is below 1 MiB, in the direct map.
        unsafe { AcpiTables::search_for_rsdp_bios(DirectMap) }
    } else {
        // SAFETY: the loader gave the address.
        unsafe { AcpiTables::from_rsdp(DirectMap, rsdp as usize) }
    };
    let madt = tables.and_then(|tables| tables.find_table::<Madt>());
    let madt = match madt {
        Ok(madt) => madt,
        Err(error) => {
            log::warn!("no MADT ({error:?}): only the boot CPU runs");
            return found;
        }
    };
    for entry in madt.get().entries() {
        if let MadtEntry::LocalApic(apic) = entry {
            let (id, flags) = (apic.apic_id, apic.flags);
            if flags & 1 != 0 && found.try_push(id).is_err() {
                log::warn!("more than {MAX_APICS} CPUs: the others stay off");
                break;
            }
        }
    }
    found
}
