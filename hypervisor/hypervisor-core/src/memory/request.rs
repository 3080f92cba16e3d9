//! Who asks, and for what: the parts that all memory operations share.

use core::ops::Deref;

use hypercall_abi::memory::{
    E820Entry, MemoryReservation, XENMEMF_EXACT_NODE_REQUEST, XENMEMF_POPULATE_ON_DEMAND,
    XENMEMF_VNODE,
};
use hypercall_abi::{Errno, GuestPtr, RawDomId};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::caller::is_guest_range;
use crate::domain::account::DomainMemory;
use crate::frame::{AllocError, Ram};
use crate::machine::Machine;

/// Extents of an ordinary domain are at most 2 MiB.
const ORDINARY_ORDER: u32 = 9;
/// Those of a domain with control of others, or with devices, at most 16 MiB.
const CONTROL_ORDER: u32 = 12;
/// Beyond this many extents the count and the operation no longer fit the command.
pub(super) const MOST_EXTENTS: u64 = (1 << 26) - 1;
/// Bits of the flags that limit the width of machine addresses.
pub(super) const WIDTH_BITS: u32 = 0xff;

/// The caller of a memory operation, as far as that needs one.
pub trait Requester<M: Machine> {
    /// A domain that is kept from vanishing.
    type Target: Deref<Target = DomainMemory>;

    /// All frames.
    fn ram(&self) -> Ram<'_, M>;
    /// The caller's own memory.
    fn own(&self) -> &DomainMemory;
    /// Whether the caller may act on other domains.
    fn is_control(&self) -> bool;
    /// The domain that an argument names, if the caller may act on it.
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`.
    fn target(&mut self, named: RawDomId) -> Result<Self::Target, Errno>;
    /// How many PFNs the domain that an argument names says it uses, if the caller may act on it. A guest's word.
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`.
    fn announced_pfns(&mut self, named: RawDomId) -> Result<u64, Errno>;
    /// Reads a value from guest memory, once.
    ///
    /// # Errors
    /// `EFAULT`.
    fn read<T: FromBytes + IntoBytes>(&self, from: GuestPtr<T>) -> Result<T, Errno>;
    /// Writes a value to guest memory.
    ///
    /// # Errors
    /// `EFAULT`.
    fn write<T: IntoBytes + Immutable>(&self, to: GuestPtr<T>, value: &T) -> Result<(), Errno>;
    /// The machine's memory map, as the firmware gave it.
    fn machine_map(&self) -> &[E820Entry];
}

/// A reservation's argument, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    list: GuestPtr<u64>,
    /// Extents in the list.
    pub count: u64,
    /// log2 of the frames of an extent.
    pub order: u8,
    /// Frames must have numbers below this.
    pub below: u64,
}

impl Reservation {
    /// Checks order, number and flags; none if one is beyond what the caller may ask.
    pub(super) fn check(raw: &MemoryReservation, control: bool) -> Option<Self> {
        let most = if control {
            CONTROL_ORDER
        } else {
            ORDINARY_ORDER
        };
        // A virtual node is none of the machine's: no domain has any, and the exactness is about it.
        let exact = !control && raw.mem_flags & XENMEMF_VNODE == 0;
        let refused =
            XENMEMF_POPULATE_ON_DEMAND | if exact { XENMEMF_EXACT_NODE_REQUEST } else { 0 };
        if raw.extent_order > most || raw.nr_extents > MOST_EXTENTS || raw.mem_flags & refused != 0
        {
            return None;
        }
        Some(Self {
            list: raw.extent_start,
            count: raw.nr_extents,
            order: u8::try_from(raw.extent_order).ok()?,
            below: highest(raw.mem_flags & WIDTH_BITS)?,
        })
    }

    /// Whether the list is the guest's, from extent `first` on.
    pub(super) fn list_is_guests(&self, first: u64) -> bool {
        let bytes = self.count.saturating_sub(first).checked_mul(8);
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        self.list
            .checked_add(first)
            .zip(bytes)
            .is_some_and(|(start, bytes)| is_guest_range(start.address(), bytes))
    }

    /// Frames of an extent.
    pub(super) fn extent(&self) -> u64 {
        1 << self.order
    }

    /// Whether the caller gave a list.
    pub(super) fn has_list(&self) -> bool {
        !self.list.is_null()
    }

    /// Where the element of extent `index` is.
    ///
    /// # Errors
    /// `EFAULT`: beyond the end of all addresses.
    pub(super) fn element(&self, index: u64) -> Result<GuestPtr<u64>, Errno> {
        self.list.checked_add(index).ok_or(Errno::EFAULT)
    }
}

/// The first frame number that addresses of `bits` bits do not reach; 0 bits are no limit.
pub(super) fn highest(bits: u32) -> Option<u64> {
    match bits {
        0 => Some(u64::MAX),
        1..=12 => None,
        _ => Some(
            1_u64
                .checked_shl(bits.saturating_sub(12))
                .unwrap_or(u64::MAX),
        ),
    }
}

/// Why a step of a counted call ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The machine wants to do something else first.
    Preempted,
    /// Anything else: what was done so far counts.
    Ended,
}

impl From<Errno> for Stop {
    fn from(_: Errno) -> Self {
        Self::Ended
    }
}

/// Tries `allocate` until freed frames have been scrubbed for it, or somebody else needs this CPU.
pub(super) fn patiently<M: Machine, T>(
    machine: &M,
    mut allocate: impl FnMut() -> Result<T, AllocError>,
) -> Result<T, Stop> {
    loop {
        match allocate() {
            Ok(done) => return Ok(done),
            Err(AllocError::NotYet) if machine.preempt_due() => return Err(Stop::Preempted),
            Err(AllocError::NotYet) => machine.relax(),
            Err(AllocError::NoMemory | AllocError::Account(_)) => return Err(Stop::Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_width_becomes_a_frame_number() {
        assert_eq!(highest(0), Some(u64::MAX));
        assert_eq!(highest(12), None);
        assert_eq!(highest(13), Some(2));
        assert_eq!(highest(32), Some(1 << 20));
        assert_eq!(highest(255), Some(u64::MAX));
    }

    #[test]
    fn orders_and_counts_beyond_the_limits_are_refused() {
        let raw = |order, count, flags| MemoryReservation {
            extent_order: order,
            nr_extents: count,
            mem_flags: flags,
            ..MemoryReservation::default()
        };
        assert!(Reservation::check(&raw(9, 1, 0), false).is_some());
        assert!(Reservation::check(&raw(10, 1, 0), false).is_none());
        assert!(Reservation::check(&raw(12, 1, 0), true).is_some());
        assert!(Reservation::check(&raw(13, 1, 0), true).is_none());
        assert!(Reservation::check(&raw(0, MOST_EXTENTS, 0), false).is_some());
        assert!(Reservation::check(&raw(0, 1 << 26, 0), false).is_none());
        assert!(Reservation::check(&raw(0, 1, XENMEMF_POPULATE_ON_DEMAND), true).is_none());
        assert!(Reservation::check(&raw(0, 1, XENMEMF_EXACT_NODE_REQUEST), false).is_none());
    }
}
