//! All of dom0's state, and one bounded round of work on it.

use super::{
    domain::{Key, Life},
    domains::Domains,
    files::{Content, Files, digest_of},
    grave::Graves,
    host::{Host, HostError, LocalPort, Ring},
    moving::Moving,
    recount::Recount,
    stream::Stream,
    words,
};
use crate::{
    DomId,
    resources::Ledger,
    xenstore::{self, Quota},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use dom0_protocol::{Decoder, Digest, DomainSelector, ErrorReply, Frame, Outbox, StreamId};
use hypercall_abi::control::{domain::DomainRecord, host::most_overhead};

/// What a manager is told at its start.
#[derive(Debug)]
pub struct Setup {
    /// The demo kernel, which a domain gets when nothing else is asked for.
    pub demo: Vec<u8>,
    /// Most bytes of uploaded files.
    pub store_bytes: usize,
    /// dom0's version.
    pub version: &'static str,
}

/// When `work` is to be called again, whatever else happens.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Next {
    /// At once: there is more to do.
    pub again: bool,
    /// At this time by the host's clock, if nothing happens before.
    pub deadline: Option<u64>,
}

impl Next {
    /// Calls again at `time` at the latest.
    pub fn by(&mut self, time: u64) {
        self.deadline = Some(self.deadline.map_or(time, |earlier| earlier.min(time)));
    }
}

/// dom0's state.
#[derive(Debug)]
pub struct Manager<H: Host> {
    pub(super) host: H,
    pub(super) store: xenstore::Server,
    pub(super) domains: Domains<H::Page>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) connections: BTreeMap<u16, u16>,
    pub(super) outbox: Outbox,
    pub(super) files: Files,
    pub(super) demo: (Content, Digest),
    pub(super) version: &'static str,
    pub(super) moves: Vec<Moving>,
    /// Domains that have been built and begin to run when that has been told.
    pub(super) ready: Vec<Key>,
    pub(super) graves: Graves,
    pub(super) recount: Option<Recount>,
    pub(super) power_off: Option<PowerOff>,
    pub(super) decoder: Decoder,
    next_key: u64,
    events: BTreeSet<LocalPort>,
    /// A console has more to drain than one turn takes.
    again: bool,
    domain_event: bool,
}

/// The machine is to end, once the client that wished it has read the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PowerOff {
    pub(super) connection: u16,
    pub(super) deadline: u64,
}

/// A domain that a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    /// dom0 itself.
    Dom0,
    /// One that dom0 has made.
    Made(Key),
}

impl<H: Host> Manager<H> {
    /// dom0 at its start.
    #[must_use]
    pub fn new(host: H, setup: Setup) -> Self {
        let digest = digest_of(&setup.demo);
        Self {
            host,
            store: xenstore::Server::new(Quota::ORDINARY),
            domains: Domains::new(),
            streams: BTreeMap::new(),
            connections: BTreeMap::new(),
            outbox: Outbox::new(),
            files: Files::new(setup.store_bytes),
            demo: (Arc::new(setup.demo), digest),
            version: setup.version,
            moves: Vec::new(),
            ready: Vec::new(),
            graves: Graves::default(),
            recount: None,
            power_off: None,
            decoder: Decoder::new(),
            next_key: 0,
            events: BTreeSet::new(),
            again: false,
            domain_event: false,
        }
    }

    /// A domain's ring has an event.
    pub fn port_event(&mut self, port: LocalPort) {
        self.events.insert(port);
    }

    /// A domain has shut down, crashed or died.
    pub fn domain_event(&mut self) {
        self.domain_event = true;
    }

    /// The next frame for the control channel.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.outbox.next_frame()
    }

    /// Whether the machine is to be powered off now: the client that asked has its answer.
    #[must_use]
    pub fn is_power_off_due(&self) -> bool {
        self.power_off.is_some_and(|due| {
            !self.connections.contains_key(&due.connection) || self.host.now() >= due.deadline
        })
    }

    /// Does a bounded round of work.
    pub fn work(&mut self) -> Next {
        let mut next = Next::default();
        self.store.set_now(self.host.now());
        self.serve_rings(&mut next);
        if core::mem::take(&mut self.domain_event) {
            self.look_at_ended();
        }
        self.step_lives(&mut next);
        self.step_moves(&mut next);
        self.step_audit(&mut next);
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in streams {
            self.step_stream(id, &mut next);
        }
        if let Some(due) = self.power_off {
            next.by(due.deadline);
        }
        next.again |= core::mem::take(&mut self.again);
        next
    }

    /// Serves the rings that have events, and those for which replies wait, once each.
    fn serve_rings(&mut self, next: &mut Next) {
        for port in core::mem::take(&mut self.events) {
            match self.domains.of_port(port) {
                Some((key, Ring::Console)) => self.serve_console(key),
                Some((key, Ring::Store)) => self.serve_store(key, next),
                None => {}
            }
        }
        for id in self.store.take_ready() {
            if let Some(key) = self.key_of(id) {
                self.serve_store(key, next);
            }
        }
        while self.store.take_message().is_some() {
            // dom0 sets no watches of its own: what it needs to know it asks when something happens.
        }
    }

    fn serve_store(&mut self, key: Key, next: &mut Next) {
        let Some(domain) = self.domains.get_mut(&key) else {
            return;
        };
        let Some((ring, link)) = domain.store_ring.as_mut() else {
            return;
        };
        let progress = link.serve(&ring.page, &mut self.store);
        if let Some(error) = progress.broken {
            log::warn!(
                "d{}: xenstore ring: {error}: not served any more",
                domain.id
            );
        }
        let port = ring.port;
        if progress.again {
            self.events.insert(port);
            next.again = true;
        } else if let Some(time) = self.store.wait(domain.id) {
            self.events.insert(port);
            next.by(time);
        }
        if progress.notify {
            self.host.notify(port);
        }
    }

    pub(super) fn serve_console(&mut self, key: Key) {
        let Some(domain) = self.domains.get_mut(&key) else {
            return;
        };
        let Some(ring) = domain.console_ring.as_ref() else {
            return;
        };
        let progress = domain.console.serve(&ring.page);
        if let Some(error) = progress.broken {
            log::warn!("d{}: {error}: not served any more", domain.id);
        }
        if progress.again {
            self.events.insert(ring.port);
            self.again = true;
        }
        if progress.notify {
            self.host.notify(ring.port);
        }
    }

    /// A key that was never given before.
    pub(super) fn fresh_key(&mut self) -> Key {
        self.next_key += 1;
        Key(self.next_key)
    }

    pub(super) fn key_of(&self, id: DomId) -> Option<Key> {
        self.domains.of_id(id)
    }

    /// The domain that a client names.
    pub(super) fn find(&self, selector: &DomainSelector) -> Result<Subject, ErrorReply> {
        let found = match selector {
            DomainSelector::Id(0) => return Ok(Subject::Dom0),
            DomainSelector::Name(name) if name.as_str() == super::query::DOM0_NAME => {
                return Ok(Subject::Dom0);
            }
            DomainSelector::Id(id) => DomId::new(*id).and_then(|id| self.key_of(id)),
            DomainSelector::Name(name) => self.domains.of_name(name),
        };
        found
            .map(Subject::Made)
            .ok_or_else(|| words::no_such_domain(selector))
    }

    /// The domain that a client names, if it is not dom0.
    pub(super) fn find_made(&self, selector: &DomainSelector) -> Result<Key, ErrorReply> {
        match self.find(selector)? {
            Subject::Made(key) => Ok(key),
            Subject::Dom0 => Err(words::protected()),
        }
    }

    /// The hypervisor's record of a domain, if it exists.
    pub(super) fn record(&self, id: DomId) -> Result<Option<DomainRecord>, HostError> {
        let record = self.host.domain_info(id)?;
        Ok(record.filter(|record| record.domid.0 == id.get()))
    }

    /// The state of the machine for admission.
    pub(super) fn ledger(&self) -> Result<Ledger, HostError> {
        let host = self.host.host_info()?;
        let told = self.host.host_promises()?;
        let mut promised = told.promised_frames.saturating_add(self.kept_by_moves()?);
        // Who is to be made anew has no body that the hypervisor could count.
        for key in self.domains.unfinished() {
            if let Some(domain) = self.domains.get(key)
                && matches!(domain.life, Life::Restarting { .. })
            {
                promised = promised
                    .saturating_add(domain.memory.wanted)
                    .saturating_add(most_overhead(domain.config.max_frames));
            }
        }
        Ok(Ledger {
            total_frames: host.total_frames,
            free_frames: told.free_frames,
            promised_frames: promised,
            cpus: host.cpus,
            domains: u32::try_from(self.domains.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            max_domains: host.max_domains,
        })
    }
}
