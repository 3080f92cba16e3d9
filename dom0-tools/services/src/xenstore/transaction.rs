//! Transactions: a private copy of the store, the list of what was changed in it, and the set of nodes looked up.
//!
//! The copy costs one pointer, since the tree is persistent. At the commit every node looked up must be in the live store
//! what it was in the copy's first state; then the changes are made again, on the live store, and nobody sees half of it.

use super::{
    Caller, Error, Path, Quota,
    store::{Effect, Operation, Store},
    tree::Tree,
};
use alloc::{collections::BTreeSet, vec::Vec};

/// Names a transaction of one connection; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TransactionId(u32);

impl TransactionId {
    /// The one before the first.
    pub(super) const LAST: Self = Self(u32::MAX);

    /// The transaction with this number; none for 0, which on the wire means "outside any".
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number after this one; never 0.
    pub(super) const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self(1),
        }
    }
}

/// A change of the live store, for the watches.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: Path,
    pub(super) effect: Effect,
}

/// One open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    base: Tree,
    store: Store,
    touched: BTreeSet<Path>,
    operations: Vec<Operation>,
    weight: usize,
    spoiled: bool,
}

impl Transaction {
    pub(super) fn start(live: &Store) -> Self {
        Self {
            base: live.tree().clone(),
            store: live.clone(),
            touched: BTreeSet::new(),
            operations: Vec::new(),
            weight: 0,
            spoiled: false,
        }
    }

    /// Its view of the store, for a read of `path`.
    pub(super) fn read(
        &mut self,
        caller: Caller,
        path: &Path,
        quota: &Quota,
    ) -> Result<&Store, Error> {
        self.touch(caller, path.clone(), quota)?;
        Ok(&self.store)
    }

    /// Carries out one change in its own copy.
    pub(super) fn apply(
        &mut self,
        caller: Caller,
        operation: &Operation,
        quota: &Quota,
    ) -> Result<(), Error> {
        self.touch_for(caller, operation, quota)?;
        match self.store.apply(caller, operation, quota) {
            Ok(Effect::None) => Ok(()),
            Ok(Effect::Changed | Effect::Removed) => {
                self.weight += operation.weight();
                self.operations.push(operation.clone());
                Ok(())
            }
            Err(error) => {
                self.spoiled |= error == Error::NoSpace;
                Err(error)
            }
        }
    }

    /// Bytes that its list of changes takes.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Marks it as one that cannot be committed any more.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// The live store with all changes made, and what they were; the caller puts it in the live one's place.
    pub(super) fn commit(
        self,
        live: &Store,
        caller: Caller,
        quota: &Quota,
    ) -> Result<(Store, Vec<Change>), Error> {
        if self.spoiled {
            return Err(Error::NoMemory);
        }
        let generation = |tree: &Tree, path: &Path| tree.get(path).map(|node| node.generation);
        let unchanged = |path| generation(&self.base, path) == generation(live.tree(), path);
        if !self.touched.iter().all(unchanged) {
            return Err(Error::Again);
        }
        let mut next = live.clone();
        let mut changes = Vec::new();
        for operation in self.operations {
            // What was looked up has not changed, but a quota may have been used up by others' changes meanwhile, and a
            // list higher up may forbid now what it allowed then.
            let effect = next.apply(caller, &operation, quota);
            let effect = effect.map_err(|error| {
                if error == Error::NoSpace {
                    error
                } else {
                    Error::Again
                }
            })?;
            changes.push(Change {
                path: operation.path().clone(),
                effect,
            });
        }
        Ok((next, changes))
    }

    /// Notes what a change looks up: its node, all that is missing above it, and the parent whose set of children changes.
    fn touch_for(
        &mut self,
        caller: Caller,
        operation: &Operation,
        quota: &Quota,
    ) -> Result<(), Error> {
        let mut path = operation.path().clone();
        let removes = matches!(operation, Operation::Remove { .. });
        loop {
            let exists = self.store.tree().get(&path).is_some();
            let parent = path.parent();
            self.touch(caller, path, quota)?;
            match parent {
                Some(parent) if !exists => path = parent,
                Some(parent) if removes => return self.touch(caller, parent, quota),
                _ => return Ok(()),
            }
        }
    }

    fn touch(&mut self, caller: Caller, path: Path, quota: &Quota) -> Result<(), Error> {
        self.touched.insert(path);
        if !caller.is_privileged() && self.touched.len() > quota.touched {
            self.spoiled = true;
            return Err(Error::NoSpace);
        }
        Ok(())
    }
}
