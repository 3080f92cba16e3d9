//! One PCI device, at 0:3.0: a region of 4 KiB, an MSI-X and an MSI capability, a register of its own.

use std::vec::Vec;

use crate::machine::{PciAddress, PciWidth};

/// Where it is.
pub const ADDRESS: PciAddress = PciAddress {
    bus: 0,
    device: 3,
    function: 0,
};
/// Its region's register.
pub const REGION: u16 = 0x10;
/// Its MSI-X capability.
pub const MSIX: u16 = 0x40;
/// Entries of its MSI-X table.
pub const ENTRIES: u16 = 4;
/// Its MSI capability.
pub const MSI: u16 = 0x50;
/// A register that only its driver knows.
pub const OWN: u16 = 0x80;
/// Bits of the region's register that hold an address.
const REGION_BITS: u32 = 0xffff_f000;

/// The device's configuration space.
#[derive(Clone, Debug)]
pub struct FakeDevice {
    space: [u8; 256],
    /// Whether it lets itself be found.
    pub present: bool,
    /// Its addresses, each time one was written while it answered to them.
    pub moved_live: Vec<u32>,
}

impl Default for FakeDevice {
    fn default() -> Self {
        let mut device = Self {
            space: [0; 256],
            present: false,
            moved_live: Vec::new(),
        };
        for (register, value) in [
            (0x04, 0x0010_0007_u32),
            (REGION, 0xfebf_1000),
            (0x34, u32::from(MSIX)),
            (MSIX, 0x0003_0011 | u32::from(MSI) << 8),
            (MSI, 0x0000_0005),
            (OWN, 0x1234_5678),
        ] {
            device.store(register, &value.to_le_bytes());
        }
        device
    }
}

impl FakeDevice {
    /// Reads of other places, and of an absent device, give ones.
    pub(super) fn read(&self, address: PciAddress, register: u16, width: PciWidth) -> u32 {
        let mut bytes = [0; 4];
        let length = bytes_of(width);
        let start = usize::from(register);
        if !self.present || address != ADDRESS {
            return u32::MAX >> (32 - 8 * length);
        }
        bytes[..length].copy_from_slice(&self.space[start..start + length]);
        u32::from_le_bytes(bytes)
    }

    pub(super) fn write(
        &mut self,
        address: PciAddress,
        register: u16,
        width: PciWidth,
        value: u32,
    ) {
        if !self.present || address != ADDRESS {
            return;
        }
        if register == REGION {
            if self.space[4] & 3 != 0 {
                self.moved_live.push(value);
            }
            self.store(register, &(value & REGION_BITS).to_le_bytes());
        } else {
            self.store(register, &value.to_le_bytes()[..bytes_of(width)]);
        }
    }

    fn store(&mut self, register: u16, bytes: &[u8]) {
        let start = usize::from(register);
        self.space[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

fn bytes_of(width: PciWidth) -> usize {
    match width {
        PciWidth::Byte => 1,
        PciWidth::Word => 2,
        PciWidth::Double => 4,
    }
}
