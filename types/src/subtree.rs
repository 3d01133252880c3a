//! Parts of the state tree, each checked against the hash that the tree gives it: from
//! a certified root two nodes find the first key in which their states differ.
//!
//! The tree is a Jellyfish Merkle tree (Gao, Hu, Wu 2021): a key's place is a digest, read
//! from its highest bit on. An empty part has a fixed hash, a part with one row is that
//! row's leaf, any other is the hash of its two halves. A leaf hashes alike wherever it is
//! said to stand, so a part with one row names the row's place and is held against it.

use crate::{Digest, codec, limits, proof::TreeHasher, proof::key_hash};
use jmt::SimpleHasher;
use serde::{Deserialize, Serialize};

const EMPTY: Digest = Digest(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");
const LEAF: &[u8] = b"JMT::LeafNode";
const INNER: &[u8] = b"JMT::IntrnalNode";
/// Four-bit steps from the root to a leaf.
pub const NIBBLES_MAX: usize = 64;

/// A state key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What one of sixteen parts holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    Empty,
    /// One row: its place, and the hash of its value.
    Leaf {
        place: Digest,
        value: Digest,
    },
    /// More rows: the hash of all of them.
    Inner(Digest),
}

/// The rows whose places begin with some nibbles, or, where they are too many to be
/// listed, the sixteen parts that they fall into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subtree {
    /// In the order of their places.
    Rows(Vec<Row>),
    Parts(Box<[Part; 16]>),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubtreeError {
    #[error("a part of the state: {0}")]
    Codec(#[from] codec::CodecError),
    #[error("row {index} of a part of the state stands outside it or out of order")]
    Order { index: usize },
    #[error("the parts of a part of the state are not named as they should be")]
    Parts,
    #[error(
        "the leaf at {place} is said to stand in part {nibble} of a part of the state, and does not"
    )]
    Place { nibble: u8, place: Digest },
    #[error("a part of the state hashes to {found}, expected {expected}")]
    Hash { found: Digest, expected: Digest },
}

impl Part {
    /// The part that holds this row only.
    pub fn of_row((key, value): &Row) -> Self {
        Part::Leaf { place: Digest(key_hash(key).0), value: hash(&[value]) }
    }

    pub fn hash(self) -> Digest {
        match self {
            Part::Empty => EMPTY,
            Part::Leaf { place, value } => leaf(&place, &value),
            Part::Inner(hash) => hash,
        }
    }
}

impl Subtree {
    /// Reads what a peer sent of the rows under `nibbles`, and checks it against the
    /// hash that the tree gives them.
    pub fn decode(bytes: &[u8], nibbles: &[u8], expected: &Digest) -> Result<Self, SubtreeError> {
        let subtree: Self = codec::decode(bytes, limits::SUBTREE_ANSWER_BYTES_MAX)?;
        match &subtree {
            Subtree::Rows(rows) => check_order(rows, nibbles)?,
            Subtree::Parts(parts) => {
                check_names(&parts[..])?;
                check_places(&parts[..], nibbles)?;
            }
        }
        let found = subtree.hash(nibbles.len());
        if found != *expected {
            return Err(SubtreeError::Hash { found, expected: *expected });
        }
        Ok(subtree)
    }

    /// Hash of the part that stands `depth` nibbles below the root.
    pub fn hash(&self, depth: usize) -> Digest {
        match self {
            Subtree::Rows(rows) => hash_rows(&leaves(rows), 4 * depth),
            Subtree::Parts(parts) => hash_parts(&parts[..]),
        }
    }

    /// The sixteen parts of what stands `depth` nibbles below the root.
    pub fn parts(&self, depth: usize) -> [Part; 16] {
        let rows = match self {
            Subtree::Parts(parts) => return **parts,
            Subtree::Rows(rows) => rows,
        };
        let leaves = leaves(rows);
        std::array::from_fn(|nibble| {
            let of_part = |(place, _): &&Leaf| nibble_of(place, depth) == nibble as u8;
            let part: Vec<Leaf> = leaves.iter().filter(of_part).copied().collect();
            match part[..] {
                [] => Part::Empty,
                [(place, value)] => Part::Leaf { place: Digest(place), value },
                _ => Part::Inner(hash_rows(&part, 4 * (depth + 1))),
            }
        })
    }

    /// The rows of one of its parts, where its rows are listed.
    pub fn narrowed(&self, depth: usize, nibble: u8) -> Option<Subtree> {
        let Subtree::Rows(rows) = self else { return None };
        let of_part = |(key, _): &&Row| nibble_of(&key_hash(key).0, depth) == nibble;
        Some(Subtree::Rows(rows.iter().filter(of_part).cloned().collect()))
    }
}

/// A place, and the hash of the value that stands there.
type Leaf = ([u8; 32], Digest);

fn leaves(rows: &[Row]) -> Vec<Leaf> {
    rows.iter().map(|(key, value)| (key_hash(key).0, hash(&[value]))).collect()
}

/// Rows in the order of their places, from a bit of the places on.
fn hash_rows(leaves: &[Leaf], bit: usize) -> Digest {
    match leaves {
        [] => EMPTY,
        [(place, value)] => leaf(&Digest(*place), value),
        _ => {
            let right = leaves.partition_point(|(place, _)| !bit_of(place, bit));
            let (left, right) = leaves.split_at(right);
            inner(hash_rows(left, bit + 1), hash_rows(right, bit + 1))
        }
    }
}

fn hash_parts(parts: &[Part]) -> Digest {
    let mut held = parts.iter().filter(|part| **part != Part::Empty);
    match (held.next(), held.next()) {
        (None, _) => EMPTY,
        (Some(part @ Part::Leaf { .. }), None) => part.hash(),
        _ if parts.len() == 1 => parts[0].hash(),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            inner(hash_parts(left), hash_parts(right))
        }
    }
}

fn leaf(place: &Digest, value: &Digest) -> Digest {
    hash(&[LEAF, &place.0, &value.0])
}

fn inner(left: Digest, right: Digest) -> Digest {
    hash(&[INNER, &left.0, &right.0])
}

fn hash(pieces: &[&[u8]]) -> Digest {
    let mut hasher = TreeHasher::new();
    pieces.iter().for_each(|piece| hasher.update(piece));
    Digest(hasher.finalize())
}

/// A place has 256 bits; two different ones part before they end.
fn bit_of(place: &[u8; 32], bit: usize) -> bool {
    place.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
}

fn nibble_of(place: &[u8; 32], depth: usize) -> u8 {
    let byte = place.get(depth / 2).copied().unwrap_or(0);
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// Whether a place begins with these nibbles.
pub fn is_inside(place: &[u8; 32], nibbles: &[u8]) -> bool {
    (0..).zip(nibbles).all(|(depth, nibble)| nibble_of(place, depth) == *nibble)
}

fn check_order(rows: &[Row], nibbles: &[u8]) -> Result<(), SubtreeError> {
    let mut last: Option<[u8; 32]> = None;
    for (index, (key, _)) in rows.iter().enumerate() {
        let place = key_hash(key).0;
        if !is_inside(&place, nibbles) || last.is_some_and(|last| last >= place) {
            return Err(SubtreeError::Order { index });
        }
        last = Some(place);
    }
    Ok(())
}

/// A part with a single leaf and an empty part have hashes of their own: honest nodes list a
/// single row, and call an empty part so.
fn check_names(parts: &[Part]) -> Result<(), SubtreeError> {
    let held = parts.iter().filter(|part| **part != Part::Empty).count();
    let hollow = parts.contains(&Part::Inner(EMPTY));
    let lone = held == 1 && parts.iter().any(|part| matches!(part, Part::Leaf { .. }));
    if hollow || lone { Err(SubtreeError::Parts) } else { Ok(()) }
}

/// Each leaf stands in the part that its place leads to: the hashes above would be the same
/// with the leaf beside an empty part moved there.
fn check_places(parts: &[Part], nibbles: &[u8]) -> Result<(), SubtreeError> {
    for (nibble, part) in (0..).zip(parts) {
        if let Part::Leaf { place, .. } = part
            && !is_inside(&place.0, &[nibbles, &[nibble]].concat())
        {
            return Err(SubtreeError::Place { nibble, place: *place });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jmt::{
        KeyHash, OwnedValue, Version,
        storage::{LeafNode, Node, NodeKey, TreeReader},
    };
    use proptest::prelude::*;

    /// What a tree has before its first version.
    struct Nothing;

    impl TreeReader for Nothing {
        fn get_node_option(&self, _: &NodeKey) -> anyhow::Result<Option<Node>> {
            Ok(None)
        }
        fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
            Ok(None)
        }
        fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
            Ok(None)
        }
    }

    fn rows(keys: impl IntoIterator<Item = u16>) -> Vec<Row> {
        let mut rows: Vec<Row> = keys
            .into_iter()
            .map(|key| (key.to_be_bytes().to_vec(), key.to_string().into_bytes()))
            .collect();
        rows.sort_by_key(|(key, _)| key_hash(key).0);
        rows
    }

    fn tree_root(rows: &[Row]) -> Digest {
        let tree = jmt::JellyfishMerkleTree::<_, TreeHasher>::new(&Nothing);
        let set = rows.iter().map(|(key, value)| (key_hash(key), Some(value.clone())));
        Digest(tree.put_value_set(set.collect::<Vec<(KeyHash, _)>>(), 0).unwrap().0.0)
    }

    proptest! {
        /// The library's tree is the oracle.
        #[test]
        fn rows_and_their_parts_hash_to_the_trees_root(
            keys in proptest::collection::btree_set(any::<u16>(), 1..200),
        ) {
            let all = Subtree::Rows(rows(keys));
            let Subtree::Rows(listed) = &all else { unreachable!() };
            let root = tree_root(listed);
            prop_assert_eq!(all.hash(0), root);
            let parts = all.parts(0);
            prop_assert_eq!(Subtree::Parts(Box::new(parts)).hash(0), root);
            for nibble in 0..16 {
                let part = all.narrowed(0, nibble).unwrap();
                prop_assert_eq!(part.hash(1), parts[usize::from(nibble)].hash());
                let bytes = codec::encode(&part);
                let read = Subtree::decode(&bytes, &[nibble], &part.hash(1));
                prop_assert_eq!(read, Ok(part));
            }
        }
    }

    #[test]
    fn a_row_that_is_changed_left_out_moved_or_foreign_is_refused() {
        let honest = rows(0..40);
        let root = Subtree::Rows(honest.clone()).hash(0);
        let read = |rows: Vec<Row>, nibbles: &[u8]| {
            Subtree::decode(&codec::encode(&Subtree::Rows(rows)), nibbles, &root)
        };
        assert!(read(honest.clone(), &[]).is_ok());
        let mut changed = honest.clone();
        changed[7].1.push(0);
        assert!(matches!(read(changed, &[]), Err(SubtreeError::Hash { .. })));
        let mut short = honest.clone();
        short.remove(3);
        assert!(matches!(read(short, &[]), Err(SubtreeError::Hash { .. })));
        let mut swapped = honest.clone();
        swapped.swap(0, 1);
        assert_eq!(read(swapped, &[]), Err(SubtreeError::Order { index: 1 }));
        assert!(matches!(read(honest, &[0]), Err(SubtreeError::Order { .. })));
        let mut parts = Box::new([Part::Empty; 16]);
        parts[3] = Part::Inner(EMPTY);
        let hollow = codec::encode(&Subtree::Parts(parts));
        assert_eq!(Subtree::decode(&hollow, &[], &EMPTY), Err(SubtreeError::Parts));
        assert!(matches!(Subtree::decode(&[9; 40], &[], &root), Err(SubtreeError::Codec(_))));
    }

    #[test]
    fn a_peer_that_moves_a_leaf_is_refused() {
        let few = Subtree::Rows(rows(0..6));
        let (root, honest) = (few.hash(0), few.parts(0));
        let read = |parts: [Part; 16]| {
            Subtree::decode(&codec::encode(&Subtree::Parts(Box::new(parts))), &[], &root)
        };
        assert!(read(honest).is_ok());
        let is_leaf = |part: &Part| matches!(part, Part::Leaf { .. });
        let (mut moved, mut alike) = (0, 0);
        for from in (0..16).filter(|at| is_leaf(&honest[*at])) {
            for to in (0..16).filter(|at| honest[*at] == Part::Empty) {
                let mut parts = honest;
                parts.swap(from, to);
                moved += 1;
                // The hash alone does not tell: these a joining node would have believed.
                alike += usize::from(hash_parts(&parts) == root);
                let refused = read(parts).unwrap_err();
                let nibble = to as u8;
                assert!(matches!(refused, SubtreeError::Place { nibble: at, .. } if at == nibble));
                // With another place beside it, it is another leaf.
                if let Part::Leaf { place, .. } = &mut parts[to] {
                    place.0[0] = nibble << 4;
                }
                assert!(matches!(read(parts), Err(SubtreeError::Hash { .. })));
            }
        }
        assert!(moved > 20 && alike > 0, "{alike} of {moved} have the same hash");
    }

    #[test]
    fn a_lone_leaf_is_listed_as_a_row() {
        let one = Subtree::Rows(rows([7]));
        let parts = Subtree::Parts(Box::new(one.parts(0)));
        assert_eq!(parts.hash(0), one.hash(0));
        let lone = Subtree::decode(&codec::encode(&parts), &[], &one.hash(0));
        assert_eq!(lone, Err(SubtreeError::Parts));
        assert!(Subtree::decode(&codec::encode(&one), &[], &one.hash(0)).is_ok());
    }
}
