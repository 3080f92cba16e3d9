//! The ELF notes of every kernel that links this library.

use core::arch::global_asm;

use hypercall_abi::elf_note::{
    XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_FEATURES, XEN_ELFNOTE_GUEST_OS, XEN_ELFNOTE_GUEST_VERSION,
    XEN_ELFNOTE_LOADER, XEN_ELFNOTE_MOD_START_PFN, XEN_ELFNOTE_SUPPORTED_FEATURES,
    XEN_ELFNOTE_VIRT_BASE, XEN_ELFNOTE_XEN_VERSION,
};

global_asm!(
    include_str!("notes.s"),
    xen_version = const XEN_ELFNOTE_XEN_VERSION,
    guest_os = const XEN_ELFNOTE_GUEST_OS,
    guest_version = const XEN_ELFNOTE_GUEST_VERSION,
    loader = const XEN_ELFNOTE_LOADER,
    features = const XEN_ELFNOTE_FEATURES,
    virt_base = const XEN_ELFNOTE_VIRT_BASE,
    entry = const XEN_ELFNOTE_ENTRY,
    mod_start_pfn = const XEN_ELFNOTE_MOD_START_PFN,
    supported_features = const XEN_ELFNOTE_SUPPORTED_FEATURES,
);
