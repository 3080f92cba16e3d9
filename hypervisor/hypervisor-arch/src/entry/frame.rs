//! Takes the entry assembly in and tells it the layout of what it touches; no offset is typed there.

use crate::cpu::gdt;
use crate::cpu::percpu::{self, CpuLocal};
use crate::entry::{from_guest, from_host};
use crate::mem::layout::CpuArea;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::AtomicU32;
use hypervisor_core::entry::Entry;
pub(crate) use hypervisor_core::vcpu::context::Registers;
pub(crate) use hypervisor_core::vcpu::state::VcpuState;

/// What SPEC_CTRL is set to at each entry, on CPUs that need it there.
pub(crate) static SPEC_CTRL: AtomicU32 = AtomicU32::new(0);

/// "Vector" of `syscall`, beyond the vectors of the CPU.
pub(crate) const SYSCALL: u32 = 0x100;
/// "Vector" of `syscall` from compatibility mode.
pub(crate) const SYSCALL32: u32 = 0x101;
/// "Vector" of `sysenter`.
pub(crate) const SYSENTER: u32 = 0x102;

/// From the first of the saved registers to the word with the host stack.
const HOST_STACK: usize = offset_of!(VcpuState, host_stack) - offset_of!(VcpuState, registers);

// The CPU aligns its stack to 16 bytes before it pushes: a frame must end where it would end anyway.
const _: () = assert!(
    (offset_of!(VcpuState, registers) + size_of::<Registers>()).is_multiple_of(16)
        && align_of::<VcpuState>().is_multiple_of(16)
);

/// From a CPU's stub page to its `CpuLocal`.
const LOCAL_FROM_STUB: i64 = {
    let from = CpuArea::page(0, CpuArea::STUB);
    CpuArea::page(0, CpuArea::LOCAL)
        .wrapping_sub(from)
        .cast_signed()
};

global_asm!(
    include_str!("syscall.s"),
    local = const LOCAL_FROM_STUB,
    guest_rsp = const offset_of!(CpuLocal, guest_rsp),
    frame_end = const offset_of!(CpuLocal, frame_end),
    syscall_entry = const offset_of!(CpuLocal, syscall_entry),
    guest_entry = const offset_of!(CpuLocal, guest_entry),
    user_data = const gdt::USER_DATA,
    user_code = const gdt::USER_CODE,
    user_code32 = const gdt::USER_CODE32,
    syscall_vector = const SYSCALL,
    syscall32_vector = const SYSCALL32,
    sysenter_vector = const SYSENTER,
);

global_asm!(
    include_str!("trap.s"),
    frame_cs = const offset_of!(Registers, cs),
    frame_error = const offset_of!(Registers, error_and_vector),
    host_stack = const HOST_STACK,
    spec_ctrl = sym SPEC_CTRL,
    on_guest = sym from_guest::on_guest,
    on_syscall = sym from_guest::on_syscall,
    on_version = sym from_guest::on_version,
    xen_version = const hypercall_abi::number::XEN_VERSION,
    frame_r11 = const offset_of!(Registers, r11),
    frame_r10 = const offset_of!(Registers, r10),
    frame_r9 = const offset_of!(Registers, r9),
    frame_r8 = const offset_of!(Registers, r8),
    frame_rdx = const offset_of!(Registers, rdx),
    frame_rsi = const offset_of!(Registers, rsi),
    frame_rdi = const offset_of!(Registers, rdi),
    frame_rip = const offset_of!(Registers, rip),
    frame_rflags = const offset_of!(Registers, rflags),
    frame_rsp = const offset_of!(Registers, rsp),
    on_host = sym from_host::on_host,
    on_again = sym from_guest::on_again,
    on_own_stack = sym from_host::on_own_stack,
);

global_asm!(
    include_str!("exit.s"),
    frame_ss = const offset_of!(Registers, ss),
    frame_rsp = const offset_of!(Registers, rsp),
    frame_rflags = const offset_of!(Registers, rflags),
    frame_cs = const offset_of!(Registers, cs),
    frame_rip = const offset_of!(Registers, rip),
    frame_r15 = const offset_of!(Registers, r15),
    frame_r14 = const offset_of!(Registers, r14),
    frame_r13 = const offset_of!(Registers, r13),
    frame_r12 = const offset_of!(Registers, r12),
    frame_r11 = const offset_of!(Registers, r11),
    frame_r10 = const offset_of!(Registers, r10),
    frame_r9 = const offset_of!(Registers, r9),
    frame_r8 = const offset_of!(Registers, r8),
    frame_rbp = const offset_of!(Registers, rbp),
    frame_rbx = const offset_of!(Registers, rbx),
    frame_rax = const offset_of!(Registers, rax),
    frame_rcx = const offset_of!(Registers, rcx),
    frame_rdx = const offset_of!(Registers, rdx),
    frame_rsi = const offset_of!(Registers, rsi),
    frame_rdi = const offset_of!(Registers, rdi),
    user_data = const gdt::USER_DATA,
);

/// The vector and error code that the entry code left in a frame.
pub(crate) fn cause(registers: &Registers) -> (u32, u32) {
    let word = registers.error_and_vector;
    ((word >> 32) as u32, word as u32)
}

/// What a call that was tried the short way comes to.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Answer {
    /// RAX.
    pub(crate) value: u64,
    /// 1 to return with it by SYSRET, 0 to go the usual way.
    pub(crate) done: u64,
}

unsafe extern "C" {
    static guest_entry: u8;
    static syscall_entry: u8;
    static exit_iret: u8;
    static exit_iret_last: u8;
}

/// Where the stub page goes on: behind `syscall`, and behind the others.
pub(crate) fn entry_addresses() -> [u64; 2] {
    [
        (&raw const syscall_entry).addr() as u64,
        (&raw const guest_entry).addr() as u64,
    ]
}

/// Whether a fault in ring 0 is the guest's: only that of the exit by IRET is, in its two forms.
pub(crate) fn is_exit_iret(address: u64) -> bool {
    [&raw const exit_iret, &raw const exit_iret_last]
        .iter()
        .any(|exit| exit.addr() as u64 == address)
}

/// Leaves to the guest with these registers, by IRET.
#[inline(always)]
pub(crate) fn exit_by_iret(registers: *const Registers) -> ! {
    // SAFETY: nothing on this stack is needed any more, and the registers are those of the vCPU that runs here; see exit.s.
    unsafe { asm!("jmp exit_to_guest", in("rdi") registers, options(noreturn)) }
}

/// Leaves to the guest with these registers, by SYSRET; RIP is canonical.
#[inline(always)]
pub(crate) fn exit_by_sysret(registers: *const Registers) -> ! {
    // SAFETY: as above.
    unsafe { asm!("jmp exit_sysret", in("rdi") registers, options(noreturn)) }
}

/// Leaves boot: begins the host stack anew with the entry in `CpuLocal::again`.
pub(crate) fn begin(first: Entry) -> ! {
    let local = percpu::local();
    local.again.set(Some(first));
    // SAFETY: nothing on this stack is needed any more; `enter_again` takes the stack in RAX.
    unsafe { asm!("jmp enter_again", in("rax") local.host_stack, options(noreturn)) }
}
