//! PCI configuration space, by the ports 0xcf8 and 0xcfc.

use hypervisor_core::machine::{PciAddress, PciWidth};
use spin::Mutex;
use x86_64::instructions::port::Port;

const ENABLE: u32 = 1 << 31;
/// Bytes of configuration space.
const SPACE: u16 = 256;

/// Address and data are two accesses.
static PORTS: Mutex<(Port<u32>, u16)> = Mutex::new((Port::new(0xcf8), 0xcfc));

fn select(address: PciAddress, register: u16) -> u32 {
    ENABLE
        | u32::from(address.bus) << 16
        | u32::from(address.device & 31) << 11
        | u32::from(address.function & 7) << 8
        | u32::from(register & 0xfc)
}

/// Reads a register, aligned to its width. The ports reach 256 bytes: behind them there are only ones.
pub(crate) fn read(address: PciAddress, register: u16, width: PciWidth) -> u32 {
    if register >= SPACE {
        return u32::MAX;
    }
    let mut ports = PORTS.lock();
    let data = ports.1 | register & 3;
    // SAFETY: configuration space is the hypervisor's alone.
    unsafe { ports.0.write(select(address, register)) };
    match width {
        // SAFETY: as above; reading has no effect on the memory of the machine.
        PciWidth::Byte => u32::from(unsafe { Port::<u8>::new(data).read() }),
        // SAFETY: as above.
        PciWidth::Word => u32::from(unsafe { Port::<u16>::new(data).read() }),
        // SAFETY: as above.
        PciWidth::Double => unsafe { Port::<u32>::new(data).read() },
    }
}

/// Writes a register, aligned to its width; nothing happens beyond the 256 bytes that the ports reach.
pub(crate) fn write(address: PciAddress, register: u16, width: PciWidth, value: u32) {
    if register >= SPACE {
        return;
    }
    let mut ports = PORTS.lock();
    let data = ports.1 | register & 3;
    // SAFETY: configuration space is the hypervisor's alone.
    unsafe { ports.0.write(select(address, register)) };
    match width {
        // SAFETY: what may be written is decided by policy, which trusts dom0 with devices.
        PciWidth::Byte => unsafe { Port::<u8>::new(data).write(value as u8) },
        // SAFETY: as above.
        PciWidth::Word => unsafe { Port::<u16>::new(data).write(value as u16) },
        // SAFETY: as above.
        PciWidth::Double => unsafe { Port::<u32>::new(data).write(value) },
    }
}
