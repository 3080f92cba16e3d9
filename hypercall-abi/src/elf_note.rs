//! ELF notes by which a kernel describes itself to its builder. Their name is "Xen".

/// Owner's name of the notes, with its NUL (`n_namesz` 4).
pub const NOTE_NAME: &[u8] = b"Xen\0";

constants! {
    /// Text, ignored.
    XEN_ELFNOTE_INFO: u32 = 0;
    /// Virtual address of the first instruction; without it the ELF header's entry.
    XEN_ELFNOTE_ENTRY: u32 = 1;
    /// Virtual address of the page to fill with hypercall stubs; without it none is filled.
    XEN_ELFNOTE_HYPERCALL_PAGE: u32 = 2;
    /// Virtual address of PFN 0; without it 0.
    XEN_ELFNOTE_VIRT_BASE: u32 = 3;
    /// What the ELF's physical addresses are above the PFNs; without it 0.
    XEN_ELFNOTE_PADDR_OFFSET: u32 = 4;
    /// Text that begins with "xen-3.0".
    XEN_ELFNOTE_XEN_VERSION: u32 = 5;
    /// Name of the kernel.
    XEN_ELFNOTE_GUEST_OS: u32 = 6;
    /// Version of the kernel.
    XEN_ELFNOTE_GUEST_VERSION: u32 = 7;
    /// Text that begins with "generic".
    XEN_ELFNOTE_LOADER: u32 = 8;
    /// For 32-bit kernels only.
    XEN_ELFNOTE_PAE_MODE: u32 = 9;
    /// Names of features, joined by `|`; `!` marks a required one.
    XEN_ELFNOTE_FEATURES: u32 = 10;
    /// "yes": load the symbol table behind the image.
    XEN_ELFNOTE_BSD_SYMTAB: u32 = 11;
    /// For 32-bit kernels only.
    XEN_ELFNOTE_HV_START_LOW: u32 = 12;
    /// Mask and value of valid L1 entries; for tools that save domains.
    XEN_ELFNOTE_L1_MFN_VALID: u32 = 13;
    /// Whether a suspend can be cancelled.
    XEN_ELFNOTE_SUSPEND_CANCEL: u32 = 14;
    /// Virtual address at which the kernel wants its P2M.
    XEN_ELFNOTE_INIT_P2M: u32 = 15;
    /// Nonzero: the ramdisk need not be mapped.
    XEN_ELFNOTE_MOD_START_PFN: u32 = 16;
    /// Bitmap of features by number.
    XEN_ELFNOTE_SUPPORTED_FEATURES: u32 = 17;
    /// Entry of a PVH kernel, a 32-bit physical address.
    XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
    /// Where a PVH kernel may be moved; newer than the headers compared with.
    XEN_ELFNOTE_PHYS32_RELOC: u32 = 19 => "";
}
