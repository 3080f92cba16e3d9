//! A hypervisor that keeps books of frames, vCPUs and rings, and does nothing else.

use super::guest::Guest;
use dom0_services::DomId;
use dom0_services::control::{Attached, Host, HostError, Interfaces, LocalPort, Ring};
use dom0_services::shared_page::SharedPage;
use hypercall_abi::control::audit::Audit;
use hypercall_abi::control::counters::COUNTER_KINDS;
use hypercall_abi::control::domain::{
    DOMAIN_STATE_BUILDING, DOMAIN_STATE_PAUSED, DOMAIN_STATE_RUNNING, DOMAIN_STATE_SHUTDOWN,
    DomainCreate, DomainRecord,
};
use hypercall_abi::control::host::{CpuInfo, HostInfo, HostPromises, most_overhead};
use hypercall_abi::control::vcpu::VcpuRecord;
use hypercall_abi::vcpu::VcpuGuestContext;
use hypercall_abi::{Errno, RawDomId, RawMfn};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;
use zerocopy::FromZeros;

pub(crate) const TOTAL_FRAMES: u64 = 1 << 18;
pub(crate) const CPUS: u32 = 2;
/// What the hypervisor takes for a domain besides its frames.
const OVERHEAD: u64 = 16;
const LOG: &[u8] = b"(PV) [    0.000001] INFO one\n(PV) [    0.000002] INFO two\n";

/// A page that both ends hold.
#[derive(Clone, Debug)]
pub(crate) struct Page(Rc<RefCell<[u8; 4096]>>);

impl SharedPage for Page {
    fn load(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        self.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn store(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0.borrow()[offset..offset + to.len()]);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
    }

    fn barrier(&self) {}
}

/// What the hypervisor knows of a domain.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) frames: u64,
    pub(crate) max_frames: u64,
    pub(crate) limit: u64,
    pub(crate) online: BTreeSet<u32>,
    pub(crate) max_vcpus: u32,
    pub(crate) shutdown: Option<u32>,
    pauses: u32,
    started: bool,
    born: u64,
    wish: DomainCreate,
    rings: BTreeMap<Ring, (Page, LocalPort)>,
    guest: Guest,
}

/// The hypervisor's state, which guests change too.
#[derive(Debug)]
pub(crate) struct State {
    started: Instant,
    free: u64,
    bodies: BTreeMap<u16, Body>,
    last_id: u16,
    last_frame: u64,
    last_port: u32,
}

impl State {
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap()
    }

    fn body(&mut self, domain: DomId) -> Result<&mut Body, HostError> {
        self.bodies
            .get_mut(&domain.get())
            .ok_or(failed(Errno::ESRCH))
    }

    /// Lets every guest that runs do what it wants to; gives the ports that they notify and whether one has ended.
    pub(crate) fn run_guests(&mut self) -> (Vec<LocalPort>, bool) {
        let mut notified = Vec::new();
        let mut ended = false;
        let ids: Vec<u16> = self.bodies.keys().copied().collect();
        for id in ids {
            let mut free = self.free;
            let Some(body) = self.bodies.get_mut(&id) else {
                continue;
            };
            if body.pauses > 0 || !body.started || body.shutdown.is_some() {
                continue;
            }
            let mut guest = std::mem::take(&mut body.guest);
            let rings = body.rings.clone();
            for (ring, (page, port)) in &rings {
                if guest.run(*ring, page, body, &mut free) {
                    notified.push(*port);
                }
            }
            ended |= body.shutdown.is_some();
            body.guest = guest;
            self.free = free;
        }
        (notified, ended)
    }
}

/// dom0's side of it.
#[derive(Debug)]
pub(crate) struct FakeHost {
    state: Rc<RefCell<State>>,
    numbers: u64,
}

impl FakeHost {
    pub(crate) fn new() -> (Self, Rc<RefCell<State>>) {
        let state = Rc::new(RefCell::new(State {
            started: Instant::now(),
            free: TOTAL_FRAMES,
            bodies: BTreeMap::new(),
            last_id: 0,
            last_frame: 0,
            last_port: 0,
        }));
        let host = Self {
            state: Rc::clone(&state),
            numbers: 0,
        };
        (host, state)
    }
}

fn failed(errno: Errno) -> HostError {
    HostError {
        operation: "a test's hypercall",
        errno,
    }
}

fn record_of(id: u16, body: &Body) -> DomainRecord {
    let mut record = DomainRecord::new_zeroed();
    record.domid = RawDomId(id);
    record.state = match body.shutdown {
        Some(_) => DOMAIN_STATE_SHUTDOWN,
        None if !body.started => DOMAIN_STATE_BUILDING,
        None if body.pauses > 0 => DOMAIN_STATE_PAUSED,
        None => DOMAIN_STATE_RUNNING,
    };
    record.shutdown_reason = body.shutdown.unwrap_or(0);
    record.vcpus_max = body.max_vcpus;
    record.vcpus_online = u32::try_from(body.online.len()).unwrap();
    record.weight = body.wish.weight;
    record.cap_percent = body.wish.cap_percent;
    record.affinity = body.wish.affinity;
    record.frames = body.frames;
    record.max_frames = body.max_frames;
    record.overhead_frames = OVERHEAD;
    record.cpu_time_ns = u64::from(body.started);
    record.created_ns = body.born;
    record.uuid = body.wish.uuid;
    record
}

impl Host for FakeHost {
    type Page = Page;

    fn now(&self) -> u64 {
        self.state.borrow().now()
    }

    fn fresh_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn interfaces(&self) -> Result<Interfaces, HostError> {
        Ok(Interfaces {
            guest_abi: 1,
            control_abi: 1,
            oldest_control_abi: 1,
        })
    }

    fn host_info(&self) -> Result<HostInfo, HostError> {
        let state = self.state.borrow();
        let mut info = HostInfo {
            total_frames: TOTAL_FRAMES,
            free_frames: state.free,
            uptime_ns: self.now(),
            sched_slice_ns: 5_000_000,
            tsc_khz: 1_000_000,
            cpus: CPUS,
            max_domains: 256,
            ..HostInfo::default()
        };
        info.version[..5].copy_from_slice(b"0.1.0");
        Ok(info)
    }

    fn host_promises(&self) -> Result<HostPromises, HostError> {
        let state = self.state.borrow();
        let promised = state.bodies.values().map(|body| {
            let overhead = most_overhead(body.max_frames).saturating_sub(OVERHEAD);
            body.limit.min(body.max_frames).saturating_sub(body.frames) + overhead
        });
        Ok(HostPromises {
            free_frames: state.free,
            promised_frames: promised.sum(),
            ..HostPromises::default()
        })
    }

    fn cpu_info(&self, cpu: u32) -> Result<CpuInfo, HostError> {
        Ok(CpuInfo {
            cpu,
            idle_ns: self.now(),
            ..CpuInfo::default()
        })
    }

    fn domain_info(&self, first: DomId) -> Result<Option<DomainRecord>, HostError> {
        if first.is_dom0() {
            let mut dom0 = DomainRecord::new_zeroed();
            dom0.state = DOMAIN_STATE_RUNNING;
            dom0.vcpus_max = 1;
            dom0.vcpus_online = 1;
            dom0.cpu_time_ns = 1;
            return Ok(Some(dom0));
        }
        let state = self.state.borrow();
        let next = state.bodies.range(first.get()..).next();
        Ok(next.map(|(id, body)| record_of(*id, body)))
    }

    fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<VcpuRecord, HostError> {
        let mut state = self.state.borrow_mut();
        let online = state.body(domain)?.online.contains(&vcpu);
        Ok(VcpuRecord {
            vcpu,
            state: u32::from(online),
            ..VcpuRecord::default()
        })
    }

    fn counters(&self, _: DomId) -> Result<[u64; COUNTER_KINDS], HostError> {
        let mut counts = [0; COUNTER_KINDS];
        (counts[1], counts[78], counts[96]) = (7, 9, 3);
        Ok(counts)
    }

    fn create(&mut self, wish: &DomainCreate) -> Result<DomainCreate, HostError> {
        let mut state = self.state.borrow_mut();
        state.free = state
            .free
            .checked_sub(OVERHEAD)
            .ok_or(failed(Errno::ENOMEM))?;
        state.last_id += 1;
        let id = state.last_id;
        let born = state.now();
        let body = Body {
            frames: 0,
            max_frames: wish.max_frames,
            limit: u64::MAX,
            online: BTreeSet::new(),
            max_vcpus: wish.max_vcpus,
            shutdown: None,
            pauses: 1,
            started: false,
            born,
            wish: *wish,
            rings: BTreeMap::new(),
            guest: Guest::new(wish.weight),
        };
        state.bodies.insert(id, body);
        Ok(DomainCreate {
            domid: RawDomId(id),
            shared_info_mfn: RawMfn(1),
            grant_table_mfn: RawMfn(2),
            ..*wish
        })
    }

    fn destroy(&mut self, domain: DomId) -> Result<(), HostError> {
        let mut state = self.state.borrow_mut();
        let body = state
            .bodies
            .remove(&domain.get())
            .ok_or(failed(Errno::ESRCH))?;
        assert!(body.rings.is_empty(), "a ring is still mapped");
        state.free += body.frames + OVERHEAD;
        Ok(())
    }

    fn pause(&mut self, domain: DomId) -> Result<(), HostError> {
        self.state.borrow_mut().body(domain)?.pauses += 1;
        Ok(())
    }

    fn unpause(&mut self, domain: DomId) -> Result<(), HostError> {
        let mut state = self.state.borrow_mut();
        let body = state.body(domain)?;
        body.pauses = body.pauses.checked_sub(1).ok_or(failed(Errno::EINVAL))?;
        body.started |= body.pauses == 0;
        Ok(())
    }

    fn resume(&mut self, _: DomId) -> Result<(), HostError> {
        // No guest of this machine suspends itself.
        Err(failed(Errno::EINVAL))
    }

    fn sched_set(
        &mut self,
        domain: DomId,
        weight: u32,
        cap_percent: u32,
        affinity: u64,
    ) -> Result<(), HostError> {
        let mut state = self.state.borrow_mut();
        let wish = &mut state.body(domain)?.wish;
        (wish.weight, wish.cap_percent, wish.affinity) = (weight, cap_percent, affinity);
        Ok(())
    }

    fn set_max(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        self.state.borrow_mut().body(domain)?.max_frames = frames;
        Ok(())
    }

    fn set_limit(&mut self, domain: DomId, frames: u64) -> Result<(), HostError> {
        self.state.borrow_mut().body(domain)?.limit = frames;
        Ok(())
    }

    fn populate(&mut self, domain: DomId, list: &mut [u64]) -> usize {
        let mut state = self.state.borrow_mut();
        let wanted = u64::try_from(list.len()).unwrap();
        let free = state.free;
        let Ok(body) = state.body(domain) else {
            return 0;
        };
        let given = wanted
            .min(free)
            .min(body.max_frames.min(body.limit) - body.frames);
        body.frames += given;
        state.free -= given;
        let given = usize::try_from(given).unwrap();
        for slot in &mut list[..given] {
            state.last_frame += 1;
            *slot = state.last_frame;
        }
        given
    }

    fn write_frames(
        &mut self,
        domain: DomId,
        frames: &[u64],
        data: &[u8],
    ) -> Result<(), HostError> {
        assert_eq!(data.len(), frames.len() * 4096);
        self.state.borrow_mut().body(domain).map(|_| ())
    }

    fn alloc_port(&mut self, _: DomId) -> Result<u32, HostError> {
        let mut state = self.state.borrow_mut();
        state.last_port += 1;
        Ok(state.last_port)
    }

    fn seed_grant(&mut self, domain: DomId, _: Ring, _: u64) -> Result<(), HostError> {
        self.state.borrow_mut().body(domain).map(|_| ())
    }

    fn pin_root(&mut self, domain: DomId, _: u64) -> Result<(), HostError> {
        self.state.borrow_mut().body(domain).map(|_| ())
    }

    fn set_context(
        &mut self,
        domain: DomId,
        vcpu: u32,
        _: &VcpuGuestContext,
    ) -> Result<(), HostError> {
        let mut state = self.state.borrow_mut();
        state.body(domain)?.online.insert(vcpu);
        Ok(())
    }

    fn attach(
        &mut self,
        domain: DomId,
        ring: Ring,
        port: u32,
    ) -> Result<Attached<Page>, HostError> {
        let mut state = self.state.borrow_mut();
        let page = Page(Rc::new(RefCell::new([0; 4096])));
        let port = LocalPort(port);
        let body = state.body(domain)?;
        body.rings.insert(ring, (page.clone(), port));
        Ok(Attached { page, port })
    }

    fn detach(&mut self, attached: Attached<Page>) {
        for body in self.state.borrow_mut().bodies.values_mut() {
            body.rings.retain(|_, (_, port)| *port != attached.port);
        }
    }

    fn notify(&mut self, _: LocalPort) {}

    fn read_log(&self, cursor: u64, most: usize) -> Result<(Vec<u8>, u64), HostError> {
        let from = usize::try_from(cursor).unwrap().min(LOG.len());
        let to = (from + most).min(LOG.len());
        Ok((LOG[from..to].to_vec(), u64::try_from(to).unwrap()))
    }

    fn audit_step(&mut self, _: u64) -> Result<Audit, HostError> {
        let state = self.state.borrow();
        let owned: u64 = state
            .bodies
            .values()
            .map(|body| body.frames + OVERHEAD)
            .sum();
        let mut audit = Audit::new_zeroed();
        audit.frames_checked = TOTAL_FRAMES;
        audit.breaches = u64::from(owned + state.free != TOTAL_FRAMES);
        Ok(audit)
    }
}
