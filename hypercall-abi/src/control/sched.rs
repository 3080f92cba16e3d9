//! Operations 0x500..: shares of CPU time.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::ids::RawDomId;

/// Argument of `SCHED_SET`: replaces all three settings.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedSet {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: share of CPU time, 1..=65535.
    pub weight: u32,
    /// In: CPU time at most, in percent of one CPU; 0 = no limit.
    pub cap_percent: u32,
    /// Zero.
    pub reserved2: u32,
    /// In: CPUs that it may run on, one bit each; 0 = all. `EINVAL` if it names none that exists.
    pub affinity: u64,
}
layout!(SchedSet = "": 32 {
    header @ 0, domid @ 8, reserved @ 10, weight @ 12, cap_percent @ 16, reserved2 @ 20, affinity @ 24,
});
control!(SchedSet is SCHED_SET version 1, reserves reserved, reserved2);

/// Question and answer of `SCHED_GET`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedGet {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// Out: share of CPU time.
    pub weight: u32,
    /// Out: CPU time at most, in percent of one CPU; 0 = no limit.
    pub cap_percent: u32,
    /// Zero.
    pub reserved2: u32,
    /// Out: CPUs that it may run on, one bit each.
    pub affinity: u64,
}
layout!(SchedGet = "": 32 {
    header @ 0, domid @ 8, reserved @ 10, weight @ 12, cap_percent @ 16, reserved2 @ 20, affinity @ 24,
});
control!(SchedGet is SCHED_GET version 1, reserves reserved, reserved2);

constants! {
    /// Sets weight, cap and affinity.
    SCHED_SET: u32 = 0x500 => "";
    /// Tells them.
    SCHED_GET: u32 = 0x501 => "";
}
