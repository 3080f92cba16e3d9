//! Waiting for an interrupt when there is nothing to run: the only time when the hypervisor takes any.

use crate::cpu::percpu::{CpuLocal, PENDING_KICK, PENDING_TIMER};
use crate::cpu::tlb;
use crate::policy::Policy;
use hypervisor_core::entry::Interrupt;
use x86_64::instructions::{self, interrupts};

/// Does what there is time for, then halts, until an interrupt has been noted, and gives it.
pub(super) fn wait(local: &CpuLocal, policy: &mut Policy) -> Interrupt {
    loop {
        tlb::serve();
        if let Some(interrupt) = take_pending(local) {
            return interrupt;
        }
        // `sti` takes effect after the next instruction: an interrupt before it wakes the halt.
        if policy.spare_step() {
            interrupts::enable();
            instructions::nop();
        } else {
            interrupts::enable_and_hlt();
        }
        interrupts::disable();
    }
}

/// Takes one of the interrupts that have been noted.
pub(super) fn take_pending(local: &CpuLocal) -> Option<Interrupt> {
    let pending = local.pending.get();
    if pending == 0 {
        return None;
    }
    let lowest = pending & pending.wrapping_neg();
    local.pending.set(pending & !lowest);
    Some(match lowest {
        PENDING_TIMER => Interrupt::Timer,
        PENDING_KICK => Interrupt::Kick,
        line => Interrupt::Device(line.trailing_zeros() as u8),
    })
}
