//! Who wants to hear of changes where.
//!
//! Watches are kept by path, so that a change looks at the watches on its own path and its ancestors only, however many
//! there are elsewhere.

use super::{Access, Caller, Error, Path, store::Effect, transaction::Change, tree::Tree};
use crate::DomId;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::ops::Bound;

/// A client's own mark of a watch: any bytes without NUL, never interpreted.
pub(super) type Token = Arc<[u8]>;

/// How the path in an event is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// As it is.
    Absolute,
    /// From the watcher's home, because the watch was set so.
    Relative,
}

/// An event on its way to a watcher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) watcher: DomId,
    pub(super) path: String,
    pub(super) token: Token,
}

/// All watches of all connections.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_path: BTreeMap<Path, BTreeMap<(DomId, Token), Form>>,
    paths: BTreeMap<DomId, BTreeMap<Path, usize>>,
}

impl Watches {
    /// How many a connection has.
    pub(super) fn count(&self, watcher: DomId) -> usize {
        self.paths
            .get(&watcher)
            .map_or(0, |paths| paths.values().sum())
    }

    /// Whether a connection watches this path or one above it.
    pub(super) fn covers(&self, watcher: DomId, path: &Path) -> bool {
        let paths = self.paths.get(&watcher);
        paths.is_some_and(|paths| path.upwards().any(|above| paths.contains_key(above)))
    }

    pub(super) fn add(
        &mut self,
        watcher: DomId,
        path: &Path,
        token: &Token,
        form: Form,
    ) -> Result<(), Error> {
        let here = self.by_path.entry(path.clone()).or_default();
        let key = (watcher, Arc::clone(token));
        if here.contains_key(&key) {
            return Err(Error::Exists);
        }
        here.insert(key, form);
        *self
            .paths
            .entry(watcher)
            .or_default()
            .entry(path.clone())
            .or_default() += 1;
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        watcher: DomId,
        path: &Path,
        token: &Token,
    ) -> Result<(), Error> {
        let here = self.by_path.get_mut(path).ok_or(Error::NoEntry)?;
        here.remove(&(watcher, Arc::clone(token)))
            .ok_or(Error::NoEntry)?;
        if here.is_empty() {
            self.by_path.remove(path);
        }
        if let Some(paths) = self.paths.get_mut(&watcher)
            && let Some(count) = paths.get_mut(path)
        {
            *count -= 1;
            if *count == 0 {
                paths.remove(path);
            }
        }
        Ok(())
    }

    /// Drops all watches of a connection.
    pub(super) fn forget(&mut self, watcher: DomId) {
        for path in self.paths.remove(&watcher).unwrap_or_default().into_keys() {
            if let Some(here) = self.by_path.get_mut(&path) {
                here.retain(|(domain, _), _| *domain != watcher);
                if here.is_empty() {
                    self.by_path.remove(&path);
                }
            }
        }
    }

    /// The event that a new watch gets at once, whether its node exists or not.
    pub(super) fn first_event(watcher: DomId, path: &Path, token: &Token, form: Form) -> Event {
        Event {
            watcher,
            path: written(path, watcher, form),
            token: Arc::clone(token),
        }
    }

    /// Events of a special node.
    pub(super) fn special(&self, name: &str, may_hear: impl Fn(DomId) -> bool) -> Vec<Event> {
        let here = self.by_path.get(name).into_iter().flatten();
        here.filter(|((watcher, _), _)| may_hear(*watcher))
            .map(|((watcher, token), _)| Event {
                watcher: *watcher,
                path: String::from(name),
                token: Arc::clone(token),
            })
            .collect()
    }

    /// Events of changes that led from one tree to another. `caller_of` gives the rights of a watcher.
    pub(super) fn fired(
        &self,
        changes: &[Change],
        before: &Tree,
        after: &Tree,
        caller_of: impl Fn(DomId) -> Caller,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let may_hear = |watcher, path: &Path| {
            let caller = caller_of(watcher);
            [before, after]
                .iter()
                .any(|tree| readable(tree, path, caller))
        };
        for change in changes
            .iter()
            .filter(|change| change.effect != Effect::None)
        {
            for above in change.path.upwards() {
                self.push_events(&mut events, above, &change.path, &may_hear);
            }
            if change.effect == Effect::Removed {
                for inside in self.inside(&change.path) {
                    if before.get(inside).is_some() {
                        self.push_events(&mut events, inside.as_str(), inside, &may_hear);
                    }
                }
            }
        }
        events
    }

    fn push_events(
        &self,
        events: &mut Vec<Event>,
        watched: &str,
        changed: &Path,
        may_hear: &impl Fn(DomId, &Path) -> bool,
    ) {
        for ((watcher, token), form) in self.by_path.get(watched).into_iter().flatten() {
            if may_hear(*watcher, changed) {
                events.push(Event {
                    watcher: *watcher,
                    path: written(changed, *watcher, *form),
                    token: Arc::clone(token),
                });
            }
        }
    }

    /// Watched paths strictly below `top`.
    fn inside(&self, top: &Path) -> BTreeSet<&Path> {
        let prefix = top.below("");
        let from = (Bound::Included(prefix.clone()), Bound::Unbounded);
        self.by_path
            .range::<Path, _>(from)
            .map(|(path, _)| path)
            .take_while(|path| path.as_str().starts_with(prefix.as_str()))
            .collect()
    }
}

/// Whether `caller` can read the node or its parent.
fn readable(tree: &Tree, path: &Path, caller: Caller) -> bool {
    let at = |path: &Path| {
        (tree.get(path)).is_some_and(|node| node.permissions.allow(caller, Access::Read))
    };
    at(path) || path.parent().is_some_and(|parent| at(&parent))
}

fn written(path: &Path, watcher: DomId, form: Form) -> String {
    let relative = match form {
        Form::Relative => path.relative_to_home_of(watcher),
        Form::Absolute => None,
    };
    String::from(relative.unwrap_or(path.as_str()))
}
