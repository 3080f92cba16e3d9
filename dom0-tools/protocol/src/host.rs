//! What there is to say about the machine.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One physical CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuRecord {
    /// Its number.
    pub cpu: u32,
    /// Time that it has halted since it was brought up.
    pub idle_ns: u64,
    /// Time that it has not.
    pub busy_ns: u64,
    /// How often it left its halt.
    pub wakeups: u64,
    /// Interrupts that it has taken.
    pub interrupts: u64,
}

/// The answer to `info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostInfo {
    /// Memory that the hypervisor manages.
    pub total_memory_bytes: u64,
    /// Memory that belongs to nobody.
    pub free_memory_bytes: u64,
    /// Free memory that admission gives to domains: without what dom0 keeps back.
    pub available_memory_bytes: u64,
    /// Memory that the hypervisor itself uses.
    pub hypervisor_memory_bytes: u64,
    /// How many CPUs are up.
    pub cpus: u32,
    /// Each of them.
    pub per_cpu: Vec<CpuRecord>,
    /// How often dom0 was woken.
    pub wakeups: u64,
    /// Domains that exist, dom0 included.
    pub domains: u32,
    /// Domains that may exist at once.
    pub max_domains: u32,
    /// Time since the machine started.
    pub uptime_ns: u64,
    /// Wall-clock time, since 1970.
    pub wallclock_ns: u64,
    /// The scheduler's slice.
    pub sched_slice_ns: u64,
    /// Frequency of the time-stamp counter.
    pub tsc_khz: u64,
    /// The hypervisor's version.
    pub hypervisor_version: String,
}

/// The answer to `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VersionInfo {
    /// The hypervisor's version.
    pub hypervisor: String,
    /// dom0's version.
    pub dom0: String,
    /// The guest ABI's version.
    pub guest_abi: u64,
    /// The control interface's version.
    pub control_abi: u64,
    /// The oldest version of the control interface that still works.
    pub oldest_control_abi: u64,
    /// The protocol's version on this connection.
    pub protocol: u16,
}

/// The answer to `audit`: a recount of every frame of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditReport {
    /// Counts that were not what they should be.
    pub breaches: u64,
    /// Frames compared.
    pub frames_checked: u64,
    /// Page tables and descriptor pages looked at.
    pub tables_checked: u64,
    /// Ports looked at.
    pub ports_checked: u64,
    /// Mappings of grants looked at.
    pub grants_checked: u64,
    /// Steps that it was done in.
    pub steps: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// For how long at most the machine's other CPUs stood still at a time.
    pub longest_pause_ns: u64,
    /// The first breach, in words.
    pub first: Option<String>,
}
