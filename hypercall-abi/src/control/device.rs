//! Operations 0x700..: PCI devices, which the management domain drives.
//!
//! It finds them by reading configuration space, maps their registers by ordinary L1 entries (frames that are not RAM, never cached)
//! and takes their interrupts as event channels. It is trusted for DMA.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};

/// Question and answer of `PCI_READ`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PciRead {
    /// Version 1.
    pub header: ControlHeader,
    /// In: bus.
    pub bus: u8,
    /// In: device, 0..=31.
    pub device: u8,
    /// In: function, 0..=7.
    pub function: u8,
    /// In: bytes, 1, 2 or 4.
    pub width: u8,
    /// In: offset in configuration space, a multiple of `width`, below 256.
    pub register: u16,
    /// Zero.
    pub reserved: u16,
    /// Out: what was read; all ones where there is nothing.
    pub value: u32,
    /// Zero.
    pub reserved2: u32,
}
layout!(PciRead = "": 24 {
    header @ 0, bus @ 8, device @ 9, function @ 10, width @ 11, register @ 12, reserved @ 14, value @ 16, reserved2 @ 20,
});
control!(PciRead is PCI_READ version 1, reserves reserved, reserved2);

/// Argument of `PCI_WRITE`. Addresses of devices, bridges and interrupt registers are the hypervisor's: `EACCES`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PciWrite {
    /// Version 1.
    pub header: ControlHeader,
    /// In: bus.
    pub bus: u8,
    /// In: device, 0..=31.
    pub device: u8,
    /// In: function, 0..=7.
    pub function: u8,
    /// In: bytes, 1, 2 or 4.
    pub width: u8,
    /// In: offset in configuration space, a multiple of `width`, below 256.
    pub register: u16,
    /// Zero.
    pub reserved: u16,
    /// In: what to write.
    pub value: u32,
    /// Zero.
    pub reserved2: u32,
}
layout!(PciWrite = "": 24 {
    header @ 0, bus @ 8, device @ 9, function @ 10, width @ 11, register @ 12, reserved @ 14, value @ 16, reserved2 @ 20,
});
control!(PciWrite is PCI_WRITE version 1, reserves reserved, reserved2);

/// Argument and answer of `MSIX_BIND`: the hypervisor programs the entry and unmasks it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MsixBind {
    /// Version 1.
    pub header: ControlHeader,
    /// In: bus.
    pub bus: u8,
    /// In: device, 0..=31.
    pub device: u8,
    /// In: function, 0..=7.
    pub function: u8,
    /// Zero.
    pub reserved: u8,
    /// In: entry of the device's MSI-X table.
    pub entry: u32,
    /// Out: number for `EVTCHNOP_bind_pirq`.
    pub pirq: u32,
    /// Zero.
    pub reserved2: u32,
}
layout!(MsixBind = "": 24 {
    header @ 0, bus @ 8, device @ 9, function @ 10, reserved @ 11, entry @ 12, pirq @ 16, reserved2 @ 20,
});
control!(MsixBind is MSIX_BIND version 1, reserves reserved, reserved2);

constants! {
    /// Reads PCI configuration space.
    PCI_READ: u32 = 0x700 => "";
    /// Writes PCI configuration space.
    PCI_WRITE: u32 = 0x701 => "";
    /// Makes an MSI-X entry an interrupt that can be bound to a port.
    MSIX_BIND: u32 = 0x702 => "";
}
