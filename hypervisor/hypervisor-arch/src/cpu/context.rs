//! Puts vCPUs into this CPU's registers and takes them out: selectors, bases, debug registers, CR0.TS and CR4.

use crate::cpu::{features, fpu, percpu};
use crate::mem::fixup::fixup;
use core::arch::asm;
use core::mem::offset_of;
use hypervisor_core::machine::GuestBase;
use hypervisor_core::vcpu::context::Registers;
use hypervisor_core::vcpu::debug::{DR6_DEFAULT, DR7_DEFAULT, DebugRegisters};
use hypervisor_core::vcpu::state::{Control, Mode, VcpuState};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;
/// What a guest decides about in the real CR4.
const CR4_OF_GUEST: Cr4Flags = Cr4Flags::TIMESTAMP_DISABLE
    .union(Cr4Flags::DEBUGGING_EXTENSIONS)
    .union(Cr4Flags::FSGSBASE);

/// Reads a data segment register.
macro_rules! read_selector {
    ($register:literal) => {{
        let selector: u16;
        // SAFETY: reads a register.
        unsafe {
            asm!(
                concat!("mov {:x}, ", $register), out(reg) selector,
                options(nomem, nostack, preserves_flags),
            );
        }
        selector
    }};
}

/// Loads a data segment register; false, with the null selector loaded, if that faults.
macro_rules! load_selector {
    ($register:literal, $selector:expr) => {{
        let failed: u32;
        // SAFETY: data segments mean nothing to our code; a fault goes on at label 3.
        unsafe {
            asm!(
                concat!("2: mov ", $register, ", {selector:e}"),
                "jmp 4f",
                "3: xor {selector:e}, {selector:e}",
                concat!("mov ", $register, ", {selector:e}"),
                "mov {failed:e}, 1",
                "4:",
                fixup!("2b", "3b"),
                selector = inout(reg) u32::from($selector) => _,
                failed = inout(reg) 0_u32 => failed,
                options(nostack),
            );
        }
        failed == 0
    }};
}

/// See `Machine::switch_in`.
pub(crate) fn switch_in(state: &mut VcpuState) {
    let local = percpu::local();
    state.host_stack = local.host_stack;
    let start = (&raw const *state).addr();
    let frame_end = start + offset_of!(VcpuState, registers) + size_of::<Registers>();
    local.set_frame_end(frame_end as u64);

    let wanted = state.segments;
    // Every load is tried: the guest is told of a failure once, with all four selectors.
    let loaded = [
        load_selector!("ds", wanted.ds),
        load_selector!("es", wanted.es),
        load_selector!("fs", wanted.fs),
        load_selector!("gs", wanted.gs),
    ];
    if loaded.contains(&false) {
        state.segments.load_failed = true;
    }
    let (active, inactive) = match state.mode {
        Mode::Kernel => (state.gs_base_kernel, state.gs_base_user),
        Mode::User => (state.gs_base_user, state.gs_base_kernel),
    };
    set_base(GuestBase::Fs, state.fs_base);
    set_base(GuestBase::GsActive, active);
    set_base(GuestBase::GsInactive, inactive);

    set_task_switched(false);
    fpu::load(&state.fpu);
    load_control(&state.control);
    load_debug_registers(&state.debug);
    set_tsc_aux(state.tsc_aux);
    set_task_switched(state.control.task_switched);
}

/// See `Machine::switch_out`.
pub(crate) fn switch_out(state: &mut VcpuState) {
    // A selector that could not be loaded stays what the guest wanted until its failsafe callback has been told.
    if !state.segments.load_failed {
        state.segments.ds = read_selector!("ds");
        state.segments.es = read_selector!("es");
        state.segments.fs = read_selector!("fs");
        state.segments.gs = read_selector!("gs");
    }
    state.fs_base = base(GuestBase::Fs);
    let (active, inactive) = (base(GuestBase::GsActive), base(GuestBase::GsInactive));
    (state.gs_base_kernel, state.gs_base_user) = match state.mode {
        Mode::Kernel => (active, inactive),
        Mode::User => (inactive, active),
    };
    set_task_switched(false);
    fpu::save(&mut state.fpu);
}

fn register(base: GuestBase) -> Msr {
    Msr::new(match base {
        GuestBase::Fs => FS_BASE,
        GuestBase::GsActive => GS_BASE,
        GuestBase::GsInactive => KERNEL_GS_BASE,
    })
}

/// Reads a segment base.
pub(crate) fn base(which: GuestBase) -> u64 {
    // SAFETY: every x86-64 CPU has the register.
    unsafe { register(which).read() }
}

/// Writes a segment base, which is canonical.
pub(crate) fn set_base(which: GuestBase, value: u64) {
    debug_assert!(
        hypervisor_core::vcpu::context::is_canonical(value),
        "checked by policy"
    );
    // SAFETY: every x86-64 CPU has the register; our code uses neither FS nor GS.
    unsafe { register(which).write(value) };
}

/// Exchanges the two GS bases.
pub(crate) fn swap_gs() {
    // SAFETY: our code does not use GS.
    unsafe { asm!("swapgs", options(nomem, nostack, preserves_flags)) };
}

/// Loads GS for the user: the selector, and its descriptor's base as the inactive one.
pub(crate) fn load_user_gs(selector: u16) {
    let active = base(GuestBase::GsActive);
    // A null selector does not clear the base on AMD's CPUs.
    set_base(GuestBase::GsActive, 0);
    if !load_selector!("gs", selector) {
        set_base(GuestBase::GsActive, 0);
    }
    let of_descriptor = base(GuestBase::GsActive);
    set_base(GuestBase::GsInactive, of_descriptor);
    set_base(GuestBase::GsActive, active);
}

/// Sets or clears the real CR0.TS.
pub(crate) fn set_task_switched(set: bool) {
    if set {
        // SAFETY: our code uses no FPU, so TS concerns guests only.
        unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::TASK_SWITCHED)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!("clts", options(nomem, nostack, preserves_flags)) };
    }
}

/// Loads the guest's part of CR4, and XCR0.
pub(crate) fn load_control(control: &Control) {
    let wanted = Cr4Flags::from_bits_truncate(control.cr4) & CR4_OF_GUEST;
    let now = Cr4::read();
    if now & CR4_OF_GUEST != wanted {
        // SAFETY: only the three bits change, which policy has checked against CPUID; our code does not depend on them.
        unsafe { Cr4::write((now - CR4_OF_GUEST) | wanted) };
    }
    fpu::set_xcr0(control.xcr0);
}

/// Loads the debug registers; the addresses only where something is enabled.
pub(crate) fn load_debug_registers(registers: &DebugRegisters) {
    let local = percpu::local();
    if !registers.armed() && !local.debug_armed.get() {
        return;
    }
    let [dr0, dr1, dr2, dr3] = registers.address;
    // SAFETY: nothing is enabled while the addresses change.
    unsafe { asm!("mov dr7, {}", in(reg) DR7_DEFAULT, options(nostack, preserves_flags)) };
    if registers.armed() {
        // SAFETY: policy refuses breakpoints in the hypervisor's part of the address space; those on guest memory that we
        // touch are passed over (`entry::from_host`).
        unsafe {
            asm!(
                "mov dr0, {}",
                "mov dr1, {}",
                "mov dr2, {}",
                "mov dr3, {}",
                "mov dr7, {}",
                in(reg) dr0,
                in(reg) dr1,
                in(reg) dr2,
                in(reg) dr3,
                in(reg) registers.dr7,
                options(nostack, preserves_flags),
            );
        }
    }
    reset_debug_status();
    local.debug_armed.set(registers.armed());
}

/// Reads DR6 and resets it.
pub(crate) fn take_debug_status() -> u64 {
    let status: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags)) };
    reset_debug_status();
    status
}

fn reset_debug_status() {
    // SAFETY: the value at reset.
    unsafe { asm!("mov dr6, {}", in(reg) DR6_DEFAULT, options(nostack, preserves_flags)) };
}

/// Writes TSC_AUX, where there is one.
pub(crate) fn set_tsc_aux(value: u32) {
    if features::get().rdtscp {
        // SAFETY: the register exists where RDTSCP does, and takes any 32-bit value.
        unsafe { Msr::new(TSC_AUX).write(u64::from(value)) };
    }
}
