//! Merkle trees in the shape of RFC 6962 §2.1: a list of n > 1 entries splits at
//! the largest power of two below n. The audit log uses the RFC's own hashes
//! (SHA-256, prefixes 0 and 1); models and blobs use tagged BLAKE3 nodes.

use crate::Digest;
use sha2::{Digest as _, Sha256};

/// RFC 6962 leaf hash.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// RFC 6962 node hash.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let hasher = Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0);
    Digest(hasher.finalize().into())
}

/// RFC 6962 root of the empty list.
pub fn empty_root() -> Digest {
    Digest(Sha256::digest([]).into())
}

/// Where a list of n > 1 entries splits.
pub fn split(n: u64) -> u64 {
    debug_assert!(n > 1);
    1 << (63 - (n - 1).leading_zeros())
}

/// Root over leaf hashes with any node function; `None` for no leaves.
pub fn root_with(leaves: &[Digest], node: &impl Fn(&Digest, &Digest) -> Digest) -> Option<Digest> {
    match leaves.len() {
        0 => None,
        1 => Some(leaves[0]),
        n => {
            let (left, right) = leaves.split_at(split(n as u64) as usize);
            Some(node(&root_with(left, node)?, &root_with(right, node)?))
        }
    }
}

/// The root that an inclusion path leads to (RFC 9162 §2.1.3.2), or `None` when
/// the path has the wrong length for (index, size).
pub fn root_from_inclusion(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut root) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(sibling, &root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
        if leaves.len() < 2 {
            return vec![];
        }
        let at = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(at);
        let root = |side: &[Digest]| root_with(side, &node_hash).unwrap();
        let (mut inner, sibling) = if index < at {
            (path(left, index), root(right))
        } else {
            (path(right, index - at), root(left))
        };
        inner.push(sibling);
        inner
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
        for size in 1..40usize {
            let leaves: Vec<_> = (0..size).map(|i| leaf_hash(&[i as u8])).collect();
            let root = root_with(&leaves, &node_hash).unwrap();
            for index in 0..size {
                let path = path(&leaves, index);
                let prove = |leaf, at| root_from_inclusion(leaf, at, size as u64, &path);
                assert_eq!(prove(leaves[index], index as u64), Some(root));
                assert_ne!(prove(leaf_hash(b"other"), index as u64), Some(root));
                assert_eq!(prove(leaves[index], size as u64), None);
            }
        }
    }

    #[test]
    fn the_empty_root_is_that_of_the_rfc() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty_root().to_string(), expected);
    }
}
