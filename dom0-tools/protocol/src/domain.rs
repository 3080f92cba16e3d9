//! What there is to say about a domain.
//!
//! Except for the few fields that are named so, all figures are the hypervisor's own counts: never a target, never
//! something that a guest wrote.

use crate::digest::Digest;
use crate::ending::OnEnd;
use crate::names::DomainName;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The state of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DomainState {
    /// It is being built, or has not yet run its first instruction.
    Starting,
    /// At least one vCPU runs or is ready to.
    Running,
    /// All online vCPUs wait for an event.
    Blocked,
    /// Somebody has paused it.
    Paused,
    /// It has ended itself.
    Shutdown,
    /// It did something that has no answer; the hypervisor has stopped it.
    Crashed,
    /// It is being destroyed.
    Dying,
}

impl DomainState {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Dying => "dying",
        }
    }
}

/// One line of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DomainRecord {
    /// Its name.
    pub name: DomainName,
    /// Its number; a domain that reboots gets a new one.
    pub id: u16,
    /// Its state.
    pub state: DomainState,
    /// vCPUs wanted (dom0's target).
    pub vcpus: u32,
    /// vCPUs that are up.
    pub vcpus_online: u32,
    /// vCPUs that it may ever have.
    pub max_vcpus: u32,
    /// Memory that it owns.
    pub memory_bytes: u64,
    /// Memory that it may ever own.
    pub max_memory_bytes: u64,
    /// Memory wanted (dom0's target).
    pub target_memory_bytes: u64,
    /// CPU time that its vCPUs have used in all.
    pub cpu_time_ns: u64,
    /// Time since it was created.
    pub uptime_ns: u64,
    /// How often one of its vCPUs was woken.
    pub wakeups: u64,
}

/// Whether a guest's driver for changes of memory or vCPUs is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DriverState {
    /// It has not been seen yet.
    Unknown,
    /// It watches its target.
    Ready,
}

/// Why and where a domain crashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CrashRecord {
    /// The reason in words.
    pub reason: String,
    /// The reason's number: an exception's vector or the hypervisor's own code.
    pub code: u32,
    /// The instruction pointer.
    pub rip: u64,
    /// The address of the last page fault.
    pub cr2: u64,
}

/// What a vCPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum VcpuState {
    /// Not up.
    Down,
    /// On a CPU.
    Running,
    /// Ready, waits for a CPU.
    Runnable,
    /// Waits for an event.
    Blocked,
    /// Up, but its domain is paused.
    Paused,
}

impl VcpuState {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
        }
    }
}

/// One vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VcpuRecord {
    /// Its number within the domain.
    pub vcpu: u32,
    /// What it is doing.
    pub state: VcpuState,
    /// The physical CPU that it runs on; none while it does not run.
    pub cpu: Option<u32>,
    /// CPUs that it may run on; empty is all.
    pub affinity: Vec<u32>,
    /// CPU time that it has used.
    pub cpu_time_ns: u64,
    /// Time spent ready, but without a CPU.
    pub ready_time_ns: u64,
    /// Time spent waiting for an event.
    pub blocked_time_ns: u64,
    /// How often it was woken.
    pub wakeups: u64,
}

/// What `show` has to say beyond the line of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DomainDetail {
    /// Its UUID, as text.
    pub uuid: String,
    /// What its kernel was called when it was created.
    pub kernel: String,
    /// Its kernel's digest; none for the first domain.
    pub kernel_sha256: Option<Digest>,
    /// What its ramdisk was called, if it has one.
    pub ramdisk: Option<String>,
    /// Its kernel command line.
    pub cmdline: String,
    /// Share of CPU time under contention, relative to others.
    pub weight: u32,
    /// Upper bound of CPU time in percent of one CPU; 0 is none.
    pub cap_percent: u32,
    /// CPUs that it may run on; empty is all.
    pub cpus: Vec<u32>,
    /// The least memory that its balloon driver goes down to, as far as known.
    pub minimum_memory_bytes: Option<u64>,
    /// Its balloon driver.
    pub balloon_driver: DriverState,
    /// Its vCPU driver.
    pub vcpu_driver: DriverState,
    /// Memory that the hypervisor uses on its behalf.
    pub overhead_bytes: u64,
    /// Hypercalls that it has made.
    pub hypercalls: u64,
    /// Faults that it has taken.
    pub faults: u64,
    /// What becomes of it when it ends by itself; none for dom0.
    pub on_end: Option<OnEnd>,
    /// Why it ended, when it has ended itself: `poweroff`, `reboot`, ...
    pub shutdown_reason: Option<String>,
    /// Why it crashed, when it has.
    pub crash: Option<CrashRecord>,
    /// Its vCPUs.
    pub vcpu: Vec<VcpuRecord>,
}

/// How often a domain has asked for one kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counter {
    /// What was asked for: `hypercall:`, `exception:` or `emulation:` and a name.
    pub kind: String,
    /// How often.
    pub count: u64,
}
