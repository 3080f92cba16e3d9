//! The tree with its rules: who may change what, what it costs whom, and what changed.
//!
//! The live store and each transaction's own are the same type, so a rule holds in both. A failed operation leaves the
//! store as it was.

use super::{
    Access, Caller, Error, Path, Permissions, Quota,
    quota::Usage,
    tree::{Generation, Node, Tree, first_of, names_of},
};
use crate::{DomId, sorted::Sorted};
use alloc::{sync::Arc, vec, vec::Vec};
use core::mem;

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
    usage: Sorted<DomId, Usage>,
    clock: Generation,
}

impl Store {
    /// A tree with the few nodes that everyone expects.
    pub(super) fn new() -> Self {
        let permissions = Permissions::new(DomId::DOM0, Access::None);
        let root = Node::new(permissions, Generation::default());
        let mut store = Self {
            tree: Tree::new(root.clone()),
            usage: Sorted::default(),
            clock: Generation::default(),
        };
        store.count(&root.permissions, root.size());
        for path in ["local/domain", "vm", "tool/xenstored"] {
            store.create(Caller::DOM0, &Path::root().below(path), Arc::from([]));
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
        let (node, missing) = self.tree.reach(path);
        if !node.permissions.allow(caller, wanted) {
            Err(Error::Denied)
        } else if missing.is_empty() {
            Ok(node)
        } else {
            Err(Error::NoEntry)
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
                let (owner, before) = (node.permissions.owner(), node.value.len());
                let size = node.size() - before + value.len();
                let grows = value.len().saturating_sub(before);
                self.check_room(caller, owner, quota, size, 0, grows)?;
                self.change(path).value = Arc::clone(value);
                let used = self.usage.entry(owner);
                used.bytes = used.bytes + value.len() - before;
            }
            Err(Error::NoEntry) => {
                self.check_creation(caller, path, value.len(), quota)?;
                self.create(caller, path, Arc::clone(value));
            }
            Err(error) => return Err(error),
        }
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
                self.check_creation(caller, path, 0, quota)?;
                self.create(caller, path, Arc::from([]));
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
                self.take_out(&parent, path.name());
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
        self.permit(path, list);
        Ok(Effect::Changed)
    }

    /// Checks all that creating `path` with `value_bytes` costs: the node itself and its missing ancestors, empty.
    fn check_creation(
        &self,
        caller: Caller,
        path: &Path,
        value_bytes: usize,
        quota: &Quota,
    ) -> Result<(), Error> {
        if caller.is_privileged() {
            return Ok(());
        }
        let (nearest, missing) = self.tree.reach(path);
        let inherited = nearest.permissions.len() * 4;
        let first_name = first_of(missing).map_or(0, |(name, _)| name.len() + 1);
        let names = names_of(missing).count();
        // A slash or the end behind each.
        let name_bytes = missing.len() + 1;
        let owner = owner_of_new(caller, &nearest.permissions);
        let nodes = u32::try_from(names).unwrap_or(u32::MAX);
        let bytes = names * inherited + name_bytes - first_name + value_bytes;
        let largest = value_bytes.max(name_bytes - first_name) + inherited;
        self.check_room(caller, owner, quota, largest, nodes, bytes)?;
        let parent_size = nearest.size() + first_name;
        let parent_owner = nearest.permissions.owner();
        self.check_room(caller, parent_owner, quota, parent_size, 0, first_name)
    }

    /// Makes a node and its missing ancestors, each with its parent's list.
    fn create(&mut self, caller: Caller, path: &Path, value: Arc<[u8]>) {
        let (nearest, missing) = self.tree.reach(path);
        let parent_owner = nearest.permissions.owner();
        let owner = owner_of_new(caller, &nearest.permissions);
        let list = nearest.permissions.clone().owned_now_by(owner);
        let generation = self.clock.next();
        let mut names: Vec<&str> = names_of(missing).collect();
        let mut node = Node::new(list.clone(), generation);
        node.value = value;
        // From the deepest up.
        while let (Some(name), true) = (names.pop(), !names.is_empty()) {
            self.count(&node.permissions, node.size());
            let mut above = Node::new(list.clone(), generation);
            above.add(name, node);
            node = above;
        }
        let Some((name, _)) = first_of(missing) else {
            return;
        };
        self.count(&node.permissions, node.size());
        self.change(path).add(name, node);
        self.usage.entry(parent_owner).bytes += name.len() + 1;
    }

    /// Takes out a subtree and gives back what its nodes cost.
    fn take_out(&mut self, parent: &Path, name: &str) {
        let node = self.change(parent);
        let owner = node.permissions.owner();
        let Some(removed) = node.take(name) else {
            return;
        };
        self.usage.entry(owner).bytes -= name.len() + 1;
        let mut nodes = vec![&removed];
        while let Some(node) = nodes.pop() {
            self.uncount(&node.permissions, node.size());
            nodes.extend(node.children().map(|(_, child)| child));
        }
    }

    /// Gives a node another list.
    fn permit(&mut self, path: &Path, list: &Permissions) {
        let node = self.change(path);
        let size = node.size();
        let before = mem::replace(&mut node.permissions, list.clone());
        let size_now = node.size();
        self.uncount(&before, size);
        self.count(list, size_now);
    }

    /// The node that is to change, or the nearest to it, whose children will; its generation moves.
    fn change(&mut self, path: &Path) -> &mut Node {
        self.clock = self.clock.next();
        let node = self.tree.reach_mut(path);
        node.generation = self.clock;
        node
    }

    /// Notes what a node of this list and size costs its owner, and whom the list names.
    fn count(&mut self, list: &Permissions, size: usize) {
        let used = self.usage.entry(list.owner());
        used.nodes += 1;
        used.bytes += size;
        for other in list.named() {
            self.usage.entry(other).named += 1;
        }
    }

    /// Takes back what was noted. Who has nothing and is named nowhere is not kept in the list.
    fn uncount(&mut self, list: &Permissions, size: usize) {
        let used = self.usage.entry(list.owner());
        used.nodes -= 1;
        used.bytes -= size;
        for other in list.named() {
            self.usage.entry(other).named -= 1;
        }
        for domain in list.named().chain([list.owner()]) {
            if self.usage(domain) == Usage::default() {
                self.usage.remove(&domain);
            }
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

    /// Forgets a domain: what it owns outside its home goes with all below it, what it owns inside falls to dom0, and its
    /// entries leave all lists, so that they do not pass to a later domain of the same number. Returns the paths removed.
    pub(super) fn forget(&mut self, domain: DomId) -> Vec<Path> {
        let home = Path::home(domain);
        let mut removed = Vec::new();
        let used = self.usage(domain);
        if used.named == 0 && used.nodes == 0 {
            return removed;
        }
        for path in self.tree.find(|node| node.permissions.name(domain)) {
            let Some(node) = self.tree.get(&path) else {
                continue;
            };
            let in_home = path.upwards().any(|above| above == home.as_str());
            match path.parent() {
                Some(parent) if node.permissions.owner() == domain && !in_home => {
                    self.take_out(&parent, path.name());
                    removed.push(path);
                }
                _ => {
                    let list = node.permissions.clone().without(domain);
                    self.permit(&path, &list);
                }
            }
        }
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
    pub(super) fn recounted(&self) -> Vec<(DomId, Usage)> {
        let mut recount = Self {
            usage: Sorted::default(),
            ..self.clone()
        };
        for (_, node) in self.tree.walk() {
            recount.count(&node.permissions, node.size());
        }
        recount.counted()
    }

    pub(super) fn counted(&self) -> Vec<(DomId, Usage)> {
        let all = self.usage.iter().map(|(domain, usage)| (*domain, *usage));
        all.collect()
    }
}
