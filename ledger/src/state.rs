//! The state as execution sees it: typed reads, and writes kept in an overlay of
//! ordered maps until the block is done. An attempt that fails leaves no trace.

use crate::{error::LedgerError, store::Row};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use twinfold_types::{TimeMs, TxId, state_key::StateKey};

/// What execution reads. Implemented by a view of the store.
pub trait StateRead {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;
    /// Up to `limit` rows with this prefix, ascending.
    fn read_prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, LedgerError>;
    /// Whether a block of the window carried this transaction.
    fn was_applied(&self, valid_until: TimeMs, id: &TxId) -> Result<bool, LedgerError>;
    /// The error that says the store holds what cannot be.
    fn damaged(&self, reason: String) -> LedgerError;
}

/// Key → new value, or none for a deleted key.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// For each key written in an attempt, what the overlay held before.
type Undo = BTreeMap<Vec<u8>, Option<Option<Vec<u8>>>>;

pub struct State<'a> {
    base: &'a dyn StateRead,
    writes: Writes,
    /// Of the running attempt.
    undo: Option<Undo>,
}

impl<'a> State<'a> {
    pub fn new(base: &'a dyn StateRead) -> Self {
        Self { base, writes: Writes::new(), undo: None }
    }

    pub fn base(&self) -> &'a dyn StateRead {
        self.base
    }

    pub fn into_writes(self) -> Writes {
        self.writes
    }

    pub fn get<T: Serialize + DeserializeOwned>(
        &self,
        key: &StateKey,
    ) -> Result<Option<T>, LedgerError> {
        let bytes = match self.writes.get(key.bytes()) {
            Some(written) => written.clone(),
            None => self.base.read(key.bytes())?,
        };
        bytes.map(|bytes| self.decode(key.bytes(), &bytes)).transpose()
    }

    /// A row that must be there.
    pub fn expect<T: Serialize + DeserializeOwned>(
        &self,
        key: &StateKey,
    ) -> Result<T, LedgerError> {
        self.get(key)?.ok_or_else(|| {
            self.base.damaged(format!("no value under state key {:02x?}", key.bytes()))
        })
    }

    pub fn has(&self, key: &StateKey) -> Result<bool, LedgerError> {
        match self.writes.get(key.bytes()) {
            Some(written) => Ok(written.is_some()),
            None => Ok(self.base.read(key.bytes())?.is_some()),
        }
    }

    pub fn put<T: Serialize>(&mut self, key: StateKey, value: &T) {
        self.write(key, Some(twinfold_types::codec::encode(value)));
    }

    pub fn delete(&mut self, key: StateKey) {
        self.write(key, None);
    }

    /// Up to `limit` keys with this prefix, ascending.
    pub fn keys(&self, prefix: &StateKey, limit: usize) -> Result<Vec<Vec<u8>>, LedgerError> {
        Ok(self.raw_rows(prefix.bytes(), limit)?.into_iter().map(|(key, _)| key).collect())
    }

    /// Up to `limit` values with this prefix, in the order of their keys.
    pub fn values<T: Serialize + DeserializeOwned>(
        &self,
        prefix: &StateKey,
        limit: usize,
    ) -> Result<Vec<T>, LedgerError> {
        let rows = self.raw_rows(prefix.bytes(), limit)?;
        rows.iter().map(|(key, value)| self.decode(key, value)).collect()
    }

    /// Begins an attempt inside the running one, if one is: what is written until its
    /// end can be undone together.
    pub fn begin(&mut self) -> Attempt {
        Attempt { outer: self.undo.replace(BTreeMap::new()) }
    }

    /// Ends the attempt begun last.
    pub fn end(&mut self, attempt: Attempt, keep: bool) {
        let undo = self.undo.take().unwrap_or_default();
        self.undo = attempt.outer;
        if keep {
            if let Some(outer) = &mut self.undo {
                undo.into_iter().for_each(|(key, before)| {
                    outer.entry(key).or_insert(before);
                });
            }
            return;
        }
        for (key, before) in undo {
            match before {
                Some(written) => self.writes.insert(key, written),
                None => self.writes.remove(&key),
            };
        }
    }

    fn write(&mut self, key: StateKey, value: Option<Vec<u8>>) {
        let key = key.into_bytes();
        let before = self.writes.insert(key.clone(), value);
        if let Some(undo) = &mut self.undo {
            undo.entry(key).or_insert(before);
        }
    }

    fn raw_rows(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, LedgerError> {
        let written: Vec<_> = self
            .writes
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .collect();
        // Each written row hides at most one stored row.
        let stored = self.base.read_prefix(prefix, limit.saturating_add(written.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in written {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    fn decode<T: Serialize + DeserializeOwned>(
        &self,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<T, LedgerError> {
        let damaged = |why| self.base.damaged(format!("state key {key:02x?}: {why}"));
        crate::store::decode(bytes, "value", damaged)
    }
}

/// An open attempt; it goes back to [`State::end`].
#[must_use]
pub struct Attempt {
    outer: Option<Undo>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use twinfold_types::state_key;

    struct Stored(BTreeMap<Vec<u8>, Vec<u8>>);

    impl StateRead for Stored {
        fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
            Ok(self.0.get(key).cloned())
        }
        fn read_prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, LedgerError> {
            let rows = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
            Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        fn was_applied(&self, _: TimeMs, _: &TxId) -> Result<bool, LedgerError> {
            Ok(false)
        }
        fn damaged(&self, reason: String) -> LedgerError {
            LedgerError::Damaged { dir: PathBuf::new(), reason }
        }
    }

    fn name(number: u8) -> StateKey {
        state_key::quota(&format!("{number}"))
    }

    fn rows(state: &State<'_>, limit: usize) -> Vec<u32> {
        state.values(&state_key::Prefix::Quota.scan(), limit).unwrap()
    }

    proptest! {
        /// Writes in nested attempts, kept or undone, are those of a plain map that is
        /// copied before each attempt.
        #[test]
        fn an_overlay_is_a_map_and_an_undone_attempt_never_was(
            stored in proptest::collection::btree_map(0..8u8, 0..100u32, 0..8),
            steps in proptest::collection::vec((0..5u8, 0..8u8, 0..100u32), 0..60),
            limit in 0..10usize,
        ) {
            let encode = twinfold_types::codec::encode::<u32>;
            let base = stored.iter().map(|(k, v)| (name(*k).into_bytes(), encode(v)));
            let base = Stored(base.collect());
            let mut state = State::new(&base);
            let (mut plain, mut open) = (stored.clone(), vec![]);
            for (step, key, value) in steps {
                match step {
                    0 | 1 => {
                        state.put(name(key), &value);
                        plain.insert(key, value);
                    }
                    2 => {
                        state.delete(name(key));
                        plain.remove(&key);
                    }
                    3 => open.push((state.begin(), plain.clone())),
                    _ => if let Some((attempt, before)) = open.pop() {
                        let keep = value % 2 == 0;
                        state.end(attempt, keep);
                        if !keep {
                            plain = before;
                        }
                    },
                }
                prop_assert_eq!(state.get::<u32>(&name(key)).unwrap(), plain.get(&key).copied());
                let expected: Vec<_> = plain.values().copied().take(limit).collect();
                prop_assert_eq!(rows(&state, limit), expected);
            }
        }
    }
}
