//! PCI configuration space, by hypercall.

use alloc::vec::Vec;

use guest_kernel::hypercall::{Errno, manage};
use hypercall_abi::control::device::{MsixBind, PciRead, PciWrite};

/// Offset of vendor and device.
const IDENTITY: u16 = 0;
/// Offset of the command register: memory space and bus mastering are bits of it.
const COMMAND: u16 = 4;
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_BUS_MASTER: u32 = 1 << 2;
/// Offset of the status register, and its bit that says that there are capabilities.
const STATUS: u16 = 6;
const STATUS_CAPABILITIES: u32 = 1 << 4;
/// Offset of the first base address register.
const BASE_ADDRESS: u16 = 0x10;
/// Offset of the first capability's offset.
const CAPABILITIES: u16 = 0x34;
/// Capabilities of one function, at most: they are four bytes at least, in 192.
const MAX_CAPABILITIES: usize = 48;

/// One function of a device on bus 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    device: u8,
    function: u8,
}

impl Function {
    /// Functions of bus 0 of which vendor and device are `wanted`.
    pub(super) fn find(wanted: impl Fn(u32, u32) -> bool) -> Option<Self> {
        let slots =
            (0..32).flat_map(|device| (0..8).map(move |function| Self { device, function }));
        let mut found = slots.filter(|slot| {
            let identity = slot.read(IDENTITY, 4);
            wanted(identity & 0xffff, identity >> 16)
        });
        found.next()
    }

    /// Reads a register; all ones where there is nothing.
    pub(super) fn read(self, register: u16, width: u8) -> u32 {
        let question = PciRead {
            device: self.device,
            function: self.function,
            width,
            register,
            ..PciRead::default()
        };
        manage::pci_read(question).unwrap_or(u32::MAX)
    }

    /// Lets the device answer at its addresses and reach memory.
    pub(super) fn enable(self) -> Result<(), Errno> {
        let value = self.read(COMMAND, 2) | COMMAND_MEMORY | COMMAND_BUS_MASTER;
        manage::pci_write(PciWrite {
            device: self.device,
            function: self.function,
            width: 2,
            register: COMMAND,
            value,
            ..PciWrite::default()
        })
    }

    /// The machine address in a base address register, if it is one of memory.
    pub(super) fn memory_base(self, bar: u8) -> Option<u64> {
        let register = BASE_ADDRESS + u16::from(bar) * 4;
        let low = self.read(register, 4);
        let is_port = low & 1 != 0;
        let is_wide = low >> 1 & 3 == 2;
        let high = if is_wide {
            self.read(register + 4, 4)
        } else {
            0
        };
        let base = u64::from(high) << 32 | u64::from(low & !0xf);
        (!is_port && base != 0).then_some(base)
    }

    /// Offsets of the capabilities with this number.
    pub(super) fn capabilities(self, wanted: u8) -> Vec<u16> {
        if self.read(STATUS, 2) & STATUS_CAPABILITIES == 0 {
            return Vec::new();
        }
        let next = |register: u16| {
            let offset = u16::try_from(self.read(register, 1) & 0xfc).unwrap_or(0);
            (offset >= 0x40).then_some(offset)
        };
        core::iter::successors(next(CAPABILITIES), |at| next(at + 1))
            .take(MAX_CAPABILITIES)
            .filter(|at| self.read(*at, 1) == u32::from(wanted))
            .collect()
    }

    /// The interrupt of an MSI-X entry.
    pub(super) fn interrupt(self, entry: u32) -> Result<u32, Errno> {
        manage::msix_bind(MsixBind {
            device: self.device,
            function: self.function,
            entry,
            ..MsixBind::default()
        })
    }
}
