//! Traps and callbacks: how a guest kernel says where it wants to be entered.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One entry of the virtual interrupt descriptor table (`set_trap_table`). An `address` of 0 ends a table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TrapInfo {
    /// Vector that the entry is for.
    pub vector: u8,
    /// Bits 1..0: privilege that `int n` needs; bit 2 ([`TI_MASK_EVENTS`]): hold events back on entry.
    pub flags: u8,
    /// Code selector; stored and unused.
    pub cs: u16,
    /// Zero.
    pub pad0: u32,
    /// Address of the handler.
    pub address: u64,
}
layout!(TrapInfo = "struct trap_info": 16 { vector @ 0, flags @ 1, cs @ 2, address @ 8 });

/// Argument of `CALLBACKOP_register`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CallbackRegister {
    /// `CALLBACKTYPE_*`.
    pub kind: u16,
    /// `CALLBACKF_*`.
    pub flags: u16,
    /// Zero.
    pub pad0: u32,
    /// Address of the handler.
    pub address: u64,
}
layout!(CallbackRegister = "struct callback_register": 16 { kind = "type" @ 0, flags @ 2, address @ 8 });

/// Argument of `CALLBACKOP_unregister`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CallbackUnregister {
    /// `CALLBACKTYPE_*`.
    pub kind: u16,
    /// Ignored.
    pub unused: u16,
}
layout!(CallbackUnregister = "struct callback_unregister": 4 { kind = "type" @ 0 });

/// Argument of `XENNMI_register_callback`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct NmiCallback {
    /// Address of the handler.
    pub handler_address: u64,
    /// Ignored.
    pub pad0: u64,
}
layout!(NmiCallback = "struct xennmi_callback": 16 { handler_address @ 0, pad0 = "pad" @ 8 });

/// What the guest's stack holds at the `syscall` of hypercall `iret`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct IretContext {
    /// RAX to return with.
    pub rax: u64,
    /// R11 to return with, unless by `SYSRET`.
    pub r11: u64,
    /// RCX to return with, unless by `SYSRET`.
    pub rcx: u64,
    /// `VGCF_IN_SYSCALL` or 0.
    pub flags: u64,
    /// Where to.
    pub rip: u64,
    /// RPL 3 means user mode; any other, kernel mode.
    pub cs: u64,
    /// Flags; IF becomes the inverse of the upcall mask.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack selector.
    pub ss: u64,
}
layout!(IretContext = "struct iret_context": 72 {
    rax @ 0, r11 @ 8, rcx @ 16, flags @ 24, rip @ 32, cs @ 40, rflags @ 48, rsp @ 56, ss @ 64,
});

constants! {
    /// In `TrapInfo::flags`: hold events back on entry.
    TI_MASK_EVENTS: u8 = 1 << 2 => "";
    /// In `TrapInfo::flags`: the privilege that `int n` needs.
    TI_DPL_MASK: u8 = 3 => "";
    /// Registers a callback.
    CALLBACKOP_REGISTER: u32 = 0 => "CALLBACKOP_register";
    /// Takes a callback back; only the NMI's can be.
    CALLBACKOP_UNREGISTER: u32 = 1 => "CALLBACKOP_unregister";
    /// Upcall for events.
    CALLBACKTYPE_EVENT: u16 = 0 => "CALLBACKTYPE_event";
    /// A data segment could not be loaded.
    CALLBACKTYPE_FAILSAFE: u16 = 1 => "CALLBACKTYPE_failsafe";
    /// `syscall` from 64-bit user mode.
    CALLBACKTYPE_SYSCALL: u16 = 2 => "CALLBACKTYPE_syscall";
    /// NMI.
    CALLBACKTYPE_NMI: u16 = 4 => "CALLBACKTYPE_nmi";
    /// `sysenter`.
    CALLBACKTYPE_SYSENTER: u16 = 5 => "CALLBACKTYPE_sysenter";
    /// `syscall` from 32-bit code.
    CALLBACKTYPE_SYSCALL32: u16 = 7 => "CALLBACKTYPE_syscall32";
    /// Hold events back on entry.
    CALLBACKF_MASK_EVENTS: u16 = 1 => "CALLBACKF_mask_events";
    /// Registers the NMI callback.
    XENNMI_REGISTER_CALLBACK: u32 = 0 => "XENNMI_register_callback";
    /// Takes the NMI callback back.
    XENNMI_UNREGISTER_CALLBACK: u32 = 1 => "XENNMI_unregister_callback";
    /// NMI for an I/O error.
    XEN_NMIREASON_IO_ERROR: u64 = 1 << 0 => "XEN_NMIREASON_io_error";
    /// NMI for a PCI system error.
    XEN_NMIREASON_PCI_SERR: u64 = 1 << 1 => "XEN_NMIREASON_pci_serr";
    /// NMI for no known reason.
    XEN_NMIREASON_UNKNOWN: u64 = 1 << 2 => "XEN_NMIREASON_unknown";
    /// In `IretContext::flags`: return by `SYSRET`.
    VGCF_IN_SYSCALL: u64 = 1 << 8 => "VGCF_in_syscall";
    /// 64-bit code of kernel and user.
    FLAT_KERNEL_CS: u16 = 0xe033;
    /// Stack and data of kernel and user.
    FLAT_KERNEL_SS: u16 = 0xe02b;
    /// Data selectors at entry: null.
    FLAT_KERNEL_DS: u16 = 0;
    /// 64-bit code of user programs.
    FLAT_USER_CS64: u16 = 0xe033;
    /// 32-bit code of user programs.
    FLAT_USER_CS32: u16 = 0xe023;
    /// Stack and data of user programs.
    FLAT_USER_SS64: u16 = 0xe02b;
    /// First byte of the descriptor table that is the hypervisor's.
    FIRST_RESERVED_GDT_BYTE: u32 = 0xe000;
    /// First descriptor that is the hypervisor's; a guest may set those below.
    FIRST_RESERVED_GDT_ENTRY: u32 = 0xe000 / 8;
    /// First page of the descriptor table that is the hypervisor's.
    FIRST_RESERVED_GDT_PAGE: u32 = 14;
}
