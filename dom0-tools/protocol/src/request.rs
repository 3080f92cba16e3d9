//! What a client may ask for. A stream carries one request, in the frame that opens it.
//!
//! Variants are numbered by their order: new ones go to the end.

use crate::codec::Payload;
use crate::digest::Digest;
use crate::ending::{Awaited, OnEnd};
use crate::names::{DomainName, DomainSelector};
use crate::wait::Wait;
use alloc::boxed::Box;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Versions of everything. Answer: [`Reply::Version`](crate::Reply::Version).
    Version,
    /// The machine. Answer: [`Reply::Host`](crate::Reply::Host).
    HostInfo,
    /// The hypervisor's log as data, oldest first. Answer: [`Reply::Log`](crate::Reply::Log).
    Dmesg(Dmesg),
    /// All domains. Answer: [`Reply::Domains`](crate::Reply::Domains).
    List,
    /// One domain. Answer: [`Reply::Domain`](crate::Reply::Domain).
    Show(DomainSelector),
    /// A file to keep. If it is there already the answer [`Reply::Uploaded`](crate::Reply::Uploaded) comes at once, else
    /// the server opens the window and takes exactly `length` bytes of data first.
    Upload(Upload),
    /// A new domain. Answer: [`Reply::Created`](crate::Reply::Created).
    Create(Box<Create>),
    /// A new amount of memory. Answer: [`Reply::Ballooned`](crate::Reply::Ballooned).
    Balloon(Balloon),
    /// A new number of vCPUs. Answer: [`Reply::Vcpus`](crate::Reply::Vcpus).
    Vcpus(Vcpus),
    /// Stops a domain's vCPUs. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Pause(DomainSelector),
    /// Lets them go on. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Unpause(DomainSelector),
    /// Asks a guest to end. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Shutdown(Shutdown),
    /// Asks a guest to start anew; it keeps its name and gets a new number. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Reboot(Shutdown),
    /// Ends a domain; answered when its name and memory are free. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Destroy(DomainSelector),
    /// A domain's console as data, both ways. Answer: [`Reply::ConsoleEnded`](crate::Reply::ConsoleEnded).
    Console(Console),
    /// Ends the machine, answered just before. Answer: [`Reply::PoweringOff`](crate::Reply::PoweringOff).
    Poweroff,
    /// Recounts every frame of the machine. Answer: [`Reply::Audit`](crate::Reply::Audit).
    Audit,
    /// A domain's share of CPU time, changed where a value is given. Answer: [`Reply::Sched`](crate::Reply::Sched).
    Sched(Sched),
    /// Memory from one running domain to another, all of it or none. Answer: [`Reply::Moved`](crate::Reply::Moved).
    Move(Move),
    /// A new maximum of memory. Answer: [`Reply::MaxMemory`](crate::Reply::MaxMemory).
    MaxMemory(MaxMemory),
    /// A new name. Answer: [`Reply::Renamed`](crate::Reply::Renamed).
    Rename(Rename),
    /// A key for a guest's kernel. Answer, when the guest has taken it: [`Reply::Acted`](crate::Reply::Acted).
    Sysrq(Sysrq),
    /// Answers when a domain is in a state. Answer: [`Reply::Acted`](crate::Reply::Acted).
    Wait(Await),
    /// What a domain has asked of the hypervisor, by kind. Answer: [`Reply::Counters`](crate::Reply::Counters).
    Counters(DomainSelector),
}

impl Payload for Request {
    const NAME: &'static str = "request";
    const VARIANTS: Option<u32> = Some(24);
}

/// A reading of the hypervisor's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmesg {
    /// Where to begin: 0, or what an earlier reading ended with. Too old is moved up to the oldest that is kept.
    pub cursor: u64,
    /// Whether to go on with what is yet to be logged, until the client closes the stream.
    pub follow: bool,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilePurpose {
    /// An unpacked ELF kernel.
    Kernel,
    /// A ramdisk, any bytes.
    Ramdisk,
}

/// An announcement of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// What it is for.
    pub purpose: FilePurpose,
}

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelSource {
    /// The demo kernel that dom0 carries.
    Demo,
    /// A file that was uploaded.
    Uploaded(File),
}

/// An uploaded file, as a domain's configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its SHA-256.
    pub sha256: Digest,
    /// What the client calls it, for people.
    pub label: String,
}

/// Whether a request is carried out or only judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Execution {
    /// Carry it out.
    Real,
    /// Answer as if, and change nothing.
    DryRun,
}

/// How a new domain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Its first vCPU runs at once.
    Running,
    /// It waits for an unpause.
    Paused,
}

/// The configuration of a new domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Its name; dom0 finds one if there is none.
    pub name: Option<DomainName>,
    /// Its kernel.
    pub kernel: KernelSource,
    /// Its ramdisk.
    pub ramdisk: Option<File>,
    /// Its kernel command line.
    pub cmdline: String,
    /// Memory to begin with.
    pub memory_bytes: u64,
    /// Memory that it may ever have.
    pub max_memory_bytes: u64,
    /// vCPUs to begin with.
    pub vcpus: u32,
    /// vCPUs that it may ever have.
    pub max_vcpus: u32,
    /// Share of CPU time under contention, relative to others; 256 is usual.
    pub weight: u32,
    /// Upper bound of CPU time in percent of one CPU; 0 is none.
    pub cap_percent: u32,
    /// CPUs that it may run on, one bit each; 0 is all.
    pub affinity: u64,
    /// How it begins.
    pub start: Start,
    /// What becomes of it when it ends by itself.
    pub on_end: OnEnd,
    /// Whether it is made at all.
    pub execution: Execution,
}

/// A domain that nothing was said about: the demo kernel, 64 MiB, one vCPU, the usual weight, and it runs at once.
impl Default for Create {
    fn default() -> Self {
        Self {
            name: None,
            kernel: KernelSource::Demo,
            ramdisk: None,
            cmdline: String::new(),
            memory_bytes: 64 << 20,
            max_memory_bytes: 64 << 20,
            vcpus: 1,
            max_vcpus: 1,
            weight: 256,
            cap_percent: 0,
            affinity: 0,
            start: Start::Running,
            on_end: OnEnd::default(),
            execution: Execution::Real,
        }
    }
}

/// A new amount of memory for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balloon {
    /// Which domain.
    pub domain: DomainSelector,
    /// How much.
    pub target_bytes: u64,
    /// How long to wait.
    pub wait: Wait,
}

/// A new number of vCPUs for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpus {
    /// Which domain.
    pub domain: DomainSelector,
    /// How many.
    pub target: u32,
    /// How long to wait.
    pub wait: Wait,
}

/// A request to end or start anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Which domain.
    pub domain: DomainSelector,
    /// How long to wait.
    pub wait: Wait,
}

/// What a console stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsoleMode {
    /// Scroll-back, then live output; the client's data is input.
    Attach,
    /// Scroll-back only.
    Log,
}

/// A console stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Which domain.
    pub domain: DomainSelector,
    /// What for.
    pub mode: ConsoleMode,
}

/// A domain's share of CPU time. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sched {
    /// Which domain.
    pub domain: DomainSelector,
    /// Share under contention, relative to others.
    pub weight: Option<u32>,
    /// Upper bound in percent of one CPU; 0 is none.
    pub cap_percent: Option<u32>,
    /// CPUs that it may run on, one bit each; 0 is all.
    pub affinity: Option<u64>,
}

/// Memory from one domain to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Who gives.
    pub from: DomainSelector,
    /// Who takes.
    pub to: DomainSelector,
    /// How much.
    pub bytes: u64,
    /// How long each of the two guests may take.
    pub timeout_ms: u32,
}

/// A new maximum of memory for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxMemory {
    /// Which domain.
    pub domain: DomainSelector,
    /// The maximum.
    pub max_memory_bytes: u64,
}

/// A new name for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// Which domain.
    pub domain: DomainSelector,
    /// Its new name.
    pub name: DomainName,
}

/// A key for a guest's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysrq {
    /// Which domain.
    pub domain: DomainSelector,
    /// The key: a printing ASCII character.
    pub key: char,
    /// How long the guest may take to hear it.
    pub timeout_ms: u32,
}

/// A state to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Await {
    /// Which domain.
    pub domain: DomainSelector,
    /// Which state.
    pub state: Awaited,
    /// How long to wait; none is for ever.
    pub timeout_ms: Option<u32>,
}
