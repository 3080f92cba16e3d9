//! What a server answers when a request has been carried out. Variants are numbered by their order.

use crate::codec::Payload;
use crate::digest::Digest;
use crate::domain::{Counter, DomainDetail, DomainRecord};
use crate::host::{AuditReport, HostInfo, VersionInfo};
use crate::names::DomainName;
use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Version`](crate::Request::Version).
    Version(VersionInfo),
    /// To [`Request::HostInfo`](crate::Request::HostInfo).
    Host(HostInfo),
    /// To [`Request::Dmesg`](crate::Request::Dmesg).
    Log(LogEnd),
    /// To [`Request::List`](crate::Request::List): in order of their numbers.
    Domains(Vec<DomainRecord>),
    /// To [`Request::Show`](crate::Request::Show).
    Domain(Box<Shown>),
    /// To [`Request::Upload`](crate::Request::Upload).
    Uploaded(Uploaded),
    /// To [`Request::Create`](crate::Request::Create).
    Created(Created),
    /// To [`Request::Balloon`](crate::Request::Balloon).
    Ballooned(Ballooned),
    /// To [`Request::Vcpus`](crate::Request::Vcpus).
    Vcpus(VcpusChanged),
    /// To requests that only name a domain.
    Acted(Acted),
    /// To [`Request::Console`](crate::Request::Console).
    ConsoleEnded(ConsoleEnd),
    /// To [`Request::Poweroff`](crate::Request::Poweroff).
    PoweringOff,
    /// To [`Request::Audit`](crate::Request::Audit).
    Audit(AuditReport),
    /// To [`Request::Sched`](crate::Request::Sched).
    Sched(SchedSettings),
    /// To [`Request::Move`](crate::Request::Move).
    Moved(Moved),
    /// To [`Request::MaxMemory`](crate::Request::MaxMemory).
    MaxMemory(MaxMemorySet),
    /// To [`Request::Rename`](crate::Request::Rename).
    Renamed(Renamed),
    /// To [`Request::Counters`](crate::Request::Counters): kinds that have happened, the most frequent first.
    Counters(Vec<Counter>),
}

impl Payload for Reply {
    const NAME: &'static str = "reply";
    const VARIANTS: Option<u32> = Some(18);
}

/// Where a reading of the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// The cursor to go on with.
    pub next: u64,
}

/// A domain in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its line of the list.
    pub record: DomainRecord,
    /// All else.
    pub detail: DomainDetail,
}

/// Whether an upload was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stored {
    /// The file was sent and is kept.
    New,
    /// The same content was there already.
    Present,
}

/// A file that dom0 keeps now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Its digest.
    pub sha256: Digest,
    /// Whether it had to be sent.
    pub stored: Stored,
}

/// A domain that was made, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Created {
    /// Its name.
    pub name: DomainName,
    /// Its number; none after a dry run.
    pub id: Option<u16>,
    /// Memory that it owns (would own).
    pub memory_bytes: u64,
    /// Memory that the hypervisor uses on its behalf besides.
    pub overhead_bytes: u64,
    /// The least memory that its kernel and ramdisk need.
    pub minimum_memory_bytes: u64,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// How a change of memory or vCPUs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The target is reached.
    Reached,
    /// The target is set and was not waited for.
    Started,
}

/// A change of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ballooned {
    /// The domain's name.
    pub name: DomainName,
    /// The domain's number.
    pub id: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Memory before.
    pub previous_bytes: u64,
    /// Memory wanted.
    pub target_bytes: u64,
    /// Memory now, by the hypervisor's count.
    pub memory_bytes: u64,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// A change of vCPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VcpusChanged {
    /// The domain's name.
    pub name: DomainName,
    /// The domain's number.
    pub id: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// vCPUs online before.
    pub previous: u32,
    /// vCPUs wanted.
    pub vcpus: u32,
    /// vCPUs online now, by the hypervisor's count.
    pub vcpus_online: u32,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// A domain that something was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Acted {
    /// Its name.
    pub name: DomainName,
    /// Its number, before.
    pub id: u16,
    /// Its state after; none when it is gone.
    pub state: Option<crate::domain::DomainState>,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// Why a console stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleEnd {
    /// The scroll-back has been sent, nothing else was asked for.
    LogComplete,
    /// The domain is gone.
    DomainGone,
}

/// A domain's share of CPU time, as the hypervisor has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SchedSettings {
    /// The domain's name.
    pub name: DomainName,
    /// The domain's number.
    pub id: u16,
    /// Share of CPU time under contention, relative to others.
    pub weight: u32,
    /// Upper bound of CPU time in percent of one CPU; 0 is none.
    pub cap_percent: u32,
    /// CPUs that it may run on; empty is all.
    pub cpus: Vec<u32>,
}

/// Memory that went from one domain to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moved {
    /// Who gave.
    pub from: DomainName,
    /// Who took.
    pub to: DomainName,
    /// How much.
    pub moved_bytes: u64,
    /// What the giver has now, by the hypervisor's count.
    pub from_memory_bytes: u64,
    /// What the taker has now, by the hypervisor's count.
    pub to_memory_bytes: u64,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// When a new maximum can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Usable {
    /// At once.
    Now,
    /// Beyond what the domain was started with only after its next start: its kernel has not said that it can do more.
    AfterRestart,
}

/// A maximum of memory that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MaxMemorySet {
    /// The domain's name.
    pub name: DomainName,
    /// The domain's number.
    pub id: u16,
    /// The maximum before.
    pub previous_bytes: u64,
    /// The maximum now.
    pub max_memory_bytes: u64,
    /// When it can be used.
    pub usable: Usable,
}

/// A domain with a new name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Renamed {
    /// Its name before.
    pub previous: DomainName,
    /// Its name now.
    pub name: DomainName,
    /// Its number.
    pub id: u16,
}
