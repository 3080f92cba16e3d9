//! What may be changed of a domain without its guest: its share of CPU time, its maximum of memory, its name.

use super::{
    create::check_weight,
    host::Host,
    manager::{Manager, Subject},
    query::{DOM0_NAME, cpus_of},
    size::Size,
    words,
};
use crate::{
    DomId,
    resources::{Refusal, bytes_of, frames_of},
    xenstore::{Operation, Path},
};
use alloc::{format, string::String, sync::Arc};
use dom0_protocol::{
    DomainName, ErrorCode, ErrorReply, Reply,
    progress::Unit,
    reply::{MaxMemorySet, Renamed, SchedSettings, Usable},
    request::{MaxMemory, Rename, Sched},
};

impl<H: Host> Manager<H> {
    /// Changes what is given of a domain's share, and tells all of it. dom0 itself may be changed too.
    pub(super) fn sched(&mut self, wish: &Sched) -> Result<Reply, ErrorReply> {
        let subject = self.find(&wish.domain)?;
        let (id, name) = match subject {
            Subject::Dom0 => (DomId::DOM0, DomainName::new(DOM0_NAME).ok()),
            Subject::Made(key) => {
                let domain = self.domains.get(&key);
                let domain = domain.ok_or_else(|| words::no_such_domain(&wish.domain))?;
                (domain.id, Some(domain.name.clone()))
            }
        };
        let name = name.ok_or_else(|| words::no_such_domain(&wish.domain))?;
        let cpus = self.host.host_info().map_err(words::host)?.cpus;
        let record = self.record(id).map_err(words::host)?;
        let record = record.ok_or_else(|| words::guest_gone(&name))?;
        let weight = wish.weight.unwrap_or(record.weight);
        let cap_percent = wish.cap_percent.unwrap_or(record.cap_percent);
        let affinity = wish.affinity.unwrap_or(record.affinity);
        check_weight(weight)?;
        if affinity != 0 && cpus_of(affinity, cpus).is_empty() {
            return Err(words::refusal(&Refusal::NoCpu { affinity, cpus }));
        }
        if wish.weight.is_some() || wish.cap_percent.is_some() || wish.affinity.is_some() {
            self.host
                .sched_set(id, weight, cap_percent, affinity)
                .map_err(words::host)?;
            if let Subject::Made(key) = subject
                && let Some(domain) = self.domains.get_mut(&key)
            {
                // The next life begins with what this one has.
                domain.config.weight = weight;
                domain.config.cap_percent = cap_percent;
                domain.config.affinity = affinity;
            }
        }
        let record = self.record(id).map_err(words::host)?;
        let record = record.ok_or_else(|| words::guest_gone(&name))?;
        let mut listed = cpus_of(record.affinity, cpus);
        if listed.len() == usize::try_from(cpus).unwrap_or(usize::MAX) {
            // All of them: there is nothing to say.
            listed.clear();
        }
        Ok(Reply::Sched(SchedSettings {
            name,
            id: id.get(),
            weight: record.weight,
            cap_percent: record.cap_percent,
            cpus: listed,
        }))
    }

    pub(super) fn max_memory(&mut self, wish: &MaxMemory) -> Result<Reply, ErrorReply> {
        let key = self.find_made(&wish.domain)?;
        self.check_started(key, "changed")?;
        let total = self.host.host_info().map_err(words::host)?.total_frames;
        let domain = self.domains.get(&key);
        let domain = domain.ok_or_else(|| words::no_such_domain(&wish.domain))?;
        let record = self.record(domain.id).map_err(words::host)?;
        let record = record.ok_or_else(|| words::guest_gone(&domain.name))?;
        let maximum = frames_of(wish.max_memory_bytes);
        if maximum > total {
            let (needed, available) = (maximum, total);
            return Err(words::refusal(&Refusal::Memory { needed, available }));
        }
        let least = record.frames.max(domain.memory.wanted);
        if maximum < least {
            return Err(below_what_it_has(&domain.name, maximum, least));
        }
        let id = domain.id;
        let guest_can = self.guest_maximum(domain).unwrap_or(0);
        let usable = if maximum <= domain.born_max_frames.max(guest_can) {
            Usable::Now
        } else {
            Usable::AfterRestart
        };
        let reply = MaxMemorySet {
            name: domain.name.clone(),
            id: id.get(),
            previous_bytes: bytes_of(record.max_frames),
            max_memory_bytes: bytes_of(maximum),
            usable,
        };
        self.host.set_max(id, maximum).map_err(words::host)?;
        if let Some(domain) = self.domains.get_mut(&key) {
            domain.config.max_frames = maximum;
            domain.config.frames = domain.config.frames.min(maximum);
        }
        let kib = bytes_of(maximum) / 1024;
        self.tell_store(
            id,
            &[(Path::home(id), "memory/static-max", format!("{kib}"))],
        );
        Ok(Reply::MaxMemory(reply))
    }

    pub(super) fn rename(&mut self, wish: Rename) -> Result<Reply, ErrorReply> {
        let key = self.find_made(&wish.domain)?;
        let domain = self.domains.get(&key);
        let previous = domain.map(|domain| domain.name.clone());
        let previous = previous.ok_or_else(|| words::no_such_domain(&wish.domain))?;
        let name = if wish.name == previous {
            wish.name
        } else {
            self.free_name(&wish.name)?
        };
        let Some(domain) = self.domains.get(&key) else {
            return Err(words::no_such_domain(&wish.domain));
        };
        let (id, uuid) = (domain.id, super::domain::uuid_text(&domain.uuid));
        let has_nodes = domain.store_ring.is_some();
        self.domains
            .change(key, |domain| domain.name = name.clone());
        // A domain that is being built gets its nodes, with this name in them, when it is done.
        if has_nodes {
            let vm = Path::root().below("vm").below(&uuid);
            let text = || String::from(name.as_str());
            self.tell_store(
                id,
                &[(Path::home(id), "name", text()), (vm, "name", text())],
            );
        }
        log::info!("d{id}: `{previous}` is called `{name}` now");
        Ok(Reply::Renamed(Renamed {
            previous,
            name,
            id: id.get(),
        }))
    }

    fn tell_store(&mut self, id: DomId, nodes: &[(Path, &str, String)]) {
        for (place, node, value) in nodes {
            let write = Operation::Write {
                path: place.below(node),
                value: Arc::from(value.as_bytes()),
            };
            if let Err(error) = self.store.apply(&[write]) {
                log::error!("d{id}: {node}: {error}");
            }
        }
    }
}

fn below_what_it_has(name: &DomainName, maximum: u64, least: u64) -> ErrorReply {
    let (maximum, least) = (bytes_of(maximum), bytes_of(least));
    let text = format!(
        "{} is below the {} that domain `{name}` has or is to have",
        Size(maximum),
        Size(least)
    );
    ErrorReply::new(ErrorCode::BelowMinimum, text)
        .hint(format!("`dom0ctl balloon {name} {}` first", Size(maximum)))
        .amounts(Unit::Bytes, least, maximum)
}
