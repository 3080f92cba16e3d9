//! The two-level bitmaps in `shared_info`: hostile memory, changed by atomic operations only and never believed.
//!
//! The order is fixed: pending bit, mask, selector bit and upcall flag (`Vcpu::post`), then whoever is to be woken. A guest
//! goes the other way: it clears the flag, takes the selector, scans. So either it sees the new bit or it is told again.

use super::port::Port;
use crate::ids::Mfn;
use crate::machine::{Machine, Words};
use crate::sync::{AtomicU64, Ordering};

/// Words of `shared_info` (pv-abi 2.4) where the two bitmaps begin.
const PENDING: usize = 0x800 >> 3;
const MASK: usize = 0xa00 >> 3;

/// What setting a pending bit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It was pending: whoever set it has told the guest.
    Pending,
    /// It is masked: the guest will look by itself.
    Masked,
    /// The guest has to be told.
    Open,
}

/// Sets a port's pending bit.
pub(super) fn set_pending<M: Machine>(machine: &M, shared_info: Mfn, port: Port) -> Found {
    let words = machine.words(shared_info);
    if word(words, PENDING, port).fetch_or(port.bit(), Ordering::SeqCst) & port.bit() != 0 {
        Found::Pending
    } else if word(words, MASK, port).load(Ordering::SeqCst) & port.bit() != 0 {
        Found::Masked
    } else {
        Found::Open
    }
}

/// Clears a port's mask bit. True if it was masked and is pending: the guest has to be told.
pub(super) fn unmask<M: Machine>(machine: &M, shared_info: Mfn, port: Port) -> bool {
    let mask = word(machine.words(shared_info), MASK, port);
    let was = mask.fetch_and(!port.bit(), Ordering::SeqCst);
    was & port.bit() != 0 && is_pending(machine, shared_info, port)
}

/// Whether a port is pending.
pub(super) fn is_pending<M: Machine>(machine: &M, shared_info: Mfn, port: Port) -> bool {
    let pending = word(machine.words(shared_info), PENDING, port);
    pending.load(Ordering::SeqCst) & port.bit() != 0
}

/// Clears a port's pending bit: it has been freed. The mask bit stays what the guest made it.
pub(super) fn clear_pending<M: Machine>(machine: &M, shared_info: Mfn, port: Port) {
    let pending = word(machine.words(shared_info), PENDING, port);
    pending.fetch_and(!port.bit(), Ordering::SeqCst);
}

#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "64 words from either of two constants end before 512"
)]
fn word(words: &Words, bitmap: usize, port: Port) -> &AtomicU64 {
    &words[bitmap | usize::from(port.word() & 63)]
}
