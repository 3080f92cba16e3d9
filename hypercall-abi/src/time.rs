//! Clock records, runstates and timers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A clock record: from it and the TSC a guest computes system time (nanoseconds since the hypervisor booted).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VcpuTimeInfo {
    /// Odd while the record is being written; a reader takes an even one that did not change.
    pub version: u32,
    /// Zero.
    pub pad0: u32,
    /// TSC at the time of the record.
    pub tsc_timestamp: u64,
    /// System time at that TSC, in nanoseconds.
    pub system_time: u64,
    /// Nanoseconds per (shifted) TSC tick, as a 32.32 fraction; never 0 in a valid record.
    pub tsc_to_system_mul: u32,
    /// How far a TSC difference is shifted left before it is multiplied; right if negative.
    pub tsc_shift: i8,
    /// `XEN_PVCLOCK_*`.
    pub flags: u8,
    /// Zero.
    pub pad1: [u8; 2],
}
layout!(VcpuTimeInfo = "struct vcpu_time_info": 32 {
    version @ 0, pad0 @ 4, tsc_timestamp @ 8, system_time @ 16, tsc_to_system_mul @ 24, tsc_shift @ 28, flags @ 29, pad1 @ 30,
});

/// How long a vCPU has been in each state.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VcpuRunstateInfo {
    /// `RUNSTATE_*`.
    pub state: u32,
    /// Zero.
    pub pad0: u32,
    /// System time at which the state was entered; bit 63 ([`XEN_RUNSTATE_UPDATE`]) marks a record being written.
    pub state_entry_time: u64,
    /// Nanoseconds spent in each state before that.
    pub time: [u64; 4],
}
layout!(VcpuRunstateInfo = "struct vcpu_runstate_info": 48 { state @ 0, state_entry_time @ 8, time @ 16 });

constants! {
    /// The TSCs of all vCPUs agree: time never goes back between them.
    XEN_PVCLOCK_TSC_STABLE_BIT: u8 = 1 << 0;
    /// The guest was stopped by its host; never set.
    XEN_PVCLOCK_GUEST_STOPPED: u8 = 1 << 1;
    /// On a CPU.
    RUNSTATE_RUNNING: u32 = 0 => "RUNSTATE_running";
    /// Wants a CPU and waits: what guests call stolen time.
    RUNSTATE_RUNNABLE: u32 = 1 => "RUNSTATE_runnable";
    /// Waits for an event.
    RUNSTATE_BLOCKED: u32 = 2 => "RUNSTATE_blocked";
    /// Down or paused.
    RUNSTATE_OFFLINE: u32 = 3 => "RUNSTATE_offline";
    /// In `state_entry_time`: the record is being written.
    XEN_RUNSTATE_UPDATE: u64 = 1 << 63;
}
