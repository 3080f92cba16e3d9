//! A list sorted by key, looked up by halving: a few dozen entries cost little more than one, and a copy is one piece.

use alloc::vec::{self, Vec};
use core::cmp::Ordering;

/// Values by key, in the order of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> Sorted<K, V> {
    /// The value whose key `order` calls equal.
    pub(crate) fn find(&self, order: impl FnMut(&K) -> Ordering) -> Option<&V> {
        let place = self.place(order).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Takes out the value whose key `order` calls equal.
    pub(crate) fn take(&mut self, order: impl FnMut(&K) -> Ordering) -> Option<V> {
        let place = self.place(order).ok()?;
        Some(self.0.remove(place).1)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Where in the list the key is that `order` calls equal, or where it would be.
    pub(crate) fn place(&self, mut order: impl FnMut(&K) -> Ordering) -> Result<usize, usize> {
        self.0.binary_search_by(|(key, _)| order(key))
    }

    /// The value at a place where there is one.
    pub(crate) fn at_mut(&mut self, place: usize) -> &mut V {
        &mut self.0[place].1
    }
}

impl<K: Ord, V> Sorted<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(|other| other.cmp(key))
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(|other| other.cmp(key)).ok()?;
        Some(self.at_mut(place))
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.take(|other| other.cmp(key))
    }

    /// Sets a value; gives the one that stood there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(|other| other.cmp(&key)) {
            Ok(place) => {
                let old = self.0.get_mut(place).map(|(_, old)| old);
                old.map(|old| core::mem::replace(old, value))
            }
            Err(place) => {
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    /// The value, made if it is not there yet.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = match self.place(|other| other.cmp(&key)) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (key, V::default()));
                place
            }
        };
        self.at_mut(place)
    }
}

impl<K, V> IntoIterator for Sorted<K, V> {
    type Item = (K, V);
    type IntoIter = vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Sorted;
    use alloc::vec::Vec;

    #[test]
    fn values_are_found_by_key_and_listed_in_its_order() {
        let mut sorted = Sorted::default();
        for key in [5, 1, 9, 3] {
            assert_eq!(sorted.insert(key, key * 10), None);
        }
        assert_eq!(sorted.insert(3, 31), Some(30));
        *sorted.entry(4) += 1;
        assert_eq!(sorted.remove(&9), Some(90));
        assert_eq!((sorted.get(&3), sorted.get(&2)), (Some(&31), None));
        let all: Vec<_> = sorted.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(all, [(1, 10), (3, 31), (4, 1), (5, 50)]);
    }
}
