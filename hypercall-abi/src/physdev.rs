//! `physdev_op`: I/O privilege and interrupts of devices.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guest_ptr::GuestPtr;
use crate::ids::RawDomId;

/// Argument of `PHYSDEVOP_eoi`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevEoi {
    /// The interrupt.
    pub irq: u32,
}
layout!(PhysdevEoi = "struct physdev_eoi": 4 { irq @ 0 });

/// Argument of `PHYSDEVOP_irq_status_query`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevIrqStatusQuery {
    /// The interrupt.
    pub irq: u32,
    /// Out: `XENIRQSTAT_*`.
    pub flags: u32,
}
layout!(PhysdevIrqStatusQuery = "struct physdev_irq_status_query": 8 { irq @ 0, flags @ 4 });

/// Argument of `PHYSDEVOP_set_iopl`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevSetIopl {
    /// 0 to 3.
    pub iopl: u32,
}
layout!(PhysdevSetIopl = "struct physdev_set_iopl": 4 { iopl @ 0 });

/// Argument of `PHYSDEVOP_set_iobitmap`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevSetIobitmap {
    /// A bit per port, clear = allowed.
    pub bitmap: GuestPtr<u8>,
    /// Ports that it covers, at most 65536.
    pub nr_ports: u32,
    /// Ignored.
    pub pad0: u32,
}
layout!(PhysdevSetIobitmap = "struct physdev_set_iobitmap": 16 { bitmap @ 0, nr_ports @ 8 });

/// Argument of `PHYSDEVOP_map_pirq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevMapPirq {
    /// For whom.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// `MAP_PIRQ_TYPE_*`.
    pub kind: i32,
    /// Interrupt line.
    pub index: i32,
    /// In and out: the number.
    pub pirq: i32,
    /// PCI bus.
    pub bus: i32,
    /// PCI device and function.
    pub devfn: i32,
    /// Entry of the MSI-X table.
    pub entry_nr: i32,
    /// Ignored.
    pub pad1: u32,
    /// Where the MSI-X table is.
    pub table_base: u64,
}
layout!(PhysdevMapPirq = "struct physdev_map_pirq": 40 {
    domid @ 0, kind = "type" @ 4, index @ 8, pirq @ 12, bus @ 16, devfn @ 20, entry_nr @ 24, table_base @ 32,
});

/// Argument of `PHYSDEVOP_unmap_pirq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevUnmapPirq {
    /// Whose.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// The number.
    pub pirq: i32,
}
layout!(PhysdevUnmapPirq = "struct physdev_unmap_pirq": 8 { domid @ 0, pirq @ 4 });

/// Argument of `PHYSDEVOP_get_free_pirq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PhysdevGetFreePirq {
    /// `MAP_PIRQ_TYPE_*`.
    pub kind: i32,
    /// Out: a free number.
    pub pirq: u32,
}
layout!(PhysdevGetFreePirq = "struct physdev_get_free_pirq": 8 { kind = "type" @ 0, pirq @ 4 });

constants! {
    /// Nothing.
    PHYSDEVOP_IRQ_UNMASK_NOTIFY: u32 = 4 => "PHYSDEVOP_IRQ_UNMASK_NOTIFY";
    /// Tells what an interrupt needs.
    PHYSDEVOP_IRQ_STATUS_QUERY: u32 = 5 => "PHYSDEVOP_irq_status_query";
    /// Sets the virtual I/O privilege of the vCPU.
    PHYSDEVOP_SET_IOPL: u32 = 6 => "PHYSDEVOP_set_iopl";
    /// Sets the bitmap of ports that user mode may use.
    PHYSDEVOP_SET_IOBITMAP: u32 = 7 => "PHYSDEVOP_set_iobitmap";
    /// Reads an I/O APIC.
    PHYSDEVOP_APIC_READ: u32 = 8 => "PHYSDEVOP_apic_read";
    /// Writes an I/O APIC.
    PHYSDEVOP_APIC_WRITE: u32 = 9 => "PHYSDEVOP_apic_write";
    /// Tells the vector of an interrupt.
    PHYSDEVOP_ALLOC_IRQ_VECTOR: u32 = 10 => "PHYSDEVOP_alloc_irq_vector";
    /// Ends an interrupt.
    PHYSDEVOP_EOI: u32 = 12 => "PHYSDEVOP_eoi";
    /// Makes a number for an interrupt.
    PHYSDEVOP_MAP_PIRQ: u32 = 13 => "PHYSDEVOP_map_pirq";
    /// Gives it back.
    PHYSDEVOP_UNMAP_PIRQ: u32 = 14 => "PHYSDEVOP_unmap_pirq";
    /// Registers a page of bits of interrupts that want an end.
    PHYSDEVOP_PIRQ_EOI_GMFN_V1: u32 = 17 => "PHYSDEVOP_pirq_eoi_gmfn_v1";
    /// Sets a line up.
    PHYSDEVOP_SETUP_GSI: u32 = 21 => "PHYSDEVOP_setup_gsi";
    /// Tells a free number.
    PHYSDEVOP_GET_FREE_PIRQ: u32 = 23 => "PHYSDEVOP_get_free_pirq";
    /// Tells of a range of PCI configuration space.
    PHYSDEVOP_PCI_MMCFG_RESERVED: u32 = 24 => "PHYSDEVOP_pci_mmcfg_reserved";
    /// Tells of a device.
    PHYSDEVOP_PCI_DEVICE_ADD: u32 = 25 => "PHYSDEVOP_pci_device_add";
    /// Takes it back.
    PHYSDEVOP_PCI_DEVICE_REMOVE: u32 = 26 => "PHYSDEVOP_pci_device_remove";
    /// As 17, second form.
    PHYSDEVOP_PIRQ_EOI_GMFN_V2: u32 = 28 => "PHYSDEVOP_pirq_eoi_gmfn_v2";
    /// In `PhysdevIrqStatusQuery::flags`: wants an end.
    XENIRQSTAT_NEEDS_EOI: u32 = 1 << 0 => "XENIRQSTAT_needs_eoi";
    /// In `PhysdevIrqStatusQuery::flags`: is shared.
    XENIRQSTAT_SHARED: u32 = 1 << 1 => "XENIRQSTAT_shared";
    /// A message-signalled interrupt.
    MAP_PIRQ_TYPE_MSI: i32 = 0;
    /// A line.
    MAP_PIRQ_TYPE_GSI: i32 = 1;
}
