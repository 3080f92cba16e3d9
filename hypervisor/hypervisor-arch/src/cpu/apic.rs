//! The local APIC by its registers in memory (xAPIC): interrupts between CPUs, and this CPU's one-shot timer.

use crate::cpu::idt;
use crate::mem::layout::{DEVICES, MAX_CPUS};
use core::sync::atomic::{AtomicU8, Ordering};

/// Physical address of the registers, the same on every CPU.
pub(crate) const REGISTERS: u64 = 0xfee0_0000;
/// Where they are mapped: the first page of the devices' slot.
pub(crate) const MAPPED: u64 = DEVICES;

#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    CommandLow = 0x300,
    CommandHigh = 0x310,
    LvtTimer = 0x320,
    LvtLint0 = 0x350,
    LvtLint1 = 0x360,
    LvtError = 0x370,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    Divide = 0x3e0,
}

const ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
/// 16 ns a tick under QEMU: fine enough, and more than a minute in 32 bits.
const DIVIDE_BY_16: u32 = 0b0011;
const COMMAND_BUSY: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;
const ALL_BUT_SELF: u32 = 3 << 18;

/// APIC ids by CPU index, for the sender of an interrupt.
static IDS: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(0) }; MAX_CPUS];

fn read(register: Register) -> u32 {
    let address = (MAPPED + register as u64) as *const u32;
    // SAFETY: boot maps the registers before the first use, for ever; the offset is of a register.
    unsafe { address.read_volatile() }
}

fn write(register: Register, value: u32) {
    let address = (MAPPED + register as u64) as *mut u32;
    // SAFETY: as in `read`. What a register does is the business of this module, whose functions write sensible values.
    unsafe { address.write_volatile(value) };
}

/// This CPU's APIC id.
pub(crate) fn id() -> u8 {
    (read(Register::Id) >> 24) as u8
}

/// Switches this CPU's APIC on, with everything masked, and notes its id under the CPU's index.
pub(crate) fn configure(index: usize) {
    IDS[index].store(id(), Ordering::Relaxed);
    write(Register::TaskPriority, 0);
    for register in [
        Register::LvtTimer,
        Register::LvtLint0,
        Register::LvtLint1,
        Register::LvtError,
    ] {
        write(register, MASKED);
    }
    write(Register::Divide, DIVIDE_BY_16);
    write(Register::Spurious, ENABLE | u32::from(idt::SPURIOUS));
    write(Register::LvtTimer, u32::from(idt::TIMER));
}

/// Acknowledges the interrupt in service.
pub(crate) fn acknowledge() {
    write(Register::EndOfInterrupt, 0);
}

/// The APIC id of a CPU that has been configured.
pub(crate) fn id_of(index: usize) -> u8 {
    IDS[index].load(Ordering::Relaxed)
}

/// Sends `vector` to the CPU with this index.
pub(crate) fn send(index: usize, vector: u8) {
    command(u32::from(id_of(index)) << 24, ASSERT | u32::from(vector));
}

/// Stops all other CPUs by an NMI.
pub(crate) fn send_nmi_to_others() {
    command(0, ALL_BUT_SELF | ASSERT | DELIVER_NMI);
}

/// Puts a CPU into its reset state.
pub(crate) fn send_init(apic_id: u8) {
    command(u32::from(apic_id) << 24, ASSERT | DELIVER_INIT);
}

/// Starts a CPU that is in its reset state at the page with this number.
pub(crate) fn send_startup(apic_id: u8, page: u8) {
    command(
        u32::from(apic_id) << 24,
        ASSERT | DELIVER_STARTUP | u32::from(page),
    );
}

fn command(destination: u32, what: u32) {
    while read(Register::CommandLow) & COMMAND_BUSY != 0 {
        core::hint::spin_loop();
    }
    write(Register::CommandHigh, destination);
    write(Register::CommandLow, what);
}

/// Starts the timer: one interrupt after `ticks` of the APIC's clock; 0 stops it.
pub(crate) fn set_timer(ticks: u32) {
    write(Register::InitialCount, ticks);
}

/// What is left of the timer's ticks.
pub(crate) fn timer_count() -> u32 {
    read(Register::CurrentCount)
}
