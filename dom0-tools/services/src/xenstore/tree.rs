//! The tree of nodes: persistent, so that a snapshot is one pointer.
//!
//! A change copies the nodes from the root to the changed one if a snapshot still holds them, and nothing else. Every walk
//! is a loop, the one of dropping a tree too: depth is a guest's choice, dom0's stack is not.

use super::{Path, Permissions};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

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
    children: BTreeMap<Arc<str>, Arc<Node>>,
    names_bytes: usize,
}

impl Node {
    pub(super) fn new(permissions: Permissions, generation: Generation) -> Self {
        Self {
            value: Arc::from([]),
            permissions,
            generation,
            children: BTreeMap::new(),
            names_bytes: 0,
        }
    }

    /// Names of the children, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.children.keys().map(|name| &**name)
    }

    /// The children with their names.
    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.children.iter().map(|(name, node)| (&**name, node))
    }

    /// Bytes that the owner's quota counts.
    pub(super) fn size(&self) -> usize {
        self.value.len() + self.names_bytes + self.permissions.len() * 4
    }
}

impl Drop for Node {
    fn drop(&mut self) {
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

    pub(super) fn get(&self, path: &Path) -> Option<&Arc<Node>> {
        let mut node = &self.root;
        for name in path.names() {
            node = node.children.get(name)?;
        }
        (!path.is_special()).then_some(node)
    }

    /// The deepest node that exists on the way to `path`: the node itself, or its nearest ancestor.
    pub(super) fn nearest(&self, path: &Path) -> &Arc<Node> {
        let mut node = &self.root;
        for name in path.names() {
            match node.children.get(name) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The node for changing; what a snapshot shares is copied first.
    pub(super) fn get_mut(&mut self, path: &Path) -> Option<&mut Node> {
        self.get(path)?;
        let mut node = Arc::make_mut(&mut self.root);
        for name in path.names() {
            node = Arc::make_mut(node.children.get_mut(name)?);
        }
        Some(node)
    }

    /// Hangs `child` below `parent`, which exists and has no child of this name.
    pub(super) fn insert(&mut self, parent: &Path, name: &str, child: Node) {
        if let Some(node) = self.get_mut(parent) {
            node.children.insert(Arc::from(name), Arc::new(child));
            node.names_bytes += name.len() + 1;
        }
    }

    /// Takes out a node with all below it; none if it is not there or is the root.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Arc<Node>> {
        let parent = self.get_mut(&path.parent()?)?;
        let removed = parent.children.remove(path.name())?;
        parent.names_bytes -= path.name().len() + 1;
        Some(removed)
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
    pub(super) fn walk(&self) -> Walk {
        Walk::from(Path::root(), &self.root)
    }
}

/// A walk over a subtree without recursion. It holds its own references: the tree may change meanwhile.
#[derive(Debug)]
pub(super) struct Walk(Vec<(Path, Arc<Node>)>);

impl Walk {
    pub(super) fn from(path: Path, top: &Arc<Node>) -> Self {
        Self(alloc::vec![(path, Arc::clone(top))])
    }
}

impl Iterator for Walk {
    type Item = (Path, Arc<Node>);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, node) = self.0.pop()?;
        for (name, child) in node.children() {
            self.0.push((path.below(name), Arc::clone(child)));
        }
        Some((path, node))
    }
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
        tree.insert(&Path::root(), "a", node());
        let snapshot = tree.clone();
        tree.insert(&path("/a"), "b", node());
        tree.get_mut(&path("/a")).expect("there").value = Arc::from(*b"new");
        assert!(snapshot.get(&path("/a/b")).is_none());
        assert!(snapshot.get(&path("/a")).expect("there").value.is_empty());
        assert!(tree.get(&path("/a/b")).is_some());
    }

    #[test]
    fn a_very_deep_tree_drops_without_deep_recursion() {
        let mut deep = node();
        for _ in 0..200_000 {
            let mut above = node();
            above.children.insert(Arc::from("a"), Arc::new(deep));
            deep = above;
        }
        drop(Tree::new(deep));
    }
}
