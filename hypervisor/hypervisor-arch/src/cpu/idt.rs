//! The interrupt descriptor table, one for all CPUs, and the numbers of our interrupts.
//!
//! Gates have DPL 0 but those of `int3` and `into`; `int n` of a guest arrives as #GP, and policy decides what it means.

use crate::cpu::gdt::{self, TrapStack};
use core::cell::UnsafeCell;
use x86_64::VirtAddr;
use x86_64::structures::DescriptorTablePointer;

/// First vector of device interrupts.
pub(crate) const DEVICE_FIRST: u8 = 0x40;
/// How many vectors devices have.
pub(crate) const DEVICES: u8 = 32;
/// The local APIC's timer.
pub(crate) const TIMER: u8 = 0xf0;
/// Another CPU asks to pass the exit path.
pub(crate) const KICK: u8 = 0xf1;
/// Another CPU asks for a TLB flush.
pub(crate) const FLUSH: u8 = 0xf2;
/// The local APIC's spurious interrupt: needs no acknowledgement.
pub(crate) const SPURIOUS: u8 = 0xff;

/// Bytes from one stub of `trap.s` to the next.
const STUB_SIZE: u64 = 16;

unsafe extern "C" {
    static trap_stubs: u8;
}

#[repr(align(4096))]
struct Table(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written by `build` only, before a second CPU runs.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));

/// The device line of a vector.
pub(crate) fn device_line(vector: u8) -> Option<u8> {
    let line = vector.checked_sub(DEVICE_FIRST)?;
    (line < DEVICES).then_some(line)
}

/// Fills the table.
///
/// # Safety
/// Once, before any CPU uses it.
pub(crate) unsafe fn build() {
    // SAFETY: nobody else has it yet.
    let table = unsafe { &mut *TABLE.0.get() };
    let first = (&raw const trap_stubs).addr() as u64;
    for (vector, gate) in (0_u64..).zip(table.iter_mut()) {
        let stack = match vector {
            1 => TrapStack::Debug as u64,
            2 => TrapStack::Nmi as u64,
            8 => TrapStack::DoubleFault as u64,
            18 => TrapStack::MachineCheck as u64,
            _ => 0,
        };
        let privilege = if matches!(vector, 3 | 4) { 3 } else { 0 };
        *gate = interrupt_gate(first + vector * STUB_SIZE, stack, privilege);
    }
}

fn interrupt_gate(handler: u64, stack: u64, privilege: u64) -> [u64; 2] {
    let present_interrupt = 0x8e | privilege << 5;
    let low = handler & 0xffff
        | u64::from(gdt::CODE) << 16
        | stack << 32
        | present_interrupt << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Loads the table on this CPU.
pub(crate) fn load() {
    let pointer = DescriptorTablePointer {
        limit: 4095,
        base: VirtAddr::from_ptr(TABLE.0.get()),
    };
    // SAFETY: the table is static, and `build` has filled it.
    unsafe { x86_64::instructions::tables::lidt(&pointer) };
}
