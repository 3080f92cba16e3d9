//! `grant_table_op`: memory lent to other domains.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::guest_ptr::GuestPtr;
use crate::ids::{RawDomId, RawGrantRef, RawMfn};

/// One entry of a grant table, version 1. The hypervisor changes flags and domid as one 32-bit word, by compare-exchange only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantEntryV1 {
    /// `GTF_*`.
    pub flags: u16,
    /// To whom.
    pub domid: RawDomId,
    /// Which frame.
    pub frame: u32,
}
layout!(GrantEntryV1 = "struct grant_entry_v1": 8 { flags @ 0, domid @ 2, frame @ 4 });

/// Argument of `GNTTABOP_map_grant_ref`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MapGrantRef {
    /// Virtual address to map at, or with `GNTMAP_CONTAINS_PTE` the machine address of the entry.
    pub host_addr: u64,
    /// `GNTMAP_*`.
    pub flags: u32,
    /// Which grant.
    pub gref: RawGrantRef,
    /// Whose grant.
    pub dom: RawDomId,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: handle of the mapping.
    pub handle: u32,
    /// Out: machine address of the frame.
    pub dev_bus_addr: u64,
}
layout!(MapGrantRef = "struct gnttab_map_grant_ref": 32 {
    host_addr @ 0, flags @ 8, gref = "ref" @ 12, dom @ 16, status @ 18, handle @ 20, dev_bus_addr @ 24,
});

/// Argument of `GNTTABOP_unmap_grant_ref`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UnmapGrantRef {
    /// As it was mapped; 0 = leave the mapping.
    pub host_addr: u64,
    /// As it was told; 0 = leave the device's mapping.
    pub dev_bus_addr: u64,
    /// Handle of the mapping.
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad0: u16,
}
layout!(UnmapGrantRef = "struct gnttab_unmap_grant_ref": 24 { host_addr @ 0, dev_bus_addr @ 8, handle @ 16, status @ 20 });

/// Argument of `GNTTABOP_setup_table`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SetupTable {
    /// Whose table.
    pub dom: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// Frames that the table shall have.
    pub nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Ignored.
    pub pad1: [u16; 3],
    /// Out: the frames.
    pub frame_list: GuestPtr<RawMfn>,
}
layout!(SetupTable = "struct gnttab_setup_table": 24 { dom @ 0, nr_frames @ 4, status @ 8, frame_list @ 16 });

/// Argument of `GNTTABOP_transfer`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantTransfer {
    /// Frame to give away.
    pub mfn: RawMfn,
    /// To whom.
    pub domid: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// By which of its entries.
    pub gref: RawGrantRef,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad1: [u16; 3],
}
layout!(GrantTransfer = "struct gnttab_transfer": 24 { mfn @ 0, domid @ 8, gref = "ref" @ 12, status @ 16 });

/// One side of a copy.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantCopySide {
    /// A grant reference (low 32 bits) or a frame number, by the flags.
    pub reference: u64,
    /// Whose; `DOMID_SELF` for a frame number.
    pub domid: RawDomId,
    /// Where in the frame, in bytes.
    pub offset: u16,
    /// Ignored.
    pub pad0: u32,
}
layout!(GrantCopySide = "struct gnttab_copy_ptr": 16 { reference = "u.gmfn" @ 0, domid @ 8, offset @ 10 });

/// Argument of `GNTTABOP_copy`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantCopy {
    /// From where.
    pub source: GrantCopySide,
    /// Where to.
    pub dest: GrantCopySide,
    /// Bytes.
    pub len: u16,
    /// `GNTCOPY_*`.
    pub flags: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad0: u16,
}
layout!(GrantCopy = "struct gnttab_copy": 40 { source @ 0, dest @ 16, len @ 32, flags @ 34, status @ 36 });

/// Argument of `GNTTABOP_query_size`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct QuerySize {
    /// Whose table.
    pub dom: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// Out: frames it has.
    pub nr_frames: u32,
    /// Out: frames it may have.
    pub max_nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad1: u16,
}
layout!(QuerySize = "struct gnttab_query_size": 16 { dom @ 0, nr_frames @ 4, max_nr_frames @ 8, status @ 12 });

/// Argument of `GNTTABOP_unmap_and_replace`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UnmapAndReplace {
    /// As it was mapped.
    pub host_addr: u64,
    /// Virtual address whose entry moves there.
    pub new_addr: u64,
    /// Handle of the mapping.
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad0: u16,
}
layout!(UnmapAndReplace = "struct gnttab_unmap_and_replace": 24 { host_addr @ 0, new_addr @ 8, handle @ 16, status @ 20 });

/// Argument of `GNTTABOP_set_version`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SetVersion {
    /// In: wanted; out: in force.
    pub version: u32,
}
layout!(SetVersion = "struct gnttab_set_version": 4 { version @ 0 });

/// Argument of `GNTTABOP_get_status_frames`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GetStatusFrames {
    /// Frames wanted.
    pub nr_frames: u32,
    /// Whose table.
    pub dom: RawDomId,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: the frames.
    pub frame_list: GuestPtr<u64>,
}
layout!(GetStatusFrames = "struct gnttab_get_status_frames": 16 { nr_frames @ 0, dom @ 4, status @ 6, frame_list @ 8 });

/// Argument of `GNTTABOP_get_version`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GetVersion {
    /// Whose table.
    pub dom: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// Out: version in force.
    pub version: u32,
}
layout!(GetVersion = "struct gnttab_get_version": 8 { dom @ 0, version @ 4 });

/// Argument of `GNTTABOP_swap_grant_ref`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SwapGrantRef {
    /// One entry.
    pub ref_a: RawGrantRef,
    /// The other.
    pub ref_b: RawGrantRef,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Zero.
    pub pad0: u16,
}
layout!(SwapGrantRef = "struct gnttab_swap_grant_ref": 12 { ref_a @ 0, ref_b @ 4, status @ 8 });

/// Argument of `GNTTABOP_cache_flush`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CacheFlush {
    /// Machine address of the frame.
    pub dev_bus_addr: u64,
    /// Where in the frame.
    pub offset: u16,
    /// Bytes.
    pub length: u16,
    /// `GNTTAB_CACHE_*`.
    pub op: u32,
}
layout!(CacheFlush = "struct gnttab_cache_flush": 16 { dev_bus_addr = "a.dev_bus_addr" @ 0, offset @ 8, length @ 10, op @ 12 });

/// Entries of version 1 in a frame.
pub const GRANT_ENTRIES_PER_FRAME: u32 = 512;
/// Frames of a grant table at most.
pub const MAX_GRANT_FRAMES: u32 = 64;
/// Handle that is never given.
pub const INVALID_GRANT_HANDLE: u32 = u32::MAX;

constants! {
    /// Maps grants.
    GNTTABOP_MAP_GRANT_REF: u32 = 0 => "GNTTABOP_map_grant_ref";
    /// Unmaps grants.
    GNTTABOP_UNMAP_GRANT_REF: u32 = 1 => "GNTTABOP_unmap_grant_ref";
    /// Makes the table larger and tells its frames.
    GNTTABOP_SETUP_TABLE: u32 = 2 => "GNTTABOP_setup_table";
    /// Removed.
    GNTTABOP_DUMP_TABLE: u32 = 3 => "GNTTABOP_dump_table";
    /// Gives frames away; refused.
    GNTTABOP_TRANSFER: u32 = 4 => "GNTTABOP_transfer";
    /// Copies between frames.
    GNTTABOP_COPY: u32 = 5 => "GNTTABOP_copy";
    /// Tells the table's size.
    GNTTABOP_QUERY_SIZE: u32 = 6 => "GNTTABOP_query_size";
    /// Unmaps and moves another entry there.
    GNTTABOP_UNMAP_AND_REPLACE: u32 = 7 => "GNTTABOP_unmap_and_replace";
    /// Chooses the version of the table.
    GNTTABOP_SET_VERSION: u32 = 8 => "GNTTABOP_set_version";
    /// Version 2: tells the status frames.
    GNTTABOP_GET_STATUS_FRAMES: u32 = 9 => "GNTTABOP_get_status_frames";
    /// Tells the version of the table.
    GNTTABOP_GET_VERSION: u32 = 10 => "GNTTABOP_get_version";
    /// Swaps two entries.
    GNTTABOP_SWAP_GRANT_REF: u32 = 11 => "GNTTABOP_swap_grant_ref";
    /// Other architectures only.
    GNTTABOP_CACHE_FLUSH: u32 = 12 => "GNTTABOP_cache_flush";

    /// Entry grants nothing.
    GTF_INVALID: u16 = 0 => "GTF_invalid";
    /// Entry lets a domain map and copy.
    GTF_PERMIT_ACCESS: u16 = 1 => "GTF_permit_access";
    /// Entry takes a frame that is given.
    GTF_ACCEPT_TRANSFER: u16 = 2 => "GTF_accept_transfer";
    /// Entry refers to another; version 2.
    GTF_TRANSITIVE: u16 = 3 => "GTF_transitive";
    /// Bits of the kind.
    GTF_TYPE_MASK: u16 = 3 => "GTF_type_mask";
    /// Read only.
    GTF_READONLY: u16 = 1 << 2 => "GTF_readonly";
    /// Is being read: set and cleared by the hypervisor.
    GTF_READING: u16 = 1 << 3 => "GTF_reading";
    /// Is being written: set and cleared by the hypervisor.
    GTF_WRITING: u16 = 1 << 4 => "GTF_writing";
    /// A part of a frame; version 2.
    GTF_SUB_PAGE: u16 = 1 << 8 => "GTF_sub_page";

    /// Entries kept for tools, below this.
    GNTTAB_NR_RESERVED_ENTRIES: u32 = 8;
    /// Entry of the console ring.
    GNTTAB_RESERVED_CONSOLE: u32 = 0;
    /// Entry of the xenstore ring.
    GNTTAB_RESERVED_XENSTORE: u32 = 1;

    /// Map for a device.
    GNTMAP_DEVICE_MAP: u32 = 1 << 0 => "GNTMAP_device_map";
    /// Map for the CPU.
    GNTMAP_HOST_MAP: u32 = 1 << 1 => "GNTMAP_host_map";
    /// Map read-only.
    GNTMAP_READONLY: u32 = 1 << 2 => "GNTMAP_readonly";
    /// Map for user mode.
    GNTMAP_APPLICATION_MAP: u32 = 1 << 3 => "GNTMAP_application_map";
    /// The address is the entry's.
    GNTMAP_CONTAINS_PTE: u32 = 1 << 4 => "GNTMAP_contains_pte";
    /// First of the flags that become the entry's available bits.
    GNTMAP_GUEST_AVAIL0: u32 = 16 => "_GNTMAP_guest_avail0";

    /// The source is a grant.
    GNTCOPY_SOURCE_GREF: u16 = 1 << 0 => "GNTCOPY_source_gref";
    /// The destination is a grant.
    GNTCOPY_DEST_GREF: u16 = 1 << 1 => "GNTCOPY_dest_gref";

    /// Done.
    GNTST_OKAY: i16 = 0 => "GNTST_okay";
    /// Failed for no other reason of this list.
    GNTST_GENERAL_ERROR: i16 = -1 => "GNTST_general_error";
    /// No such domain.
    GNTST_BAD_DOMAIN: i16 = -2 => "GNTST_bad_domain";
    /// No such grant.
    GNTST_BAD_GNTREF: i16 = -3 => "GNTST_bad_gntref";
    /// No such mapping.
    GNTST_BAD_HANDLE: i16 = -4 => "GNTST_bad_handle";
    /// Bad virtual address.
    GNTST_BAD_VIRT_ADDR: i16 = -5 => "GNTST_bad_virt_addr";
    /// Bad device address.
    GNTST_BAD_DEV_ADDR: i16 = -6 => "GNTST_bad_dev_addr";
    /// No room for devices.
    GNTST_NO_DEVICE_SPACE: i16 = -7 => "GNTST_no_device_space";
    /// No right.
    GNTST_PERMISSION_DENIED: i16 = -8 => "GNTST_permission_denied";
    /// Not such a frame.
    GNTST_BAD_PAGE: i16 = -9 => "GNTST_bad_page";
    /// A copy leaves its page.
    GNTST_BAD_COPY_ARG: i16 = -10 => "GNTST_bad_copy_arg";
    /// Address too wide.
    GNTST_ADDRESS_TOO_BIG: i16 = -11 => "GNTST_address_too_big";
    /// In `CacheFlush::op`: write dirty lines back.
    GNTTAB_CACHE_CLEAN: u32 = 1 << 0;
    /// In `CacheFlush::op`: forget lines.
    GNTTAB_CACHE_INVAL: u32 = 1 << 1;
    /// Try again.
    GNTST_EAGAIN: i16 = -12 => "GNTST_eagain";
    /// No handles left.
    GNTST_NO_SPACE: i16 = -13 => "GNTST_no_space";
}
