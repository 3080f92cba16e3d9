//! `vcpu_op`: starting and stopping vCPUs, their timers and registered areas; and the register state of a vCPU.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::RawMfn;
use crate::trap::TrapInfo;

/// General registers of a vCPU.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuUserRegs {
    /// R15.
    pub r15: u64,
    /// R14.
    pub r14: u64,
    /// R13.
    pub r13: u64,
    /// R12.
    pub r12: u64,
    /// RBP.
    pub rbp: u64,
    /// RBX.
    pub rbx: u64,
    /// R11.
    pub r11: u64,
    /// R10.
    pub r10: u64,
    /// R9.
    pub r9: u64,
    /// R8.
    pub r8: u64,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
    /// Error code; not used.
    pub error_code: u32,
    /// Vector; not used.
    pub entry_vector: u32,
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u16,
    /// Zero.
    pub pad0: u16,
    /// Upcall mask; not used.
    pub saved_upcall_mask: u8,
    /// Zero.
    pub pad1: [u8; 3],
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u16,
    /// Zero.
    pub pad2: [u16; 3],
    /// ES.
    pub es: u16,
    /// Zero.
    pub pad3: [u16; 3],
    /// DS.
    pub ds: u16,
    /// Zero.
    pub pad4: [u16; 3],
    /// FS.
    pub fs: u16,
    /// Zero.
    pub pad5: [u16; 3],
    /// GS.
    pub gs: u16,
    /// Zero.
    pub pad6: [u16; 3],
}
layout!(CpuUserRegs = "struct cpu_user_regs": 200 {
    r15 @ 0, r14 @ 8, r13 @ 0x10, r12 @ 0x18, rbp @ 0x20, rbx @ 0x28, r11 @ 0x30, r10 @ 0x38, r9 @ 0x40, r8 @ 0x48, rax @ 0x50,
    rcx @ 0x58, rdx @ 0x60, rsi @ 0x68, rdi @ 0x70, error_code @ 0x78, entry_vector @ 0x7c, rip @ 0x80, cs @ 0x88,
    saved_upcall_mask @ 0x8c, rflags @ 0x90, rsp @ 0x98, ss @ 0xa0, es @ 0xa8, ds @ 0xb0, fs @ 0xb8, gs @ 0xc0,
});

/// State that a vCPU starts with: argument of `VCPUOP_initialise`, and of `VCPU_SET_CONTEXT` of hypercall 56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VcpuGuestContext {
    /// FXSAVE image, used with `VGCF_I387_VALID`.
    pub fpu_ctxt: [u8; 512],
    /// `VGCF_*`.
    pub flags: u64,
    /// General registers.
    pub user_regs: CpuUserRegs,
    /// Trap table.
    pub trap_ctxt: [TrapInfo; 256],
    /// Virtual address of the LDT.
    pub ldt_base: u64,
    /// Entries of the LDT.
    pub ldt_ents: u64,
    /// Frames of the GDT.
    pub gdt_frames: [RawMfn; 16],
    /// Entries of the GDT.
    pub gdt_ents: u64,
    /// Kernel stack selector.
    pub kernel_ss: u64,
    /// Kernel stack pointer for entries from user mode.
    pub kernel_sp: u64,
    /// 0: CR0; 1: the user root; 3: the kernel root; 4: CR4. Roots are frame number << 12.
    pub ctrlreg: [u64; 8],
    /// Debug registers.
    pub debugreg: [u64; 8],
    /// Event callback.
    pub event_callback_eip: u64,
    /// Failsafe callback.
    pub failsafe_callback_eip: u64,
    /// `syscall` callback.
    pub syscall_callback_eip: u64,
    /// Bitmap of `VMASST_TYPE_*`; of vCPU 0 only.
    pub vm_assist: u64,
    /// FS base.
    pub fs_base: u64,
    /// GS base of kernel mode.
    pub gs_base_kernel: u64,
    /// GS base of user mode.
    pub gs_base_user: u64,
}
layout!(VcpuGuestContext = "struct vcpu_guest_context": 5168 {
    fpu_ctxt @ 0, flags @ 0x200, user_regs @ 0x208, trap_ctxt @ 0x2d0, ldt_base @ 0x12d0, ldt_ents @ 0x12d8, gdt_frames @ 0x12e0,
    gdt_ents @ 0x1360, kernel_ss @ 0x1368, kernel_sp @ 0x1370, ctrlreg @ 0x1378, debugreg @ 0x13b8, event_callback_eip @ 0x13f8,
    failsafe_callback_eip @ 0x1400, syscall_callback_eip @ 0x1408, vm_assist @ 0x1410, fs_base @ 0x1418, gs_base_kernel @ 0x1420,
    gs_base_user @ 0x1428,
});

/// Argument of `VCPUOP_register_runstate_memory_area`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RegisterRunstateMemoryArea {
    /// Virtual address of a `VcpuRunstateInfo`; 0 = no more.
    pub address: u64,
}
layout!(RegisterRunstateMemoryArea = "struct vcpu_register_runstate_memory_area": 8 { address = "addr.p" @ 0 });

/// Argument of `VCPUOP_register_vcpu_time_memory_area`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RegisterTimeMemoryArea {
    /// Virtual address of a `VcpuTimeInfo`; 0 = no more.
    pub address: u64,
}
layout!(RegisterTimeMemoryArea = "struct vcpu_register_time_memory_area": 8 { address = "addr.p" @ 0 });

/// Argument of `VCPUOP_set_periodic_timer`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SetPeriodicTimer {
    /// Nanoseconds, at least a million.
    pub period_ns: u64,
}
layout!(SetPeriodicTimer = "struct vcpu_set_periodic_timer": 8 { period_ns @ 0 });

/// Argument of `VCPUOP_set_singleshot_timer`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SetSingleshotTimer {
    /// System time in nanoseconds.
    pub timeout_abs_ns: u64,
    /// `VCPU_SSHOTTMR_*`.
    pub flags: u32,
    /// Ignored.
    pub pad0: u32,
}
layout!(SetSingleshotTimer = "struct vcpu_set_singleshot_timer": 16 { timeout_abs_ns @ 0, flags @ 8 });

/// Argument of `VCPUOP_register_vcpu_info`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RegisterVcpuInfo {
    /// Frame that shall hold the vCPU's `VcpuInfo`.
    pub mfn: RawMfn,
    /// Where in the frame: a multiple of 8, at most 4032.
    pub offset: u32,
    /// Ignored.
    pub rsvd: u32,
}
layout!(RegisterVcpuInfo = "struct vcpu_register_vcpu_info": 16 { mfn @ 0, offset @ 8, rsvd @ 12 });

/// Answer of `VCPUOP_get_physid`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GetPhysid {
    /// APIC id in the lower, ACPI id in the upper half.
    pub phys_id: u64,
}
layout!(GetPhysid = "struct vcpu_get_physid": 8 { phys_id @ 0 });

constants! {
    /// Gives a vCPU its first state.
    VCPUOP_INITIALISE: u32 = 0 => "VCPUOP_initialise";
    /// Starts a vCPU.
    VCPUOP_UP: u32 = 1 => "VCPUOP_up";
    /// Stops a vCPU.
    VCPUOP_DOWN: u32 = 2 => "VCPUOP_down";
    /// Tells whether a vCPU is up.
    VCPUOP_IS_UP: u32 = 3 => "VCPUOP_is_up";
    /// Tells the times of a vCPU's states.
    VCPUOP_GET_RUNSTATE_INFO: u32 = 4 => "VCPUOP_get_runstate_info";
    /// Registers memory that shows them.
    VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA: u32 = 5 => "VCPUOP_register_runstate_memory_area";
    /// Starts the periodic timer.
    VCPUOP_SET_PERIODIC_TIMER: u32 = 6 => "VCPUOP_set_periodic_timer";
    /// Stops the periodic timer.
    VCPUOP_STOP_PERIODIC_TIMER: u32 = 7 => "VCPUOP_stop_periodic_timer";
    /// Arms the one-shot timer.
    VCPUOP_SET_SINGLESHOT_TIMER: u32 = 8 => "VCPUOP_set_singleshot_timer";
    /// Stops the one-shot timer.
    VCPUOP_STOP_SINGLESHOT_TIMER: u32 = 9 => "VCPUOP_stop_singleshot_timer";
    /// Moves a vCPU's shared state to a page of the guest.
    VCPUOP_REGISTER_VCPU_INFO: u32 = 10 => "VCPUOP_register_vcpu_info";
    /// Sends an NMI.
    VCPUOP_SEND_NMI: u32 = 11 => "VCPUOP_send_nmi";
    /// Tells the CPU that a vCPU is tied to.
    VCPUOP_GET_PHYSID: u32 = 12 => "VCPUOP_get_physid";
    /// Registers memory that shows the clock record.
    VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA: u32 = 13 => "VCPUOP_register_vcpu_time_memory_area";
    /// In `SetSingleshotTimer::flags`; ignored.
    VCPU_SSHOTTMR_FUTURE: u32 = 1 << 0 => "VCPU_SSHOTTMR_future";

    /// The FPU image is meant.
    VGCF_I387_VALID: u64 = 1 << 0 => "VGCF_i387_valid";
    /// The vCPU starts in kernel mode.
    VGCF_IN_KERNEL: u64 = 1 << 2 => "VGCF_in_kernel";
    /// The failsafe callback holds events back.
    VGCF_FAILSAFE_DISABLES_EVENTS: u64 = 1 << 3 => "VGCF_failsafe_disables_events";
    /// The `syscall` callback holds events back.
    VGCF_SYSCALL_DISABLES_EVENTS: u64 = 1 << 4 => "VGCF_syscall_disables_events";
    /// The vCPU starts up.
    VGCF_ONLINE: u64 = 1 << 5 => "VGCF_online";
}
