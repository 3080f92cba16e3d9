//! `multicall`: a list of hypercalls in one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One call of the list; only `result` is written back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MulticallEntry {
    /// Number of the hypercall.
    pub op: u64,
    /// What it returned.
    pub result: u64,
    /// Its arguments; the sixth is not used.
    pub args: [u64; 6],
}
layout!(MulticallEntry = "struct multicall_entry": 64 { op @ 0, result @ 8, args @ 16 });
