//! Operation 0x105: the recount, live.
//!
//! A recount is exact only while nothing changes, so all other domains are paused meanwhile: their vCPUs have left their CPUs before
//! it begins. The caller's own vCPUs but the calling one should be idle; what they change meanwhile may show as a breach.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::Errno;
use hypercall_abi::control::audit::Audit;

use super::{Answer, End};
use crate::audit::{Hold, Holders};
use crate::caller::Caller;
use crate::domain::Domain;
use crate::domain::rights::ControlRight;
use crate::frame::OwnerId;
use crate::heap;
use crate::hypervisor::Hypervisor;
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;
use crate::paging::VcpuMemory;
use crate::sync::Held;

/// All domains there are, as those who hold references.
#[derive(Debug)]
pub struct Everyone {
    domains: Vec<Arc<Domain>>,
    /// Frames that devices use through grants.
    lent: Vec<(Mfn, Hold)>,
}

impl Everyone {
    /// Everyone at this instant.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn gather<M: Machine>(hv: &Hypervisor<M>, held: &mut Held<'_, 0>) -> Result<Self, Errno> {
        let mut everyone = Self {
            domains: heap::list(hv.options().max_domains.into())?,
            lent: Vec::new(),
        };
        let (mut next, mut short) = (0, false);
        while let Some(domain) = hv.domains.next_from(next, held) {
            next = domain.id().get().saturating_add(1);
            domain
                .grants
                .for_each_device_mapping(hv.ram(), held, &mut |mfn, writable| {
                    short |= heap::reserve(&mut everyone.lent, 1).is_err();
                    if !short {
                        everyone
                            .lent
                            .extend([(mfn, if writable { Hold::Write } else { Hold::Read })]);
                    }
                });
            everyone.domains.extend([domain]);
        }
        if short {
            Err(Errno::ENOMEM)
        } else {
            Ok(everyone)
        }
    }
}

impl Holders for Everyone {
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory)) {
        for vcpu in self.domains.iter().flat_map(|domain| domain.vcpus()) {
            found(&vcpu.memory);
        }
    }

    fn for_each_hold(&self, found: &mut dyn FnMut(Mfn, Hold)) {
        for domain in &self.domains {
            let registered = domain
                .vcpus()
                .iter()
                .filter(|vcpu| vcpu.has_registered_info());
            for place in registered.filter_map(crate::vcpu::shared::Vcpu::info) {
                found(place.frame(), Hold::Write);
            }
        }
        for &(mfn, hold) in &self.lent {
            found(mfn, hold);
        }
    }

    fn records(&self, owner: OwnerId) -> Frames {
        // No lock is held during the recount.
        let of = |domain: &Arc<Domain>| domain.grants.overhead(&mut Held::enter());
        let domain = self.domains.iter().find(|d| d.memory.owner() == owner);
        domain.map_or(Frames::new(0), of)
    }

    fn has_devices(&self, owner: OwnerId) -> bool {
        self.domains
            .iter()
            .any(|domain| domain.memory.owner() == owner && domain.memory.has_devices())
    }
}

pub(super) fn audit<M: Machine>(
    caller: &mut Caller<'_, M>,
    _: ControlRight,
    request: &mut Audit,
) -> Answer {
    let hv = caller.hv;
    let everyone = Everyone::gather(hv, &mut caller.held)?;
    let begun = caller.now();
    let own = caller.domain.id();
    let others = || everyone.domains.iter().filter(|domain| domain.id() != own);
    for domain in others() {
        hv.pause_and_wait(domain, &mut caller.held);
    }
    let report = crate::audit::audit(hv.ram(), &everyone);
    for domain in others() {
        hv.unpause(domain, &mut caller.effects, &mut caller.held);
    }
    let report = report.ok_or(Errno::ENOMEM)?;
    request.breaches = report.breaches;
    request.frames_checked = report.frames;
    request.duration_ns = caller.now().saturating_sub(begun).get();
    request.first.fill(0);
    report.describe(&mut request.first);
    Ok(End::Done)
}
