//! The virtual interrupt flag of a vCPU: `evtchn_upcall_mask` in its `vcpu_info`, and what must follow its clearing.
//!
//! Clearing the mask in memory tells nobody. So whoever clears it looks at the pending byte afterwards and, if an upcall
//! came meanwhile, makes any hypercall: upcalls are delivered at its return.

use core::sync::atomic::Ordering;

use super::shared;
use crate::hypercall::version;

/// Upcalls are masked on this vCPU while this lives; then the mask is as it was.
#[must_use = "dropping it restores the mask"]
#[derive(Debug)]
pub struct Masked {
    before: u8,
}

/// Masks upcalls on this vCPU.
pub fn mask() -> Masked {
    Masked {
        before: shared::vcpu_info().upcall_mask.swap(1, Ordering::SeqCst),
    }
}

/// Opens upcalls on this vCPU, and takes a pending one at once.
pub fn unmask() {
    let info = shared::vcpu_info();
    // The store must be seen before the pending byte is read, else an upcall set in between is missed by both sides.
    info.upcall_mask.store(0, Ordering::SeqCst);
    if info.upcall_pending.load(Ordering::SeqCst) != 0 {
        version::poke();
    }
}

/// Leaves upcalls masked for good: for a context that ends in a hypercall which sets the mask itself.
pub(crate) fn keep_masked(masked: Masked) {
    core::mem::forget(masked);
}

impl Drop for Masked {
    fn drop(&mut self) {
        if self.before == 0 {
            unmask();
        }
    }
}
