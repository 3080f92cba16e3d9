//! Operation 0x105: recounts what the hypervisor counts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};

/// Answer of `AUDIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Audit {
    /// Version 1.
    pub header: ControlHeader,
    /// Out: invariants found broken; 0 = all hold.
    pub breaches: u64,
    /// Out: frames looked at.
    pub frames_checked: u64,
    /// Out: nanoseconds that it took.
    pub duration_ns: u64,
    /// Out: the first breach as text, padded with zeros.
    pub first: [u8; 128],
}
layout!(Audit = "": 160 { header @ 0, breaches @ 8, frames_checked @ 16, duration_ns @ 24, first @ 32 });
control!(Audit is AUDIT version 1);

constants! {
    /// Recounts all references and types.
    AUDIT: u32 = 0x105 => "";
}
