//! `vm_assist`: habits of the hypervisor that a domain can switch.

constants! {
    /// Switches a type on.
    VMASST_CMD_ENABLE: u32 = 0 => "VMASST_CMD_enable";
    /// Switches a type off.
    VMASST_CMD_DISABLE: u32 = 1 => "VMASST_CMD_disable";
    /// No effect in 64 bits.
    VMASST_TYPE_4GB_SEGMENTS: u32 = 0 => "VMASST_TYPE_4gb_segments";
    /// No effect in 64 bits.
    VMASST_TYPE_4GB_SEGMENTS_NOTIFY: u32 = 1 => "VMASST_TYPE_4gb_segments_notify";
    /// Writes of the kernel to its read-only L1 tables are emulated.
    VMASST_TYPE_WRITABLE_PAGETABLES: u32 = 2 => "VMASST_TYPE_writable_pagetables";
    /// Shows feature 4; no other effect.
    VMASST_TYPE_PAE_EXTENDED_CR3: u32 = 3 => "VMASST_TYPE_pae_extended_cr3";
    /// IOPL is kept in the guest's flags.
    VMASST_TYPE_ARCHITECTURAL_IOPL: u32 = 4 => "VMASST_TYPE_architectural_iopl";
    /// Runstate records are bracketed while they are written.
    VMASST_TYPE_RUNSTATE_UPDATE_FLAG: u32 = 5 => "VMASST_TYPE_runstate_update_flag";
    /// User page tables do not show the M2P.
    VMASST_TYPE_M2P_STRICT: u32 = 32 => "VMASST_TYPE_m2p_strict";
}
