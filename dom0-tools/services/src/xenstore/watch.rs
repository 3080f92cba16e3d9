//! Who wants to hear of changes where.
//!
//! Watches are kept in a tree like that of the nodes, so that a change looks at the watches on its own way only, however
//! many there are elsewhere.

use super::{
    Access, Caller, Error, Path,
    names::Names,
    store::Effect,
    transaction::Change,
    tree::{Tree, first_of, names_of},
};
use crate::{DomId, sorted::Sorted};
use alloc::{collections::BTreeMap, string::String, sync::Arc, vec, vec::Vec};

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

/// The watches of one path.
type Here = Sorted<(DomId, Token), Form>;

/// Watches of a path, and of what lies below it.
#[derive(Debug, Default)]
struct Spot {
    here: Here,
    below: Names<Spot>,
}

/// All watches of all connections.
#[derive(Debug, Default)]
pub(super) struct Watches {
    root: Spot,
    special: BTreeMap<Path, Here>,
    owned: Sorted<DomId, Owned>,
}

/// The watches of one connection.
#[derive(Debug, Default)]
struct Owned {
    /// How many there are of each path.
    paths: BTreeMap<Path, usize>,
    /// Names in these paths.
    names: usize,
}

impl Spot {
    /// Drops what is empty at the end of the way to a path. In loops: depth is a guest's choice.
    fn prune(&mut self, path: &Path) {
        let (mut spot, mut rest) = (&*self, path.below_root());
        let (mut depth, mut needed) = (0, 0);
        while let Some((name, more)) = first_of(rest)
            && let Some(next) = spot.below.get(name)
        {
            if !spot.here.is_empty() || spot.below.len() > 1 {
                needed = depth;
            }
            (spot, rest, depth) = (next, more, depth + 1);
        }
        if depth == 0 || !spot.here.is_empty() || !spot.below.is_empty() {
            return;
        }
        let (mut spot, mut rest) = (self, path.below_root());
        while let Some((name, more)) = first_of(rest)
            && let Some(place) = spot.below.place(name)
        {
            if needed == 0 {
                let mut doomed: Vec<Self> = spot.below.remove(name).into_iter().collect();
                while let Some(spot) = doomed.pop() {
                    doomed.extend(spot.below.into_values());
                }
                return;
            }
            (spot, rest, needed) = (spot.below.at_mut(place), more, needed - 1);
        }
    }
}

impl Watches {
    /// How many a connection has.
    pub(super) fn count(&self, watcher: DomId) -> usize {
        let owned = self.owned.get(&watcher);
        owned.map_or(0, |owned| owned.paths.values().sum())
    }

    /// Names in the paths that a connection watches, with this one.
    pub(super) fn names_with(&self, watcher: DomId, path: &Path) -> usize {
        let names = names_in(path);
        self.owned.get(&watcher).map_or(names, |owned| {
            let is_new = !owned.paths.contains_key(path);
            owned.names + if is_new { names } else { 0 }
        })
    }

    /// Whether a connection watches this path or one above it.
    pub(super) fn covers(&self, watcher: DomId, path: &Path) -> bool {
        let owned = self.owned.get(&watcher);
        owned.is_some_and(|owned| path.upwards().any(|above| owned.paths.contains_key(above)))
    }

    pub(super) fn add(
        &mut self,
        watcher: DomId,
        path: &Path,
        token: &Token,
        form: Form,
    ) -> Result<(), Error> {
        let here = self.here(path);
        let key = (watcher, Arc::clone(token));
        if here.get(&key).is_some() {
            return Err(Error::Exists);
        }
        here.insert(key, form);
        let names = self.names_with(watcher, path);
        let owned = self.owned.entry(watcher);
        owned.names = names;
        *owned.paths.entry(path.clone()).or_default() += 1;
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        watcher: DomId,
        path: &Path,
        token: &Token,
    ) -> Result<(), Error> {
        let owned = self.owned.get(&watcher).ok_or(Error::NoEntry)?;
        let count = owned.paths.get(path).copied().ok_or(Error::NoEntry)?;
        // It is somebody's watch there, so this makes no room.
        let key = (watcher, Arc::clone(token));
        self.here(path).remove(&key).ok_or(Error::NoEntry)?;
        self.prune(path);
        if let Some(owned) = self.owned.get_mut(&watcher) {
            if count > 1 {
                owned.paths.insert(path.clone(), count - 1);
            } else {
                owned.paths.remove(path);
                owned.names -= names_in(path);
            }
        }
        Ok(())
    }

    /// Drops all watches of a connection.
    pub(super) fn forget(&mut self, watcher: DomId) {
        let owned = self.owned.remove(&watcher).unwrap_or_default();
        for path in owned.paths.into_keys() {
            self.here(&path).retain(|(domain, _)| *domain != watcher);
            self.prune(&path);
        }
    }

    /// The watches of a path, with room for the first.
    fn here(&mut self, path: &Path) -> &mut Here {
        if path.is_special() {
            return self.special.entry(path.clone()).or_default();
        }
        let (mut spot, mut rest) = (&mut self.root, path.below_root());
        while let Some((name, more)) = first_of(rest) {
            (spot, rest) = (spot.below.entry(name), more);
        }
        &mut spot.here
    }

    fn prune(&mut self, path: &Path) {
        if path.is_special() {
            self.special.retain(|_, here| !here.is_empty());
        } else {
            self.root.prune(path);
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
        let here = self.special.get(name).into_iter().flat_map(Sorted::iter);
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
        for change in changes
            .iter()
            .filter(|change| change.effect != Effect::None)
        {
            let (mut spot, mut rest) = (&self.root, change.path.below_root());
            let mut way = vec![];
            while let Some((name, more)) = first_of(rest)
                && let Some(next) = spot.below.get(name)
            {
                way.extend((!spot.here.is_empty()).then_some(spot));
                (spot, rest) = (next, more);
            }
            way.extend((!spot.here.is_empty()).then_some(spot));
            let mut tell = |here: &Here, path: &Path| {
                for ((watcher, token), form) in here.iter() {
                    let caller = caller_of(*watcher);
                    if readable(before, path, caller) || readable(after, path, caller) {
                        events.push(Event {
                            watcher: *watcher,
                            path: written(path, *watcher, *form),
                            token: Arc::clone(token),
                        });
                    }
                }
            };
            for spot in way.iter().rev() {
                tell(&spot.here, &change.path);
            }
            if change.effect == Effect::Removed && rest.is_empty() {
                for (path, here) in inside(spot, &change.path) {
                    if before.get(&path).is_some() {
                        tell(here, &path);
                    }
                }
            }
        }
        events
    }
}

#[cfg(test)]
impl Watches {
    /// Whether no place is kept for any watch.
    pub(super) fn is_bare(&self) -> bool {
        self.root.here.is_empty() && self.root.below.is_empty() && self.special.is_empty()
    }
}

/// The watches strictly below a spot, which is that of `top`.
fn inside<'a>(spot: &'a Spot, top: &Path) -> Vec<(Path, &'a Here)> {
    let mut found = Vec::new();
    let (mut levels, mut names) = (vec![spot.below.iter()], Vec::new());
    while let Some(level) = levels.last_mut() {
        let Some((name, spot)) = level.next() else {
            levels.pop();
            names.pop();
            continue;
        };
        names.push(name);
        if !spot.here.is_empty() {
            found.push((top.below(&names.join("/")), &spot.here));
        }
        levels.push(spot.below.iter());
    }
    found
}

/// Whether `caller` can read the node or its parent.
fn readable(tree: &Tree, path: &Path, caller: Caller) -> bool {
    let at = |path: &Path| {
        (tree.get(path)).is_some_and(|node| node.permissions.allow(caller, Access::Read))
    };
    at(path) || path.parent().is_some_and(|parent| at(&parent))
}

/// Places that a path takes in the tree of watches.
fn names_in(path: &Path) -> usize {
    if path.is_special() {
        0
    } else {
        names_of(path.below_root()).count()
    }
}

fn written(path: &Path, watcher: DomId, form: Form) -> String {
    let relative = match form {
        Form::Relative => path.relative_to_home_of(watcher),
        Form::Absolute => None,
    };
    String::from(relative.unwrap_or(path.as_str()))
}
