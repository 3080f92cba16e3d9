//! All domains. Each is found by its key, number, name or port without a look at the others.

use super::{
    domain::{Domain, Key, Life},
    host::{LocalPort, Ring},
};
use crate::{DomId, sorted::Sorted};
use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};
use dom0_protocol::DomainName;

/// The domains in the order in which they were made, and what leads to them.
#[derive(Debug)]
pub(super) struct Domains<P> {
    all: Sorted<Key, Box<Domain<P>>>,
    index: Index,
}

#[derive(PartialEq, Eq, Default, Debug)]
struct Index {
    ids: Sorted<DomId, Key>,
    names: Sorted<DomainName, Key>,
    ports: Sorted<LocalPort, (Key, Ring)>,
    unfinished: BTreeSet<Key>,
}

/// What of a domain is in the index.
struct Marks {
    id: DomId,
    name: DomainName,
    ports: Vec<(LocalPort, Ring)>,
    unfinished: bool,
}

impl Marks {
    fn of<P>(domain: &Domain<P>) -> Self {
        let console = domain.console_ring.as_ref();
        let store = domain.store_ring.as_ref().map(|(ring, _)| ring);
        let ports = [(console, Ring::Console), (store, Ring::Store)];
        let ports = ports
            .into_iter()
            .filter_map(|(attached, ring)| Some((attached?.port, ring)));
        Self {
            id: domain.id,
            name: domain.name.clone(),
            ports: ports.collect(),
            unfinished: !matches!(domain.life, Life::Started),
        }
    }
}

impl Index {
    fn add(&mut self, key: Key, marks: Marks) {
        self.ids.insert(marks.id, key);
        self.names.insert(marks.name, key);
        for (port, ring) in marks.ports {
            self.ports.insert(port, (key, ring));
        }
        if marks.unfinished {
            self.unfinished.insert(key);
        }
    }

    fn remove(&mut self, key: Key, marks: &Marks) {
        // The number of one that is to be made anew may have been given to another meanwhile.
        if self.ids.get(&marks.id) == Some(&key) {
            self.ids.remove(&marks.id);
        }
        self.names.remove(&marks.name);
        for (port, _) in &marks.ports {
            self.ports.remove(port);
        }
        self.unfinished.remove(&key);
    }
}

impl<P> Domains<P> {
    pub(super) fn new() -> Self {
        Self {
            all: Sorted::default(),
            index: Index::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Domain<P>> {
        self.all.get(key).map(|domain| &**domain)
    }

    /// For changing what does not lead to the domain; for that there is [`change`](Self::change).
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Domain<P>> {
        self.all.get_mut(key).map(|domain| &mut **domain)
    }

    /// Changes a domain's number, name, rings or life.
    pub(super) fn change(&mut self, key: Key, change: impl FnOnce(&mut Domain<P>)) {
        if let Some(domain) = self.all.get_mut(&key) {
            let before = Marks::of(domain);
            change(domain);
            let after = Marks::of(domain);
            self.index.remove(key, &before);
            self.index.add(key, after);
        }
    }

    pub(super) fn insert(&mut self, key: Key, domain: Domain<P>) {
        self.index.add(key, Marks::of(&domain));
        self.all.insert(key, Box::new(domain));
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(domain) = self.all.remove(&key) {
            self.index.remove(key, &Marks::of(&domain));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Domain<P>)> {
        self.all.iter().map(|(key, domain)| (*key, &**domain))
    }

    pub(super) fn of_id(&self, id: DomId) -> Option<Key> {
        self.index.ids.get(&id).copied()
    }

    pub(super) fn of_name(&self, name: &DomainName) -> Option<Key> {
        self.index.names.get(name).copied()
    }

    /// Whose ring a port belongs to, and which.
    pub(super) fn of_port(&self, port: LocalPort) -> Option<(Key, Ring)> {
        self.index.ports.get(&port).copied()
    }

    /// Those that are being built, or are to be made anew.
    pub(super) fn unfinished(&self) -> &BTreeSet<Key> {
        &self.index.unfinished
    }

    /// Whether the index says what the domains do.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        let mut index = Index::default();
        for (key, domain) in self.iter() {
            index.add(key, Marks::of(domain));
        }
        index == self.index
    }
}
