//! `memory_op`: reservations, populating, exchange, maps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guest_ptr::GuestPtr;
use crate::ids::{RawDomId, RawMfn, RawPfn};

/// Argument of increase, decrease and populate.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryReservation {
    /// List of extents: frame numbers, or for populate PFNs in and frame numbers out.
    pub extent_start: GuestPtr<u64>,
    /// Length of the list.
    pub nr_extents: u64,
    /// log2 of the frames in an extent.
    pub extent_order: u32,
    /// `XENMEMF_*`; bits 7..0 limit the width of addresses (0 = none), bits 15..8 are NUMA node + 1.
    pub mem_flags: u32,
    /// Whose memory.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: [u16; 3],
}
layout!(MemoryReservation = "struct xen_memory_reservation": 32 {
    extent_start @ 0, nr_extents @ 8, extent_order @ 16, mem_flags @ 20, domid @ 24,
});

/// Argument of exchange.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryExchange {
    /// Frames given.
    pub input: MemoryReservation,
    /// Frames wanted: PFNs in, frame numbers out.
    pub output: MemoryReservation,
    /// Input extents that have been exchanged; written at every exit.
    pub nr_exchanged: u64,
}
layout!(MemoryExchange = "struct xen_memory_exchange": 72 { input = "in" @ 0, output = "out" @ 32, nr_exchanged @ 64 });

/// Argument of current and maximum reservation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryDomain {
    /// Whose memory.
    pub domid: RawDomId,
}
layout!(MemoryDomain = "struct xen_memory_domain": 2 { domid @ 0 });

/// Argument of `XENMEM_machphys_mfn_list`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MachphysMfnList {
    /// Room in the list.
    pub max_extents: u32,
    /// Ignored.
    pub pad0: u32,
    /// The list.
    pub extent_start: GuestPtr<RawMfn>,
    /// Out: entries written.
    pub nr_extents: u32,
    /// Zero.
    pub pad1: u32,
}
layout!(MachphysMfnList = "struct xen_machphys_mfn_list": 24 { max_extents @ 0, extent_start @ 8, nr_extents @ 16 });

/// Answer of `XENMEM_machphys_mapping`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MachphysMapping {
    /// First address of the M2P.
    pub v_start: u64,
    /// First address behind it.
    pub v_end: u64,
    /// Highest frame that has an entry.
    pub max_mfn: u64,
}
layout!(MachphysMapping = "struct xen_machphys_mapping": 24 { v_start @ 0, v_end @ 8, max_mfn @ 16 });

/// Argument of `XENMEM_add_to_physmap`; for translated guests only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AddToPhysmap {
    /// Whose address space.
    pub domid: RawDomId,
    /// Pages, for a range.
    pub size: u16,
    /// `XENMAPSPACE_*`.
    pub space: u32,
    /// Index in the space.
    pub idx: u64,
    /// Where to.
    pub gpfn: RawPfn,
}
layout!(AddToPhysmap = "struct xen_add_to_physmap": 24 { domid @ 0, size @ 2, space @ 4, idx @ 8, gpfn @ 16 });

/// Argument of `XENMEM_add_to_physmap_batch`; for translated guests only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AddToPhysmapBatch {
    /// Whose address space.
    pub domid: RawDomId,
    /// `XENMAPSPACE_*`.
    pub space: u16,
    /// Pages.
    pub size: u16,
    /// Owner of the frames.
    pub foreign_domid: RawDomId,
    /// Indexes in the space.
    pub idxs: GuestPtr<u64>,
    /// Where to.
    pub gpfns: GuestPtr<RawPfn>,
    /// Out: an error for each.
    pub errs: GuestPtr<i32>,
}
layout!(AddToPhysmapBatch = "struct xen_add_to_physmap_batch": 32 {
    domid @ 0, space @ 2, size @ 4, foreign_domid = "u.foreign_domid" @ 6, idxs @ 8, gpfns @ 16, errs @ 24,
});

/// Argument of `XENMEM_remove_from_physmap`; for translated guests only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RemoveFromPhysmap {
    /// Whose address space.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: [u16; 3],
    /// Which page.
    pub gpfn: RawPfn,
}
layout!(RemoveFromPhysmap = "struct xen_remove_from_physmap": 16 { domid @ 0, gpfn @ 8 });

/// Argument of `XENMEM_memory_map`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryMap {
    /// In: room in the list. Out: entries written.
    pub nr_entries: u32,
    /// Ignored.
    pub pad0: u32,
    /// The list.
    pub buffer: GuestPtr<E820Entry>,
}
layout!(MemoryMap = "struct xen_memory_map": 16 { nr_entries @ 0, buffer @ 8 });

/// Argument of `XENMEM_set_memory_map`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ForeignMemoryMap {
    /// Whose map.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: [u16; 3],
    /// The map.
    pub map: MemoryMap,
}
layout!(ForeignMemoryMap = "struct xen_foreign_memory_map": 24 { domid @ 0, map @ 8 });

/// A range of guest "physical" addresses, in the BIOS's form: 20 bytes, packed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, packed)]
pub struct E820Entry {
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
    /// [`E820_RAM`] or [`E820_RESERVED`].
    pub kind: u32,
}
layout!(E820Entry = "": 20 { address = "" @ 0, size = "" @ 8, kind = "" @ 16 });

/// Argument of `XENMEM_acquire_resource`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AcquireResource {
    /// Whose resource.
    pub domid: RawDomId,
    /// `XENMEM_RESOURCE_*`.
    pub kind: u16,
    /// Which one of the kind.
    pub id: u32,
    /// In: frames wanted; 0 asks for the number there are.
    pub nr_frames: u32,
    /// Must be zero.
    pub pad: u32,
    /// Index of the first frame in the resource.
    pub frame: u64,
    /// Out: the frames.
    pub frame_list: GuestPtr<RawMfn>,
}
layout!(AcquireResource = "struct xen_mem_acquire_resource": 32 {
    domid @ 0, kind = "type" @ 2, id @ 4, nr_frames @ 8, pad @ 12, frame @ 16, frame_list @ 24,
});

/// Argument of `XENMEM_get_vnumainfo`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VnumaTopologyInfo {
    /// Whose.
    pub domid: RawDomId,
    /// Must be zero.
    pub pad: u16,
    /// In: room; out: nodes.
    pub nr_vnodes: u32,
    /// In: room; out: vCPUs.
    pub nr_vcpus: u32,
    /// In: room; out: ranges of memory.
    pub nr_vmemranges: u32,
    /// Distances between nodes.
    pub vdistance: GuestPtr<u32>,
    /// Node of each vCPU.
    pub vcpu_to_vnode: GuestPtr<u32>,
    /// Ranges.
    pub vmemrange: GuestPtr<u8>,
}
layout!(VnumaTopologyInfo = "struct xen_vnuma_topology_info": 40 {
    domid @ 0, pad @ 2, nr_vnodes @ 4, nr_vcpus @ 8, nr_vmemranges @ 12, vdistance = "vdistance.h" @ 16,
    vcpu_to_vnode = "vcpu_to_vnode.h" @ 24, vmemrange = "vmemrange.h" @ 32,
});

/// [`E820Entry::kind`]: RAM.
pub const E820_RAM: u32 = 1;
/// [`E820Entry::kind`]: not to be used.
pub const E820_RESERVED: u32 = 2;
/// Bits of the command that name the operation; those above are the extent a preempted call goes on with.
pub const MEMOP_CMD_MASK: u32 = 0x3f;
/// Where the extent begins in the command.
pub const MEMOP_EXTENT_SHIFT: u32 = 6;

constants! {
    /// Gives a domain frames without a PFN.
    XENMEM_INCREASE_RESERVATION: u32 = 0 => "XENMEM_increase_reservation";
    /// Gives frames back.
    XENMEM_DECREASE_RESERVATION: u32 = 1 => "XENMEM_decrease_reservation";
    /// Highest frame of the machine, plus 1.
    XENMEM_MAXIMUM_RAM_PAGE: u32 = 2 => "XENMEM_maximum_ram_page";
    /// Frames that a domain has.
    XENMEM_CURRENT_RESERVATION: u32 = 3 => "XENMEM_current_reservation";
    /// Frames that a domain may have.
    XENMEM_MAXIMUM_RESERVATION: u32 = 4 => "XENMEM_maximum_reservation";
    /// Frames that hold the M2P.
    XENMEM_MACHPHYS_MFN_LIST: u32 = 5 => "XENMEM_machphys_mfn_list";
    /// Gives a domain frames for PFNs.
    XENMEM_POPULATE_PHYSMAP: u32 = 6 => "XENMEM_populate_physmap";
    /// Translated guests only.
    XENMEM_ADD_TO_PHYSMAP: u32 = 7 => "XENMEM_add_to_physmap";
    /// The domain's memory map.
    XENMEM_MEMORY_MAP: u32 = 9 => "XENMEM_memory_map";
    /// The machine's memory map.
    XENMEM_MACHINE_MEMORY_MAP: u32 = 10 => "XENMEM_machine_memory_map";
    /// Swaps frames for others.
    XENMEM_EXCHANGE: u32 = 11 => "XENMEM_exchange";
    /// Where the M2P is.
    XENMEM_MACHPHYS_MAPPING: u32 = 12 => "XENMEM_machphys_mapping";
    /// Sets a domain's memory map.
    XENMEM_SET_MEMORY_MAP: u32 = 13 => "XENMEM_set_memory_map";
    /// Highest PFN of a domain.
    XENMEM_MAXIMUM_GPFN: u32 = 14 => "XENMEM_maximum_gpfn";
    /// Translated guests only.
    XENMEM_REMOVE_FROM_PHYSMAP: u32 = 15 => "XENMEM_remove_from_physmap";
    /// Translated guests only.
    XENMEM_SET_POD_TARGET: u32 = 16 => "XENMEM_set_pod_target";
    /// Translated guests only.
    XENMEM_GET_POD_TARGET: u32 = 17 => "XENMEM_get_pod_target";
    /// Frames saved by sharing.
    XENMEM_GET_SHARING_FREED_PAGES: u32 = 18 => "XENMEM_get_sharing_freed_pages";
    /// Frames shared.
    XENMEM_GET_SHARING_SHARED_PAGES: u32 = 19 => "XENMEM_get_sharing_shared_pages";
    /// Translated guests only.
    XENMEM_PAGING_OP: u32 = 20 => "XENMEM_paging_op";
    /// Translated guests only.
    XENMEM_ACCESS_OP: u32 = 21 => "XENMEM_access_op";
    /// Translated guests only.
    XENMEM_SHARING_OP: u32 = 22 => "XENMEM_sharing_op";
    /// Translated guests only.
    XENMEM_ADD_TO_PHYSMAP_BATCH: u32 = 23 => "XENMEM_add_to_physmap_batch";
    /// Reserves memory for a domain to be built.
    XENMEM_CLAIM_PAGES: u32 = 24 => "XENMEM_claim_pages";
    /// Frames that hold the 32-bit M2P.
    XENMEM_MACHPHYS_COMPAT_MFN_LIST: u32 = 25 => "";
    /// Virtual NUMA.
    XENMEM_GET_VNUMAINFO: u32 = 26 => "XENMEM_get_vnumainfo";
    /// Ranges reserved for devices.
    XENMEM_RESERVED_DEVICE_MEMORY_MAP: u32 = 27 => "XENMEM_reserved_device_memory_map";
    /// Frames of a grant table, for tools.
    XENMEM_ACQUIRE_RESOURCE: u32 = 28 => "XENMEM_acquire_resource";

    /// Populate on demand.
    XENMEMF_POPULATE_ON_DEMAND: u32 = 1 << 16 => "XENMEMF_populate_on_demand";
    /// From this NUMA node only.
    XENMEMF_EXACT_NODE_REQUEST: u32 = 1 << 17 => "XENMEMF_exact_node_request";
    /// The node is a virtual one.
    XENMEMF_VNODE: u32 = 1 << 18 => "XENMEMF_vnode";

    /// The shared info page.
    XENMAPSPACE_SHARED_INFO: u32 = 0 => "XENMAPSPACE_shared_info";
    /// Frames of the grant table.
    XENMAPSPACE_GRANT_TABLE: u32 = 1 => "XENMAPSPACE_grant_table";
    /// Frames of the domain.
    XENMAPSPACE_GMFN: u32 = 2 => "XENMAPSPACE_gmfn";
    /// A range of frames.
    XENMAPSPACE_GMFN_RANGE: u32 = 3 => "XENMAPSPACE_gmfn_range";
    /// Frames of another domain.
    XENMAPSPACE_GMFN_FOREIGN: u32 = 4 => "XENMAPSPACE_gmfn_foreign";

    /// A device model's pages.
    XENMEM_RESOURCE_IOREQ_SERVER: u16 = 0 => "XENMEM_resource_ioreq_server";
    /// A grant table.
    XENMEM_RESOURCE_GRANT_TABLE: u16 = 1 => "XENMEM_resource_grant_table";
    /// Its entries.
    XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED: u32 = 0 => "XENMEM_resource_grant_table_id_shared";
    /// Its status words.
    XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS: u32 = 1 => "XENMEM_resource_grant_table_id_status";
}
