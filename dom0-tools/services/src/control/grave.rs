//! What domains have printed that are no more: a kernel that ends at once leaves its words.

use super::{domain::Key, host::Host, manager::Manager};
use crate::DomId;
use alloc::{collections::VecDeque, vec::Vec};
use dom0_protocol::{
    DomainName, DomainSelector, Reply, StreamId,
    reply::ConsoleEnd,
    request::{Console, ConsoleMode},
};

/// Domains that are remembered.
const GRAVES: usize = 8;
/// Bytes that are kept of each.
const LAST_WORDS: usize = 32 << 10;

/// What is left of a domain.
#[derive(Debug)]
struct Grave {
    id: DomId,
    name: DomainName,
    words: Vec<u8>,
}

/// The last domains that have ended by themselves, the newest first.
#[derive(Debug, Default)]
pub(super) struct Graves(VecDeque<Grave>);

impl Graves {
    fn find(&self, selector: &DomainSelector) -> Option<&[u8]> {
        let grave = self.0.iter().find(|grave| match selector {
            DomainSelector::Id(id) => grave.id.get() == *id,
            DomainSelector::Name(name) => grave.name == *name,
        });
        grave.map(|grave| grave.words.as_slice())
    }
}

impl<H: Host> Manager<H> {
    /// Keeps what a domain has printed; it is about to be destroyed.
    pub(super) fn bury(&mut self, key: Key) {
        self.serve_console(key);
        let Some(domain) = self.domains.get(&key) else {
            return;
        };
        let words = domain.console.scrollback().last(LAST_WORDS);
        if words.is_empty() {
            return;
        }
        let grave = Grave {
            id: domain.id,
            name: domain.name.clone(),
            words,
        };
        self.graves.0.truncate(GRAVES - 1);
        self.graves.0.push_front(grave);
    }

    /// Answers a request for the console of a domain that is no more. False if nobody remembers it.
    pub(super) fn read_grave(&mut self, id: StreamId, wish: &Console) -> bool {
        let Some(words) = self.graves.find(&wish.domain) else {
            return false;
        };
        self.outbox.push_data(id, words);
        let end = match wish.mode {
            ConsoleMode::Log => ConsoleEnd::LogComplete,
            ConsoleMode::Attach => ConsoleEnd::DomainGone,
        };
        self.done(id, Reply::ConsoleEnded(end));
        true
    }
}
