//! The end of the machine when the hypervisor's own invariants are broken: stop all CPUs, say what and where, end.

use crate::boot::smp;
use crate::cpu::apic;
use crate::mem::layout::{CPU_AREA_SIZE, CPU_AREAS, CpuArea, MAX_CPUS, PAGE};
use crate::{power, symbols, uart};
use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::{hlt, interrupts};

/// Most frames of a backtrace.
const FRAMES: usize = 32;
/// Turns of a loop that give other CPUs time to take their NMI.
const PATIENCE: u32 = 100_000;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    interrupts::disable();
    if PANICKING.swap(true, Ordering::AcqRel) {
        // A second panic: of this CPU while it reports, or of another one at the same time.
        power::end(power::Ending::HypervisorPanic);
    }
    stop_others();
    // SAFETY: the others have been stopped, and never go on.
    unsafe { uart::force_unlock() };
    let report = report(info);
    debug_assert!(report.is_ok(), "the port takes everything");
    power::end(power::Ending::HypervisorPanic)
}

/// Called for each NMI: does not return once a CPU has panicked.
pub(crate) fn stop_if_panicking() {
    if PANICKING.load(Ordering::Acquire) {
        loop {
            hlt();
        }
    }
}

fn stop_others() {
    if smp::online() > 1 {
        apic::send_nmi_to_others();
        for _ in 0..PATIENCE {
            core::hint::spin_loop();
        }
    }
}

fn report(info: &PanicInfo<'_>) -> fmt::Result {
    let mut line = uart::lock();
    write!(line, "(PV) PANIC: {}", info.message())?;
    if let Some(place) = info.location() {
        write!(line, ", at {place}")?;
    }
    write!(line, "\r\n")?;
    let mut pointer: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    for _ in 0..FRAMES {
        let Some((caller, address)) = frame_at(pointer) else {
            break;
        };
        match symbols::lookup(address) {
            Some((name, offset)) => write!(line, "(PV)   {address:#x} {name}+{offset:#x}\r\n")?,
            None => write!(line, "(PV)   {address:#x}\r\n")?,
        }
        // Stacks grow down: callers are above.
        if caller <= pointer {
            break;
        }
        pointer = caller;
    }
    Ok(())
}

/// The caller's frame pointer and the return address at a frame pointer, if it lies on a stack of a CPU.
fn frame_at(pointer: u64) -> Option<(u64, u64)> {
    let end = CPU_AREAS + MAX_CPUS as u64 * CPU_AREA_SIZE;
    if !(CPU_AREAS..end).contains(&pointer) || !pointer.is_multiple_of(8) {
        return None;
    }
    let page = ((pointer % CPU_AREA_SIZE) / PAGE) as usize;
    let stack = CpuArea::STACK..CpuArea::STACK + CpuArea::STACK_PAGES;
    let traps = CpuArea::TRAP_STACKS..CpuArea::trap_stack(4);
    let last = pointer % PAGE > PAGE - 16;
    if last || !(stack.contains(&page) || traps.contains(&page)) {
        return None;
    }
    let words = pointer as *const [u64; 2];
    // SAFETY: aligned, and in a page of a stack of a running CPU; at worst a hole between trap stacks, which ends in the
    // second panic.
    let [caller, address] = unsafe { words.read_volatile() };
    (address != 0).then_some((caller, address))
}
