//! Operation 0x105: the recount, live and in steps (docs/adr/0008).
//!
//! A call does what fits until something else wants this CPU, and says by `progress` that there is more. The recount under
//! way is the hypervisor's, not the call's: who begins another one ends it.

use core::cell::Cell;

use hypercall_abi::Errno;
use hypercall_abi::control::audit::{Audit, AuditBreach};

use super::{Answer, End};
use crate::audit::{Hold, Holders, Pace, Recount, Report};
use crate::caller::Caller;
use crate::domain::account::DomainMemory;
use crate::domain::rights::ControlRight;
use crate::domain::{DomId, Domain};
use crate::event;
use crate::frame::OwnerId;
use crate::hypervisor::Hypervisor;
use crate::ids::{Frames, Mfn, Nanos};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::sync::{Held, rank};

/// The recount that goes on from call to call.
#[derive(Debug, Default)]
pub struct AuditUnderWay {
    /// The number of the last one begun.
    number: u64,
    recount: Option<Recount>,
    begun: Nanos,
    steps: u64,
    longest: Nanos,
}

/// All domains there are, as those who hold references.
#[derive(Debug)]
pub struct Everyone<'a, M: Machine> {
    hv: &'a Hypervisor<M>,
    /// The longest time for which other CPUs stood still.
    longest: Cell<Nanos>,
}

impl<'a, M: Machine> Everyone<'a, M> {
    /// Everyone on a machine.
    pub const fn of(hv: &'a Hypervisor<M>) -> Self {
        let longest = Cell::new(Nanos::new(0));
        Self { hv, longest }
    }

    fn for_each(&self, found: &mut dyn FnMut(&Domain, &mut Held<'_, { rank::DOMAIN_TABLE }>)) {
        // Between two steps of a recount this CPU holds no lock.
        self.hv.domains.for_each(&mut Held::enter(), found);
    }
}

impl<M: Machine> Holders for Everyone<'_, M> {
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory)) {
        self.for_each(&mut |domain, _| {
            domain.vcpus().iter().for_each(|vcpu| found(&vcpu.memory));
        });
    }

    fn for_each_hold(&self, found: &mut dyn FnMut(Mfn, Hold)) {
        self.for_each(&mut |domain, held| {
            let vcpus = domain.vcpus().iter();
            let registered = vcpus.filter(|vcpu| vcpu.has_registered_info());
            for place in registered.filter_map(crate::vcpu::shared::Vcpu::info) {
                found(place.frame(), Hold::Write);
            }
            domain
                .grants
                .for_each_device_mapping(self.hv.ram(), held, &mut |mfn, writable| {
                    found(mfn, if writable { Hold::Write } else { Hold::Read });
                });
            event::for_each_frame(domain, held, &mut |mfn| found(mfn, Hold::Write));
        });
    }

    fn records(&self, owner: OwnerId) -> Frames {
        let mut records = Frames::new(0);
        self.for_each(&mut |domain, held| {
            if domain.memory.owner() == owner {
                records = domain.grants.overhead(held);
            }
        });
        records
    }

    fn with_memory(&self, owner: OwnerId, work: &mut dyn FnMut(&DomainMemory)) {
        let domid = self
            .hv
            .frames()
            .account(owner)
            .map(|account| account.domid());
        let domain = domid
            .and_then(DomId::new)
            .and_then(|id| self.hv.domains.get(id, &mut Held::enter()));
        if let Some(domain) = domain.filter(|domain| domain.memory.owner() == owner) {
            work(&domain.memory);
        }
    }

    fn check_links(&self, first: u16, report: &mut Report) -> Option<u16> {
        crate::audit::links::check(self.hv, first, report)
    }

    fn stand_still(&self, work: &mut dyn FnMut()) {
        let begun = self.hv.machine().now();
        self.hv.stand_still(work);
        let took = self.hv.machine().now().saturating_sub(begun);
        self.longest.set(self.longest.get().max(took));
    }
}

pub(super) fn audit<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut Audit,
) -> Answer {
    let hv = caller.hv;
    // Another vCPU of the caller's domain is at it.
    let mut under_way = hv.audit.try_lock().ok_or(Errno::EBUSY)?;
    let (ram, everyone) = (hv.ram(), Everyone::of(hv));
    if request.progress == 0 {
        if let Some(recount) = under_way.recount.take() {
            recount.abandon(ram, &everyone);
        }
        *under_way = AuditUnderWay {
            number: under_way.number.wrapping_add(1).max(1),
            recount: Some(Recount::begin(ram, &everyone, Pace::LIVE).ok_or(Errno::ENOMEM)?),
            begun: caller.now(),
            ..AuditUnderWay::default()
        };
    } else if request.progress != under_way.number {
        return Err(Errno::EINVAL);
    }
    let recount = under_way.recount.as_mut().ok_or(Errno::EINVAL)?;
    let mut steps = 1_u64;
    let mut done = recount.step(ram, &everyone);
    while !done && !hv.machine().preempt_due() {
        done = recount.step(ram, &everyone);
        steps = steps.saturating_add(1);
    }
    let report = *recount.report();
    if done {
        under_way.recount = None;
    }
    under_way.steps = under_way.steps.saturating_add(steps);
    under_way.longest = under_way.longest.max(everyone.longest.get());
    request.progress = if done { 0 } else { under_way.number };
    request.steps = under_way.steps;
    request.longest_ns = under_way.longest.get();
    request.duration_ns = caller.now().saturating_sub(under_way.begun).get();
    tell(&report, request);
    Ok(End::Done)
}

/// Breaks an invariant or mends it, where this was built in.
pub(super) fn audit_breach<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut AuditBreach,
) -> Answer {
    #[cfg(any(test, feature = "breach"))]
    let done = crate::audit::breach::carry_out(caller, request);
    #[cfg(not(any(test, feature = "breach")))]
    let done = {
        let _ = (caller, request);
        Err(Errno::ENOSYS)
    };
    done.map(|()| End::Done)
}

fn tell(report: &Report, request: &mut Audit) {
    request.breaches = report.breaches;
    request.frames_checked = report.frames;
    request.tables_checked = report.tables;
    request.ports_checked = report.ports;
    request.grants_checked = report.grants;
    request.first.fill(0);
    report.describe(&mut request.first);
}
