//! Changes of memory and vCPUs, which the guest carries out: admitted, written as a target, watched until reached.

use super::{
    domain::{Domain, Key},
    host::Host,
    manager::{Manager, Next},
    size::Size,
    stream::{Changing, Resource, Work},
    words,
};
use crate::{
    builder::availability,
    resources::{Change, Refusal, Verdict, Why, bytes_of, check_vcpus},
    xenstore::{Operation, Path},
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use dom0_protocol::{
    ErrorCode, ErrorReply, Progress, Reply, StreamId,
    domain::DomainState,
    error::Reached,
    progress::{Phase, Unit},
    reply::{Ballooned, Outcome, VcpusChanged},
    request::{Balloon, Vcpus},
    wait::{Otherwise, Wait},
};
use hypercall_abi::control::domain::DomainRecord;

/// The balloon driver's target, which it watches.
pub(super) const MEMORY_TARGET: &str = "memory/target";
/// The vCPU driver's nodes, which it watches.
pub(super) const CPU_DIRECTORY: &str = "cpu";
/// While somebody waits for a change, dom0 looks this often how far it is. Nanoseconds.
const LOOK_INTERVAL_NS: u64 = 20_000_000;

/// Who asks for a change, when, and how long the asker waits.
#[derive(Clone, Copy)]
struct Asked {
    id: StreamId,
    at: u64,
    wait: Wait,
}

impl<H: Host> Manager<H> {
    pub(super) fn balloon(&mut self, id: StreamId, wish: &Balloon) -> Result<(), ErrorReply> {
        let asked = self.asked(id, wish.wait);
        let key = self.find_made(&wish.domain)?;
        let (record, domain) = self.changeable(key)?;
        let target = wish.target_bytes / crate::resources::FRAME_BYTES;
        let minimum = self
            .guest_minimum(domain)
            .unwrap_or(domain.config.minimum_frames.min(record.frames));
        // What stands between what it has and its target now is its own.
        let promised = domain.memory.wanted.saturating_sub(record.frames);
        let maximum = domain.config.max_frames;
        let ledger = self.ledger().map_err(words::host)?;
        ledger
            .admit_target(record.frames, target, minimum, maximum, promised)
            .map_err(|refusal| words::refusal(&refusal))?;
        self.check_growth(domain, target)?;
        self.begin_change(asked, key, Resource::Memory, record.frames, target)
    }

    pub(super) fn set_vcpus(&mut self, id: StreamId, wish: &Vcpus) -> Result<(), ErrorReply> {
        let asked = self.asked(id, wish.wait);
        let key = self.find_made(&wish.domain)?;
        let (record, domain) = self.changeable(key)?;
        check_vcpus(wish.target, domain.config.max_vcpus)
            .map_err(|refusal: Refusal| words::refusal(&refusal))?;
        let online = u64::from(record.vcpus_online);
        let wanted = u64::from(wish.target);
        self.begin_change(asked, key, Resource::Vcpus, online, wanted)
    }

    fn asked(&self, id: StreamId, wait: Wait) -> Asked {
        let at = self.host.now();
        Asked { id, at, wait }
    }

    /// A domain that can change now, with the hypervisor's record of it.
    pub(super) fn changeable(
        &self,
        key: Key,
    ) -> Result<(DomainRecord, &Domain<H::Page>), ErrorReply> {
        self.check_started(key, "changed")?;
        match self.state_of(key)? {
            DomainState::Starting
            | DomainState::Running
            | DomainState::Blocked
            | DomainState::Paused => {}
            state @ (DomainState::Shutdown | DomainState::Crashed | DomainState::Dying) => {
                return Err(self.wrong_state(key, state, "changed"));
            }
        }
        let domain = self
            .domains
            .get(&key)
            .ok_or_else(|| words::guest_gone(&"?"))?;
        let record = self.record(domain.id).map_err(words::host)?;
        let record = record.ok_or_else(|| words::guest_gone(&domain.name))?;
        Ok((record, domain))
    }

    fn begin_change(
        &mut self,
        Asked { id, at, wait }: Asked,
        key: Key,
        resource: Resource,
        count: u64,
        wanted: u64,
    ) -> Result<(), ErrorReply> {
        let (before, turn) = self.set_target(key, resource, wanted);
        self.fail_streams(|work| {
            let older = work.changing()?;
            (older.key == key && older.resource == resource).then(superseded)
        });
        let (timeout, otherwise) = match wait {
            Wait::No => (0, Otherwise::Keep),
            Wait::UntilReached {
                timeout_ms,
                otherwise,
            } => (u64::from(timeout_ms) * 1_000_000, otherwise),
        };
        let Some(domain) = self.domains.get(&key) else {
            return Err(words::guest_gone(&"?"));
        };
        let changing = Changing {
            key,
            name: domain.name.clone(),
            id: domain.id.get(),
            resource,
            turn,
            change: Change::new(count, wanted, at, timeout),
            before,
            otherwise,
            told: None,
        };
        if wait == Wait::No {
            let outcome = if count == wanted {
                Outcome::Reached
            } else {
                Outcome::Started
            };
            let reply = self.changed(&changing, count, outcome);
            self.done(id, reply);
            return Ok(());
        }
        self.work_on(id, Work::Changing(changing), 0);
        Ok(())
    }

    /// Sets a target and tells the guest; gives the target that stood before and the turn of the new one.
    pub(super) fn set_target(&mut self, key: Key, resource: Resource, wanted: u64) -> (u64, u64) {
        let Some(domain) = self.domains.get_mut(&key) else {
            return (wanted, 0);
        };
        let home = Path::home(domain.id);
        let write = |node: &str, value: String| Operation::Write {
            path: home.below(node),
            value: Arc::from(value.as_bytes()),
        };
        let (target, operations): (_, Vec<Operation>) = match resource {
            Resource::Memory => {
                let kib = bytes_of(wanted) / 1024;
                (
                    &mut domain.memory,
                    vec![write(MEMORY_TARGET, format!("{kib}"))],
                )
            }
            Resource::Vcpus => {
                let online = u32::try_from(wanted).unwrap_or(u32::MAX);
                let nodes = (0..domain.config.max_vcpus).map(|vcpu| {
                    let node = format!("{CPU_DIRECTORY}/{vcpu}/availability");
                    write(&node, String::from(availability(vcpu, online)))
                });
                (&mut domain.vcpus, nodes.collect())
            }
        };
        if resource == Resource::Memory
            && let Err(error) = self.host.set_limit(domain.id, wanted)
        {
            // What it was admitted for before holds on: it cannot take more, which the wait will show.
            log::error!("d{}: limit: {error}", domain.id);
        }
        let before = target.wanted;
        let turn = target.set(wanted);
        // Only what differs is written: a guest need not look at a vCPU that stays as it is.
        let changed: Vec<Operation> = operations
            .into_iter()
            .filter(|operation| !self.store.says(operation))
            .collect();
        if let Err(error) = self.store.apply(&changed) {
            log::error!("d{}: target: {error}", domain.id);
        }
        (before, turn)
    }

    /// Looks how far a change is.
    pub(super) fn step_change(&mut self, id: StreamId, next: &mut Next) {
        let now = self.host.now();
        let Some(Work::Changing(changing)) = self.streams.get(&id).map(|stream| &stream.work)
        else {
            return;
        };
        let (key, resource, turn) = (changing.key, changing.resource, changing.turn);
        let Some(domain) = self.domains.get(&key) else {
            self.fail(id, words::guest_gone(&"?"));
            return;
        };
        let current = match resource {
            Resource::Memory => domain.memory.turn,
            Resource::Vcpus => domain.vcpus.turn,
        };
        if current != turn {
            self.fail(id, superseded());
            return;
        }
        let record = self.record(domain.id).ok().flatten();
        let record = record.filter(|record| {
            !matches!(
                domain.state(Some(record)),
                DomainState::Shutdown | DomainState::Crashed | DomainState::Dying
            )
        });
        let Some(record) = record else {
            let error = words::guest_gone(&domain.name);
            self.fail(id, error);
            return;
        };
        let count = match resource {
            Resource::Memory => record.frames,
            Resource::Vcpus => u64::from(record.vcpus_online),
        };
        let driver = match resource {
            Resource::Memory => MEMORY_TARGET,
            Resource::Vcpus => CPU_DIRECTORY,
        };
        let ready = self.is_watching(domain, driver);
        self.judge(id, now, count, ready, next);
    }

    fn is_watching(&self, domain: &Domain<H::Page>, node: &str) -> bool {
        let node = Path::home(domain.id).below(node);
        self.store.is_watching(domain.id, &node)
    }

    /// Whether a domain's guest follows its memory target.
    pub(super) fn has_balloon_driver(&self, key: Key) -> bool {
        let domain = self.domains.get(&key);
        domain.is_some_and(|domain| self.is_watching(domain, MEMORY_TARGET))
    }

    fn judge(&mut self, id: StreamId, now: u64, count: u64, ready: bool, next: &mut Next) {
        let Some(Work::Changing(changing)) =
            self.streams.get_mut(&id).map(|stream| &mut stream.work)
        else {
            return;
        };
        match changing.change.observe(now, count, ready) {
            Verdict::Reached => {
                let finished = changing.clone();
                let reply = self.changed(&finished, count, Outcome::Reached);
                self.done(id, reply);
            }
            Verdict::Waiting { driver_seen } => {
                next.by(changing
                    .change
                    .deadline
                    .min(now.saturating_add(LOOK_INTERVAL_NS)));
                if changing.told != Some((count, driver_seen)) {
                    changing.told = Some((count, driver_seen));
                    let news = progress(changing, count, driver_seen);
                    self.tell(id, news);
                }
            }
            Verdict::NotReached(why) => {
                let finished = changing.clone();
                let error = self.not_reached(&finished, count, why);
                self.fail(id, error);
            }
        }
    }

    /// The time is over: the target becomes what was reached, or what it was before.
    fn not_reached(&mut self, changing: &Changing, count: u64, why: Why) -> ErrorReply {
        let target = match changing.otherwise {
            Otherwise::Keep => count,
            Otherwise::RollBack => changing.before,
        };
        self.set_target(changing.key, changing.resource, target);
        let name = super::ending::domain_name(self, changing.key);
        let amount = |value| in_words(changing.resource, value);
        let (code, reason) = shortfall(why);
        let text = format!(
            "domain `{name}` has {} and not {}: {reason}; the target is {} now",
            amount(count),
            amount(changing.change.wanted),
            amount(target),
        );
        let scale = |value| scaled(changing.resource, value);
        ErrorReply::new(code, text)
            .hint(hint(why))
            .reached(Reached {
                unit: unit(changing.resource),
                previous: scale(changing.change.previous),
                wanted: scale(changing.change.wanted),
                reached: scale(count),
                target: scale(target),
            })
    }

    fn changed(&self, changing: &Changing, count: u64, outcome: Outcome) -> Reply {
        let elapsed_ns = self.host.now().saturating_sub(changing.change.started);
        let (name, id) = (changing.name.clone(), changing.id);
        let as_number = |value| u32::try_from(value).unwrap_or(u32::MAX);
        match changing.resource {
            Resource::Memory => Reply::Ballooned(Ballooned {
                name,
                id,
                outcome,
                previous_bytes: bytes_of(changing.change.previous),
                target_bytes: bytes_of(changing.change.wanted),
                memory_bytes: bytes_of(count),
                elapsed_ns,
            }),
            Resource::Vcpus => Reply::Vcpus(VcpusChanged {
                name,
                id,
                outcome,
                previous: as_number(changing.change.previous),
                vcpus: as_number(changing.change.wanted),
                vcpus_online: as_number(count),
                elapsed_ns,
            }),
        }
    }
}

pub(super) fn superseded() -> ErrorReply {
    ErrorReply::new(
        ErrorCode::Superseded,
        "another request has set another target",
    )
    .hint("`dom0ctl show` tells what is wanted of the domain now")
}

const fn unit(resource: Resource) -> Unit {
    match resource {
        Resource::Memory => Unit::Bytes,
        Resource::Vcpus => Unit::Vcpus,
    }
}

const fn scaled(resource: Resource, value: u64) -> u64 {
    match resource {
        Resource::Memory => bytes_of(value),
        Resource::Vcpus => value,
    }
}

fn in_words(resource: Resource, value: u64) -> String {
    match resource {
        Resource::Memory => format!("{}", Size(bytes_of(value))),
        Resource::Vcpus => format!("{value} vCPUs"),
    }
}

/// A shortfall as a code and in words.
pub(super) const fn shortfall(why: Why) -> (ErrorCode, &'static str) {
    match why {
        Why::NoDriver => (
            ErrorCode::NoDriver,
            "its guest has no driver for this, or has not started it",
        ),
        Why::Refuses => (ErrorCode::GuestRefuses, "its guest's driver does not move"),
        Why::UnderPressure => (
            ErrorCode::GuestUnderPressure,
            "its guest stopped on the way",
        ),
        Why::TooSlow => (
            ErrorCode::Deadline,
            "the time was over while its guest was on the way",
        ),
    }
}

pub(super) const fn hint(why: Why) -> &'static str {
    match why {
        Why::NoDriver => "see `dom0ctl console` for how far the guest has started",
        Why::Refuses => "see the guest's console for its reasons",
        Why::UnderPressure => {
            "the guest needs the rest itself: end something in it, or ask for less"
        }
        Why::TooSlow => "give more time with --timeout",
    }
}

fn progress(changing: &Changing, count: u64, driver_seen: bool) -> Progress {
    let scale = |value| scaled(changing.resource, value);
    Progress {
        phase: if driver_seen {
            Phase::Changing
        } else {
            Phase::WaitingForDriver
        },
        unit: unit(changing.resource),
        from: scale(changing.change.previous),
        now: scale(count),
        target: scale(changing.change.wanted),
        note: String::new(),
    }
}
