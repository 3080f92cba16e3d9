//! From a built domain to its first instruction.

use super::{
    create::begins,
    domain::{Config, Key, Life, uuid_text},
    ending::domain_name,
    host::{Host, HostError, Ring},
    manager::{Manager, Next},
    stream::Work,
};
use crate::{
    builder::{BuildError, Built, Profile, Step, operations},
    xenstore::Link,
};
use alloc::vec::Vec;
use dom0_protocol::{
    ErrorReply, Progress, StreamId,
    progress::{Phase, Unit},
    request::Start,
};

impl<H: Host> Manager<H> {
    /// Goes on with every domain that is being built or is to be made anew.
    pub(super) fn step_lives(&mut self, next: &mut Next) {
        let keys: Vec<Key> = self.domains.unfinished().iter().copied().collect();
        for key in keys {
            let Some(domain) = self.domains.get_mut(&key) else {
                continue;
            };
            match &mut domain.life {
                Life::Started => {}
                Life::Restarting { at } => {
                    let at = *at;
                    if self.host.now() < at {
                        next.by(at);
                    } else {
                        self.restart(key);
                        next.again = true;
                    }
                }
                Life::Building { build, start } => {
                    next.again = true;
                    let start = *start;
                    match build.step(&mut self.host) {
                        Ok(Step::More) => self.tell_building(key),
                        Ok(Step::Done(built)) => {
                            if let Err(error) = self.start_built(key, built, start) {
                                self.build_has_failed(key, BuildError::Host(error));
                            }
                        }
                        Err(error) => self.build_has_failed(key, error),
                    }
                }
            }
        }
    }

    /// Joins a built domain to its servers and lets it run.
    fn start_built(&mut self, key: Key, built: Built, start: Start) -> Result<(), HostError> {
        let Some(id) = self.domains.get(&key).map(|domain| domain.id) else {
            return Ok(());
        };
        let console = self.host.attach(id, Ring::Console, built.console_port)?;
        self.domains.change(key, |domain| {
            domain.console.restart();
            domain.console_ring = Some(console);
        });
        let store = self.host.attach(id, Ring::Store, built.store_port)?;
        let link = Link::new(id, &store.page);
        self.domains.change(key, |domain| {
            domain.store_ring = Some((store, link));
            domain.life = Life::Started;
        });
        let Some(domain) = self.domains.get(&key) else {
            return Ok(());
        };
        let profile = Profile {
            domain: id,
            name: domain.name.as_str(),
            uuid: &uuid_text(&domain.uuid),
            memory_kib: domain.memory.wanted * 4,
            max_memory_kib: domain.config.max_frames * 4,
            vcpus: domain.config.vcpus,
            max_vcpus: domain.config.max_vcpus,
            rings: built,
        };
        self.store.admit(id);
        if let Err(error) = self.store.apply(&operations(&profile)) {
            log::error!("d{id}: xenstore nodes: {error}");
        }
        self.store.introduce(id);
        log::info!("d{id}: `{}` is built", domain.name);
        let told = self.tell_created(key);
        if begins(start) && told {
            self.ready.push(key);
        } else if begins(start) {
            self.host.unpause(id)?;
        }
        Ok(())
    }

    /// Lets the domains run that have just been built. It is for after the answers have been sent and before anything
    /// else is heard: who made a domain need not wait for it to do its first work.
    pub fn let_go(&mut self) {
        for key in core::mem::take(&mut self.ready) {
            let unpaused = self.domains.get(&key).map(|domain| domain.id);
            if let Some(Err(error)) = unpaused.map(|id| self.host.unpause(id)) {
                self.build_has_failed(key, BuildError::Host(error));
            }
        }
    }

    /// Makes a domain anew that asked for a reboot.
    fn restart(&mut self, key: Key) {
        let Some(domain) = self.domains.get(&key) else {
            return;
        };
        let (mut config, uuid) = (domain.config.clone(), domain.uuid);
        config.frames = self.frames_anew(&config, domain.memory.wanted);
        let built = self.begin_build(&config, uuid);
        let now = self.host.now();
        match built {
            Ok((id, build)) => {
                self.domains.change(key, |domain| {
                    domain.id = id;
                    domain.born = now;
                    domain.asked = None;
                    domain.born_max_frames = config.max_frames;
                    domain.ends.seen = false;
                    domain.memory.set(config.frames);
                    domain.vcpus.set(u64::from(config.vcpus));
                    domain.life = Life::Building {
                        build: alloc::boxed::Box::new(build),
                        start: Start::Running,
                    };
                });
            }
            Err(error) => {
                log::error!(
                    "`{}` cannot be made anew: {}",
                    domain_name(self, key),
                    error.message
                );
                self.remove(key, &error);
            }
        }
    }

    /// How many frames a domain begins anew with: what it is configured for, if that is still there. What it had last is promised
    /// to it in any case.
    fn frames_anew(&self, config: &Config, last: u64) -> u64 {
        let more = config.frames.saturating_sub(last);
        let available = self.ledger().map_or(0, |ledger| ledger.available());
        if more <= available {
            config.frames
        } else {
            last.max(config.minimum_frames)
        }
    }

    /// Unmaps a ring that a domain has.
    pub(super) fn detach_rings(&mut self, key: Key) {
        let mut rings = [None, None];
        self.domains.change(key, |domain| {
            let store = domain.store_ring.take().map(|(ring, _)| ring);
            rings = [domain.console_ring.take(), store];
        });
        for ring in rings.into_iter().flatten() {
            self.host.detach(ring);
        }
    }

    fn tell_building(&mut self, key: Key) {
        let Some(domain) = self.domains.get(&key) else {
            return;
        };
        let Life::Building { build, .. } = &domain.life else {
            return;
        };
        let now = crate::resources::bytes_of(build.frames_given());
        let target = crate::resources::bytes_of(domain.memory.wanted);
        for id in self.creators(key) {
            self.tell(
                id,
                Progress {
                    phase: Phase::Building,
                    unit: Unit::Bytes,
                    from: 0,
                    now,
                    target,
                    note: alloc::string::String::new(),
                },
            );
        }
    }

    /// Answers who waits for a domain; whether anybody did.
    fn tell_created(&mut self, key: Key) -> bool {
        let creators = self.creators(key);
        let waited_for = !creators.is_empty();
        for id in creators {
            let Some(Work::Creating { started, .. }) =
                self.streams.get(&id).map(|stream| &stream.work)
            else {
                continue;
            };
            let started = *started;
            let reply = match self.domains.get(&key) {
                Some(domain) => {
                    self.created(&domain.name, Some(domain.id), &domain.config, started)
                }
                None => continue,
            };
            self.done(id, reply);
        }
        waited_for
    }

    /// Streams that wait for a domain to be built.
    fn creators(&self, key: Key) -> Vec<StreamId> {
        (self.streams.iter())
            .filter(|(_, stream)| matches!(stream.work, Work::Creating { key: made, .. } if made == key))
            .map(|(id, _)| *id)
            .collect()
    }

    /// The domain is no more, and this is why: whoever waits for it hears so.
    pub(super) fn end_of(&mut self, key: Key, why: &ErrorReply) {
        if let Err(error) = self.tear_down(key) {
            log::error!("`{}`: {error}", domain_name(self, key));
        }
        self.remove(key, why);
    }
}
