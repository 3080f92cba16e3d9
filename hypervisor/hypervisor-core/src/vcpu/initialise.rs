//! Giving a vCPU its context: `VCPUOP_initialise`, dom0's form of it, and the first domain's first vCPU (pv-abi 7.3).
//!
//! Everything is validated before anything is taken; then come references on descriptor pages and roots, restartable, and
//! last the state itself, which cannot fail.

use alloc::boxed::Box;

use hypercall_abi::mmu::PAGE_SHIFT;
use hypercall_abi::vcpu::{
    VGCF_FAILSAFE_DISABLES_EVENTS, VGCF_I387_VALID, VGCF_IN_KERNEL, VGCF_ONLINE,
    VGCF_SYSCALL_DISABLES_EVENTS, VcpuGuestContext,
};
use hypercall_abi::{Errno, GuestPtr};
use zerocopy::{FromZeros, IntoBytes};

use super::callback::Callback;
use super::context::{is_canonical, rflags, selector};
use super::shared::Vcpu;
use super::state::{Mode, TrapGate, VcpuState};
use super::{calls, op};
use crate::assist;
use crate::caller::Caller;
use crate::domain::Domain;
use crate::emulate::control::{self, CR0_TS};
use crate::emulate::cpuid;
use crate::heap;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::paging::descriptor::{GDT_LIMIT, LDT_LIMIT, Shown};
use crate::paging::{Step, Tables, VcpuMemory};
use crate::sync::{Held, Ordering};

/// MXCSR bits that every CPU with SSE2 knows.
const MXCSR: u32 = 0xffff;

/// `VCPUOP_initialise`.
pub(crate) fn by_guest<M: Machine>(
    caller: &mut Caller<'_, M>,
    target: &Vcpu,
    from: GuestPtr<VcpuGuestContext>,
) -> Outcome {
    if target.info().is_none() {
        return Outcome::Refused(Errno::EINVAL);
    }
    let mut context = match heap::boxed(VcpuGuestContext::new_zeroed()) {
        Ok(context) => context,
        Err(error) => return Outcome::Refused(error.into()),
    };
    if let Err(error) = caller.copy_in_bytes(from.address(), context.as_mut_bytes()) {
        return Outcome::Refused(error);
    }
    if target.is_initialised() {
        return Outcome::Refused(Errno::EEXIST);
    }
    let pending = &caller.vcpu.memory;
    match initialise(
        caller.hv,
        caller.domain,
        target,
        &context,
        pending,
        &mut caller.held,
    ) {
        Ok(Step::Done(())) => {}
        Ok(Step::Again) => return Outcome::Again,
        Err(error) => return Outcome::Refused(error),
    }
    if context.flags & VGCF_ONLINE != 0 {
        op::bring_up(caller, target);
    }
    Outcome::OK
}

/// Gives a vCPU that was not initialised its context. An interrupted table is noted in `pending`.
///
/// # Errors
/// `EEXIST`; `EINVAL` and the errors of a root that cannot be taken; the vCPU is then as it was. `Again`: call again.
pub(crate) fn initialise<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    target: &Vcpu,
    context: &VcpuGuestContext,
    pending: &VcpuMemory,
    held: &mut Held<'_, TOP>,
) -> Result<Step<()>, Errno> {
    if !target.begin_start() {
        return Ok(Step::Again);
    }
    let result = if target.is_initialised() {
        Err(Errno::EEXIST)
    } else {
        give(hv, domain, target, context, pending, held)
    };
    target.end_start();
    result
}

fn give<M: Machine, const TOP: u8>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    target: &Vcpu,
    context: &VcpuGuestContext,
    pending: &VcpuMemory,
    held: &mut Held<'_, TOP>,
) -> Result<Step<()>, Errno> {
    check(context, target)?;
    let [_, user, _, kernel, ..] = context.ctrlreg.map(|value| value >> PAGE_SHIFT);
    if context.flags & VGCF_IN_KERNEL == 0 && user == 0 {
        return Err(Errno::EINVAL);
    }
    let entries = u32::try_from(context.gdt_ents)
        .ok()
        .filter(|&n| n <= GDT_LIMIT)
        .ok_or(Errno::EINVAL)?;
    let pages = usize::try_from(entries.div_ceil(512)).map_err(|_| Errno::EINVAL)?;
    let numbers = context.gdt_frames.map(|frame| frame.0);
    {
        let (tables, _) = Tables::lock(hv.ram(), &domain.memory, pending, held);
        let memory = &target.memory;
        if tables.finish_pending() == Step::Again {
            return Ok(Step::Again);
        }
        match tables.assign_roots(memory, kernel, user) {
            Ok(Step::Done(())) => {}
            Ok(Step::Again) => return Ok(Step::Again),
            Err(error) => {
                tables.drop_roots(memory);
                return Err(error.errno());
            }
        }
        let gdt = numbers.get(..pages).unwrap_or(&[]);
        if let Err(error) = tables.set_gdt(memory, gdt, entries, Shown::Nowhere) {
            tables.drop_roots(memory);
            return Err(error.errno());
        }
        // Its pages are checked when the CPU asks for them; the window is shown when the vCPU runs.
        memory.ldt_base.store(context.ldt_base, Ordering::Relaxed);
        memory
            .ldt_entries
            .store(context.ldt_ents, Ordering::Relaxed);
    }
    if target.id().get() == 0 {
        domain
            .assist_word()
            .store(context.vm_assist & assist::VALID, Ordering::Relaxed);
    }
    let mut parked = target.parked.lock(held).0;
    let state = parked.as_mut().ok_or(Errno::EBUSY)?;
    load(hv, context, state);
    target.set_initialised();
    Ok(Step::Done(()))
}

/// The order of checks is the ABI's, as far as it can be told.
fn check(context: &VcpuGuestContext, target: &Vcpu) -> Result<(), Errno> {
    let regs = &context.user_regs;
    let addresses = [
        regs.rip,
        regs.rsp,
        context.kernel_sp,
        context.fs_base,
        context.gs_base_kernel,
        context.gs_base_user,
        context.event_callback_eip,
        context.failsafe_callback_eip,
        context.syscall_callback_eip,
    ];
    let handlers = context.trap_ctxt.iter().map(|trap| trap.address);
    if !addresses.into_iter().chain(handlers).all(is_canonical) {
        return Err(Errno::EINVAL);
    }
    if context.ldt_ents != 0 {
        let base = context.ldt_base;
        let guest = crate::caller::is_guest_range(base, 1) && base & 0xfff == 0;
        if !guest || context.ldt_ents > u64::from(LDT_LIMIT) {
            return Err(Errno::EINVAL);
        }
    }
    if target.id().get() == 0 && context.vm_assist & !assist::VALID != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn load<M: Machine>(hv: &Hypervisor<M>, context: &VcpuGuestContext, state: &mut Box<VcpuState>) {
    let regs = &context.user_regs;
    **state = VcpuState::new();
    let registers = &mut state.registers;
    registers.r15 = regs.r15;
    registers.r14 = regs.r14;
    registers.r13 = regs.r13;
    registers.r12 = regs.r12;
    registers.rbp = regs.rbp;
    registers.rbx = regs.rbx;
    registers.r11 = regs.r11;
    registers.r10 = regs.r10;
    registers.r9 = regs.r9;
    registers.r8 = regs.r8;
    registers.rax = regs.rax;
    registers.rcx = regs.rcx;
    registers.rdx = regs.rdx;
    registers.rsi = regs.rsi;
    registers.rdi = regs.rdi;
    registers.rip = regs.rip;
    registers.rsp = regs.rsp;
    registers.cs = u64::from(regs.cs) | selector::RPL;
    registers.ss = u64::from(regs.ss) | selector::RPL;
    registers.rflags = rflags::for_guest(regs.rflags);
    let [iopl, ..] = ((regs.rflags & rflags::IOPL) >> rflags::IOPL_SHIFT).to_le_bytes();
    state.iopl = iopl;
    state.mode = if context.flags & VGCF_IN_KERNEL == 0 {
        Mode::User
    } else {
        Mode::Kernel
    };
    (state.segments.ds, state.segments.es) = (regs.ds, regs.es);
    (state.segments.fs, state.segments.gs) = (regs.fs, regs.gs);
    state.fs_base = context.fs_base;
    state.gs_base_kernel = context.gs_base_kernel;
    state.gs_base_user = context.gs_base_user;
    state.kernel_sp = context.kernel_sp;
    let [low, high, ..] = context.kernel_ss.to_le_bytes();
    state.kernel_ss = u16::from_le_bytes([low, high]) | 3;
    for info in context.trap_ctxt.iter().filter(|info| info.address != 0) {
        if let Some(gate) = state.traps.get_mut(usize::from(info.vector)) {
            let wanted: TrapGate = calls::gate_of(info);
            *gate = wanted;
        }
    }
    let masks = |flag: u64| context.flags & flag != 0;
    state.callbacks.event = context.event_callback_eip;
    state.callbacks.failsafe = Callback {
        address: context.failsafe_callback_eip,
        masks_events: masks(VGCF_FAILSAFE_DISABLES_EVENTS),
    };
    state.callbacks.syscall = Callback {
        address: context.syscall_callback_eip,
        masks_events: masks(VGCF_SYSCALL_DISABLES_EVENTS),
    };
    let host = |leaf, subleaf| hv.machine().host_cpuid(leaf, subleaf);
    let [cr0, _, _, _, cr4, ..] = context.ctrlreg;
    state.control.task_switched = cr0 & CR0_TS != 0;
    state.control.cr4 = control::write_cr4(cr4, cpuid::cr4_offered(&host));
    load_debug(context, state);
    if masks(VGCF_I387_VALID) {
        state.fpu.load_legacy(&context.fpu_ctxt, MXCSR);
    }
}

/// Debug registers that a guest could not have set are left at their defaults.
fn load_debug(context: &VcpuGuestContext, state: &mut VcpuState) {
    let extensions = state.control.cr4 & control::CR4_DE != 0;
    for (register, &value) in (0_u64..).zip(&context.debugreg) {
        if matches!(register, 0..=3 | 6 | 7) && value != 0 {
            let set = state.debug.write(register, value, extensions);
            if let Err(error) = set {
                log::debug!(
                    "debug register {register} of a new vCPU is left out: {}",
                    error.name()
                );
            }
        }
    }
}
