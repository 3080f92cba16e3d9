//! Operations 0x400..: vCPUs of other domains.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::guest_ptr::GuestPtr;
use crate::ids::RawDomId;
use crate::vcpu::VcpuGuestContext;

/// Argument of `VCPU_SET_CONTEXT`: as `VCPUOP_initialise`, by the builder; with `VGCF_ONLINE` the vCPU comes up.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VcpuSetContext {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: which vCPU.
    pub vcpu: u32,
    /// In: its state.
    pub context: GuestPtr<VcpuGuestContext>,
}
layout!(VcpuSetContext = "": 24 { header @ 0, domid @ 8, reserved @ 10, vcpu @ 12, context @ 16 });
control!(VcpuSetContext is VCPU_SET_CONTEXT version 1, reserves reserved);

/// Question and answer of `VCPU_INFO`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VcpuRecord {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: which vCPU.
    pub vcpu: u32,
    /// Out: `VCPU_STATE_*`.
    pub state: u32,
    /// Out: CPU that it runs on; [`VCPU_ON_NO_CPU`] if it does not run.
    pub pcpu: u32,
    /// Out: nanoseconds that it has run.
    pub cpu_time_ns: u64,
    /// Out: nanoseconds in each of `RUNSTATE_*`.
    pub runstate_ns: [u64; 4],
    /// Out: how often it was woken.
    pub wakeups: u64,
}
layout!(VcpuRecord = "": 72 {
    header @ 0, domid @ 8, reserved @ 10, vcpu @ 12, state @ 16, pcpu @ 20, cpu_time_ns @ 24, runstate_ns @ 32, wakeups @ 64,
});
control!(VcpuRecord is VCPU_INFO version 1, reserves reserved);

constants! {
    /// Gives a vCPU its state.
    VCPU_SET_CONTEXT: u32 = 0x400 => "";
    /// Tells what a vCPU does.
    VCPU_INFO: u32 = 0x401 => "";
    /// Down.
    VCPU_STATE_DOWN: u32 = 0 => "";
    /// On a CPU.
    VCPU_STATE_RUNNING: u32 = 1 => "";
    /// Wants a CPU.
    VCPU_STATE_RUNNABLE: u32 = 2 => "";
    /// Waits for an event.
    VCPU_STATE_BLOCKED: u32 = 3 => "";
    /// Paused with its domain.
    VCPU_STATE_PAUSED: u32 = 4 => "";
}

/// [`VcpuRecord::pcpu`] of a vCPU that does not run.
pub const VCPU_ON_NO_CPU: u32 = u32::MAX;
