//! What a domain has asked for, by kind.
//!
//! A kind is an index: hypercalls by their numbers, then exceptions by their vectors, then what is carried out for a guest that
//! believes to be alone. Repetitions of a call that was interrupted and elements of a multicall count like any other.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::ids::RawDomId;

/// Kinds that there is room for.
pub const COUNTER_KINDS: usize = 128;

/// Question and answer of `DOMAIN_COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DomainCounters {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
    /// Out: how often each kind has happened; `COUNTER_*` says which is where.
    pub counts: [u64; COUNTER_KINDS],
}
layout!(DomainCounters = "": 1040 { header @ 0, domid @ 8, reserved @ 10, counts @ 16 });
control!(DomainCounters is DOMAIN_COUNTERS version 1, reserves reserved);

constants! {
    /// Tells what a domain has asked for.
    DOMAIN_COUNTERS: u32 = 0x208 => "";
    /// Hypercalls by number from here on; the last of them stands for all numbers that are larger.
    COUNTER_HYPERCALLS: u32 = 0 => "";
    /// Exceptions by vector from here on.
    COUNTER_EXCEPTIONS: u32 = 64 => "";
    /// CPUID carried out.
    COUNTER_CPUID: u32 = 96 => "";
    /// RDMSR carried out.
    COUNTER_RDMSR: u32 = 97 => "";
    /// WRMSR carried out.
    COUNTER_WRMSR: u32 = 98 => "";
    /// Reads of control registers.
    COUNTER_READ_CR: u32 = 99 => "";
    /// Writes to control registers.
    COUNTER_WRITE_CR: u32 = 100 => "";
    /// Reads of and writes to debug registers.
    COUNTER_DEBUG: u32 = 101 => "";
    /// Accesses to I/O ports.
    COUNTER_PORT: u32 = 102 => "";
    /// CLI and STI.
    COUNTER_CLI_STI: u32 = 103 => "";
    /// RDTSC and RDTSCP.
    COUNTER_RDTSC: u32 = 104 => "";
    /// Other instructions.
    COUNTER_OTHER: u32 = 105 => "";
    /// Stores into page tables.
    COUNTER_TABLE_WRITE: u32 = 106 => "";
}

/// The names of exceptions, by vector.
const EXCEPTIONS: [&str; 32] = [
    "DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM", "DF", "9", "TS", "NP", "SS", "GP", "PF", "15",
    "MF", "AC", "MC", "XM", "VE", "CP", "22", "23", "24", "25", "26", "27", "HV", "VC", "SX", "31",
];

/// The names of what is carried out for a guest, from [`COUNTER_CPUID`] on.
const EMULATED: [&str; 11] = [
    "cpuid",
    "rdmsr",
    "wrmsr",
    "read-cr",
    "write-cr",
    "debug-register",
    "port",
    "cli-sti",
    "rdtsc",
    "other",
    "page-table-write",
];

/// What a kind is called: its group, and its name within the group. `None` for a place that no kind has.
#[must_use]
pub fn counter_name(kind: usize) -> Option<(&'static str, &'static str)> {
    if kind == COUNTER_KINDS_OF_CALLS - 1 {
        return Some(("hypercall", "unknown"));
    }
    if let Some(vector) = kind.checked_sub(COUNTER_KINDS_OF_CALLS) {
        return match vector.checked_sub(EXCEPTIONS.len()) {
            None => EXCEPTIONS.get(vector).map(|name| ("exception", *name)),
            Some(number) => EMULATED.get(number).map(|name| ("emulation", *name)),
        };
    }
    let number = u64::try_from(kind).ok()?;
    let name = crate::table::hypercall(number).map_or("unknown", |row| row.name);
    Some(("hypercall", name))
}

/// Places for hypercalls.
const COUNTER_KINDS_OF_CALLS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_their_places() {
        assert_eq!(counter_name(1), Some(("hypercall", "mmu_update")));
        assert_eq!(counter_name(63), Some(("hypercall", "unknown")));
        assert_eq!(counter_name(64 + 14), Some(("exception", "PF")));
        assert_eq!(counter_name(95), Some(("exception", "31")));
        assert_eq!(counter_name(96), Some(("emulation", "cpuid")));
        assert_eq!(counter_name(106), Some(("emulation", "page-table-write")));
        assert_eq!(counter_name(107), None);
    }
}
