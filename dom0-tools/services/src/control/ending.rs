//! Pause and the ways to an end. What becomes of a domain that has ended is in `ended`.

use super::{
    domain::{Key, Life},
    host::{Host, HostError},
    manager::{Manager, Next},
    stream::{Command, Ending, Work},
    words,
};
use crate::xenstore::{Operation, Path};
use alloc::{format, sync::Arc};
use dom0_protocol::{
    DomainSelector, ErrorCode, ErrorReply, Reply, StreamId, domain::DomainState, reply::Acted,
    request::Shutdown, wait::Wait,
};
use hypercall_abi::sched::SHUTDOWN_SUSPEND;

/// While somebody waits for a guest, dom0 looks this often whether it is done. Nanoseconds.
const LOOK_INTERVAL_NS: u64 = 50_000_000;
/// Where a guest is asked to end.
const SHUTDOWN_NODE: &str = "control/shutdown";

impl<H: Host> Manager<H> {
    pub(super) fn pause(&mut self, selector: &DomainSelector) -> Result<Reply, ErrorReply> {
        let started = self.host.now();
        let key = self.find_made(selector)?;
        match self.state_of(key)? {
            DomainState::Paused => {}
            DomainState::Starting | DomainState::Running | DomainState::Blocked => {
                self.check_started(key, "paused")?;
                self.on_host(key, H::pause)?;
            }
            state @ (DomainState::Shutdown | DomainState::Crashed | DomainState::Dying) => {
                return Err(self.wrong_state(key, state, "paused"));
            }
        }
        self.acted(key, started)
    }

    pub(super) fn unpause(&mut self, selector: &DomainSelector) -> Result<Reply, ErrorReply> {
        let started = self.host.now();
        let key = self.find_made(selector)?;
        match self.state_of(key)? {
            DomainState::Paused => self.on_host(key, H::unpause)?,
            DomainState::Starting | DomainState::Running | DomainState::Blocked => {}
            DomainState::Shutdown if self.is_suspended(key) => self.resume(key)?,
            state @ (DomainState::Shutdown | DomainState::Crashed | DomainState::Dying) => {
                return Err(self.wrong_state(key, state, "unpaused"));
            }
        }
        self.acted(key, started)
    }

    /// Whether a domain that has shut down did so to be let go on.
    fn is_suspended(&self, key: Key) -> bool {
        let id = self.domains.get(&key).map(|domain| domain.id);
        let record = id.and_then(|id| self.record(id).ok().flatten());
        record.is_some_and(|record| record.shutdown_reason == SHUTDOWN_SUSPEND)
    }

    /// Lets a suspended domain go on where it stood, as if it had never stopped.
    fn resume(&mut self, key: Key) -> Result<(), ErrorReply> {
        self.on_host(key, H::resume)?;
        if let Some(domain) = self.domains.get_mut(&key) {
            domain.ends.seen = false;
            self.store.note_resumed(domain.id);
        }
        Ok(())
    }

    pub(super) fn destroy(&mut self, selector: &DomainSelector) -> Result<Reply, ErrorReply> {
        let started = self.host.now();
        let key = self.find_made(selector)?;
        let Some(domain) = self.domains.get(&key) else {
            return Err(words::no_such_domain(selector));
        };
        let (name, id) = (domain.name.clone(), domain.id);
        self.tear_down(key).map_err(words::host)?;
        let why = ErrorReply::new(
            ErrorCode::Superseded,
            format!("domain `{name}` was destroyed meanwhile"),
        )
        .hint("`dom0ctl list` shows what there is now");
        self.remove(key, &why);
        Ok(Reply::Acted(Acted {
            name,
            id: id.get(),
            state: None,
            elapsed_ns: self.host.now().saturating_sub(started),
        }))
    }

    pub(super) fn shutdown(&mut self, id: StreamId, wish: &Shutdown) -> Result<(), ErrorReply> {
        self.ask_to_end(id, wish, Command::Poweroff)
    }

    pub(super) fn reboot(&mut self, id: StreamId, wish: &Shutdown) -> Result<(), ErrorReply> {
        self.ask_to_end(id, wish, Command::Reboot)
    }

    fn ask_to_end(
        &mut self,
        id: StreamId,
        wish: &Shutdown,
        command: Command,
    ) -> Result<(), ErrorReply> {
        let started = self.host.now();
        let key = self.find_made(&wish.domain)?;
        if command == Command::Poweroff && self.is_restarting(key) {
            // It is down already: all that is to be done is not to make it anew.
            let reply = self.destroy(&wish.domain)?;
            self.done(id, reply);
            return Ok(());
        }
        match self.state_of(key)? {
            DomainState::Starting | DomainState::Running | DomainState::Blocked => {
                self.check_started(key, "asked to end")?;
            }
            state @ (DomainState::Paused
            | DomainState::Shutdown
            | DomainState::Crashed
            | DomainState::Dying) => {
                return Err(self.wrong_state(key, state, "asked to end"));
            }
        }
        self.write_command(key, command.word());
        if let Some(domain) = self.domains.get_mut(&key) {
            domain.asked = Some(command);
        }
        let Wait::UntilReached { timeout_ms, .. } = wish.wait else {
            let reply = self.acted(key, started)?;
            self.done(id, reply);
            return Ok(());
        };
        let Some(domain) = self.domains.get(&key) else {
            return Err(words::no_such_domain(&wish.domain));
        };
        let ending = Ending {
            key,
            command,
            name: domain.name.clone(),
            id: domain.id.get(),
            crashes: domain.ends.crashes,
            started,
            deadline: started.saturating_add(u64::from(timeout_ms) * 1_000_000),
        };
        self.work_on(id, Work::Ending(ending), 0);
        Ok(())
    }

    /// Looks whether a guest that was asked to end has done so.
    pub(super) fn step_ending(&mut self, id: StreamId, next: &mut Next) {
        let Some(Work::Ending(ending)) = self.streams.get(&id).map(|stream| &stream.work) else {
            return;
        };
        let now = self.host.now();
        let (key, command, deadline) = (ending.key, ending.command, ending.deadline);
        let acted = |state| {
            Reply::Acted(Acted {
                name: ending.name.clone(),
                id: ending.id,
                state,
                elapsed_ns: now.saturating_sub(ending.started),
            })
        };
        let (gone, old) = (acted(None), ending.id);
        let kept = acted(Some(DomainState::Shutdown));
        let Some(domain) = self.domains.get(&key) else {
            self.done(id, gone);
            return;
        };
        if domain.ends.crashes != ending.crashes {
            let error = words::guest_gone(&domain.name)
                .hint("it crashed: `dom0ctl show` and `dom0ctl console --log` say how");
            self.fail(id, error);
        } else if domain.id.get() != old && matches!(domain.life, Life::Started) {
            let state = self.state_of(key).unwrap_or(DomainState::Starting);
            let again = acted(Some(state));
            self.done(id, again);
        } else if domain.ends.seen && matches!(domain.life, Life::Started) {
            // It is kept.
            self.done(id, kept);
        } else if now >= deadline {
            let error = self.did_not_end(key, command);
            self.fail(id, error);
        } else {
            next.by(deadline.min(now.saturating_add(LOOK_INTERVAL_NS)));
        }
    }

    /// Why a guest has not ended in time. A command that it has not taken is taken back.
    fn did_not_end(&mut self, key: Key, command: Command) -> ErrorReply {
        let Some(domain) = self.domains.get(&key) else {
            return words::guest_gone(&"?");
        };
        let node = Path::home(domain.id).below(SHUTDOWN_NODE);
        let taken = self.store.value(&node) != Some(command.word().as_bytes());
        let name = domain.name.clone();
        let hint = format!("`dom0ctl destroy {name}` ends it at once");
        if taken {
            let text = format!("domain `{name}` is on its way to the end, and not there yet");
            return ErrorReply::new(ErrorCode::Deadline, text).hint(hint);
        }
        let watching = self.store.is_watching(domain.id, &node);
        self.write_command(key, "");
        if watching {
            ErrorReply::new(
                ErrorCode::GuestRefuses,
                format!("domain `{name}` does not react"),
            )
            .hint(hint)
        } else {
            let text = format!("domain `{name}` has no driver that takes such commands");
            ErrorReply::new(ErrorCode::NoDriver, text).hint(hint)
        }
    }

    fn is_restarting(&self, key: Key) -> bool {
        let domain = self.domains.get(&key);
        domain.is_some_and(|domain| matches!(domain.life, Life::Restarting { .. }))
    }

    fn write_command(&mut self, key: Key, word: &str) {
        if let Some(domain) = self.domains.get(&key) {
            let write = Operation::Write {
                path: Path::home(domain.id).below(SHUTDOWN_NODE),
                value: Arc::from(word.as_bytes()),
            };
            if let Err(error) = self.store.apply(&[write]) {
                log::error!("d{}: {SHUTDOWN_NODE}: {error}", domain.id);
            }
        }
    }

    pub(super) fn state_of(&self, key: Key) -> Result<DomainState, ErrorReply> {
        let Some(domain) = self.domains.get(&key) else {
            return Ok(DomainState::Dying);
        };
        let record = self.record(domain.id).map_err(words::host)?;
        Ok(domain.state(record.as_ref()))
    }

    /// Refuses what a domain that is still being built cannot do.
    pub(super) fn check_started(&self, key: Key, wanted: &str) -> Result<(), ErrorReply> {
        match self.domains.get(&key) {
            Some(domain) if matches!(domain.life, Life::Started) => Ok(()),
            _ => Err(self
                .wrong_state(key, DomainState::Starting, wanted)
                .hint("it is being built: try again in a moment")),
        }
    }

    pub(super) fn wrong_state(&self, key: Key, state: DomainState, wanted: &str) -> ErrorReply {
        words::wrong_state(&domain_name(self, key), state, wanted)
    }

    fn on_host(
        &mut self,
        key: Key,
        call: impl FnOnce(&mut H, crate::DomId) -> Result<(), HostError>,
    ) -> Result<(), ErrorReply> {
        match self.domains.get(&key) {
            Some(domain) => call(&mut self.host, domain.id).map_err(words::host),
            None => Ok(()),
        }
    }

    fn acted(&self, key: Key, started: u64) -> Result<Reply, ErrorReply> {
        let state = self.state_of(key)?;
        let Some(domain) = self.domains.get(&key) else {
            return Err(words::guest_gone(&"?"));
        };
        Ok(Reply::Acted(Acted {
            name: domain.name.clone(),
            id: domain.id.get(),
            state: Some(state),
            elapsed_ns: self.host.now().saturating_sub(started),
        }))
    }
}

/// What a domain is called, for words.
pub(super) fn domain_name<H: Host>(manager: &Manager<H>, key: Key) -> alloc::string::String {
    let name = manager
        .domains
        .get(&key)
        .map(|domain| format!("{}", domain.name));
    name.unwrap_or_default()
}
