//! Brings up the other CPUs, one after the other.

use crate::boot::memory_map::{FreeMemory, PhysRange};
use crate::cpu::{apic, percpu};
use crate::mem::layout::{self, PAGE};
use crate::mem::own_tables::{OwnTables, Rights};
use crate::tsc;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Where the trampoline is copied: RAM on every PC, and free once the boot information has been read.
pub(crate) const TRAMPOLINE: u64 = 0x8000;
/// How long a CPU may take to come up.
const PATIENCE_MICROS: u64 = 1_000_000;

global_asm!(include_str!("smp.s"), page = const TRAMPOLINE);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static trampoline_root: u8;
    static trampoline_stack: u8;
    static trampoline_entry: u8;
}

/// CPUs that have come up, the boot CPU included.
static ONLINE: AtomicU32 = AtomicU32::new(1);
/// The counter that a CPU saw when it came up.
static ARRIVAL: AtomicU64 = AtomicU64::new(0);

/// How many CPUs run.
pub(crate) fn online() -> usize {
    ONLINE.load(Ordering::Acquire) as usize
}

/// Says that this CPU has come up.
pub(crate) fn announce() {
    ARRIVAL.store(tsc::read(), Ordering::Relaxed);
    ONLINE.fetch_add(1, Ordering::Release);
}

/// A root for the trampoline: our slots, and the trampoline's page at its own address.
pub(crate) fn trampoline_tables(own: &OwnTables, free: &mut FreeMemory) -> OwnTables {
    let mut tables = OwnTables::with_slots(own, free);
    let page = PhysRange::with_length(TRAMPOLINE, PAGE);
    tables.map(free, TRAMPOLINE, page, Rights::Trampoline);
    tables
}

/// Starts the CPUs with these APIC ids; each runs `entry` on its own stack. Gives whether the time stamp counters of all
/// that have come up agree, as far as messages between CPUs can tell.
pub(crate) fn start_others(apic_ids: &[u8], root: u64, entry: extern "sysv64" fn() -> !) -> bool {
    install(root, entry);
    let mut agree = true;
    for &apic_id in apic_ids {
        let index = online();
        set_word(&raw const trampoline_stack, percpu::stack_top(index));
        let before = tsc::read();
        if !start(apic_id, index) {
            log::error!("CPU with APIC id {apic_id} does not start");
            // It may still wake up late and use the words of the next one: stop here.
            break;
        }
        let seen = ARRIVAL.load(Ordering::Relaxed);
        if !(before..=tsc::read()).contains(&seen) {
            log::warn!("CPU {index}: its time stamp counter is not the boot CPU's");
            agree = false;
        }
    }
    agree
}

fn start(apic_id: u8, index: usize) -> bool {
    apic::send_init(apic_id);
    tsc::delay_micros(10_000);
    for _ in 0..2 {
        apic::send_startup(apic_id, (TRAMPOLINE / PAGE) as u8);
        if wait_for(index + 1, 200) {
            return true;
        }
    }
    wait_for(index + 1, PATIENCE_MICROS)
}

fn wait_for(count: usize, micros: u64) -> bool {
    let end = tsc::nanos() + micros * 1000;
    while online() < count && tsc::nanos() < end {
        core::hint::spin_loop();
    }
    online() >= count
}

fn install(root: u64, entry: extern "sysv64" fn() -> !) {
    let source = &raw const trampoline_start;
    let length = (&raw const trampoline_end).addr() - source.addr();
    let page = layout::direct(TRAMPOLINE) as *mut u8;
    // SAFETY: the page is free RAM below 1 MiB in the direct map, and the code is shorter than a page.
    unsafe { page.copy_from_nonoverlapping(source, length) };
    assert!(root < 1 << 32, "the trampoline loads a 32-bit root");
    set_word(&raw const trampoline_root, root);
    set_word(&raw const trampoline_entry, entry as usize as u64);
}

/// Sets one of the words at the end of the copied trampoline.
fn set_word(symbol: *const u8, value: u64) {
    let offset = symbol.addr() - (&raw const trampoline_start).addr();
    let word = (layout::direct(TRAMPOLINE) + offset as u64) as *mut u64;
    // SAFETY: inside the trampoline's page, aligned; no CPU runs there while it is written.
    unsafe { word.write_volatile(value) };
}
