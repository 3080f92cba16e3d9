//! Waiting for a domain's state, and for a guest to take a key.
//!
//! Ends are told by the hypervisor, so who waits for one costs nothing; for the states between them dom0 looks from time to
//! time, as long as somebody waits.

use super::{
    domain::Key,
    ending::domain_name,
    host::Host,
    manager::{Manager, Next},
    stream::{Hope, Waiting, Work},
};
use crate::xenstore::{Operation, Path};
use alloc::{format, sync::Arc, vec::Vec};
use dom0_protocol::{
    ErrorCode, ErrorReply, Reply, StreamId,
    domain::DomainState,
    ending::Awaited,
    reply::Acted,
    request::{Await, Sysrq},
};

/// While somebody waits for something that the hypervisor does not tell of, dom0 looks this often. Nanoseconds.
const LOOK_INTERVAL_NS: u64 = 50_000_000;
/// Where a guest finds a key for its kernel; it empties the node when it has taken it.
const SYSRQ_NODE: &str = "control/sysrq";

/// What a look finds.
enum Found {
    Reached,
    NotYet,
    Hopeless,
}

impl<H: Host> Manager<H> {
    pub(super) fn wait_for(&mut self, id: StreamId, wish: &Await) -> Result<(), ErrorReply> {
        let key = self.find_made(&wish.domain)?;
        let timeout = wish.timeout_ms.map(|ms| u64::from(ms) * 1_000_000);
        self.begin_waiting(id, key, Hope::State(wish.state), timeout);
        Ok(())
    }

    pub(super) fn sysrq(&mut self, id: StreamId, wish: &Sysrq) -> Result<(), ErrorReply> {
        if !wish.key.is_ascii_graphic() {
            let text = format!("{:?} is no key", wish.key);
            return Err(ErrorReply::new(ErrorCode::InvalidArgument, text)
                .hint("give one letter or digit: most kernels answer `h` with a list"));
        }
        let key = self.find_made(&wish.domain)?;
        self.check_started(key, "sent a key")?;
        match self.state_of(key)? {
            DomainState::Starting | DomainState::Running | DomainState::Blocked => {}
            state @ (DomainState::Paused
            | DomainState::Shutdown
            | DomainState::Crashed
            | DomainState::Dying) => return Err(self.wrong_state(key, state, "sent a key")),
        }
        let mut buffer = [0; 4];
        self.write_key(key, wish.key.encode_utf8(&mut buffer));
        let timeout = u64::from(wish.timeout_ms) * 1_000_000;
        self.begin_waiting(id, key, Hope::KeyTaken, Some(timeout));
        Ok(())
    }

    fn begin_waiting(&mut self, id: StreamId, key: Key, hope: Hope, timeout: Option<u64>) {
        let started = self.host.now();
        let ends = self.domains.get(&key).map(|domain| domain.ends);
        let waiting = Waiting {
            key,
            hope,
            ends: ends.unwrap_or_default(),
            started,
            deadline: timeout.map(|timeout| started.saturating_add(timeout)),
        };
        self.work_on(id, Work::Waiting(waiting), 0);
    }

    fn write_key(&mut self, key: Key, text: &str) {
        if let Some(domain) = self.domains.get(&key) {
            let write = Operation::Write {
                path: Path::home(domain.id).below(SYSRQ_NODE),
                value: Arc::from(text.as_bytes()),
            };
            if let Err(error) = self.store.apply(&[write]) {
                log::error!("d{}: {SYSRQ_NODE}: {error}", domain.id);
            }
        }
    }

    /// Looks whether what somebody waits for has come.
    pub(super) fn step_waiting(&mut self, id: StreamId, next: &mut Next) {
        let Some(Work::Waiting(waiting)) = self.streams.get(&id).map(|stream| &stream.work) else {
            return;
        };
        let now = self.host.now();
        let (key, hope, deadline) = (waiting.key, waiting.hope, waiting.deadline);
        let found = match hope {
            Hope::State(wanted) => self.look_at_state(waiting, wanted),
            Hope::KeyTaken => self.look_at_key(key),
        };
        match found {
            Found::Reached => {
                let state = self.state_of(key).ok();
                if let Some(reply) = self.waited(id, state) {
                    self.done(id, reply);
                }
            }
            Found::Hopeless => {
                let name = domain_name(self, key);
                let now = self.state_of(key).map_or("gone", DomainState::as_str);
                let text = format!("domain `{name}` is {now}, and stays so");
                let error = ErrorReply::new(ErrorCode::GuestGone, text)
                    .hint("`dom0ctl show` and `dom0ctl console --log` say how it ended");
                self.fail(id, error);
            }
            Found::NotYet if deadline.is_some_and(|deadline| now >= deadline) => {
                let error = self.waited_in_vain(key, hope);
                self.fail(id, error);
            }
            Found::NotYet => {
                if let Some(deadline) = deadline {
                    next.by(deadline);
                }
                let told = matches!(
                    hope,
                    Hope::State(Awaited::Shutdown | Awaited::Crashed | Awaited::Gone)
                );
                if !told {
                    next.by(now.saturating_add(LOOK_INTERVAL_NS));
                }
            }
        }
    }

    fn look_at_state(&self, waiting: &Waiting, wanted: Awaited) -> Found {
        let (Some(domain), Ok(state)) =
            (self.domains.get(&waiting.key), self.state_of(waiting.key))
        else {
            return Found::Hopeless;
        };
        let ended = domain.ends.seen.then_some(state);
        let reached = match wanted {
            Awaited::Running => matches!(state, DomainState::Running | DomainState::Blocked),
            Awaited::Blocked => state == DomainState::Blocked,
            Awaited::Paused => state == DomainState::Paused,
            Awaited::Shutdown => {
                domain.ends.shutdowns != waiting.ends.shutdowns
                    || ended == Some(DomainState::Shutdown)
            }
            Awaited::Crashed => {
                domain.ends.crashes != waiting.ends.crashes || ended == Some(DomainState::Crashed)
            }
            Awaited::Gone => false,
        };
        if reached {
            Found::Reached
        } else if wanted != Awaited::Gone
            && matches!(ended, Some(DomainState::Shutdown | DomainState::Crashed))
        {
            // It is kept as it is: nothing of this will come.
            Found::Hopeless
        } else {
            Found::NotYet
        }
    }

    fn look_at_key(&self, key: Key) -> Found {
        let Some(domain) = self.domains.get(&key) else {
            return Found::Hopeless;
        };
        let node = Path::home(domain.id).below(SYSRQ_NODE);
        match self.store.value(&node) {
            // A guest that has removed the node has taken what was in it.
            Some([]) | None => Found::Reached,
            Some(_) => Found::NotYet,
        }
    }

    fn waited(&self, id: StreamId, state: Option<DomainState>) -> Option<Reply> {
        let Some(Work::Waiting(waiting)) = self.streams.get(&id).map(|stream| &stream.work) else {
            return None;
        };
        let domain = self.domains.get(&waiting.key)?;
        Some(Reply::Acted(Acted {
            name: domain.name.clone(),
            id: domain.id.get(),
            state,
            elapsed_ns: self.host.now().saturating_sub(waiting.started),
        }))
    }

    /// The time is over. A key that was not taken is taken back.
    fn waited_in_vain(&mut self, key: Key, hope: Hope) -> ErrorReply {
        let name = domain_name(self, key);
        match hope {
            Hope::State(wanted) => {
                let now = self.state_of(key).map_or("?", DomainState::as_str);
                let wanted = wanted.as_str();
                let text = format!("domain `{name}` is {now}, and was not {wanted} in time");
                ErrorReply::new(ErrorCode::Deadline, text).hint("give more time with --timeout")
            }
            Hope::KeyTaken => {
                self.write_key(key, "");
                let watching = self.domains.get(&key).is_some_and(|domain| {
                    let node = Path::home(domain.id).below(SYSRQ_NODE);
                    self.store.is_watching(domain.id, &node)
                });
                if watching {
                    let text = format!("domain `{name}` does not react");
                    ErrorReply::new(ErrorCode::GuestRefuses, text)
                        .hint("`dom0ctl console` may say why")
                } else {
                    let text = format!("domain `{name}` has no driver that takes keys");
                    ErrorReply::new(ErrorCode::NoDriver, text)
                        .hint("see `dom0ctl console` for how far the guest has started")
                }
            }
        }
    }

    /// A domain is about to be forgotten: whoever waits for it gets an answer.
    pub(super) fn end_waits(&mut self, key: Key, why: &ErrorReply) {
        let Some(ends) = self.domains.get(&key).map(|domain| domain.ends) else {
            return;
        };
        let waits: Vec<(StreamId, bool)> = (self.streams.iter())
            .filter_map(|(id, stream)| {
                let Work::Waiting(waiting) = &stream.work else {
                    return None;
                };
                let satisfied = match waiting.hope {
                    Hope::State(Awaited::Gone) => true,
                    Hope::State(Awaited::Shutdown) => ends.shutdowns != waiting.ends.shutdowns,
                    Hope::State(Awaited::Crashed) => ends.crashes != waiting.ends.crashes,
                    Hope::State(Awaited::Running | Awaited::Blocked | Awaited::Paused) => false,
                    Hope::KeyTaken => matches!(self.look_at_key(key), Found::Reached),
                };
                (waiting.key == key).then_some((*id, satisfied))
            })
            .collect();
        for (id, satisfied) in waits {
            match self.waited(id, None) {
                Some(reply) if satisfied => self.done(id, reply),
                Some(_) | None => self.fail(id, why.clone()),
            }
        }
    }
}
