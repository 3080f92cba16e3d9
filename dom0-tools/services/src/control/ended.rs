//! What becomes of a domain that has ended by itself: destroyed, made anew, or kept until somebody has looked.
//!
//! Which of them is said by the domain's configuration for each kind of end. A domain that is to be made anew and ends again
//! and again shortly after its start is kept instead: a storm of restarts helps nobody, and hides why.

use super::{
    domain::{Key, Life, uuid_text},
    ending::domain_name,
    host::{Host, HostError},
    manager::Manager,
    stream::{Command, Work},
    words,
};
use crate::{DomId, builder::removal};
use alloc::{format, vec::Vec};
use dom0_protocol::{ErrorReply, domain::DomainState, ending::EndAction};
use hypercall_abi::{
    control::domain::DomainRecord,
    sched::{SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT, SHUTDOWN_SUSPEND},
};

/// A domain is made anew this long after its last start at the earliest, so that one which does nothing but end leaves time
/// to others. Nanoseconds.
const RESTART_INTERVAL_NS: u64 = 1_000_000_000;
/// A life shorter than this counts as one of a storm. Nanoseconds.
const SHORT_LIFE_NS: u64 = 10_000_000_000;
/// So many short lives in a row are a storm.
const STORM: u32 = 5;

/// How a domain has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Crash,
    Reboot,
    Poweroff,
    /// Until somebody lets it go on.
    Suspend,
    /// For a reason that dom0 has no action for.
    Other,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crashed",
            Self::Reboot => "asked for a reboot",
            Self::Poweroff => "powered off",
            Self::Suspend => "suspended itself",
            Self::Other => "shut down",
        }
    }
}

/// What a record says of a domain's end; `asked` is what it was asked for last.
fn end_in(record: &DomainRecord, state: DomainState, asked: Option<Command>) -> Option<End> {
    match (state, record.shutdown_reason) {
        (DomainState::Crashed, _) => Some(End::Crash),
        // Who asked for the end meant it, even if a reboot was on its way.
        (DomainState::Shutdown, SHUTDOWN_REBOOT) if asked != Some(Command::Poweroff) => {
            Some(End::Reboot)
        }
        (DomainState::Shutdown, SHUTDOWN_POWEROFF | SHUTDOWN_REBOOT) => Some(End::Poweroff),
        (DomainState::Shutdown, SHUTDOWN_SUSPEND) => Some(End::Suspend),
        (DomainState::Shutdown, _) => Some(End::Other),
        (
            DomainState::Starting
            | DomainState::Running
            | DomainState::Blocked
            | DomainState::Paused
            | DomainState::Dying,
            _,
        ) => None,
    }
}

impl<H: Host> Manager<H> {
    /// Looks at all domains: one of them has ended, or more.
    pub(super) fn look_at_ended(&mut self) {
        let keys: Vec<Key> = self.domains.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some((id, end)) = self.new_end(key) {
                self.store.note_shutdown(id);
                self.serve_console(key);
                self.act_on(key, id, end);
            }
        }
    }

    /// The end of a domain, if it has come and was not seen yet.
    fn new_end(&mut self, key: Key) -> Option<(DomId, End)> {
        let domain = self.domains.get(&key)?;
        if !matches!(domain.life, Life::Started) || domain.ends.seen {
            return None;
        }
        let (id, asked) = (domain.id, domain.asked);
        let record = self.record(id).ok().flatten()?;
        let end = end_in(&record, domain.state(Some(&record)), asked)?;
        let domain = self.domains.get_mut(&key)?;
        domain.ends.seen = true;
        match end {
            End::Crash => domain.ends.crashes = domain.ends.crashes.wrapping_add(1),
            End::Reboot | End::Poweroff | End::Suspend | End::Other => {
                domain.ends.shutdowns = domain.ends.shutdowns.wrapping_add(1);
            }
        }
        Some((id, end))
    }

    fn act_on(&mut self, key: Key, id: DomId, end: End) {
        let name = domain_name(self, key);
        let action = self.action_for(key, end);
        let word = end.word();
        match action {
            EndAction::Destroy => {
                log::info!("d{id}: `{name}` {word}: destroyed");
                self.bury(key);
                let why = words::guest_gone(&name);
                self.end_of(key, &why);
            }
            EndAction::Restart => {
                log::info!("d{id}: `{name}` {word}: starts anew");
                self.make_anew(key, end);
            }
            EndAction::Preserve => {
                let until = match end {
                    End::Suspend => "unpause",
                    End::Crash | End::Reboot | End::Poweroff | End::Other => "destroy",
                };
                log::warn!("d{id}: `{name}` {word}: kept, until `dom0ctl {until} {name}`");
                self.note(key, &format!("\r\n[the domain {word} and is kept]\r\n"));
            }
        }
    }

    /// What is to be done, by configuration and by how the domain has fared lately.
    fn action_for(&mut self, key: Key, end: End) -> EndAction {
        let now = self.host.now();
        let Some(domain) = self.domains.get_mut(&key) else {
            return EndAction::Preserve;
        };
        let on_end = domain.config.on_end;
        let action = match end {
            End::Crash => on_end.crash,
            End::Reboot => on_end.reboot,
            End::Poweroff => on_end.poweroff,
            End::Suspend | End::Other => EndAction::Preserve,
        };
        // What somebody asked for is no storm.
        let by_itself = domain.asked.is_none() || end == End::Crash;
        let short = now.saturating_sub(domain.born) < SHORT_LIFE_NS;
        domain.ends.quick = if by_itself && short {
            domain.ends.quick.saturating_add(1)
        } else {
            0
        };
        if action == EndAction::Restart && domain.ends.quick >= STORM {
            log::warn!(
                "d{}: `{}` has ended {STORM} times in a row within {} s of its start: not started again",
                domain.id,
                domain.name,
                SHORT_LIFE_NS / 1_000_000_000
            );
            return EndAction::Preserve;
        }
        action
    }

    fn note(&mut self, key: Key, text: &str) {
        if let Some(domain) = self.domains.get_mut(&key) {
            domain.console.note(text);
        }
    }

    /// The domain's old body goes, a new one is made when it is time.
    fn make_anew(&mut self, key: Key, end: End) {
        if let Err(error) = self.tear_down(key) {
            log::error!("`{}`: {error}: it stays as it is", domain_name(self, key));
            return;
        }
        if let Some(domain) = self.domains.get_mut(&key) {
            let word = end.word();
            domain
                .console
                .note(&format!("\r\n[the domain {word} and starts anew]\r\n"));
            let at = domain.born.saturating_add(RESTART_INTERVAL_NS);
            let why = words::guest_gone(&domain.name);
            self.domains
                .change(key, |domain| domain.life = Life::Restarting { at });
            self.fail_streams(|work| {
                let changing = work.changing()?;
                (changing.key == key).then(|| why.clone())
            });
        }
    }

    /// Ends a domain's body: its last words are taken, rings unmapped, nodes removed, frames given back.
    pub(super) fn tear_down(&mut self, key: Key) -> Result<(), HostError> {
        let Some(domain) = self.domains.get(&key) else {
            return Ok(());
        };
        let (id, uuid) = (domain.id, domain.uuid);
        if matches!(domain.life, Life::Restarting { .. }) {
            return Ok(());
        }
        if let Err(error) = self.host.pause(id) {
            log::debug!("d{id}: not paused before its end: {error}");
        }
        self.serve_console(key);
        self.detach_rings(key);
        // Its nodes go first, unheard by itself: then there are few lists, if any, to take its number out of.
        self.store.reset(id);
        if let Err(error) = self.store.apply(&removal(id, &uuid_text(&uuid))) {
            log::error!("d{id}: xenstore nodes: {error}");
        }
        self.store.release(id);
        self.host.destroy(id)
    }

    /// Forgets a domain whose body is gone; `why` is for those who waited for something else.
    pub(super) fn remove(&mut self, key: Key, why: &ErrorReply) {
        self.end_terminals(key);
        self.end_waits(key, why);
        // Who asked for the end is told by `step_ending` that it has come.
        let crashes = self.domains.get(&key).map(|domain| domain.ends.crashes);
        self.fail_streams(|work| {
            if let Work::Ending(ending) = work {
                let crashed = crashes.is_some_and(|now| now != ending.crashes);
                return (ending.key == key && crashed).then(|| why.clone());
            }
            let waits_for = work
                .creating()
                .or(work.changing().map(|changing| changing.key));
            (waits_for == Some(key)).then(|| why.clone())
        });
        self.domains.remove(key);
    }
}
