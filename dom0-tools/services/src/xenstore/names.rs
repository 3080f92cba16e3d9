//! Names of one node's children: compared by their first eight bytes, which is all that most have.

use crate::sorted::Sorted;
use alloc::sync::Arc;
use core::cmp::Ordering;

/// Bytes of a name that are compared at once.
const HEAD: usize = 8;

/// What stands under names, in their order.
#[derive(Clone, Debug)]
pub(super) struct Names<T>(Sorted<Name, T>);

/// A name without NUL, so that a shorter one comes before all that it begins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name {
    head: u64,
    text: Arc<str>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Sorted::default())
    }
}

impl<T> Names<T> {
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.0.find(order(name))
    }

    /// Where a name is in the list, until that changes.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.0.place(order(name)).ok()
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut T {
        self.0.at_mut(place)
    }

    pub(super) fn insert(&mut self, name: &str, value: T) {
        let (head, text) = (head(name), Arc::from(name));
        self.0.insert(Name { head, text }, value);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        self.0.take(order(name))
    }

    /// The value, made if it is not there yet.
    pub(super) fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        if self.place(name).is_none() {
            self.insert(name, T::default());
        }
        let place = self.0.place(order(name)).unwrap_or_else(|place| place);
        self.at_mut(place)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (&*name.text, value))
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_iter().map(|(_, value)| value)
    }
}

/// How a name compares with `wanted`. Short ones with the same head are the same.
fn order(wanted: &str) -> impl Fn(&Name) -> Ordering {
    let first = head(wanted);
    move |name| {
        let order = name.head.cmp(&first);
        if order.is_eq() && name.text.len().max(wanted.len()) > HEAD {
            (*name.text).cmp(wanted)
        } else {
            order
        }
    }
}

fn head(name: &str) -> u64 {
    let mut bytes = [0; HEAD];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::Names;
    use alloc::vec::Vec;

    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let mut names = Names::default();
        let mut all = [
            "a",
            "",
            "aaaaaaaa",
            "aaaaaaaab",
            "aaaaaaaa-",
            "b",
            "10",
            "9",
            "aaaaaaa",
        ];
        for name in all {
            names.insert(name, name.len());
        }
        all.sort_unstable();
        assert!(names.iter().map(|(name, _)| name).eq(all));
        for name in all {
            assert_eq!(names.get(name), Some(&name.len()));
        }
        assert_eq!(names.remove("aaaaaaaab"), Some(9));
        assert_eq!(names.get("aaaaaaaab"), None);
        let left: Vec<_> = names.into_values().collect();
        assert_eq!(left.len(), all.len() - 1);
    }
}
