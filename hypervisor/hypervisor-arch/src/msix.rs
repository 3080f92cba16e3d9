//! Message-signalled interrupts: which MSI-X entry of which device raises which of our lines.
//!
//! Only we write the tables, so a device can raise no vector but those of `cpu::idt`'s device lines, on the boot CPU.

use crate::boot::memory_map::PhysRange;
use crate::cpu::{apic, idt};
use crate::mem::devices;
use crate::pci;
use arrayvec::ArrayVec;
use hypervisor_core::machine::{DeviceLine, PciAddress, PciWidth};
use spin::Mutex;

const STATUS: u16 = 0x06;
const HAS_CAPABILITIES: u32 = 1 << 4;
const CAPABILITIES: u16 = 0x34;
const FIRST_BAR: u16 = 0x10;
const MSIX: u32 = 0x11;
const CONTROL_ENABLE: u32 = 1 << 15;
const CONTROL_MASK_ALL: u32 = 1 << 14;
const BAR_IO: u32 = 1;
const BAR_64_BIT: u32 = 4;
const ENTRY_SIZE: u64 = 16;
/// Byte offsets in an entry.
const ENTRY_ADDRESS_HIGH: u64 = 4;
const ENTRY_DATA: u64 = 8;
const ENTRY_CONTROL: u64 = 12;
const ENTRY_MASKED: u32 = 1;

/// A line in use.
#[derive(Debug, Clone, Copy)]
struct Line {
    device: PciAddress,
    entry: u16,
    /// Where the table's entry is mapped.
    mapped: u64,
}

static LINES: Mutex<ArrayVec<Line, { idt::DEVICES as usize }>> = Mutex::new(ArrayVec::new_const());

/// Routes an entry of a device to a line, masked. A pair that has a line already keeps it.
pub(crate) fn bind(device: PciAddress, entry: u16) -> Option<DeviceLine> {
    let mut lines = LINES.lock();
    let known = lines
        .iter()
        .position(|line| line.device == device && line.entry == entry);
    let number = known.unwrap_or(lines.len());
    if known.is_none() {
        if lines.is_full() {
            return None;
        }
        let capability = find(device)?;
        let mapped = devices::map(entry_address(device, capability, entry)?)?;
        lines.push(Line {
            device,
            entry,
            mapped,
        });
        enable(device, capability);
    }
    let line = lines.get(number)?;
    let number = u8::try_from(number).ok()?;
    let vector = idt::DEVICE_FIRST + number;
    write(line, ENTRY_CONTROL, ENTRY_MASKED);
    write(
        line,
        0,
        apic::REGISTERS as u32 | u32::from(apic::id_of(0)) << 12,
    );
    write(line, ENTRY_ADDRESS_HIGH, 0);
    write(line, ENTRY_DATA, u32::from(vector));
    Some(DeviceLine(number))
}

/// Masks a line, or opens it.
pub(crate) fn set_masked(line: DeviceLine, masked: bool) {
    let lines = LINES.lock();
    if let Some(line) = lines.get(usize::from(line.0)) {
        write(line, ENTRY_CONTROL, if masked { ENTRY_MASKED } else { 0 });
    }
}

fn write(line: &Line, offset: u64, value: u32) {
    devices::write(line.mapped + offset, value);
}

/// The MSI-X capability's place in configuration space.
fn find(device: PciAddress) -> Option<u16> {
    if pci::read(device, STATUS, PciWidth::Word) & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = pci::read(device, CAPABILITIES, PciWidth::Byte) & 0xfc;
    // No list is longer than configuration space has room for: a ring of pointers ends here.
    for _ in 0..48 {
        let place = u16::try_from(at).ok().filter(|&place| place >= 0x40)?;
        if pci::read(device, place, PciWidth::Byte) == MSIX {
            return Some(place);
        }
        at = pci::read(device, place + 1, PciWidth::Byte) & 0xfc;
    }
    None
}

/// Physical address of a table's entry.
fn entry_address(device: PciAddress, capability: u16, entry: u16) -> Option<PhysRange> {
    let control = pci::read(device, capability + 2, PciWidth::Word);
    if u32::from(entry) > control & 0x7ff {
        return None;
    }
    let table = pci::read(device, capability + 4, PciWidth::Double);
    let bar = u16::try_from(table & 7).ok().filter(|&bar| bar < 6)?;
    let register = FIRST_BAR + 4 * bar;
    let low = pci::read(device, register, PciWidth::Double);
    if low & BAR_IO != 0 {
        return None;
    }
    let high = if low & BAR_64_BIT != 0 && bar < 5 {
        pci::read(device, register + 4, PciWidth::Double)
    } else {
        0
    };
    let base = u64::from(high) << 32 | u64::from(low & !0xf);
    let start = base
        .checked_add(u64::from(table & !7))?
        .checked_add(u64::from(entry) * ENTRY_SIZE)?;
    Some(PhysRange::with_length(start, ENTRY_SIZE))
}

/// Switches MSI-X on for the device.
fn enable(device: PciAddress, capability: u16) {
    let control = pci::read(device, capability + 2, PciWidth::Word);
    let control = control & !CONTROL_MASK_ALL | CONTROL_ENABLE;
    pci::write(device, capability + 2, PciWidth::Word, control);
}
