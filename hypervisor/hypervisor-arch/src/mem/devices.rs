//! Device registers mapped while the machine runs, uncached, in the devices' slot.

use crate::boot::memory_map::PhysRange;
use crate::mem::layout::{DEVICES, PAGE};
use crate::mem::own_tables::{L1Window, Rights, entry};
use spin::{Mutex, Once};

/// Pages of the slot's first L1 table.
const PAGES: usize = 512;
/// The local APIC's page comes first.
const FIRST_FREE: usize = 1;

static WINDOW: Once<L1Window> = Once::new();

/// Physical pages that are mapped, by their index in the window.
static MAPPED: Mutex<[u64; PAGES]> = Mutex::new([0; PAGES]);

/// Tells which L1 table maps the first pages of the devices' slot.
pub(crate) fn start(window: L1Window) {
    WINDOW.call_once(|| window);
}

/// The address of registers that do not cross a page, mapped if they are not yet; `None` if there is no page left.
/// Mappings stay for ever.
pub(crate) fn map(registers: PhysRange) -> Option<u64> {
    let offset = registers.start % PAGE;
    if offset + registers.length() > PAGE {
        return None;
    }
    let page = registers.start - offset;
    let mut mapped = MAPPED.lock();
    let known = mapped
        .iter()
        .skip(FIRST_FREE)
        .position(|&other| other == page);
    let free = mapped.iter().skip(FIRST_FREE).position(|&other| other == 0);
    let index = FIRST_FREE + known.or(free)?;
    // Not present before, so no CPU has anything of it to flush.
    WINDOW.get()?.set(index, entry(page, Rights::Device));
    mapped[index] = page;
    Some(DEVICES + index as u64 * PAGE + offset)
}

/// Writes a register of 32 bits at an address that `map` gave.
pub(crate) fn write(address: u64, value: u32) {
    let end = DEVICES + PAGES as u64 * PAGE;
    assert!((DEVICES..end).contains(&address) && address.is_multiple_of(4));
    // SAFETY: inside the window, where only device registers are mapped, and aligned; `map`'s callers know the device.
    unsafe { (address as *mut u32).write_volatile(value) };
}
