//! What is remembered in memory of things of which there may be any number: the newest so many. For one more the oldest is
//! forgotten, and no other.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// The newest entries by key; an entry is as old as the last time it was put there.
#[derive(Debug)]
pub(super) struct Newest<K, V> {
    most: usize,
    entries: HashMap<K, (u64, V)>,
    by_age: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Copy + Eq + Hash, V> Newest<K, V> {
    /// So many of them, one at least.
    pub(super) fn of(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            by_age: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    /// Puts an entry there, as the newest. Returns the one that was forgotten for it.
    pub(super) fn put(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.remove(key);
        let oldest = match self.entries.len() < self.most {
            true => None,
            false => self.by_age.first_key_value().map(|(_, oldest)| *oldest),
        };
        let forgotten = oldest.and_then(|oldest| Some((oldest, self.remove(oldest)?)));
        self.entries.insert(key, (self.next, value));
        self.by_age.insert(self.next, key);
        self.next += 1;
        forgotten
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (age, value) = self.entries.remove(&key)?;
        self.by_age.remove(&age);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_takes_the_place_of_the_oldest() {
        let mut newest = Newest::of(3);
        for key in [1, 2, 3] {
            assert_eq!(newest.put(key, "first"), None);
        }
        assert_eq!(newest.put(1, "again"), None, "it has its place");
        assert_eq!(newest.put(4, "first"), Some((2, "first")));
        assert_eq!((newest.get(1), newest.get(2)), (Some(&"again"), None));
        assert_eq!(newest.remove(3), Some("first"));
        assert_eq!(newest.remove(3), None);
        assert_eq!(newest.put(5, "first"), None, "there is room");
        assert_eq!(newest.put(6, "first"), Some((1, "again")));
        assert_eq!(newest.entries.len(), newest.by_age.len());
    }
}
