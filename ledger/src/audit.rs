//! The audit log: an RFC 6962 tree over the encoded receipts, kept as the hashes
//! of its complete subtrees by (level, index). A complete subtree never changes,
//! so appending, the root and a path, for the newest or any older size, touch
//! O(log n) rows.

use crate::error::LedgerError;
use std::collections::BTreeMap;
use twinfold_types::{Digest, merkle};

/// Reads the hash of a complete subtree.
pub trait AuditRead {
    fn node(&self, level: u8, index: u64) -> Result<Digest, LedgerError>;
}

/// Entries appended to a stored log.
pub struct Append<'a> {
    stored: &'a dyn AuditRead,
    size: u64,
    new: BTreeMap<(u8, u64), Digest>,
}

impl<'a> Append<'a> {
    pub fn new(stored: &'a dyn AuditRead, size: u64) -> Self {
        Self { stored, size, new: BTreeMap::new() }
    }

    /// Appends an entry and says at which index it stands.
    pub fn push(&mut self, entry: &[u8]) -> Result<u64, LedgerError> {
        let at = self.size;
        let (mut level, mut index, mut hash) = (0u8, at, merkle::leaf_hash(entry));
        self.new.insert((level, index), hash);
        while index & 1 == 1 {
            let left = self.node(level, index - 1)?;
            (level, index, hash) = (level + 1, index >> 1, merkle::node_hash(&left, &hash));
            self.new.insert((level, index), hash);
        }
        self.size += 1;
        Ok(at)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Result<Digest, LedgerError> {
        root(self, self.size)
    }

    pub fn into_nodes(self) -> BTreeMap<(u8, u64), Digest> {
        self.new
    }
}

impl AuditRead for Append<'_> {
    fn node(&self, level: u8, index: u64) -> Result<Digest, LedgerError> {
        match self.new.get(&(level, index)) {
            Some(hash) => Ok(*hash),
            None => self.stored.node(level, index),
        }
    }
}

/// Root of the first `size` entries.
pub fn root(log: &dyn AuditRead, size: u64) -> Result<Digest, LedgerError> {
    if size == 0 {
        return Ok(merkle::empty_root());
    }
    subtree(log, 0, size)
}

/// Places of the complete subtrees that the first `size` entries fall into, the largest first.
pub fn peaks(size: u64) -> Vec<(u8, u64)> {
    let mut start = 0;
    let levels = (0..64u8).rev().filter(|level| size >> level & 1 == 1);
    levels
        .map(|level| {
            let place = (level, start >> level);
            start += 1 << level;
            place
        })
        .collect()
}

/// Inclusion path of an entry among the first `size`. The caller gives index < size.
pub fn path(log: &dyn AuditRead, index: u64, size: u64) -> Result<Vec<Digest>, LedgerError> {
    let (mut start, mut count, mut path) = (0, size, Vec::new());
    while count > 1 {
        let left = merkle::split(count);
        if index - start < left {
            path.push(subtree(log, start + left, count - left)?);
            count = left;
        } else {
            path.push(subtree(log, start, left)?);
            (start, count) = (start + left, count - left);
        }
    }
    path.reverse();
    Ok(path)
}

/// Hash over `count` > 0 entries from `start`, a multiple of the power of two at or
/// above `count`: one row for a power of two, otherwise its peaks.
fn subtree(log: &dyn AuditRead, start: u64, count: u64) -> Result<Digest, LedgerError> {
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return log.node(level as u8, start >> level);
    }
    let left = merkle::split(count);
    let (left_hash, right_hash) =
        (subtree(log, start, left)?, subtree(log, start + left, count - left)?);
    Ok(merkle::node_hash(&left_hash, &right_hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Empty;
    impl AuditRead for Empty {
        fn node(&self, level: u8, index: u64) -> Result<Digest, LedgerError> {
            panic!("no row ({level}, {index}) should be asked for")
        }
    }

    #[test]
    fn the_peaks_of_a_log_are_enough_to_go_on_with_it() {
        let mut whole = Append::new(&Empty, 0);
        for size in 1..=70u64 {
            whole.push(&size.to_be_bytes()).unwrap();
            let edge: BTreeMap<_, _> =
                peaks(size).into_iter().map(|at| (at, whole.node(at.0, at.1).unwrap())).collect();
            let edge = Append { stored: &Empty, size, new: edge };
            let mut on = Append::new(&edge, size);
            assert_eq!(on.root().unwrap(), whole.root().unwrap());
            for later in size + 1..=75 {
                on.push(&later.to_be_bytes()).unwrap();
            }
            let path = path(&on, 74, 75).unwrap();
            let leaf = merkle::leaf_hash(&75u64.to_be_bytes());
            let root = on.root().unwrap();
            assert_eq!(merkle::root_from_inclusion(leaf, 74, 75, &path), Some(root));
        }
    }

    #[test]
    fn every_size_has_the_root_and_paths_of_the_plain_tree() {
        let mut log = Append::new(&Empty, 0);
        let mut leaves = Vec::new();
        assert_eq!(log.root().unwrap(), merkle::empty_root());
        for size in 1..=70u64 {
            let entry = size.to_be_bytes();
            assert_eq!(log.push(&entry).unwrap(), size - 1);
            leaves.push(merkle::leaf_hash(&entry));
            let root = merkle::root_with(&leaves, &merkle::node_hash).unwrap();
            assert_eq!(log.root().unwrap(), root);
        }
        // Paths for older sizes too.
        for size in 1..=70u64 {
            let root = root(&log, size).unwrap();
            for index in 0..size {
                let path = path(&log, index, size).unwrap();
                let leaf = leaves[index as usize];
                assert_eq!(merkle::root_from_inclusion(leaf, index, size, &path), Some(root));
            }
        }
    }
}
