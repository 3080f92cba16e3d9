//! Operation 0x600: grants that a builder writes for a domain before it runs.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::ids::{RawDomId, RawGrantRef, RawMfn};

/// Argument of `GRANT_SEED`: writes one entry of the table of a domain that is building. The backend
/// may read and write.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct GrantSeed {
    /// Version 1.
    pub header: ControlHeader,
    /// In: whose table.
    pub domid: RawDomId,
    /// In: to whom the grant is.
    pub backend: RawDomId,
    /// In: which entry; the reserved ones, below 8, only.
    pub gref: RawGrantRef,
    /// In: the frame, one of the domain's own.
    pub mfn: RawMfn,
    /// Zero.
    pub reserved: u32,
    /// Zero.
    pub reserved2: u32,
}
layout!(GrantSeed = "": 32 { header @ 0, domid @ 8, backend @ 10, gref @ 12, mfn @ 16, reserved @ 24, reserved2 @ 28 });
control!(GrantSeed is GRANT_SEED version 1, reserves reserved, reserved2);

constants! {
    /// Writes an entry of a new domain's grant table.
    GRANT_SEED: u32 = 0x600 => "";
}
