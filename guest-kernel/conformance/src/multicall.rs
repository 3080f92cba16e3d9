//! Entries of a list of calls.

use crate::address_of;
use crate::fixture::read;

/// One entry, as `multicall` reads and writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which call.
    pub number: u64,
    result: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Entry {
    /// What stands for a result where none was written.
    pub const UNTOUCHED: i64 = 77;

    /// A call with these arguments, the others being 0.
    #[must_use]
    pub fn new(number: u32, arguments: &[u64]) -> Self {
        let argument = |place: usize| arguments.get(place).copied().unwrap_or(0);
        Self {
            number: u64::from(number),
            result: Self::UNTOUCHED,
            arguments: [0, 1, 2, 3, 4, 5].map(argument),
        }
    }

    /// The result that the hypervisor wrote into it.
    #[must_use]
    pub fn result(&self) -> i64 {
        read(address_of(&self.result)).cast_signed()
    }
}
