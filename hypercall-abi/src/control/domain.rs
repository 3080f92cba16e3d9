//! Operations 0x200..: domains, from creation to the last frame given back.
//!
//! A domain is created `building`, paused once, with all its vCPUs down. Its builder fills it (`MEMORY_WRITE`, the public calls of
//! `memory_op` and `mmuext_op` in its name, `VCPU_SET_CONTEXT`) and unpauses it. `VIRQ_DOM_EXC` tells the management domain when one
//! has shut down, crashed, or finished dying.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ControlHeader, control};
use crate::ids::{RawDomId, RawMfn};

/// Argument and answer of `DOMAIN_CREATE`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainCreate {
    /// Version 1.
    pub header: ControlHeader,
    /// In: number of the new domain, or `DOMID_INVALID` to have one chosen. Out: its number.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// In: vCPUs that it has; all are down at first.
    pub max_vcpus: u32,
    /// In: frames that it may have.
    pub max_frames: u64,
    /// In: identifier that the domain can read; not looked at.
    pub uuid: [u8; 16],
    /// In: share of CPU time, 1..=65535.
    pub weight: u32,
    /// In: CPU time at most, in percent of one CPU; 0 = no limit.
    pub cap_percent: u32,
    /// In: CPUs that it may run on, one bit each; 0 = all.
    pub affinity: u64,
    /// Out: frame of its shared info page.
    pub shared_info_mfn: RawMfn,
    /// Out: first frame of its grant table.
    pub grant_table_mfn: RawMfn,
}
layout!(DomainCreate = "": 72 {
    header @ 0, domid @ 8, reserved @ 10, max_vcpus @ 12, max_frames @ 16, uuid @ 24, weight @ 40, cap_percent @ 44,
    affinity @ 48, shared_info_mfn @ 56, grant_table_mfn @ 64,
});
control!(DomainCreate is DOMAIN_CREATE version 1, reserves reserved);

/// Argument of `DOMAIN_DESTROY`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainDestroy {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
}
layout!(DomainDestroy = "": 16 { header @ 0, domid @ 8, reserved @ 10 });
control!(DomainDestroy is DOMAIN_DESTROY version 1, reserves reserved);

/// Argument of `DOMAIN_PAUSE`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainPause {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
}
layout!(DomainPause = "": 16 { header @ 0, domid @ 8, reserved @ 10 });
control!(DomainPause is DOMAIN_PAUSE version 1, reserves reserved);

/// Argument of `DOMAIN_UNPAUSE`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainUnpause {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
}
layout!(DomainUnpause = "": 16 { header @ 0, domid @ 8, reserved @ 10 });
control!(DomainUnpause is DOMAIN_UNPAUSE version 1, reserves reserved);

/// Argument of `DOMAIN_SET_MAX`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainSetMax {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
    /// In: frames that it may have from now on; may be below what it has.
    pub max_frames: u64,
}
layout!(DomainSetMax = "": 24 { header @ 0, domid @ 8, reserved @ 10, max_frames @ 16 });
control!(DomainSetMax is DOMAIN_SET_MAX version 1, reserves reserved);

/// Argument of `DOMAIN_SET_LIMIT`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainSetLimit {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
    /// In: frames up to which it may take more by itself; may be below what it has, and above its maximum.
    pub limit_frames: u64,
}
layout!(DomainSetLimit = "": 24 { header @ 0, domid @ 8, reserved @ 10, limit_frames @ 16 });
control!(DomainSetLimit is DOMAIN_SET_LIMIT version 1, reserves reserved);

/// Argument of `DOMAIN_RESUME`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DomainResume {
    /// Version 1.
    pub header: ControlHeader,
    /// In: which domain.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
}
layout!(DomainResume = "": 16 { header @ 0, domid @ 8, reserved @ 10 });
control!(DomainResume is DOMAIN_RESUME version 1, reserves reserved);

/// Question and answer of `DOMAIN_INFO`: walks all domains, or looks at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DomainInfo {
    /// Version 1.
    pub header: ControlHeader,
    /// In: the first domain with this number or a higher one is told.
    pub first: RawDomId,
    /// Zero.
    pub reserved: [u16; 3],
    /// Out: what it is; its number is in it.
    pub record: DomainRecord,
}
layout!(DomainInfo = "": 256 { header @ 0, first @ 8, reserved @ 10, record @ 16 });
control!(DomainInfo is DOMAIN_INFO version 1, reserves reserved);

/// What there is to know of a domain. Numbers are the hypervisor's own counts, never a guest's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DomainRecord {
    /// Its number.
    pub domid: RawDomId,
    /// Zero.
    pub reserved: u16,
    /// `DOMAIN_STATE_*`.
    pub state: u32,
    /// `SHUTDOWN_*`, once it has shut down or crashed.
    pub shutdown_reason: u32,
    /// vCPUs that it has.
    pub vcpus_max: u32,
    /// vCPUs that are up.
    pub vcpus_online: u32,
    /// vCPUs that are up and wait for an event.
    pub vcpus_blocked: u32,
    /// Share of CPU time.
    pub weight: u32,
    /// CPU time at most, in percent of one CPU; 0 = no limit.
    pub cap_percent: u32,
    /// CPUs that it may run on, one bit each.
    pub affinity: u64,
    /// Frames that it has.
    pub frames: u64,
    /// Frames that it may have.
    pub max_frames: u64,
    /// Frames that the hypervisor shares with it: shared info and grant table.
    pub shared_frames: u64,
    /// Frames that the hypervisor needs for it: its view of the M2P.
    pub overhead_frames: u64,
    /// Nanoseconds that its vCPUs have run, those running now included.
    pub cpu_time_ns: u64,
    /// Uptime of the host at its creation, in nanoseconds.
    pub created_ns: u64,
    /// How often one of its vCPUs was woken.
    pub wakeups: u64,
    /// Hypercalls that it has made.
    pub hypercalls: u64,
    /// Exceptions that it has raised.
    pub faults: u64,
    /// Identifier given at creation.
    pub uuid: [u8; 16],
    /// Why it crashed; zero if it did not.
    pub crash: CrashInfo,
}
layout!(DomainRecord = "": 240 {
    domid @ 0, reserved @ 2, state @ 4, shutdown_reason @ 8, vcpus_max @ 12, vcpus_online @ 16, vcpus_blocked @ 20, weight @ 24,
    cap_percent @ 28, affinity @ 32, frames @ 40, max_frames @ 48, shared_frames @ 56, overhead_frames @ 64, cpu_time_ns @ 72,
    created_ns @ 80, wakeups @ 88, hypercalls @ 96, faults @ 104, uuid @ 112, crash @ 128,
});

/// How a domain crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CrashInfo {
    /// Below [`CRASH_OTHER`]: vector of the exception that nobody took; from there on another reason, which the text tells.
    pub reason: u32,
    /// vCPU that it happened on.
    pub vcpu: u32,
    /// RIP there.
    pub rip: u64,
    /// Address of the last page fault.
    pub cr2: u64,
    /// Error code of the exception; 0 if it was none.
    pub error_code: u64,
    /// The reason in words, padded with zeros.
    pub text: [u8; 80],
}
layout!(CrashInfo = "": 112 { reason @ 0, vcpu @ 4, rip @ 8, cr2 @ 16, error_code @ 24, text @ 32 });

constants! {
    /// Creates an empty domain.
    DOMAIN_CREATE: u32 = 0x200 => "";
    /// Ends a domain and gives back all it has.
    DOMAIN_DESTROY: u32 = 0x201 => "";
    /// Tells about the next domain.
    DOMAIN_INFO: u32 = 0x202 => "";
    /// Stops a domain's vCPUs; counted.
    DOMAIN_PAUSE: u32 = 0x203 => "";
    /// Takes back one pause.
    DOMAIN_UNPAUSE: u32 = 0x204 => "";
    /// Sets how many frames a domain may have.
    DOMAIN_SET_MAX: u32 = 0x205 => "";
    /// Lets a suspended domain go on.
    DOMAIN_RESUME: u32 = 0x206 => "";
    /// Sets up to how many frames a domain may take more now.
    DOMAIN_SET_LIMIT: u32 = 0x207 => "";
    /// Has not run yet.
    DOMAIN_STATE_BUILDING: u32 = 0 => "";
    /// Runs, or waits for events.
    DOMAIN_STATE_RUNNING: u32 = 1 => "";
    /// Is paused by the management domain.
    DOMAIN_STATE_PAUSED: u32 = 2 => "";
    /// Has shut down in order.
    DOMAIN_STATE_SHUTDOWN: u32 = 3 => "";
    /// Has crashed.
    DOMAIN_STATE_CRASHED: u32 = 4 => "";
    /// Is being destroyed.
    DOMAIN_STATE_DYING: u32 = 5 => "";
    /// Reasons of crashes from here on are no vectors of exceptions.
    CRASH_OTHER: u32 = 0x100 => "";
}
