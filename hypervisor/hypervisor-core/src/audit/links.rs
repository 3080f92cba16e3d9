//! What two sides have to agree on: the ends of ports, and grants with those who use them.

use crate::domain::Domain;
use crate::event::{Binding, Port};
use crate::grant::Use;
use crate::hypervisor::Hypervisor;
use crate::machine::{DeviceLine, Machine};
use crate::sync::Held;

use super::invariant::Breach;
use super::report::Report;

/// Checks the links of the domain with the lowest number from `first` on, while nobody works. Gives the next number; `None`
/// when there is no such domain.
pub(crate) fn check<M: Machine>(
    hv: &Hypervisor<M>,
    first: u16,
    report: &mut Report,
) -> Option<u16> {
    let domain = hv.domains.next_from(first, &mut Held::enter())?;
    check_ports(hv, &domain, report);
    check_grants(hv, &domain, report);
    domain.id().get().checked_add(1)
}

/// Every port in use is known at its other end, and every other end is a port in use.
fn check_ports<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, report: &mut Report) {
    let domid = domain.id().get();
    let wrong = |report: &mut Report, port: Port, found: Binding| {
        let port = port.get();
        report.add(Breach::Port { domid, port, found });
    };
    for (port, record) in domain.events.used() {
        report.ports = report.ports.saturating_add(1);
        let agrees = match record.binding {
            Binding::Interdomain(remote, other) => {
                let end = hv.domains.get(remote, &mut Held::enter());
                let back = end.map(|end| end.events.record(other).binding);
                back == Some(Binding::Interdomain(domain.id(), port))
            }
            Binding::Virq(virq) => domain.events.virq_port(record.vcpu, virq) == Some(port),
            Binding::Line(line) => domain.is_first() && hv.lines().port(line) == Some(port),
            Binding::Free | Binding::Unbound(_) | Binding::Ipi => true,
        };
        if !agrees || domain.vcpu(record.vcpu).is_none() {
            wrong(report, port, record.binding);
        }
    }
    for (virq, port) in domain.events.virqs() {
        let found = domain.events.record(port).binding;
        if found != Binding::Virq(virq) {
            wrong(report, port, found);
        }
    }
    for line in (0..=u8::MAX).map(DeviceLine).filter(|_| domain.is_first()) {
        if let Some(port) = hv.lines().port(line) {
            let found = domain.events.record(port).binding;
            if found != Binding::Line(line) {
                wrong(report, port, found);
            }
        }
    }
    if let Some(port) = domain.events.forgotten_port(&mut Held::enter()) {
        wrong(report, port, Binding::Free);
    }
}

/// Uses of grants, added up so that those of different entries or users do not make up for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    uses: u32,
    mixed: u64,
}

impl Sum {
    fn add(&mut self, one: Use) {
        // The finaliser of splitmix64.
        let mix =
            |word: u64, shift: u32, factor: u64| (word ^ (word >> shift)).wrapping_mul(factor);
        let key = u64::from(one.user) << 32 | u64::from(one.reference);
        let key = mix(key, 30, 0xbf58_476d_1ce4_e5b9);
        let key = mix(key, 27, 0x94d0_49bb_1331_11eb);
        self.uses = self.uses.wrapping_add(one.uses.into());
        self.mixed = self.mixed.wrapping_add(key.wrapping_mul(one.uses.into()));
    }
}

/// Every entry that a domain grants is pinned as often as others have it in use.
fn check_grants<M: Machine>(hv: &Hypervisor<M>, granter: &Domain, report: &mut Report) {
    let sums = |only: Option<u32>| {
        let (mut pinned, mut used) = (Sum::default(), Sum::default());
        let wanted = |one: &Use| only.is_none_or(|reference| reference == one.reference);
        let (ram, mut held) = (hv.ram(), Held::enter());
        granter.grants.for_each_pinned(ram, &mut held, &mut |one| {
            if wanted(&one) {
                pinned.add(one);
            }
        });
        let mut mappings = 0_u64;
        hv.domains.for_each(&mut held, &mut |user, held| {
            let user_id = user.id().get();
            user.grants
                .for_each_use(ram, user_id, granter.serial(), held, &mut |one| {
                    mappings = mappings.saturating_add(1);
                    if wanted(&one) {
                        used.add(one);
                    }
                });
        });
        (pinned, used, mappings)
    };
    let (pinned, used, mappings) = sums(None);
    report.grants = report.grants.saturating_add(mappings);
    if pinned == used {
        return;
    }
    // Which entry it is takes long to find, and is asked only of a machine that is broken.
    let domid = granter.id().get();
    for reference in 0..granter.grants.entries(&mut Held::enter()) {
        let (pinned, used, _) = sums(Some(reference));
        if pinned != used {
            let (expected, found) = (used.uses, pinned.uses);
            report.add(Breach::Grant {
                domid,
                reference,
                expected,
                found,
            });
        }
    }
}
