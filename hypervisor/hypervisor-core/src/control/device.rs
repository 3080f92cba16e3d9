//! Operations 0x700..: PCI devices, which the first domain drives.
//!
//! Where devices, bridges and message interrupts are is fixed: a device that was moved over RAM or over another device could break
//! what the hypervisor relies on. A driver that asks for a region's size by writing ones is answered by a probe of the hypervisor's
//! own, with the device's decoding off meanwhile.

use hypercall_abi::Errno;
use hypercall_abi::control::device::{MsixBind, PciRead, PciWrite};

use super::{Answer, End, require};
use crate::caller::Caller;
use crate::domain::rights::ControlRight;
use crate::machine::{Machine, PciAddress, PciWidth};
use crate::sync::{AtomicU32, Ordering};

/// Registers of configuration space (PCI Local Bus 3.0, 6.1 and 6.2).
const COMMAND: u16 = 0x04;
const HEADER_TYPE: u16 = 0x0e;
const FIRST_BAR: u16 = 0x10;
const BEHIND_BARS: u16 = 0x28;
const CAPABILITIES: u16 = 0x34;
const INTERRUPT_LINE: u16 = 0x3c;
const FIRST_FREE: u16 = 0x40;
/// Capabilities that are the hypervisor's: message interrupts.
const MSI: u8 = 0x05;
const MSIX: u8 = 0x11;
/// Bytes that they may have at most.
const MSI_SIZE: u16 = 24;
/// Longest list of capabilities that fits.
const MAX_CAPABILITIES: usize = 48;
/// Bits of the command register: I/O and memory decoding.
const DECODING: u32 = 3;

/// What is remembered of devices between calls.
#[derive(Debug, Default)]
pub struct Devices {
    /// The region register that is being asked for its size: address << 8 | register, 0 = none.
    sizing: AtomicU32,
}

pub(super) fn pci_read<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut PciRead,
) -> Answer {
    let address = address(request.bus, request.device, request.function)?;
    let width = width(request.width, request.register)?;
    let machine = caller.machine();
    let sized =
        caller.hv.devices().sizing.load(Ordering::Relaxed) == key(address, request.register);
    request.value = if sized && is_region(machine, address, request.register) {
        region_mask(machine, address, request.register)
    } else {
        machine.pci_read(address, request.register, width)
    };
    Ok(End::Done)
}

pub(super) fn pci_write<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut PciWrite,
) -> Answer {
    let address = address(request.bus, request.device, request.function)?;
    let width = width(request.width, request.register)?;
    let machine = caller.machine();
    if is_region(machine, address, request.register) && width == PciWidth::Double {
        let sizing = &caller.hv.devices().sizing;
        let asks = request.value == u32::MAX;
        sizing.store(
            if asks {
                key(address, request.register)
            } else {
                0
            },
            Ordering::Relaxed,
        );
        let same = request.value == machine.pci_read(address, request.register, width);
        return if asks || same {
            Ok(End::Done)
        } else {
            Err(Errno::EACCES)
        };
    }
    if !is_writable(machine, address, request.register) {
        return Err(Errno::EACCES);
    }
    machine.pci_write(address, request.register, width, request.value);
    Ok(End::Done)
}

pub(super) fn msix_bind<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut MsixBind,
) -> Answer {
    let address = address(request.bus, request.device, request.function)?;
    let entry = u16::try_from(request.entry).map_err(|_| Errno::EINVAL)?;
    let line = caller
        .machine()
        .bind_msix(address, entry)
        .ok_or(Errno::ENODEV)?;
    caller.hv.lines().claim(line);
    request.pirq = line.0.into();
    Ok(End::Done)
}

fn address(bus: u8, device: u8, function: u8) -> Result<PciAddress, Errno> {
    require(device < 32 && function < 8)?;
    Ok(PciAddress {
        bus,
        device,
        function,
    })
}

fn width(bytes: u8, register: u16) -> Result<PciWidth, Errno> {
    require(register < 256)?;
    let (width, mask) = match bytes {
        1 => (PciWidth::Byte, 0),
        2 => (PciWidth::Word, 1),
        4 => (PciWidth::Double, 3),
        _ => return Err(Errno::EINVAL),
    };
    require(register & mask == 0)?;
    Ok(width)
}

fn key(address: PciAddress, register: u16) -> u32 {
    let function = u32::from(address.device) << 3 | u32::from(address.function);
    u32::from(address.bus) << 16 | function << 8 | u32::from(register)
}

fn byte<M: Machine>(machine: &M, address: PciAddress, register: u16) -> u8 {
    let [low, ..] = machine
        .pci_read(address, register, PciWidth::Byte)
        .to_le_bytes();
    low
}

fn is_bridge<M: Machine>(machine: &M, address: PciAddress) -> bool {
    byte(machine, address, HEADER_TYPE) & 0x7f != 0
}

/// Whether a register says where a region of an ordinary device is.
fn is_region<M: Machine>(machine: &M, address: PciAddress, register: u16) -> bool {
    (FIRST_BAR..BEHIND_BARS).contains(&register) && !is_bridge(machine, address)
}

/// What a region's register reads after ones were written to it; the register keeps its value.
fn region_mask<M: Machine>(machine: &M, address: PciAddress, register: u16) -> u32 {
    let wide = PciWidth::Double;
    let command = machine.pci_read(address, COMMAND, PciWidth::Word);
    let value = machine.pci_read(address, register, wide);
    machine.pci_write(address, COMMAND, PciWidth::Word, command & !DECODING);
    machine.pci_write(address, register, wide, u32::MAX);
    let mask = machine.pci_read(address, register, wide);
    machine.pci_write(address, register, wide, value);
    machine.pci_write(address, COMMAND, PciWidth::Word, command);
    mask
}

/// Whether the first domain may write a register.
fn is_writable<M: Machine>(machine: &M, address: PciAddress, register: u16) -> bool {
    match register {
        // Command, status, cache line size, latency; type and self-test are read-only.
        COMMAND..HEADER_TYPE | INTERRUPT_LINE => !is_bridge(machine, address),
        FIRST_FREE.. => {
            !is_bridge(machine, address) && !is_message_interrupt(machine, address, register)
        }
        _ => false,
    }
}

/// Whether a register belongs to a capability of message interrupts.
fn is_message_interrupt<M: Machine>(machine: &M, address: PciAddress, register: u16) -> bool {
    let mut place = u16::from(byte(machine, address, CAPABILITIES) & 0xfc);
    for _ in 0..MAX_CAPABILITIES {
        if place < FIRST_FREE {
            return false;
        }
        let kind = byte(machine, address, place);
        let end = place.saturating_add(MSI_SIZE);
        if matches!(kind, MSI | MSIX) && (place..end).contains(&register) {
            return true;
        }
        place = u16::from(byte(machine, address, place.saturating_add(1)) & 0xfc);
    }
    false
}

#[cfg(test)]
mod tests;
