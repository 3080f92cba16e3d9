//! Traps in ring 0: interrupts of the idle loop, guest accesses that fault, the exit instruction's faults. All else is
//! a broken invariant.

use crate::cpu::context;
use crate::cpu::percpu::{self, PENDING_KICK, PENDING_TIMER};
use crate::cpu::{apic, idt, tlb};
use crate::entry::frame::{self, Registers};
use crate::entry::from_guest;
use crate::mem::fixup;
use crate::{panic, tsc};
use hypervisor_core::entry::Entry;
use x86_64::registers::control::Cr2;

const NMI: u32 = 2;
const DEBUG: u32 = 1;
const PAGE_FAULT: u32 = 14;
const TRAP_FLAG: u64 = 1 << 8;

/// Called by `trap.s` with what was interrupted. A result other than 0 is a stack to begin anew on.
pub(super) extern "sysv64" fn on_host(registers: &mut Registers) -> u64 {
    let (vector, error) = frame::cause(registers);
    if vector >= 32 {
        interrupt(vector as u8);
        return 0;
    }
    if let Some(target) = fixup::lookup(registers.rip) {
        registers.rip = target;
        return 0;
    }
    let local = percpu::local();
    if frame::is_exit_iret(registers.rip) {
        let cr2 = if vector == PAGE_FAULT {
            Cr2::read_raw()
        } else {
            0
        };
        local.again.set(Some(Entry::ExitFault {
            vector: vector as u8,
            error,
            cr2,
        }));
        return local.host_stack;
    }
    fatal(registers, vector, error)
}

/// An interrupt while this CPU was idle: noted, and told when the idle loop looks.
fn interrupt(vector: u8) {
    let local = percpu::local();
    let note = |bit| local.pending.set(local.pending.get() | bit);
    match vector {
        idt::SPURIOUS => return,
        idt::FLUSH => tlb::serve(),
        idt::TIMER => {
            tsc::timer_fired();
            note(PENDING_TIMER);
        }
        idt::KICK => {
            percpu::take_kick();
            note(PENDING_KICK);
        }
        _ => match idt::device_line(vector) {
            Some(line) => note(1 << line),
            None => log::warn!("interrupt {vector:#x} is nobody's"),
        },
    }
    apic::acknowledge();
}

/// Called by `trap.s` for #DB, NMI, #DF and #MC, which have stacks of their own.
pub(super) extern "sysv64" fn on_own_stack(registers: &mut Registers) -> u64 {
    let (vector, error) = frame::cause(registers);
    match vector {
        NMI => {
            panic::stop_if_panicking();
            0
        }
        DEBUG if registers.cs & 3 == 3 => from_guest::take_over(registers),
        // A breakpoint of the guest on memory that we touch for it, or a single step that was pending at the entry:
        // nothing of ours, and nothing that the guest may learn from us.
        DEBUG => {
            context::take_debug_status();
            registers.rflags &= !TRAP_FLAG;
            0
        }
        _ => fatal(registers, vector, error),
    }
}

fn fatal(registers: &Registers, vector: u32, error: u32) -> ! {
    let cr2 = Cr2::read_raw();
    panic!("exception {vector} ({error:#x}), CR2 {cr2:#x}, {registers:#x?}")
}
