//! Operations 0x100..: the machine, its CPUs, its clock and the hypervisor's log.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::guest_ptr::GuestPtr;

/// Answer of `HOST_INFO`. The kinds of frames that it tells and those of all domains add up to `total_frames`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct HostInfo {
    /// Version 1.
    pub header: ControlHeader,
    /// Out: frames of RAM, without what the hypervisor took for its image and heap at boot.
    pub total_frames: u64,
    /// Out: frames that can be given to domains now, those still to be scrubbed included.
    pub free_frames: u64,
    /// Out: frames that the hypervisor keeps for itself.
    pub hypervisor_frames: u64,
    /// Out: nanoseconds since the hypervisor booted.
    pub uptime_ns: u64,
    /// Out: nanoseconds since 1970, UTC; 0 = not known.
    pub wallclock_ns: u64,
    /// Out: nanoseconds that a vCPU runs before the next one's turn.
    pub sched_slice_ns: u64,
    /// Out: rate of the TSC in kHz.
    pub tsc_khz: u64,
    /// Out: CPUs in use.
    pub cpus: u32,
    /// Out: domains at most.
    pub max_domains: u32,
    /// Out: the hypervisor's version as text, padded with zeros.
    pub version: [u8; 32],
}
layout!(HostInfo = "": 104 {
    header @ 0, total_frames @ 8, free_frames @ 16, hypervisor_frames @ 24, uptime_ns @ 32, wallclock_ns @ 40,
    sched_slice_ns @ 48, tsc_khz @ 56, cpus @ 64, max_domains @ 68, version @ 72,
});
control!(HostInfo is HOST_INFO version 1);

/// Question and answer of `CPU_INFO`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuInfo {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which CPU, from 0. `ENOENT` past the last.
    pub cpu: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: nanoseconds that it was idle, up to now.
    pub idle_ns: u64,
    /// Out: nanoseconds that it was not.
    pub busy_ns: u64,
    /// Out: how often it left idleness for a vCPU.
    pub wakeups: u64,
    /// Out: interrupts taken.
    pub interrupts: u64,
}
layout!(CpuInfo = "": 48 { header @ 0, cpu @ 8, reserved @ 12, idle_ns @ 16, busy_ns @ 24, wakeups @ 32, interrupts @ 40 });
control!(CpuInfo is CPU_INFO version 1, reserves reserved);

/// Question and answer of `LOG_READ`. `VIRQ_CON_RING` tells of new text.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LogRead {
    /// Version 1.
    pub header: ControlHeader,
    /// In: first byte wanted, counted since boot; one that is no longer kept is moved up. Out: where the next read goes on.
    pub cursor: u64,
    /// In: where the text goes.
    pub buffer: GuestPtr<u8>,
    /// In: bytes of room.
    pub len: u32,
    /// Out: bytes copied; 0 = no more yet.
    pub copied: u32,
}
layout!(LogRead = "": 32 { header @ 0, cursor @ 8, buffer @ 16, len @ 24, copied @ 28 });
control!(LogRead is LOG_READ version 1);

/// Argument of `SET_WALLCLOCK`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SetWallclock {
    /// Version 1.
    pub header: ControlHeader,
    /// In: nanoseconds since 1970, UTC, now.
    pub wallclock_ns: u64,
}
layout!(SetWallclock = "": 16 { header @ 0, wallclock_ns @ 8 });
control!(SetWallclock is SET_WALLCLOCK version 1);

/// Answer of `HOST_PROMISES`. What is free and not promised can be promised to somebody.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct HostPromises {
    /// Version 1.
    pub header: ControlHeader,
    /// Out: frames that can be given to domains now.
    pub free_frames: u64,
    /// Out: frames that domains can take yet without being asked about: each up to its limit, or its maximum while it has
    /// none, and what it can make the hypervisor take besides ([`most_overhead`]). The first domain and those that are being
    /// destroyed are left out.
    pub promised_frames: u64,
}
layout!(HostPromises = "": 24 { header @ 0, free_frames @ 8, promised_frames @ 16 });
control!(HostPromises is HOST_PROMISES version 1);

/// Frames that a domain can make the hypervisor take with its grants: 63 of its table, 64 of records, 32 of handles.
const GRANT_FRAMES: u64 = 63 + 64 + 32;
/// Shared pages, and the tables of an M2P view.
const FIXED_FRAMES: u64 = 16;

/// Frames that a domain may make the hypervisor take besides its own, if those lie together; what is really taken is the
/// hypervisor's count.
#[must_use]
pub const fn most_overhead(max_frames: u64) -> u64 {
    FIXED_FRAMES + GRANT_FRAMES + max_frames / 512
}

constants! {
    /// Tells what the machine has.
    HOST_INFO: u32 = 0x100 => "";
    /// Tells what a CPU does.
    CPU_INFO: u32 = 0x101 => "";
    /// Reads the hypervisor's log.
    LOG_READ: u32 = 0x102 => "";
    /// Sets the clock that domains see as UTC.
    SET_WALLCLOCK: u32 = 0x104 => "";
    /// Tells what of free memory is promised.
    HOST_PROMISES: u32 = 0x107 => "";
}
