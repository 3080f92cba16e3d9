//! What a guest did, told to the policy; and what the policy says, done.

use crate::cpu::percpu::{self, CpuLocal};
use crate::cpu::{apic, context, features, idt, tlb};
use crate::entry::frame::{self, Answer, Registers};
use crate::entry::{idle, probe};
use crate::tsc;
use core::arch::asm;
use hypervisor_core::entry::{Entry, ExitPath, Interrupt, Next};
use x86_64::registers::control::Cr2;

const DEBUG: u32 = 1;
const PAGE_FAULT: u32 = 14;
/// Vectors below this are the CPU's own.
const EXCEPTIONS: u32 = 32;

/// Called by `trap.s` with the registers of the vCPU that ran, on the empty host stack.
pub(super) extern "sysv64" fn on_guest(registers: &Registers) -> ! {
    let (vector, error) = frame::cause(registers);
    let local = percpu::local();
    // Read before anything else can fault.
    let cr2 = if vector == PAGE_FAULT {
        Cr2::read_raw()
    } else {
        0
    };
    forbid_guest_access();
    if local.policy().is_none() {
        probe::finish(vector);
    }
    let entry = match vector {
        frame::SYSCALL32 => Entry::Syscall32,
        frame::SYSENTER => Entry::Sysenter,
        0..EXCEPTIONS => {
            let policy = local.policy().expect("guests run after boot");
            let next = policy.exception(vector as u8, error, cr2);
            go_on(local, next)
        }
        _ => match interrupt(vector as u8) {
            Some(interrupt) => Entry::Interrupt(interrupt),
            None => resume(local, ExitPath::Iret),
        },
    };
    run(local, entry)
}

/// Called by `trap.s` for `syscall` of 64-bit code, on the empty host stack: the shortest way in and out.
pub(super) extern "sysv64" fn on_syscall() -> ! {
    let local = percpu::local();
    forbid_guest_access();
    let policy = local.policy().expect("guests run after boot");
    let next = policy.syscall();
    go_on(local, next)
}

/// Called by `trap.s` for `syscall` with the registers of `xen_version`'s question for the version, before anything but
/// the registers that calls lose is saved.
pub(super) extern "sysv64" fn on_version() -> Answer {
    let local = percpu::local();
    forbid_guest_access();
    let policy = local.policy().expect("guests run after boot");
    if !may_sysret(ExitPath::Sysret, saved(local)) {
        return Answer { value: 0, done: 0 };
    }
    let answer = policy.version();
    Answer {
        value: answer.unwrap_or(0),
        done: u64::from(answer.is_some()),
    }
}

/// Called by `trap.s` on the empty host stack, for an entry that was noted in `CpuLocal::again`.
pub(super) extern "sysv64" fn on_again() -> ! {
    let local = percpu::local();
    forbid_guest_access();
    let entry = local
        .again
        .take()
        .expect("who asks to begin anew notes why");
    run(local, entry)
}

/// A trap of the guest has come on a stack of its own: its registers move to where all others are saved. Gives the stack
/// to begin anew on.
pub(super) fn take_over(registers: &Registers) -> u64 {
    let (vector, error) = frame::cause(registers);
    let cr2 = if vector == DEBUG {
        context::take_debug_status()
    } else {
        0
    };
    let local = percpu::local();
    let saved = local.frame_end.get() - size_of::<Registers>() as u64;
    // SAFETY: where traps from ring 3 save, so the running vCPU's registers, which nobody else uses now.
    unsafe { (saved as *mut Registers).write(*registers) };
    let vector = vector as u8;
    local
        .again
        .set(Some(Entry::Exception { vector, error, cr2 }));
    local.host_stack
}

/// Tells the policy, and runs what it wants.
fn run(local: &CpuLocal, entry: Entry) -> ! {
    let policy = local.policy().expect("guests run after boot");
    let next = policy.enter(entry);
    go_on(local, next)
}

/// Runs what the policy wants.
#[inline(always)]
fn go_on(local: &CpuLocal, next: Next) -> ! {
    match next {
        Next::Guest(path) => resume(local, path),
        Next::Idle => go_idle(local),
    }
}

/// As [`go_on`], where there is nothing to run. Only here are interrupts taken; the policy is told of all before a guest runs.
#[cold]
fn go_idle(local: &CpuLocal) -> ! {
    let mut next = Next::Idle;
    loop {
        let policy = local.policy().expect("guests run after boot");
        let interrupt = match (idle::take_pending(local), next) {
            (Some(interrupt), _) => interrupt,
            (None, Next::Guest(path)) => resume(local, path),
            (None, Next::Idle) => idle::wait(local, policy),
        };
        next = policy.enter(Entry::Interrupt(interrupt));
    }
}

/// Back to the running vCPU. The policy asks for SYSRET where the selectors are those that it loads; that it cannot fault
/// in ring 0 is seen to here.
#[inline(always)]
fn resume(local: &CpuLocal, path: ExitPath) -> ! {
    let registers = saved(local);
    if may_sysret(path, registers) {
        frame::exit_by_sysret(registers)
    } else {
        frame::exit_by_iret(registers)
    }
}

/// Where the registers of the vCPU that runs here are saved.
fn saved(local: &CpuLocal) -> *const Registers {
    (local.frame_end.get() - size_of::<Registers>() as u64) as *const Registers
}

/// Whether the exit is by SYSRET: where it is asked for and would not fault.
fn may_sysret(path: ExitPath, registers: *const Registers) -> bool {
    // SAFETY: `switch_in` has set this to the registers of the vCPU that runs here.
    path.is_by_sysret(unsafe { (*registers).rip })
}

/// Acknowledges an interrupt that came in guest mode; `None` if the policy need not know.
fn interrupt(vector: u8) -> Option<Interrupt> {
    let interrupt = match vector {
        idt::SPURIOUS => return None,
        idt::FLUSH => {
            tlb::serve();
            apic::acknowledge();
            return None;
        }
        idt::TIMER => {
            tsc::timer_fired();
            Interrupt::Timer
        }
        idt::KICK => {
            percpu::take_kick();
            Interrupt::Kick
        }
        _ => idt::device_line(vector).map_or(Interrupt::Spurious, Interrupt::Device),
    };
    apic::acknowledge();
    Some(interrupt)
}

/// The guest's AC flag must not lift SMAP for us.
fn forbid_guest_access() {
    if features::smap() {
        // SAFETY: the CPU has SMAP.
        unsafe { asm!("clac", options(nomem, nostack)) };
    }
}
