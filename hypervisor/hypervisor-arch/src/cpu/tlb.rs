//! Flushing translations on other CPUs.
//!
//! One request at a time is on its way to each CPU from each other one: the sender sets its bit in the target's mailbox,
//! sends an interrupt and waits until the bit is gone. The target flushes everything when it takes the interrupt or, in
//! the hypervisor, where interrupts are off, when it spins ([`serve`] from `relax`): so two CPUs that wait for each other
//! serve each other.

use crate::cpu::{apic, idt, percpu};
use crate::mem::layout::MAX_CPUS;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

/// For each CPU, who waits for it to flush.
static REQUESTS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Flushes everything on this CPU if another one asked for it.
pub(crate) fn serve() {
    let mailbox = &REQUESTS[percpu::local().index()];
    // Acquire: what the sender changed in tables comes before our flush.
    let waiting = mailbox.load(Ordering::Acquire);
    if waiting != 0 {
        tlb::flush_all();
        // Release: the flush comes before the sender sees its bit gone.
        mailbox.fetch_and(!waiting, Ordering::Release);
    }
}

/// Flushes one address, or everything, on this CPU.
pub(crate) fn flush_here(page: Option<u64>) {
    match page {
        Some(address) => tlb::flush(VirtAddr::new_truncate(address)),
        None => tlb::flush_all(),
    }
}

/// Flushes everything on the other CPUs of the set (bit n is CPU n), and waits until all have done it.
pub(crate) fn flush_others(set: u64) {
    let me = percpu::local().index();
    let own_bit = 1 << me;
    let others = set & !own_bit;
    if others == 0 {
        return;
    }
    let targets = || (0..MAX_CPUS).filter(|cpu| others & 1 << cpu != 0);
    for cpu in targets() {
        // Release: our changes of tables come before the request.
        REQUESTS[cpu].fetch_or(own_bit, Ordering::Release);
        apic::send(cpu, idt::FLUSH);
    }
    for cpu in targets() {
        // Acquire: the target's flush comes before what we do next.
        while REQUESTS[cpu].load(Ordering::Acquire) & own_bit != 0 {
            serve();
            core::hint::spin_loop();
        }
    }
}
