//! Operations 0x105 and 0x106: recounting what the hypervisor counts, and breaking it for a test.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::ids::RawDomId;

/// Argument and answer of `AUDIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Audit {
    /// Version 1.
    pub header: ControlHeader,
    /// In: 0 begins a recount, and ends one that is under way; else what the last call gave, to go on.
    /// Out: 0 when the recount is complete.
    pub progress: u64,
    /// Out: invariants found broken so far; 0 = all hold.
    pub breaches: u64,
    /// Out: frames compared so far.
    pub frames_checked: u64,
    /// Out: tables and descriptor pages looked at so far.
    pub tables_checked: u64,
    /// Out: ports looked at so far.
    pub ports_checked: u64,
    /// Out: mappings of grants looked at so far.
    pub grants_checked: u64,
    /// Out: steps done so far.
    pub steps: u64,
    /// Out: nanoseconds since the recount began.
    pub duration_ns: u64,
    /// Out: nanoseconds for which other CPUs stood still at a time, at most.
    pub longest_ns: u64,
    /// Out: the first breach as text, padded with zeros.
    pub first: [u8; 128],
}
layout!(Audit = "": 208 {
    header @ 0, progress @ 8, breaches @ 16, frames_checked @ 24, tables_checked @ 32, ports_checked @ 40,
    grants_checked @ 48, steps @ 56, duration_ns @ 64, longest_ns @ 72, first @ 80
});
control!(Audit is AUDIT version 1);

/// Argument and answer of `AUDIT_BREACH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AuditBreach {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which invariant, 1 for I-01.
    pub invariant: u32,
    /// In: `BREACH_*`.
    pub action: u32,
    /// In: whose.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
    /// Out of planting, in to mending: the frame, port or entry concerned.
    pub place: u64,
}
layout!(AuditBreach = "": 32 { header @ 0, invariant @ 8, action @ 12, domid @ 16, reserved @ 18, place @ 24 });
control!(AuditBreach is AUDIT_BREACH version 1, reserves reserved);

constants! {
    /// Recounts all references and types.
    AUDIT: u32 = 0x105 => "";
    /// Breaks an invariant, or mends it, in a hypervisor built for that test.
    AUDIT_BREACH: u32 = 0x106 => "";
    /// The invariant is broken.
    BREACH_PLANT: u32 = 0 => "";
    /// The breach is mended.
    BREACH_MEND: u32 = 1 => "";
    /// The hypervisor panics.
    BREACH_PANIC: u32 = 2 => "";
    /// Invariants that can be broken so, from 1.
    BREACH_INVARIANTS: u32 = 13 => "";
    /// In R9 of a call, where that hypervisor has no argument: it is to be answered wrongly, a refusal for success and the
    /// other way round.
    BREACH_ANSWER: u64 = 0x7772_6f6e_6721 => "";
}
