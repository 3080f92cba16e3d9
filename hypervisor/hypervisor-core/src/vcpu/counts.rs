//! How often a vCPU has asked for each kind of thing.
//!
//! Only the CPU that runs the vCPU counts, so counting is a load and a store; anybody may read.

use core::array;
use core::ops::Range;

use hypercall_abi::control::counters::{COUNTER_CPUID, COUNTER_EXCEPTIONS, COUNTER_KINDS};

use crate::sync::{AtomicU64, Ordering};

/// The last place of hypercalls: numbers that are larger than any have it.
const UNKNOWN_CALL: u64 = 63;

/// A count for each kind.
#[derive(Debug)]
pub struct Counts([AtomicU64; COUNTER_KINDS]);

impl Counts {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Counts one of a kind.
    #[inline]
    pub fn add(&self, kind: u32) {
        let count = usize::try_from(kind).ok().and_then(|kind| self.0.get(kind));
        if let Some(count) = count {
            let more = count.load(Ordering::Relaxed).wrapping_add(1);
            count.store(more, Ordering::Relaxed);
        }
    }

    /// Counts a hypercall.
    #[inline]
    pub fn add_call(&self, number: u64) {
        self.add(u32::try_from(number.min(UNKNOWN_CALL)).unwrap_or(0));
    }

    /// Counts an exception.
    #[inline]
    pub fn add_exception(&self, vector: u8) {
        self.add(COUNTER_EXCEPTIONS | u32::from(vector & 0x1f));
    }

    /// How many hypercalls and how many exceptions there were.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let place = |kind| usize::try_from(kind).unwrap_or(COUNTER_KINDS);
        let (calls, faults) = (place(COUNTER_EXCEPTIONS), place(COUNTER_CPUID));
        let sum = |kinds: Range<usize>| {
            let counts = self.0.get(kinds).unwrap_or_default().iter();
            counts.fold(0_u64, |sum, count| {
                sum.wrapping_add(count.load(Ordering::Relaxed))
            })
        };
        (sum(0..calls), sum(calls..faults))
    }

    /// All of them, in their order.
    pub fn all(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place() {
        let counts = Counts::new();
        counts.add_call(1);
        counts.add_call(u64::MAX);
        counts.add_exception(14);
        counts.add(96);
        counts.add(u32::MAX);
        let told: alloc::vec::Vec<_> = counts
            .all()
            .enumerate()
            .filter(|told| told.1 != 0)
            .collect();
        assert_eq!(told, [(1, 1), (63, 1), (78, 1), (96, 1)]);
        assert_eq!(counts.totals(), (2, 1));
    }
}
