//! `xen_version`: version, names and features; and the versions of Paravane's own interface.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The ABI that guests see, as `XENVER_version` tells it: Xen 4.17.
pub const GUEST_ABI_VERSION: u32 = 4 << 16 | 17;
/// Newest version of the control interface (hypercall 56) declared here.
pub const CONTROL_ABI_VERSION: u16 = 2;
/// Oldest version of the control interface still served.
pub const OLDEST_CONTROL_ABI_VERSION: u16 = 1;
/// Text of `XENVER_capabilities`.
pub const CAPABILITIES: &[u8] = b"xen-3.0-x86_64 ";

/// Answer to `XENVER_extraversion`, padded with zeros in full.
pub type ExtraVersion = [u8; 16];
/// Answer to `XENVER_capabilities`.
pub type CapabilitiesInfo = [u8; 1024];
/// Answer to `XENVER_changeset`.
pub type ChangesetInfo = [u8; 64];
/// Answer to `XENVER_commandline`.
pub type Commandline = [u8; 1024];
/// Answer to `XENVER_guest_handle`: the domain's UUID.
pub type DomainHandle = [u8; 16];

/// Answer to `XENVER_compile_info`: texts with NULs at their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompileInfo {
    /// Compiler.
    pub compiler: [u8; 64],
    /// By whom.
    pub compile_by: [u8; 16],
    /// Where.
    pub compile_domain: [u8; 32],
    /// When.
    pub compile_date: [u8; 32],
}
layout!(CompileInfo = "struct xen_compile_info": 144 {
    compiler @ 0, compile_by @ 64, compile_domain @ 80, compile_date @ 112,
});

/// Answer to `XENVER_platform_parameters`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PlatformParameters {
    /// First address of the hypervisor's part.
    pub virt_start: u64,
}
layout!(PlatformParameters = "struct xen_platform_parameters": 8 { virt_start @ 0 });

/// Question and answer of `XENVER_get_features`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FeatureInfo {
    /// In: which word of 32 features; only 0 exists.
    pub submap_idx: u32,
    /// Out: bit n is feature n.
    pub submap: u32,
}
layout!(FeatureInfo = "struct xen_feature_info": 8 { submap_idx @ 0, submap @ 4 });

/// Header of the answer to `XENVER_build_id`; the bytes follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BuildIdHeader {
    /// Length of the identifier in bytes.
    pub len: u32,
}
layout!(BuildIdHeader = "": 4 { len = "" @ 0 });

constants! {
    /// Returns major << 16 | minor.
    XENVER_VERSION: u32 = 0 => "XENVER_version";
    /// What follows the version.
    XENVER_EXTRAVERSION: u32 = 1 => "XENVER_extraversion";
    /// How it was built.
    XENVER_COMPILE_INFO: u32 = 2 => "XENVER_compile_info";
    /// Which guests run.
    XENVER_CAPABILITIES: u32 = 3 => "XENVER_capabilities";
    /// From which source.
    XENVER_CHANGESET: u32 = 4 => "XENVER_changeset";
    /// Where the hypervisor's part begins.
    XENVER_PLATFORM_PARAMETERS: u32 = 5 => "XENVER_platform_parameters";
    /// Features.
    XENVER_GET_FEATURES: u32 = 6 => "XENVER_get_features";
    /// Size of a page.
    XENVER_PAGESIZE: u32 = 7 => "XENVER_pagesize";
    /// The domain's UUID.
    XENVER_GUEST_HANDLE: u32 = 8 => "XENVER_guest_handle";
    /// The hypervisor's command line.
    XENVER_COMMANDLINE: u32 = 9 => "XENVER_commandline";
    /// Identifier of the build.
    XENVER_BUILD_ID: u32 = 10 => "XENVER_build_id";

    /// Of the structure of `sysctl`.
    XEN_SYSCTL_INTERFACE_VERSION: u32 = 0x15 => "";
    /// Of the structure of `domctl`.
    XEN_DOMCTL_INTERFACE_VERSION: u32 = 0x15 => "";

    /// Only translated guests have it.
    XENFEAT_WRITABLE_PAGE_TABLES: u32 = 0 => "XENFEAT_writable_page_tables";
    /// Never offered.
    XENFEAT_WRITABLE_DESCRIPTOR_TABLES: u32 = 1 => "XENFEAT_writable_descriptor_tables";
    /// Never offered.
    XENFEAT_AUTO_TRANSLATED_PHYSMAP: u32 = 2 => "XENFEAT_auto_translated_physmap";
    /// Never offered.
    XENFEAT_SUPERVISOR_MODE_KERNEL: u32 = 3 => "XENFEAT_supervisor_mode_kernel";
    /// Follows `VMASST_TYPE_pae_extended_cr3`.
    XENFEAT_PAE_PGDIR_ABOVE_4GB: u32 = 4 => "XENFEAT_pae_pgdir_above_4gb";
    /// `MMU_PT_UPDATE_PRESERVE_AD` exists.
    XENFEAT_MMU_PT_UPDATE_PRESERVE_AD: u32 = 5 => "XENFEAT_mmu_pt_update_preserve_ad";
    /// `MMUEXT_CLEAR_PAGE` and `MMUEXT_COPY_PAGE` exist.
    XENFEAT_HIGHMEM_ASSIST: u32 = 6 => "XENFEAT_highmem_assist";
    /// Grant maps keep the entry's available bits.
    XENFEAT_GNTTAB_MAP_AVAIL_BITS: u32 = 7 => "XENFEAT_gnttab_map_avail_bits";
    /// HVM only.
    XENFEAT_HVM_CALLBACK_VECTOR: u32 = 8 => "XENFEAT_hvm_callback_vector";
    /// HVM only.
    XENFEAT_HVM_SAFE_PVCLOCK: u32 = 9 => "XENFEAT_hvm_safe_pvclock";
    /// HVM only.
    XENFEAT_HVM_PIRQS: u32 = 10 => "XENFEAT_hvm_pirqs";
    /// The domain is the first one.
    XENFEAT_DOM0: u32 = 11 => "XENFEAT_dom0";
    /// `XENMEMF_vnode` is honoured.
    XENFEAT_MEMORY_OP_VNODE_SUPPORTED: u32 = 13 => "XENFEAT_memory_op_vnode_supported";
    /// In a kernel's note only: it finds its ACPI tables anywhere.
    XENFEAT_LINUX_RSDP_UNRESTRICTED: u32 = 15 => "XENFEAT_linux_rsdp_unrestricted";
    /// The domain is translated.
    XENFEAT_NOT_DIRECT_MAPPED: u32 = 16 => "XENFEAT_not_direct_mapped";
    /// Addresses in entries are machine addresses.
    XENFEAT_DIRECT_MAPPED: u32 = 17 => "XENFEAT_direct_mapped";
}
