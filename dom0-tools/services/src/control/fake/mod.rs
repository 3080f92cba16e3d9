//! A hypervisor for tests: domains, frames, ports and faults to order, on the host.
//!
//! It counts as the real one does and refuses what the real one refuses, so that a leak or a use of what is gone shows.

mod image;

use super::host::{Attached, Host, HostError, Interfaces, LocalPort, Ring};
use crate::{
    DomId,
    shared_page::{SharedPage, fake::FakePage},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::String,
    vec::Vec,
};
use hypercall_abi::{
    Errno, RawDomId, RawMfn,
    control::{
        audit::Audit,
        counters::COUNTER_KINDS,
        domain::{
            DOMAIN_STATE_BUILDING, DOMAIN_STATE_PAUSED, DOMAIN_STATE_RUNNING,
            DOMAIN_STATE_SHUTDOWN, DomainCreate, DomainRecord,
        },
        host::{CpuInfo, HostInfo, HostPromises, most_overhead},
        vcpu::VcpuRecord,
    },
    sched::SHUTDOWN_SUSPEND,
    vcpu::VcpuGuestContext,
};
pub(super) use image::kernel;
use zerocopy::FromZeros;

/// Frames of the machine.
pub(super) const TOTAL: u64 = 100_000;
/// Frames that the hypervisor takes for each domain.
const OVERHEAD: u64 = 10;

/// A page that both a test's guest and dom0 reach.
pub(super) type Page = Rc<FakePage>;

impl SharedPage for Page {
    fn load(&self, offset: usize) -> u32 {
        (**self).load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        (**self).store(offset, value);
    }
    fn read(&self, offset: usize, to: &mut [u8]) {
        (**self).read(offset, to);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        (**self).write(offset, from);
    }
    fn barrier(&self) {}
}

/// What the fake knows of a domain.
pub(super) struct FakeDomain {
    pub(super) record: DomainRecord,
    /// Frames up to which it may take more by itself.
    pub(super) limit: u64,
    pub(super) frames: BTreeMap<u64, Box<[u8; 4096]>>,
    /// Page number of each frame.
    pub(super) m2p: BTreeMap<u64, u64>,
    pub(super) grants: BTreeMap<u32, u64>,
    pub(super) rings: BTreeMap<Ring, Page>,
    pub(super) root: Option<u64>,
    pub(super) context: Option<Box<VcpuGuestContext>>,
    ports: BTreeSet<u32>,
}

/// The machine.
pub(super) struct FakeHost {
    pub(super) now: u64,
    pub(super) domains: BTreeMap<u16, FakeDomain>,
    pub(super) attached: BTreeSet<LocalPort>,
    pub(super) notified: Vec<LocalPort>,
    pub(super) log: String,
    /// dom0's own free memory.
    pub(super) spare: u64,
    /// Calls that may fail until one does; none while it is `None`.
    pub(super) fail_after: Option<u32>,
    next_domain: u16,
    next_frame: u64,
    next_port: u32,
    numbers: u64,
}

impl core::fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FakeHost({} domains)", self.domains.len())
    }
}

impl FakeHost {
    pub(super) fn new() -> Self {
        Self {
            now: 1_000_000_000,
            domains: BTreeMap::new(),
            attached: BTreeSet::new(),
            notified: Vec::new(),
            log: String::from("(PV) hello\n"),
            spare: 64 << 20,
            fail_after: None,
            next_domain: 1,
            next_frame: 0x1000,
            next_port: 1,
            numbers: 7,
        }
    }

    pub(super) fn free(&self) -> u64 {
        let used: u64 = self
            .domains
            .values()
            .map(|d| d.record.frames + d.record.overhead_frames + d.record.shared_frames)
            .sum();
        TOTAL - used
    }

    pub(super) fn domain(&mut self, id: u16) -> &mut FakeDomain {
        self.domains.get_mut(&id).expect("it exists")
    }

    /// One more call that can fail.
    fn point(&mut self, operation: &'static str) -> Result<(), HostError> {
        match &mut self.fail_after {
            None => Ok(()),
            Some(0) => {
                self.fail_after = None;
                Err(error(operation, Errno::ENOMEM))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn known(
        &mut self,
        operation: &'static str,
        domain: DomId,
    ) -> Result<&mut FakeDomain, HostError> {
        self.point(operation)?;
        self.domains
            .get_mut(&domain.get())
            .ok_or(error(operation, Errno::ESRCH))
    }

    fn fresh_port(&mut self) -> u32 {
        self.next_port += 1;
        self.next_port
    }
}

fn error(operation: &'static str, errno: Errno) -> HostError {
    HostError { operation, errno }
}

impl Host for FakeHost {
    type Page = Page;

    fn now(&self) -> u64 {
        self.now
    }

    fn spare_bytes(&self) -> u64 {
        self.spare
    }

    fn fresh_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn interfaces(&self) -> Result<Interfaces, HostError> {
        Ok(Interfaces {
            guest_abi: 0x0004_0011,
            control_abi: 1,
            oldest_control_abi: 1,
        })
    }

    fn host_info(&self) -> Result<HostInfo, HostError> {
        let mut info = HostInfo::new_zeroed();
        info.total_frames = TOTAL;
        info.free_frames = self.free();
        info.cpus = 2;
        info.max_domains = 20;
        info.uptime_ns = self.now;
        info.version[..3].copy_from_slice(b"0.1");
        Ok(info)
    }

    fn host_promises(&self) -> Result<HostPromises, HostError> {
        let promised = self.domains.values().map(|domain| {
            let record = &domain.record;
            let limit = if domain.limit == u64::MAX {
                record.max_frames
            } else {
                domain.limit
            };
            let taken = record.overhead_frames + record.shared_frames;
            let overhead = most_overhead(record.max_frames).saturating_sub(taken);
            limit.saturating_sub(record.frames) + overhead
        });
        Ok(HostPromises {
            free_frames: self.free(),
            promised_frames: promised.sum(),
            ..HostPromises::default()
        })
    }

    fn cpu_info(&self, cpu: u32) -> Result<CpuInfo, HostError> {
        let mut info = CpuInfo::new_zeroed();
        info.cpu = cpu;
        info.idle_ns = self.now;
        Ok(info)
    }

    fn domain_info(&self, first: DomId) -> Result<Option<DomainRecord>, HostError> {
        if first.is_dom0() {
            let mut dom0 = DomainRecord::new_zeroed();
            dom0.state = DOMAIN_STATE_RUNNING;
            dom0.vcpus_online = 1;
            dom0.vcpus_max = 1;
            dom0.cpu_time_ns = 5;
            return Ok(Some(dom0));
        }
        let found = self.domains.range(first.get()..).next();
        Ok(found.map(|(_, domain)| domain.record))
    }

    fn vcpu_info(&self, _: DomId, vcpu: u32) -> Result<VcpuRecord, HostError> {
        let mut record = VcpuRecord::new_zeroed();
        record.vcpu = vcpu;
        Ok(record)
    }

    fn counters(&self, _: DomId) -> Result<[u64; COUNTER_KINDS], HostError> {
        let mut counts = [0; COUNTER_KINDS];
        (counts[1], counts[78], counts[96]) = (7, 9, 3);
        Ok(counts)
    }

    fn create(&mut self, wish: &DomainCreate) -> Result<DomainCreate, HostError> {
        self.point("create")?;
        let id = self.next_domain;
        self.next_domain += 1;
        let mut record = DomainRecord::new_zeroed();
        record.domid = RawDomId(id);
        record.state = DOMAIN_STATE_BUILDING;
        record.vcpus_max = wish.max_vcpus;
        record.max_frames = wish.max_frames;
        record.overhead_frames = OVERHEAD;
        record.weight = wish.weight;
        record.uuid = wish.uuid;
        record.affinity = wish.affinity;
        record.created_ns = self.now;
        let domain = FakeDomain {
            record,
            limit: u64::MAX,
            frames: BTreeMap::new(),
            m2p: BTreeMap::new(),
            grants: BTreeMap::new(),
            rings: BTreeMap::new(),
            root: None,
            context: None,
            ports: BTreeSet::new(),
        };
        self.domains.insert(id, domain);
        Ok(DomainCreate {
            domid: RawDomId(id),
            shared_info_mfn: RawMfn(0x77),
            ..*wish
        })
    }

    fn destroy(&mut self, domain: DomId) -> Result<(), HostError> {
        // Ending things never fails for want of memory.
        assert!(
            self.domains.contains_key(&domain.get()),
            "d{domain} is destroyed twice"
        );
        self.domains.remove(&domain.get());
        Ok(())
    }

    fn pause(&mut self, domain: DomId) -> Result<(), HostError> {
        let domain = self.known("pause", domain)?;
        if domain.record.state == DOMAIN_STATE_RUNNING {
            domain.record.state = DOMAIN_STATE_PAUSED;
        }
        Ok(())
    }

    fn unpause(&mut self, domain: DomId) -> Result<(), HostError> {
        let domain = self.known("unpause", domain)?;
        assert!(
            domain.context.is_some() && domain.root.is_some(),
            "it can run"
        );
        domain.record.state = DOMAIN_STATE_RUNNING;
        domain.record.vcpus_online = domain.record.vcpus_online.max(1);
        domain.record.cpu_time_ns = 1;
        Ok(())
    }

    fn resume(&mut self, domain: DomId) -> Result<(), HostError> {
        let record = &mut self.known("resume", domain)?.record;
        if (record.state, record.shutdown_reason) != (DOMAIN_STATE_SHUTDOWN, SHUTDOWN_SUSPEND) {
            return Err(error("resume", Errno::EINVAL));
        }
        record.state = DOMAIN_STATE_RUNNING;
        Ok(())
    }

    fn sched_set(
        &mut self,
        domain: DomId,
        weight: u32,
        cap_percent: u32,
        affinity: u64,
    ) -> Result<(), HostError> {
        let record = &mut self.known("sched_set", domain)?.record;
        record.weight = weight;
        record.cap_percent = cap_percent;
        record.affinity = if affinity == 0 { 3 } else { affinity & 3 };
        Ok(())
    }

    fn set_max(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        self.known("set_max", domain)?.record.max_frames = frames;
        Ok(())
    }

    fn set_limit(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        self.known("set_limit", domain)?.limit = frames;
        Ok(())
    }

    fn populate(&mut self, domain: DomId, list: &mut [u64]) -> usize {
        if self.point("populate").is_err() {
            return 0;
        }
        let free = self.free();
        let Some(domain) = self.domains.get_mut(&domain.get()) else {
            return 0;
        };
        let mut done = 0;
        for (page, left) in list.iter_mut().zip((0..free).rev()) {
            let most = domain.record.max_frames.min(domain.limit);
            if left == 0 || domain.record.frames >= most {
                break;
            }
            domain.m2p.insert(self.next_frame, *page);
            *page = self.next_frame;
            self.next_frame += 3;
            domain.record.frames += 1;
            done += 1;
        }
        done
    }

    fn write_frames(
        &mut self,
        domain: DomId,
        frames: &[u64],
        data: &[u8],
    ) -> Result<(), HostError> {
        let domain = self.known("write_frames", domain)?;
        assert_eq!(frames.len() * 4096, data.len(), "a page for each frame");
        for (frame, page) in frames.iter().zip(data.chunks_exact(4096)) {
            assert!(
                domain.m2p.contains_key(frame),
                "frame {frame:#x} is the domain's"
            );
            domain
                .frames
                .insert(*frame, Box::new(page.try_into().expect("a page")));
        }
        Ok(())
    }

    fn alloc_port(&mut self, domain: DomId) -> Result<u32, HostError> {
        let port = self.fresh_port();
        self.known("alloc_port", domain)?.ports.insert(port);
        Ok(port)
    }

    fn seed_grant(&mut self, domain: DomId, ring: Ring, frame: u64) -> Result<(), HostError> {
        let domain = self.known("seed_grant", domain)?;
        assert!(domain.m2p.contains_key(&frame), "a frame of its own");
        domain.grants.insert(ring.grant(), frame);
        Ok(())
    }

    fn pin_root(&mut self, domain: DomId, frame: u64) -> Result<(), HostError> {
        let domain = self.known("pin_root", domain)?;
        assert!(domain.m2p.contains_key(&frame), "a frame of its own");
        domain.root = Some(frame);
        Ok(())
    }

    fn set_context(
        &mut self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<(), HostError> {
        let domain = self.known("set_context", domain)?;
        assert_eq!(vcpu, 0);
        domain.context = Some(Box::new(*context));
        Ok(())
    }

    fn attach(
        &mut self,
        domain: DomId,
        ring: Ring,
        remote_port: u32,
    ) -> Result<Attached<Page>, HostError> {
        let port = LocalPort(self.fresh_port());
        let domain = self.known("attach", domain)?;
        assert!(
            domain.ports.contains(&remote_port),
            "the port is the domain's"
        );
        assert!(
            domain.grants.contains_key(&ring.grant()),
            "the page is granted"
        );
        let page = Page::new(FakePage::new());
        domain.rings.insert(ring, Rc::clone(&page));
        self.attached.insert(port);
        Ok(Attached { page, port })
    }

    fn detach(&mut self, attached: Attached<Page>) {
        assert!(self.attached.remove(&attached.port), "attached once");
    }

    fn notify(&mut self, port: LocalPort) {
        assert!(self.attached.contains(&port), "a port that is bound");
        self.notified.push(port);
    }

    fn read_log(&self, cursor: u64, most: usize) -> Result<(Vec<u8>, u64), HostError> {
        let start = usize::try_from(cursor).expect("small").min(self.log.len());
        let end = (start + most).min(self.log.len());
        let bytes = self.log.as_bytes()[start..end].to_vec();
        Ok((bytes, u64::try_from(end).expect("small")))
    }

    fn audit_step(&mut self, progress: u64) -> Result<Audit, HostError> {
        let mut audit = Audit::new_zeroed();
        audit.steps = progress + 1;
        // Three steps are all.
        audit.progress = if progress < 2 { progress + 1 } else { 0 };
        Ok(audit)
    }
}
