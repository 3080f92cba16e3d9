//! The tree of nodes: persistent, so that a snapshot is one pointer.
//!
//! A change copies the nodes from the root to the changed one if a snapshot still holds them, and nothing else. Every walk
//! is a loop, the one of dropping a tree too: depth is a guest's choice, dom0's stack is not.

use super::{Path, Permissions, names::Names};
use alloc::{sync::Arc, vec::Vec};

/// Tells two states of a node apart: moves when its value, permissions or set of children change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Generation(u64);

impl Generation {
    pub(super) const fn next(self) -> Self {
        // 64 bits at one change per nanosecond last five centuries.
        Self(self.0.wrapping_add(1))
    }

    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

/// One node: directory and leaf are the same.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Arc<[u8]>,
    pub(super) permissions: Permissions,
    pub(super) generation: Generation,
    children: Names<Arc<Node>>,
    names_bytes: usize,
}

impl Node {
    pub(super) fn new(permissions: Permissions, generation: Generation) -> Self {
        Self {
            value: Arc::from([]),
            permissions,
            generation,
            children: Names::default(),
            names_bytes: 0,
        }
    }

    /// The children with their names, in the order of these.
    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.children.iter()
    }

    /// Bytes that the owner's quota counts.
    pub(super) fn size(&self) -> usize {
        self.value.len() + self.names_bytes + self.permissions.len() * 4
    }

    /// Hangs a child below it, under a name that no other has.
    pub(super) fn add(&mut self, name: &str, child: Node) {
        self.children.insert(name, Arc::new(child));
        self.names_bytes += name.len() + 1;
    }

    /// Takes out a child with all below it.
    pub(super) fn take(&mut self, name: &str) -> Option<Arc<Node>> {
        let child = self.children.remove(name)?;
        self.names_bytes -= name.len() + 1;
        Some(child)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.children.is_empty() {
            return;
        }
        let mut doomed: Vec<Arc<Node>> =
            core::mem::take(&mut self.children).into_values().collect();
        while let Some(node) = doomed.pop() {
            if let Some(mut last) = Arc::into_inner(node) {
                doomed.extend(core::mem::take(&mut last.children).into_values());
            }
        }
    }
}

/// A whole tree. Cloning takes a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Arc<Node>,
}

impl Tree {
    pub(super) fn new(root: Node) -> Self {
        Self {
            root: Arc::new(root),
        }
    }

    /// The deepest node that exists on the way to `path`, and what is missing behind it: nothing, if it is the node itself.
    pub(super) fn reach<'a>(&self, path: &'a Path) -> (&Arc<Node>, &'a str) {
        let mut node = &self.root;
        let mut rest = path.below_root();
        while let Some((name, more)) = first_of(rest) {
            match node.children.get(name) {
                Some(child) => (node, rest) = (child, more),
                None => break,
            }
        }
        (node, rest)
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Arc<Node>> {
        let (node, missing) = self.reach(path);
        missing.is_empty().then_some(node)
    }

    /// What `reach` finds, for changing; what a snapshot shares is copied first.
    pub(super) fn reach_mut(&mut self, path: &Path) -> &mut Node {
        let mut node = Arc::make_mut(&mut self.root);
        let mut rest = path.below_root();
        while let Some((name, more)) = first_of(rest)
            && let Some(place) = node.children.place(name)
        {
            node = Arc::make_mut(node.children.at_mut(place));
            rest = more;
        }
        node
    }

    /// Paths of the nodes of this kind, parents first. A path is only made where one is found.
    pub(super) fn find(&self, wanted: impl Fn(&Node) -> bool) -> Vec<Path> {
        let mut found = Vec::new();
        if wanted(&self.root) {
            found.push(Path::root());
        }
        let (mut levels, mut names) = (alloc::vec![self.root.children()], Vec::new());
        while let Some(level) = levels.last_mut() {
            let Some((name, node)) = level.next() else {
                levels.pop();
                names.pop();
                continue;
            };
            names.push(name);
            if wanted(node) {
                found.push(Path::root().below(&names.join("/")));
            }
            levels.push(node.children());
        }
        found
    }

    /// Every node with its path, parents first.
    #[cfg(test)]
    pub(super) fn walk(&self) -> Vec<(Path, Arc<Node>)> {
        let all = self.find(|_| true).into_iter();
        all.filter_map(|path| Some((path.clone(), Arc::clone(self.get(&path)?))))
            .collect()
    }
}

/// The first name of a path without its leading slash, and what is behind it; none if there is nothing left.
pub(super) fn first_of(rest: &str) -> Option<(&str, &str)> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.bytes().position(|byte| byte == b'/');
    let end = end.unwrap_or(rest.len());
    let more = rest.get(end + 1..).unwrap_or_default();
    Some((rest.get(..end)?, more))
}

/// The names in a path without its leading slash.
pub(super) fn names_of(mut rest: &str) -> impl Iterator<Item = &str> {
    core::iter::from_fn(move || {
        let (name, more) = first_of(rest)?;
        rest = more;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::{Generation, Node, Path, Permissions, Tree};
    use crate::{DomId, xenstore::Access};
    use alloc::sync::Arc;

    fn node() -> Node {
        let permissions = Permissions::new(DomId::DOM0, Access::None);
        Node::new(permissions, Generation::default())
    }

    fn path(text: &str) -> Path {
        Path::parse(text.as_bytes(), DomId::DOM0).expect("well formed")
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let mut tree = Tree::new(node());
        tree.reach_mut(&Path::root()).add("a", node());
        let snapshot = tree.clone();
        tree.reach_mut(&path("/a")).add("b", node());
        tree.reach_mut(&path("/a")).value = Arc::from(*b"new");
        assert!(snapshot.get(&path("/a/b")).is_none());
        assert!(snapshot.get(&path("/a")).expect("there").value.is_empty());
        assert!(tree.get(&path("/a/b")).is_some());
    }

    #[test]
    fn a_very_deep_tree_drops_without_deep_recursion() {
        let mut deep = node();
        for _ in 0..200_000 {
            let mut above = node();
            above.add("a", deep);
            deep = above;
        }
        drop(Tree::new(deep));
    }
}
