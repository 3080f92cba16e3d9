//! The server's state: the live store, the connections, the watches; and the lives of the domains it serves.

use super::{
    Access, Caller, Error, Kind, Message, Operation, Path, Permissions, Quota,
    connection::{Connection, Life},
    fairness::Turn,
    queue::Merge,
    store::{Effect, Store},
    transaction::Change,
    watch::{Event, Watches},
    wire::with_nul,
};
use crate::{DomId, sorted::Sorted};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// The special node that tells of new domains.
pub(super) const INTRODUCED: &str = "@introduceDomain";
/// The special node that tells of domains that shut down or went.
pub(super) const RELEASED: &str = "@releaseDomain";

/// What a request asks of the server's surroundings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Map the ring in `frame`, bind to `port` and serve it; then call `introduce`.
    Introduce {
        /// The domain.
        domain: DomId,
        /// The machine frame of its ring.
        frame: u64,
        /// Its unbound port.
        port: u32,
    },
    /// Stop serving the domain's ring; then call `release`.
    Release {
        /// The domain.
        domain: DomId,
    },
}

/// The xenstore server.
#[derive(Debug)]
pub struct Server {
    pub(super) store: Store,
    pub(super) special: BTreeMap<&'static str, Permissions>,
    pub(super) watches: Watches,
    pub(super) connections: Sorted<DomId, Connection>,
    pub(super) quota: Quota,
    pub(super) turn: Turn,
    pub(super) now: u64,
    ready: BTreeSet<DomId>,
}

impl Server {
    /// A server with dom0 as its only client; every other domain gets `quota`.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let dom0_only = Permissions::new(DomId::DOM0, Access::None);
        let mut connections = Sorted::default();
        let mut dom0 = Connection::new(DomId::DOM0);
        dom0.life = Life::Introduced;
        connections.insert(DomId::DOM0, dom0);
        Self {
            store: Store::new(),
            special: [INTRODUCED, RELEASED]
                .map(|name| (name, dom0_only.clone()))
                .into(),
            watches: Watches::default(),
            connections,
            quota,
            turn: Turn::default(),
            now: 0,
            ready: BTreeSet::new(),
        }
    }

    /// Makes a new domain known, before anything is written for it. Whatever an earlier domain of this number left in
    /// permission lists is gone after this.
    pub fn admit(&mut self, domain: DomId) {
        self.drop_client(domain);
        self.forget(domain);
        self.connections.insert(domain, Connection::new(domain));
    }

    /// The domain's ring is there: whoever watches for domains hears of it. Again for a domain that has one already: its
    /// queues, watches and transactions are dropped.
    pub fn introduce(&mut self, domain: DomId) {
        if self.connections.get(&domain).is_none() {
            self.admit(domain);
        }
        self.reset(domain);
        if let Some(connection) = self.connections.get_mut(&domain) {
            connection.life = Life::Introduced;
        }
        self.fire_special(INTRODUCED);
    }

    /// The domain has shut down or crashed; it is still there. Tells watchers once.
    pub fn note_shutdown(&mut self, domain: DomId) {
        let Some(connection) = self.connections.get_mut(&domain) else {
            return;
        };
        if connection.life == Life::Introduced {
            connection.life = Life::ShutDown;
            self.fire_special(RELEASED);
        }
    }

    /// A domain that had shut down goes on. False if it is not known.
    pub fn note_resumed(&mut self, domain: DomId) -> bool {
        let connection = self.connections.get_mut(&domain);
        connection.is_some_and(|connection| {
            if connection.life == Life::ShutDown {
                connection.life = Life::Introduced;
            }
            true
        })
    }

    /// The domain is gone: its connection, watches, transactions, and what it owned outside its home. The home is for the
    /// caller to remove.
    pub fn release(&mut self, domain: DomId) {
        if self.connections.get(&domain).is_some() {
            self.drop_client(domain);
            self.forget(domain);
            self.fire_special(RELEASED);
        }
    }

    /// Drops the client's watches, transactions and queue, as after a reconnect or a broken ring.
    pub fn reset(&mut self, domain: DomId) {
        self.watches.forget(domain);
        if let Some(connection) = self.connections.get_mut(&domain) {
            connection.reset();
        }
        self.turn.done(domain, self.now);
    }

    /// Makes dom0's own changes, all or none, and tells the watchers.
    ///
    /// # Errors
    /// `Invalid` for the removal of the root.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<(), Error> {
        let mut next = self.store.clone();
        let mut changes = Vec::new();
        for operation in operations {
            let effect = match next.apply(Caller::DOM0, operation, &self.quota) {
                Err(Error::NoEntry) if matches!(operation, Operation::Remove { .. }) => {
                    Effect::None
                }
                other => other?,
            };
            changes.push(Change {
                path: operation.path().clone(),
                effect,
            });
        }
        let events = self.replace_store(next, &changes);
        self.deliver(events);
        Ok(())
    }

    /// A value, for dom0 itself. What a guest can write, it may have written.
    #[must_use]
    pub fn value(&self, path: &Path) -> Option<&[u8]> {
        self.store.tree().get(path).map(|node| &*node.value)
    }

    /// Whether a write would change nothing.
    #[must_use]
    pub fn says(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Write { path, value } => self.value(path) == Some(&**value),
            Operation::MakeDirectory { .. }
            | Operation::Remove { .. }
            | Operation::SetPermissions { .. } => false,
        }
    }

    /// Whether a domain watches a node, or one above it: how a driver shows that it is there.
    #[must_use]
    pub fn is_watching(&self, domain: DomId, path: &Path) -> bool {
        self.watches.covers(domain, path)
    }

    /// Whether a domain's ring is served.
    #[must_use]
    pub fn is_introduced(&self, domain: DomId) -> bool {
        (self.connections.get(&domain)).is_some_and(|connection| connection.life != Life::Admitted)
    }

    /// Tells the server what time it is, in nanoseconds: the turns of 9.5's losers are short ones.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// Until when a domain's requests have to wait for another's transaction, if they have to.
    pub fn wait(&mut self, domain: DomId) -> Option<u64> {
        self.turn.wait(domain, self.now)
    }

    /// Answers one request; the reply, then the events that it caused, wait in the queues of who shall have them.
    pub fn handle(&mut self, who: DomId, request: &Message) -> Option<Action> {
        let (reply, events, action) = match self.answer(who, request) {
            Ok(answer) => (
                request.reply(Ok(answer.payload)),
                answer.events,
                answer.action,
            ),
            Err(error) => (request.reply(Err(error)), Vec::new(), None),
        };
        if let Some(connection) = self.connections.get_mut(&who) {
            connection.queue.push(&reply);
            self.ready.insert(who);
        }
        self.deliver(events);
        action
    }

    /// The bytes that a client is to get next; empty if there are none.
    #[must_use]
    pub fn outgoing(&self, who: DomId) -> &[u8] {
        self.connections
            .get(&who)
            .map_or(&[], |connection| connection.queue.front())
    }

    /// Notes that a client has been given so many bytes of `outgoing`.
    pub fn sent(&mut self, who: DomId, count: usize) {
        if let Some(connection) = self.connections.get_mut(&who) {
            connection.queue.take(count);
        }
    }

    /// Takes dom0's next reply or event, whole.
    pub fn take_message(&mut self) -> Option<Message> {
        let bytes = self.connections.get_mut(&DomId::DOM0)?.queue.pop()?;
        super::wire::message(&bytes)
    }

    /// Whether a client has taken enough of its replies that more requests are to be read.
    #[must_use]
    pub fn accepts_requests(&self, who: DomId) -> bool {
        let waiting = self
            .connections
            .get(&who)
            .map_or(0, |connection| connection.queue.bytes());
        who.is_dom0() || waiting < self.quota.queued_soft
    }

    /// Whether so much waits for a client that its connection is to be given up.
    #[must_use]
    pub fn is_stuck(&self, who: DomId) -> bool {
        let waiting = self
            .connections
            .get(&who)
            .map_or(0, |connection| connection.queue.bytes());
        !who.is_dom0() && waiting > self.quota.queued_hard
    }

    /// The clients for whom something new waits since the last call.
    pub fn take_ready(&mut self) -> BTreeSet<DomId> {
        core::mem::take(&mut self.ready)
    }

    /// Puts a new state in the live one's place; gives the events that this causes.
    pub(super) fn replace_store(&mut self, next: Store, changes: &[Change]) -> Vec<Event> {
        let before = core::mem::replace(&mut self.store, next);
        let caller = |watcher| caller_of(&self.connections, watcher);
        self.watches
            .fired(changes, before.tree(), self.store.tree(), caller)
    }

    pub(super) fn fire_special(&mut self, name: &'static str) {
        let Some(list) = self.special.get(name) else {
            return;
        };
        let may_hear = |watcher| list.allow(caller_of(&self.connections, watcher), Access::Read);
        let events = self.watches.special(name, may_hear);
        self.deliver(events);
    }

    fn deliver(&mut self, events: Vec<Event>) {
        for event in events {
            let Some(connection) = self.connections.get_mut(&event.watcher) else {
                continue;
            };
            let merge = if event.path.starts_with('@') {
                Merge::Never
            } else {
                Merge::Equal
            };
            let mut payload = with_nul(&event.path);
            payload.extend_from_slice(&event.token);
            payload.push(0);
            connection
                .queue
                .push_event(&Message::request(Kind::WatchEvent, &payload), merge);
            self.ready.insert(event.watcher);
        }
    }

    fn drop_client(&mut self, domain: DomId) {
        self.reset(domain);
        self.connections.remove(&domain);
        self.ready.remove(&domain);
        for connection in self.connections.values_mut() {
            if connection.caller.target == Some(domain) {
                connection.caller.target = None;
            }
        }
    }

    /// Takes the domain out of the tree and out of all permission lists.
    fn forget(&mut self, domain: DomId) {
        for list in self.special.values_mut() {
            *list = list.clone().without(domain);
        }
        let mut next = self.store.clone();
        let removed = next.forget(domain).into_iter();
        let changes: Vec<Change> = removed
            .map(|path| Change {
                path,
                effect: Effect::Removed,
            })
            .collect();
        let events = self.replace_store(next, &changes);
        self.deliver(events);
    }
}

/// A client's rights; of one that is gone, those of a domain that nobody named.
fn caller_of(connections: &Sorted<DomId, Connection>, domain: DomId) -> Caller {
    let nobody = Caller {
        domain,
        target: None,
    };
    connections
        .get(&domain)
        .map_or(nobody, |connection| connection.caller)
}

#[cfg(test)]
impl Server {
    /// All paths that there are.
    pub(crate) fn paths(&self) -> Vec<Path> {
        self.store.tree().find(|_| true)
    }
}
