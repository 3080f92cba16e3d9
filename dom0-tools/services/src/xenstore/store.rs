//! The tree with its rules: who may change what, what it costs whom, and what changed.
//!
//! The live store and each transaction's own are the same type, so a rule holds in both. A failed operation leaves the
//! store as it was.

use super::{
    Access, Caller, Error, Path, Permissions, Quota,
    quota::Usage,
    tree::{Generation, Node, Tree, Walk},
};
use crate::DomId;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

/// A change that a client asks for. A transaction keeps those that it made, to make them again at its commit.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Set a value; the node and its missing ancestors are made.
    Write {
        /// The node.
        path: Path,
        /// Its new value.
        value: Arc<[u8]>,
    },
    /// Make a node and its missing ancestors, if it is not there.
    MakeDirectory {
        /// The node.
        path: Path,
    },
    /// Remove a node with all below it.
    Remove {
        /// The node.
        path: Path,
    },
    /// Set a node's permission list.
    SetPermissions {
        /// The node.
        path: Path,
        /// Its new list.
        list: Permissions,
    },
}

impl Operation {
    pub(super) const fn path(&self) -> &Path {
        match self {
            Self::Write { path, .. }
            | Self::MakeDirectory { path }
            | Self::Remove { path }
            | Self::SetPermissions { path, .. } => path,
        }
    }

    /// Bytes that keeping it takes.
    pub(super) fn weight(&self) -> usize {
        let value = match self {
            Self::Write { value, .. } => value.len(),
            Self::SetPermissions { list, .. } => list.len() * 4,
            Self::MakeDirectory { .. } | Self::Remove { .. } => 0,
        };
        value + self.path().as_str().len()
    }
}

/// What an operation did, for the watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing: the directory was there already, what was to be removed was not.
    None,
    /// The node was made or changed.
    Changed,
    /// The node and all below it are gone.
    Removed,
}

/// Tree, costs and clock of changes. Cloning takes a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Store {
    tree: Tree,
    usage: BTreeMap<DomId, Usage>,
    /// Domains that lists have named since they were forgotten last: nobody else is in any.
    named: BTreeSet<DomId>,
    clock: Generation,
}

impl Store {
    /// A tree with the few nodes that everyone expects.
    pub(super) fn new() -> Self {
        let permissions = Permissions::new(DomId::DOM0, Access::None);
        let root = Node::new(permissions, Generation::default());
        let mut store = Self {
            tree: Tree::new(root),
            usage: BTreeMap::new(),
            named: BTreeSet::new(),
            clock: Generation::default(),
        };
        store.charge(DomId::DOM0, 1, store.tree.nearest(&Path::root()).size());
        for path in [&["local", "domain"][..], &["vm"], &["tool", "xenstored"]] {
            store.create(Caller::DOM0, &Path::root(), path);
        }
        store
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn usage(&self, domain: DomId) -> Usage {
        self.usage.get(&domain).copied().unwrap_or_default()
    }

    /// The node, if `caller` has `wanted` there. A missing node is told from a forbidden one only to who could do the same
    /// at its nearest ancestor.
    pub(super) fn get(
        &self,
        caller: Caller,
        path: &Path,
        wanted: Access,
    ) -> Result<&Arc<Node>, Error> {
        let Some(node) = self.tree.get(path) else {
            let nearest = &self.tree.nearest(path).permissions;
            return Err(if nearest.allow(caller, wanted) {
                Error::NoEntry
            } else {
                Error::Denied
            });
        };
        if node.permissions.allow(caller, wanted) {
            Ok(node)
        } else {
            Err(Error::Denied)
        }
    }

    /// Carries out one change.
    pub(super) fn apply(
        &mut self,
        caller: Caller,
        operation: &Operation,
        quota: &Quota,
    ) -> Result<Effect, Error> {
        match operation {
            Operation::Write { path, value } => self.write(caller, path, value, quota),
            Operation::MakeDirectory { path } => self.make_directory(caller, path, quota),
            Operation::Remove { path } => self.remove(caller, path),
            Operation::SetPermissions { path, list } => {
                self.set_permissions(caller, path, list, quota)
            }
        }
    }

    fn write(
        &mut self,
        caller: Caller,
        path: &Path,
        value: &Arc<[u8]>,
        quota: &Quota,
    ) -> Result<Effect, Error> {
        match self.get(caller, path, Access::Write) {
            Ok(node) => {
                let size = node.size() - node.value.len() + value.len();
                let grows = value.len().saturating_sub(node.value.len());
                self.check_room(caller, node.permissions.owner(), quota, size, 0, grows)?;
            }
            Err(Error::NoEntry) => self.make_room_and_create(caller, path, value.len(), quota)?,
            Err(error) => return Err(error),
        }
        self.change(path, |node| node.value = Arc::clone(value));
        Ok(Effect::Changed)
    }

    fn make_directory(
        &mut self,
        caller: Caller,
        path: &Path,
        quota: &Quota,
    ) -> Result<Effect, Error> {
        match self.get(caller, path, Access::Write) {
            Ok(_) => Ok(Effect::None),
            Err(Error::NoEntry) => {
                self.make_room_and_create(caller, path, 0, quota)?;
                Ok(Effect::Changed)
            }
            Err(error) => Err(error),
        }
    }

    fn remove(&mut self, caller: Caller, path: &Path) -> Result<Effect, Error> {
        let Some(parent) = path.parent() else {
            return Err(Error::Invalid);
        };
        match self.get(caller, path, Access::Write) {
            Ok(_) => {
                self.take_out(path, &parent);
                Ok(Effect::Removed)
            }
            Err(Error::NoEntry) if self.tree.get(&parent).is_some() => Ok(Effect::None),
            Err(error) => Err(error),
        }
    }

    fn set_permissions(
        &mut self,
        caller: Caller,
        path: &Path,
        list: &Permissions,
        quota: &Quota,
    ) -> Result<Effect, Error> {
        let node = self.get(caller, path, Access::Write)?;
        if !node.permissions.owned_by(caller) {
            return Err(Error::Denied);
        }
        if !caller.is_privileged() {
            if list.owner() != node.permissions.owner() {
                return Err(Error::NotPermitted);
            }
            if list.len() > quota.permission_entries {
                return Err(Error::NoSpace);
            }
            let size = node.size() - node.permissions.len() * 4 + list.len() * 4;
            self.check_room(caller, list.owner(), quota, size, 0, list.len() * 4)?;
        }
        self.named.extend(list.names());
        self.change(path, |node| node.permissions = list.clone());
        Ok(Effect::Changed)
    }

    /// Checks all that creating `path` with `value_bytes` costs, then creates it and its missing ancestors, empty.
    fn make_room_and_create(
        &mut self,
        caller: Caller,
        path: &Path,
        value_bytes: usize,
        quota: &Quota,
    ) -> Result<(), Error> {
        let mut existing = path.clone();
        let mut missing = Vec::new();
        while self.tree.get(&existing).is_none() {
            let Some(parent) = existing.parent() else {
                return Err(Error::Invalid);
            };
            missing.push(existing);
            existing = parent;
        }
        let names: Vec<&str> = missing.iter().rev().map(Path::name).collect();
        let nearest = self.tree.nearest(path);
        let inherited = nearest.permissions.len() * 4;
        let name_bytes: usize = names.iter().map(|name| name.len() + 1).sum();
        let first_name = names.first().map_or(0, |name| name.len() + 1);
        let owner = owner_of_new(caller, &nearest.permissions);
        let nodes = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let bytes = names.len() * inherited + name_bytes - first_name + value_bytes;
        let largest = value_bytes.max(name_bytes - first_name) + inherited;
        self.check_room(caller, owner, quota, largest, nodes, bytes)?;
        let parent_size = nearest.size() + first_name;
        self.check_room(
            caller,
            nearest.permissions.owner(),
            quota,
            parent_size,
            0,
            first_name,
        )?;
        self.create(caller, &existing, &names);
        Ok(())
    }

    /// Makes a chain of empty nodes below one that exists, each with its parent's list.
    fn create(&mut self, caller: Caller, below: &Path, names: &[&str]) {
        let mut parent = below.clone();
        for name in names {
            let permissions = self.tree.nearest(&parent).permissions.clone();
            let owner = owner_of_new(caller, &permissions);
            let child = Node::new(permissions.owned_now_by(owner), self.tick());
            let cost = child.size();
            self.change(&parent, |_| ());
            self.with_recharge(&parent.clone(), |tree| tree.insert(&parent, name, child));
            self.charge(owner, 1, cost);
            parent = parent.below(name);
        }
    }

    /// Takes out a subtree and gives back what its nodes cost.
    fn take_out(&mut self, path: &Path, parent: &Path) {
        let mut removed = None;
        self.change(parent, |_| ());
        self.with_recharge(parent, |tree| removed = tree.remove(path));
        if let Some(top) = removed {
            for (_, node) in Walk::from(path.clone(), &top) {
                self.give_back(node.permissions.owner(), 1, node.size());
            }
        }
    }

    /// Changes a node, moves its generation and settles what it costs.
    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Node)) {
        let generation = self.tick();
        self.with_recharge(path, |tree| {
            if let Some(node) = tree.get_mut(path) {
                change(node);
                node.generation = generation;
            }
        });
    }

    /// Runs `change` and moves the cost of the node at `path` from what and whose it was to what and whose it is.
    fn with_recharge(&mut self, path: &Path, change: impl FnOnce(&mut Tree)) {
        let cost = |tree: &Tree| {
            tree.get(path)
                .map(|node| (node.permissions.owner(), node.size()))
        };
        let before = cost(&self.tree);
        change(&mut self.tree);
        let after = cost(&self.tree);
        if let Some((owner, bytes)) = before {
            self.give_back(owner, 1, bytes);
        }
        if let Some((owner, bytes)) = after {
            self.charge(owner, 1, bytes);
        }
    }

    fn charge(&mut self, owner: DomId, nodes: u32, bytes: usize) {
        let usage = self.usage.entry(owner).or_default();
        usage.nodes += nodes;
        usage.bytes += bytes;
    }

    fn give_back(&mut self, owner: DomId, nodes: u32, bytes: usize) {
        if let Some(usage) = self.usage.get_mut(&owner) {
            usage.nodes = usage.nodes.saturating_sub(nodes);
            usage.bytes = usage.bytes.saturating_sub(bytes);
        }
    }

    /// Refuses what would take `owner` over its quota. Only unprivileged callers are held to it, and dom0's own nodes cost
    /// nobody anything.
    fn check_room(
        &self,
        caller: Caller,
        owner: DomId,
        quota: &Quota,
        node_bytes: usize,
        nodes: u32,
        bytes: usize,
    ) -> Result<(), Error> {
        if caller.is_privileged() {
            return Ok(());
        }
        if node_bytes > quota.node_bytes {
            return Err(Error::NoSpace);
        }
        if owner.is_dom0() {
            return Ok(());
        }
        let used = self.usage(owner);
        let fits = used.nodes.saturating_add(nodes) <= quota.nodes
            && used.bytes.saturating_add(bytes) <= quota.bytes;
        if fits { Ok(()) } else { Err(Error::NoSpace) }
    }

    fn tick(&mut self) -> Generation {
        self.clock = self.clock.next();
        self.clock
    }

    /// Forgets a domain: what it owns outside its home goes with all below it, what it owns inside falls to dom0, and its
    /// entries leave all lists, so that they do not pass to a later domain of the same number. Returns the paths removed.
    pub(super) fn forget(&mut self, domain: DomId) -> Vec<Path> {
        let home = Path::home(domain);
        let mut removed = Vec::new();
        if !self.named.remove(&domain) && self.usage(domain).nodes == 0 {
            return removed;
        }
        for path in self.tree.find(|node| node.permissions.name(domain)) {
            let Some(node) = self.tree.get(&path) else {
                continue;
            };
            let in_home = path.upwards().any(|above| above == home.as_str());
            match path.parent() {
                Some(parent) if node.permissions.owner() == domain && !in_home => {
                    self.take_out(&path, &parent);
                    removed.push(path);
                }
                _ => self.change(&path, |node| {
                    node.permissions = node.permissions.clone().without(domain);
                }),
            }
        }
        self.usage.remove(&domain);
        removed
    }
}

/// Who owns a node that `caller` makes below one with these permissions.
fn owner_of_new(caller: Caller, parent: &Permissions) -> DomId {
    if caller.is_privileged() {
        parent.owner()
    } else {
        caller.domain
    }
}

#[cfg(test)]
impl Store {
    /// Recounts all costs from the tree alone.
    pub(super) fn recounted(&self) -> BTreeMap<DomId, Usage> {
        let mut usage = BTreeMap::<DomId, Usage>::new();
        for (_, node) in self.tree.walk() {
            let entry = usage.entry(node.permissions.owner()).or_default();
            entry.nodes += 1;
            entry.bytes += node.size();
        }
        usage
    }

    pub(super) fn counted(&self) -> BTreeMap<DomId, Usage> {
        let mut usage = self.usage.clone();
        usage.retain(|_, usage| *usage != Usage::default());
        usage
    }
}
