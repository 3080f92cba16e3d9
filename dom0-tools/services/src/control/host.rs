//! What the services need of the machine, as one trait: hypercalls, ring pages and the clock.
//!
//! `dom0` implements it with hypercalls, the tests with a fake hypervisor. Records are the hypervisor's own structures, so
//! that no figure is translated twice.

use crate::{DomId, shared_page::SharedPage};
use alloc::vec::Vec;
use hypercall_abi::{
    Errno,
    control::{
        audit::Audit,
        counters::COUNTER_KINDS,
        domain::{DomainCreate, DomainRecord},
        host::{CpuInfo, HostInfo, HostPromises},
        vcpu::VcpuRecord,
    },
    vcpu::VcpuGuestContext,
};
use thiserror::Error;

/// A hypercall that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{operation} failed: {}", errno.name())]
pub struct HostError {
    /// Which.
    pub operation: &'static str,
    /// How.
    pub errno: Errno,
}

/// A ring that a domain shares with dom0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ring {
    /// The console, grant 0.
    Console,
    /// The xenstore, grant 1.
    Store,
}

impl Ring {
    /// The grant by which a domain's builder gives the page.
    #[must_use]
    pub const fn grant(self) -> u32 {
        match self {
            Self::Console => 0,
            Self::Store => 1,
        }
    }
}

/// dom0's own port of an event channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LocalPort(pub u32);

/// A ring that dom0 serves: its page, mapped, and its event channel, bound.
#[derive(Debug)]
pub struct Attached<P> {
    /// The page.
    pub page: P,
    /// dom0's end of the channel.
    pub port: LocalPort,
}

/// Versions of the hypervisor's interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interfaces {
    /// The guest ABI.
    pub guest_abi: u64,
    /// The control interface.
    pub control_abi: u64,
    /// The oldest version of it that still works.
    pub oldest_control_abi: u64,
}

/// The machine. Errors are what the hypervisor answered.
#[expect(
    clippy::missing_errors_doc,
    reason = "the line above says it once for all"
)]
pub trait Host {
    /// A ring page of a domain, mapped.
    type Page: SharedPage;

    /// Nanoseconds since some fixed moment.
    fn now(&self) -> u64;
    /// Bytes of dom0's own memory that nobody uses.
    fn spare_bytes(&self) -> u64 {
        u64::MAX
    }
    /// A number that was not given before.
    fn fresh_number(&mut self) -> u64;
    /// Versions of the interfaces.
    fn interfaces(&self) -> Result<Interfaces, HostError>;
    /// The machine's figures.
    fn host_info(&self) -> Result<HostInfo, HostError>;
    /// What is free, and what of it domains can take yet without asking.
    fn host_promises(&self) -> Result<HostPromises, HostError>;
    /// One CPU's figures.
    fn cpu_info(&self, cpu: u32) -> Result<CpuInfo, HostError>;
    /// The first domain with this number or a higher one.
    fn domain_info(&self, first: DomId) -> Result<Option<DomainRecord>, HostError>;
    /// One vCPU's figures.
    fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<VcpuRecord, HostError>;
    /// How often a domain has asked for each kind of thing.
    fn counters(&self, domain: DomId) -> Result<[u64; COUNTER_KINDS], HostError>;
    /// Makes an empty domain, paused once.
    fn create(&mut self, wish: &DomainCreate) -> Result<DomainCreate, HostError>;
    /// Ends a domain; all that it had is free when this returns.
    fn destroy(&mut self, domain: DomId) -> Result<(), HostError>;
    /// Stops a domain's vCPUs once more.
    fn pause(&mut self, domain: DomId) -> Result<(), HostError>;
    /// Takes back one pause.
    fn unpause(&mut self, domain: DomId) -> Result<(), HostError>;
    /// Lets a domain that suspended itself go on where it stood.
    fn resume(&mut self, domain: DomId) -> Result<(), HostError>;
    /// Sets a domain's share of CPU time.
    fn sched_set(
        &mut self,
        domain: DomId,
        weight: u32,
        cap_percent: u32,
        affinity: u64,
    ) -> Result<(), HostError>;
    /// Sets how many frames a domain may ever have.
    fn set_max(&mut self, domain: DomId, frames: u64) -> Result<(), HostError>;
    /// Sets up to how many frames a domain may take more by itself; its maximum stays.
    fn set_limit(&mut self, domain: DomId, frames: u64) -> Result<(), HostError>;
    /// Gives a domain zeroed frames for these PFNs, which follow each other; puts the frames' numbers in the list and gives how many it got.
    fn populate(&mut self, domain: DomId, list: &mut [u64]) -> usize;
    /// Fills frames of a domain that is being built; `data` is as many whole pages.
    fn write_frames(&mut self, domain: DomId, frames: &[u64], data: &[u8])
    -> Result<(), HostError>;
    /// Makes an unbound port of a domain for dom0.
    fn alloc_port(&mut self, domain: DomId) -> Result<u32, HostError>;
    /// Writes a reserved entry of a domain's grant table, for dom0.
    fn seed_grant(&mut self, domain: DomId, ring: Ring, frame: u64) -> Result<(), HostError>;
    /// Validates and pins a root table of a domain.
    fn pin_root(&mut self, domain: DomId, frame: u64) -> Result<(), HostError>;
    /// Gives a vCPU its first state.
    fn set_context(
        &mut self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<(), HostError>;
    /// Maps a domain's ring and binds its port.
    fn attach(
        &mut self,
        domain: DomId,
        ring: Ring,
        remote_port: u32,
    ) -> Result<Attached<Self::Page>, HostError>;
    /// Unmaps a ring and closes its port.
    fn detach(&mut self, attached: Attached<Self::Page>);
    /// Tells the domain at the other end to look.
    fn notify(&mut self, port: LocalPort);
    /// Text of the hypervisor's log from a cursor on, and the next cursor.
    fn read_log(&self, cursor: u64, most: usize) -> Result<(Vec<u8>, u64), HostError>;
    /// Goes on with a recount of what the hypervisor counts: 0 begins one, and ends another that is under way; else what the last
    /// step gave as `progress`, which is 0 when all is recounted.
    fn audit_step(&mut self, progress: u64) -> Result<Audit, HostError>;
}
