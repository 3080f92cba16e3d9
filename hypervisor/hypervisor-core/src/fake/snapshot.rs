//! What the hypervisor counts, all of it, to be compared before and after.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::bench::Bench;
use crate::domain::Domain;
use crate::frame::OwnerId;
use crate::grant::judge;
use crate::sync::Held;

/// Everything that is counted. Two are equal if only the numbers of frames differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many frames are in which state.
    frames: BTreeMap<String, u64>,
    /// Accounts, ports, grants, vCPUs, lives, by domain.
    domains: Vec<(u16, Vec<String>)>,
}

impl Snapshot {
    /// What is counted now.
    #[must_use]
    pub fn of(bench: &Bench) -> Self {
        let table = bench.hv.frames();
        // The states are few, the frames many.
        let mut states = Vec::new();
        let all =
            core::iter::successors(table.next_frame(0), |mfn| table.next_frame(mfn.get() + 1));
        for mfn in all {
            let (holding, types) = (table.holding(mfn), table.type_state(mfn));
            if holding.owner == OwnerId::NONE && holding.count == 0 {
                continue;
            }
            // An idle frame's type is its last one.
            let kind = (types.count > 0).then_some(types);
            let state = (holding, kind);
            match states.iter_mut().find(|(known, _)| *known == state) {
                Some((_, count)) => *count += 1,
                None => states.push((state, 1)),
            }
        }
        let named = |((holding, kind), count)| (format!("{holding:?} {kind:?}"), count);
        let frames = states.into_iter().map(named).collect();
        let domains = domains(bench)
            .iter()
            .map(|domain| (domain.id().get(), describe(bench, domain)))
            .collect();
        Self { frames, domains }
    }

    /// What is counted of one domain.
    #[must_use]
    pub fn of_domain(&self, id: u16) -> Option<&[String]> {
        let mut domains = self.domains.iter();
        domains
            .find(|(known, _)| *known == id)
            .map(|(_, lines)| &**lines)
    }

    /// What differs, in words.
    #[must_use]
    pub fn difference(&self, other: &Self) -> String {
        let mut words = Vec::new();
        for key in self.frames.keys().chain(other.frames.keys()) {
            let (a, b) = (self.frames.get(key), other.frames.get(key));
            if a != b {
                words.push(format!("frames {key}: {a:?} {b:?}"));
            }
        }
        words.extend(
            (self.domains != other.domains)
                .then(|| format!("{:#?}\n{:#?}", self.domains, other.domains)),
        );
        words.join("\n")
    }
}

fn describe(bench: &Bench, domain: &Domain) -> Vec<String> {
    let ram = bench.hv.ram();
    let account = domain.memory.account(bench.hv.frames());
    let mut lines = Vec::new();
    lines.push(format!(
        "{:?} {:?}",
        domain.life.lock(&mut Held::enter()).0.state,
        account.map(|a| (a.total(), a.maximum(), a.special(), a.overhead()))
    ));
    lines.extend(domain.events.used().map(|port| format!("{port:?}")));
    let grants = judge::recorded(ram, domain);
    lines.extend(
        grants
            .values()
            .map(|(domid, _, r, w)| format!("{domid} {r} {w}")),
    );
    lines.extend(domain.vcpus().iter().map(|vcpu| {
        format!(
            "{:?} {} {} {:?}",
            vcpu.running_on(),
            vcpu.is_initialised(),
            vcpu.has_registered_info(),
            vcpu.polling()
        )
    }));
    lines
}

/// All domains.
#[must_use]
pub fn domains(bench: &Bench) -> Vec<Arc<Domain>> {
    let mut found: Vec<Arc<Domain>> = Vec::new();
    let mut next = 0;
    while let Some(domain) = bench.hv.domains.next_from(next, &mut Held::enter()) {
        next = domain.id().get() + 1;
        found.push(domain);
    }
    found
}
