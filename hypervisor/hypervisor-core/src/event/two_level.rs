//! The two-level bitmaps in `shared_info`: hostile memory, changed by atomic operations only and never believed.
//!
//! The order is fixed: pending bit, mask, selector bit and upcall flag (`Vcpu::post`), then whoever is to be woken. A guest
//! goes the other way: it clears the flag, takes the selector, scans. So either it sees the new bit or it is told again.

use super::port::Port;
use crate::ids::{Mfn, Place};
use crate::machine::Machine;

/// Offsets in `shared_info` (pv-abi 2.4).
const PENDING: usize = 0x800;
const MASK: usize = 0xa00;

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
    let word = Place::new(shared_info, at(PENDING, port));
    if machine.fetch_or_u64(word, port.bit()) & port.bit() != 0 {
        Found::Pending
    } else if machine.load_u64(shared_info, at(MASK, port)) & port.bit() != 0 {
        Found::Masked
    } else {
        Found::Open
    }
}

/// Clears a port's mask bit. True if it was masked and is pending: the guest has to be told.
pub(super) fn unmask<M: Machine>(machine: &M, shared_info: Mfn, port: Port) -> bool {
    let was = machine.fetch_and_u64(shared_info, at(MASK, port), !port.bit());
    was & port.bit() != 0 && is_pending(machine, shared_info, port)
}

/// Whether a port is pending.
pub(super) fn is_pending<M: Machine>(machine: &M, shared_info: Mfn, port: Port) -> bool {
    machine.load_u64(shared_info, at(PENDING, port)) & port.bit() != 0
}

/// Clears a port's pending bit: it has been freed. The mask bit stays what the guest made it.
pub(super) fn clear_pending<M: Machine>(machine: &M, shared_info: Mfn, port: Port) {
    machine.fetch_and_u64(shared_info, at(PENDING, port), !port.bit());
}

fn at(bitmap: usize, port: Port) -> usize {
    bitmap.saturating_add(usize::from(port.word()) << 3)
}
