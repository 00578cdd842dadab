//! A map that can take back what was changed since the last commit.

use std::{borrow::Borrow, collections::BTreeMap, ops::Deref};

/// Rows by key, in key order. Reads go to the map itself.
#[derive(Debug, Clone)]
pub(in crate::store) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// What was there before each change of the transaction that is going on, oldest first.
    before: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            before: Vec::new(),
        }
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.rows
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Sets a row.
    pub(in crate::store) fn insert(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), row);
        self.before.push((key, before));
    }

    /// Takes a row out.
    pub(in crate::store) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (key, row) = self.rows.remove_entry(key)?;
        self.before.push((key, Some(row.clone())));
        Some(row)
    }

    /// Lends a row for a change.
    pub(in crate::store) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (key, row) = self.rows.get_key_value(key)?;
        let (key, row) = (key.clone(), row.clone());
        self.before.push((key.clone(), Some(row)));
        self.rows.get_mut(key.borrow())
    }

    /// Keeps only rows that pass.
    pub(in crate::store) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        let gone: Vec<K> = self
            .rows
            .iter()
            .filter(|(key, row)| !keep(key, row))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }

    /// Keeps every change.
    pub(in crate::store) fn commit(&mut self) {
        self.before.clear();
    }

    /// Takes every change back that was made since the last commit.
    pub(in crate::store) fn undo(&mut self) {
        while let Some((key, before)) = self.before.pop() {
            match before {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_since_the_last_commit_is_taken_back() {
        let mut table = Table::default();
        table.insert(1, "one");
        table.insert(2, "two");
        table.commit();
        let kept = table.rows.clone();
        table.insert(1, "other");
        table.insert(3, "three");
        *table.get_mut(&3).expect("a row") = "drei";
        table.remove(&2);
        table.retain(|key, _| *key > 1);
        table.undo();
        assert_eq!(table.rows, kept);
        table.remove(&2);
        table.commit();
        table.undo();
        assert_eq!(table.len(), 1);
    }
}
