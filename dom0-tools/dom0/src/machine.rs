//! The machine as the services ask for it: hypercalls, ring pages, ports, the clock.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use dom0_services::DomId;
use dom0_services::control::{Attached, Host, HostError, Interfaces, LocalPort, Ring};
use guest_kernel::event::Port;
use guest_kernel::grant::{self, Access, GrantError};
use guest_kernel::hypercall::{self, Errno, manage, memory};
use guest_kernel::{heap, timer};
use hypercall_abi::control::audit::Audit;
use hypercall_abi::control::counters::COUNTER_KINDS;
use hypercall_abi::control::domain::{DomainCreate, DomainRecord};
use hypercall_abi::control::grant::GrantSeed;
use hypercall_abi::control::host::{CpuInfo, HostInfo, HostPromises};
use hypercall_abi::control::vcpu::VcpuRecord;
use hypercall_abi::control::version::QUERY_VERSIONS;
use hypercall_abi::vcpu::VcpuGuestContext;
use hypercall_abi::{RawDomId, RawGrantRef, RawMfn, RawPort};

use crate::inbox::Inbox;
use crate::page::RingPage;

/// log2 of the frames that a domain gets at a time: 2 MiB.
const BLOCK_ORDER: u32 = 9;

/// The machine, and the ports that dom0 holds.
#[derive(Debug)]
pub(crate) struct Machine {
    inbox: Arc<Inbox>,
    ports: BTreeMap<LocalPort, Port>,
    numbers: u64,
}

impl Machine {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            ports: BTreeMap::new(),
            numbers: hypercall::time_stamp(),
        }
    }
}

/// A number as hypercalls take it.
const fn raw(domain: DomId) -> RawDomId {
    RawDomId(domain.get())
}

/// Names the operation that failed.
trait Named<T> {
    fn named(self, operation: &'static str) -> Result<T, HostError>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn named(self, operation: &'static str) -> Result<T, HostError> {
        self.map_err(|errno| HostError { operation, errno })
    }
}

impl Host for Machine {
    type Page = RingPage;

    fn now(&self) -> u64 {
        timer::now()
    }

    fn spare_bytes(&self) -> u64 {
        u64::try_from(heap::free_bytes()).unwrap_or(u64::MAX)
    }

    fn fresh_number(&mut self) -> u64 {
        // A full-period sequence (SplitMix64) that begins at a moment nobody chose, stirred by later ones.
        self.numbers = self
            .numbers
            .wrapping_add(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(hypercall::time_stamp() << 32);
        let mut mixed = self.numbers;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn interfaces(&self) -> Result<Interfaces, HostError> {
        let [guest_abi, control_abi, oldest_control_abi, _] =
            manage::query(QUERY_VERSIONS, 0).named("query")?;
        Ok(Interfaces {
            guest_abi,
            control_abi,
            oldest_control_abi,
        })
    }

    fn host_info(&self) -> Result<HostInfo, HostError> {
        manage::host_info().named("host_info")
    }

    fn host_promises(&self) -> Result<HostPromises, HostError> {
        manage::host_promises().named("host_promises")
    }

    fn cpu_info(&self, cpu: u32) -> Result<CpuInfo, HostError> {
        manage::cpu_info(cpu).named("cpu_info")
    }

    fn domain_info(&self, first: DomId) -> Result<Option<DomainRecord>, HostError> {
        match manage::domain_info(raw(first)) {
            Err(Errno::ESRCH) => Ok(None),
            answer => answer.map(Some).named("domain_info"),
        }
    }

    fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<VcpuRecord, HostError> {
        manage::vcpu_info(raw(domain), vcpu).named("vcpu_info")
    }

    fn counters(&self, domain: DomId) -> Result<[u64; COUNTER_KINDS], HostError> {
        manage::counters(raw(domain)).named("domain_counters")
    }

    fn create(&mut self, wish: &DomainCreate) -> Result<DomainCreate, HostError> {
        manage::create(*wish).named("domain_create")
    }

    fn destroy(&mut self, domain: DomId) -> Result<(), HostError> {
        manage::destroy(raw(domain)).named("domain_destroy")
    }

    fn pause(&mut self, domain: DomId) -> Result<(), HostError> {
        manage::pause(raw(domain)).named("domain_pause")
    }

    fn unpause(&mut self, domain: DomId) -> Result<(), HostError> {
        manage::unpause(raw(domain)).named("domain_unpause")
    }

    fn resume(&mut self, domain: DomId) -> Result<(), HostError> {
        manage::resume(raw(domain)).named("domain_resume")
    }

    fn sched_set(
        &mut self,
        domain: DomId,
        weight: u32,
        cap_percent: u32,
        affinity: u64,
    ) -> Result<(), HostError> {
        manage::sched_set(raw(domain), weight, cap_percent, affinity).named("sched_set")
    }

    fn set_max(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        manage::set_max(raw(domain), frames).named("domain_set_max")
    }

    fn set_limit(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        manage::set_limit(raw(domain), frames).named("domain_set_limit")
    }

    fn populate(&mut self, domain: DomId, list: &mut [u64]) -> usize {
        // Whole blocks first, as long as there are any: they cost a small part of single frames.
        let block = 1 << BLOCK_ORDER;
        let pages = list.chunks_exact(block).filter_map(|pages| pages.first());
        let mut blocks: Vec<u64> = pages.copied().collect();
        let got = memory::populate_physmap_of(raw(domain), &mut blocks, BLOCK_ORDER);
        for (pages, first) in list.chunks_exact_mut(block).zip(blocks.iter().take(got)) {
            for (page, frame) in pages.iter_mut().zip(*first..) {
                *page = frame;
            }
        }
        let done = got * block;
        let rest = list.get_mut(done..).unwrap_or_default();
        done + memory::populate_physmap_of(raw(domain), rest, 0)
    }

    fn write_frames(
        &mut self,
        domain: DomId,
        frames: &[u64],
        data: &[u8],
    ) -> Result<(), HostError> {
        manage::memory_write(raw(domain), frames, data).named("memory_write")
    }

    fn alloc_port(&mut self, domain: DomId) -> Result<u32, HostError> {
        let port = hypercall::event::alloc_unbound(raw(domain), RawDomId::DOM0);
        port.map(|port| port.0).named("alloc_unbound")
    }

    fn seed_grant(&mut self, domain: DomId, ring: Ring, frame: u64) -> Result<(), HostError> {
        manage::grant_seed(GrantSeed {
            domid: raw(domain),
            backend: RawDomId::DOM0,
            gref: RawGrantRef(ring.grant()),
            mfn: RawMfn(frame),
            ..GrantSeed::default()
        })
        .named("grant_seed")
    }

    fn pin_root(&mut self, domain: DomId, frame: u64) -> Result<(), HostError> {
        manage::pin_root_of(raw(domain), RawMfn(frame)).named("pin_l4_table")
    }

    fn set_context(
        &mut self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<(), HostError> {
        manage::set_context(raw(domain), vcpu, context).named("vcpu_set_context")
    }

    fn attach(
        &mut self,
        domain: DomId,
        ring: Ring,
        remote_port: u32,
    ) -> Result<Attached<RingPage>, HostError> {
        let references = [RawGrantRef(ring.grant())];
        let memory = grant::map(raw(domain), &references, Access::ReadWrite)
            .map_err(errno_of)
            .named("map_grant_ref")?;
        let port =
            Port::bind_interdomain(raw(domain), RawPort(remote_port)).named("bind_interdomain")?;
        self.inbox.watch(&port).named("unmask")?;
        let local = LocalPort(port.number().0);
        self.ports.insert(local, port);
        Ok(Attached {
            page: RingPage::new(memory),
            port: local,
        })
    }

    fn detach(&mut self, attached: Attached<RingPage>) {
        // Dropping the port closes it, dropping the page unmaps it.
        self.ports.remove(&attached.port);
    }

    fn notify(&mut self, port: LocalPort) {
        if let Some(port) = self.ports.get(&port) {
            port.notify();
        }
    }

    fn read_log(&self, cursor: u64, most: usize) -> Result<(Vec<u8>, u64), HostError> {
        let mut buffer = vec![0; most];
        let (copied, next) = manage::log_read(cursor, &mut buffer).named("log_read")?;
        buffer.truncate(copied);
        Ok((buffer, next))
    }

    fn audit_step(&mut self, progress: u64) -> Result<Audit, HostError> {
        manage::audit_step(progress).named("audit")
    }
}

/// Grant statuses have no place in an error of ours: what matters is in the hypervisor's log.
fn errno_of(error: GrantError) -> Errno {
    match error {
        GrantError::Call(errno) => errno,
        GrantError::Status(status) => {
            log::error!("a ring cannot be mapped: grant status {status}");
            Errno::EINVAL
        }
    }
}
