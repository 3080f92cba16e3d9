//! Running code that may fault, and surviving it.

use core::cell::UnsafeCell;

use hypercall_abi::trap::{FLAT_KERNEL_CS, FLAT_KERNEL_SS};

use super::fault::Fault;
use super::frame::TrapFrame;
use crate::smp::MAX_VCPUS;
use crate::sync::PerVcpu;

unsafe extern "C" {
    fn trap_probe(function: extern "C" fn(u64), argument: u64, recovery: *mut u64) -> u64;
    fn trap_probe_failed();
}

/// Stack pointer to resume with (0 = no probe runs), and what was caught. Only its own vCPU uses a slot.
struct Slot {
    recovery: UnsafeCell<u64>,
    fault: UnsafeCell<Option<Fault>>,
}

/// SAFETY: a slot is reached by its own vCPU only, and exceptions do not nest in a probe.
unsafe impl Sync for Slot {}

static SLOTS: PerVcpu<Slot> = PerVcpu::new(
    [const {
        Slot {
            recovery: UnsafeCell::new(0),
            fault: UnsafeCell::new(None),
        }
    }; MAX_VCPUS],
);

/// Calls `function(argument)`. An exception in it ends the call at once: values that live there are not dropped, so it
/// should own none. Probes do not nest, and upcalls should be masked or their handlers free of faults.
///
/// # Errors
/// The exception, if there was one.
pub fn probe(function: extern "C" fn(u64), argument: u64) -> Result<(), Fault> {
    let slot = SLOTS.here();
    // SAFETY: the function keeps to the C ABI; recovery is this vCPU's slot and lives for ever.
    let failed = unsafe { trap_probe(function, argument, slot.recovery.get()) };
    if failed == 0 {
        return Ok(());
    }
    // SAFETY: the handler has finished with the slot, and nobody else of this vCPU runs.
    match unsafe { (*slot.fault.get()).take() } {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// RFLAGS.TF.
const TRAP_FLAG: u64 = 1 << 8;

/// Sends an exception to the probe that waits for it on this vCPU; false if there is none.
pub(super) fn recover(frame: &mut TrapFrame, fault: Fault) -> bool {
    let slot = SLOTS.here();
    // SAFETY: the interrupted code is this vCPU's own; it does not run now.
    let stack = unsafe { *slot.recovery.get() };
    if stack == 0 {
        return false;
    }
    // SAFETY: as above.
    unsafe { *slot.fault.get() = Some(fault) };
    frame.rip = (trap_probe_failed as *const ()).addr() as u64;
    frame.rsp = stack;
    // A return that faulted may have been to other segments.
    frame.cs = u64::from(FLAT_KERNEL_CS) & !3;
    frame.ss = u64::from(FLAT_KERNEL_SS);
    // A single step ends with the code that asked for it.
    frame.rflags &= !TRAP_FLAG;
    true
}
