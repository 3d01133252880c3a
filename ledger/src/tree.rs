//! The state tree: a Jellyfish Merkle tree with one version for each height. The
//! tree computes nodes, the store writes them.
//!
//! Nodes and values that a later version replaced are listed as stale since that
//! version; they go when no kept version needs them, never by version alone, for
//! the newest tree shares most of its nodes with old ones.

use crate::{
    error::LedgerError,
    rocks::{Order, View},
    state::Writes,
    store::{self, Batch, Column, StaleKind, decode, stale_key, value_key},
};
use jmt::{
    JellyfishMerkleTree, KeyHash, OwnedValue, Version,
    storage::{LeafNode, NibblePath, Node, NodeKey, TreeReader, TreeUpdateBatch},
};
use twinfold_types::{
    Digest, codec, limits,
    proof::{StateProof, TreeHasher, key_hash},
    subtree::{self, Part, Row, Subtree},
};

/// What [`Column::Values`] holds: the state key, and its value unless it was deleted.
pub type ValueRow = (Vec<u8>, Option<Vec<u8>>);

/// Versions kept below the newest stable checkpoint, for proofs under way.
pub const VERSIONS_KEPT: u64 = 64;
/// Stale rows removed at once; the rest goes with the next checkpoint.
const PRUNE_ROWS_MAX: usize = 20_000;

/// Nodes and values as the store holds them.
struct Stored<'a>(&'a View<'a>);

impl Stored<'_> {
    /// What a version has at a place.
    fn newest(&self, version: Version, place: KeyHash) -> Result<Option<ValueRow>, LedgerError> {
        let beyond = value_key(&place.0, version.saturating_add(1));
        let newest = self.0.rows(Column::Values, &place.0, Some(&beyond), Order::Backward, 1)?;
        let decode = |bytes: &[u8]| decode(bytes, "tree value", |why| self.0.damaged(why));
        newest.first().map(|(_, bytes)| decode(bytes)).transpose()
    }

    /// The state key at a place and its value, where a version has one.
    fn row(&self, version: Version, place: KeyHash) -> anyhow::Result<Row> {
        match self.newest(version, place)? {
            Some((key, Some(value))) => Ok((key, value)),
            _ => anyhow::bail!("a leaf of version {version} has no value"),
        }
    }

    /// The node that stands `nibbles` below a version's root, if any does, and its key.
    fn descend(&self, version: Version, nibbles: &[u8]) -> anyhow::Result<Option<(NodeKey, Node)>> {
        let mut key = NodeKey::new(version, NibblePath::from_iter([]));
        let mut node = self.get_node(&key)?;
        for nibble in nibbles {
            let Node::Internal(inner) = &node else { break };
            let found =
                inner.children_sorted().find(|(at, _)| at.as_usize() == usize::from(*nibble));
            let Some((at, child)) = found else { return Ok(None) };
            let path = key.nibble_path().nibbles().chain([at]);
            key = NodeKey::new(child.version, path.collect());
            node = self.get_node(&key)?;
        }
        Ok(Some((key, node)))
    }

    /// Every leaf below a node, in the order of their places.
    fn leaves(&self, key: &NodeKey, node: &Node, found: &mut Vec<KeyHash>) -> anyhow::Result<()> {
        match node {
            Node::Null => {}
            Node::Leaf(leaf) => found.push(leaf.key_hash()),
            Node::Internal(inner) => {
                for (at, child) in inner.children_sorted() {
                    let path = key.nibble_path().nibbles().chain([at]);
                    let key = NodeKey::new(child.version, path.collect());
                    self.leaves(&key, &self.get_node(&key)?, found)?;
                }
            }
        }
        Ok(())
    }

    fn subtree(&self, version: Version, nibbles: &[u8]) -> anyhow::Result<Subtree> {
        let Some((key, node)) = self.descend(version, nibbles)? else {
            return Ok(Subtree::Rows(vec![]));
        };
        if let Node::Internal(inner) = &node
            && inner.leaf_count() > limits::SUBTREE_ROWS_MAX
        {
            return self.parts(version, &key, &node);
        }
        let mut places = Vec::new();
        self.leaves(&key, &node, &mut places)?;
        // A leaf may stand above the part that is asked for, and beside it.
        places.retain(|place| subtree::is_inside(&place.0, nibbles));
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for place in places {
            let (state_key, value) = self.row(version, place)?;
            bytes += state_key.len() + value.len();
            if bytes > limits::SUBTREE_BYTES_MAX && matches!(node, Node::Internal(_)) {
                return self.parts(version, &key, &node);
            }
            rows.push((state_key, value));
        }
        Ok(Subtree::Rows(rows))
    }

    /// The sixteen parts below an inner node of a version; a child that is a leaf says its place.
    fn parts(&self, version: Version, key: &NodeKey, node: &Node) -> anyhow::Result<Subtree> {
        let mut parts = Box::new([Part::Empty; 16]);
        if let Node::Internal(inner) = node {
            for (at, child) in inner.children_sorted() {
                let path = key.nibble_path().nibbles().chain([at]);
                parts[at.as_usize()] = match child.is_leaf() {
                    true => self.leaf(version, &NodeKey::new(child.version, path.collect()))?,
                    false => Part::Inner(Digest(child.hash)),
                };
            }
        }
        Ok(Subtree::Parts(parts))
    }

    fn leaf(&self, version: Version, key: &NodeKey) -> anyhow::Result<Part> {
        match self.get_node(key)? {
            Node::Leaf(leaf) => Ok(Part::of_row(&self.row(version, leaf.key_hash())?)),
            _ => anyhow::bail!("a leaf of version {version} is none"),
        }
    }
}

impl TreeReader for Stored<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let bytes = self.0.get(Column::Nodes, &codec::encode(key))?;
        let decode = |bytes: Vec<u8>| decode(&bytes, "tree node", |why| self.0.damaged(why));
        Ok(bytes.map(decode).transpose()?)
    }

    fn get_value_option(
        &self,
        max_version: Version,
        key: KeyHash,
    ) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.newest(max_version, key)?.and_then(|(_, value)| value))
    }

    /// Only for restoring a tree node by node, which is not done here.
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("the rightmost leaf is not kept")
    }
}

/// The state key at a place and its value there, as a version has them.
pub fn newest(
    view: &View<'_>,
    version: Version,
    place: KeyHash,
) -> Result<Option<ValueRow>, LedgerError> {
    Stored(view).newest(version, place)
}

/// Adds a version's nodes, values and stale rows to the batch, and says its root.
pub fn update(
    view: &View<'_>,
    version: Version,
    writes: &Writes,
    batch: &mut Batch,
) -> Result<Digest, LedgerError> {
    let (root, update) = match writes.is_empty() && version > 0 {
        true => carry(view, version)?,
        false => {
            let set = writes.iter().map(|(key, value)| (key_hash(key), value.clone()));
            let stored = Stored(view);
            let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&stored);
            let (root, update) =
                tree.put_value_set(set, version).map_err(|error| from_tree(view, error))?;
            (Digest(root.0), update)
        }
    };
    for (key, node) in update.node_batch.nodes() {
        batch.put(Column::Nodes, codec::encode(key), node);
    }
    for stale in &update.stale_node_index_batch {
        let key = codec::encode(&stale.node_key);
        batch.put_raw(
            Column::Stale,
            stale_key(stale.stale_since_version, StaleKind::Node, &key),
            [],
        );
    }
    for (key, value) in writes {
        put_value(view, version, key, value, batch)?;
    }
    Ok(root)
}

/// A version without changes has the same root node under its own key.
fn carry(view: &View<'_>, version: Version) -> Result<(Digest, TreeUpdateBatch), LedgerError> {
    let stored = Stored(view);
    let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&stored);
    let root_key = |version| NodeKey::new(version, std::iter::empty().collect::<NibblePath>());
    let last = root_key(version - 1);
    let from = |error| from_tree(view, error);
    let (node, root) =
        (stored.get_node(&last).map_err(from)?, tree.get_root_hash(version - 1).map_err(from)?);
    let mut update = TreeUpdateBatch::default();
    update.node_batch.insert_node(root_key(version), node);
    update
        .stale_node_index_batch
        .insert(jmt::storage::StaleNodeIndex { stale_since_version: version, node_key: last });
    Ok((Digest(root.0), update))
}

/// Gives a later version the root of an earlier one; none between them has any.
pub fn copy_root(
    view: &View<'_>,
    from: Version,
    to: Version,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
    let root_key = |version| NodeKey::new(version, std::iter::empty().collect::<NibblePath>());
    let node = Stored(view).get_node(&root_key(from)).map_err(|error| from_tree(view, error))?;
    batch.put(Column::Nodes, codec::encode(&root_key(to)), &node);
    let old = codec::encode(&root_key(from));
    batch.put_raw(Column::Stale, stale_key(to, StaleKind::Node, &old), []);
    Ok(())
}

fn put_value(
    view: &View<'_>,
    version: Version,
    state_key: &[u8],
    value: &Option<Vec<u8>>,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
    let hash = key_hash(state_key);
    let mut stale =
        |key: &[u8]| batch.put_raw(Column::Stale, stale_key(version, StaleKind::Value, key), []);
    for (older, _) in view.rows(Column::Values, &hash.0, None, Order::Backward, 1)? {
        stale(&older);
    }
    let key = value_key(&hash.0, version);
    if value.is_none() {
        // Absence needs no row once nothing older is kept.
        stale(&key);
    }
    batch.put(Column::Values, key, &(state_key, value));
    Ok(())
}

/// Root of a kept version.
pub fn root(view: &View<'_>, version: Version) -> Result<Digest, LedgerError> {
    let stored = Stored(view);
    let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&stored);
    let root = tree.get_root_hash(version).map_err(|error| from_tree(view, error))?;
    Ok(Digest(root.0))
}

/// A key's value, or its absence, at a kept version.
pub fn prove(view: &View<'_>, version: Version, key: &[u8]) -> Result<StateProof, LedgerError> {
    let stored = Stored(view);
    let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&stored);
    let (value, path) =
        tree.get_with_proof(key_hash(key), version).map_err(|error| from_tree(view, error))?;
    Ok(StateProof { key: key.to_vec(), value, path })
}

/// The rows of a kept version under some nibbles, or the parts that they fall into.
pub fn subtree(view: &View<'_>, version: Version, nibbles: &[u8]) -> Result<Subtree, LedgerError> {
    Stored(view).subtree(version, nibbles).map_err(|error| from_tree(view, error))
}

/// Removes what no version from `kept` on needs.
pub fn prune(view: &View<'_>, kept: Version, batch: &mut Batch) -> Result<(), LedgerError> {
    let end = kept.saturating_add(1).to_be_bytes();
    for key in view.keys_below(Column::Stale, &end, PRUNE_ROWS_MAX)? {
        let Some((kind, row)) = store::parse_stale(&key) else {
            return Err(view.damaged(format!("stale row {key:02x?}")));
        };
        batch.delete(kind.column(), row);
        batch.delete(Column::Stale, key);
    }
    Ok(())
}

fn from_tree(view: &View<'_>, error: anyhow::Error) -> LedgerError {
    match error.downcast::<LedgerError>() {
        Ok(error) => error,
        Err(error) => view.damaged(format!("state tree: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::Rocks;

    /// Every part below one, each read as a peer would; how many leaves the lists name.
    fn read_all(rocks: &Rocks, nibbles: Vec<u8>, expected: Digest, rows: &mut Writes) -> usize {
        let part = subtree(&rocks.view(), 1, &nibbles).unwrap();
        match Subtree::decode(&codec::encode(&part), &nibbles, &expected).unwrap() {
            Subtree::Rows(found) => {
                rows.extend(found.into_iter().map(|(key, value)| (key, Some(value))));
                0
            }
            Subtree::Parts(parts) => {
                let below = (0..).zip(*parts).filter(|(_, part)| *part != Part::Empty);
                let read = |(nibble, part): (u8, Part)| {
                    let named = usize::from(matches!(part, Part::Leaf { .. }));
                    named + read_all(rocks, [&nibbles[..], &[nibble]].concat(), part.hash(), rows)
                };
                below.map(read).sum()
            }
        }
    }

    #[test]
    fn a_leaf_among_the_parts_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let rocks = Rocks::open(dir.path(), None).unwrap();
        let row = |number: u8| (vec![number], Some(vec![number; 150_000]));
        let mut all = Writes::new();
        let mut root = Digest::ZERO;
        // So large that they are not listed together, and of two versions.
        for version in 0..2u8 {
            let writes: Writes = (8 * version..8 * version + 9).map(row).collect();
            let mut batch = Batch::default();
            root = update(&rocks.view(), version.into(), &writes, &mut batch).unwrap();
            rocks.write(batch).unwrap();
            all.extend(writes);
        }
        let mut found = Writes::new();
        assert!(read_all(&rocks, vec![], root, &mut found) > 2);
        assert_eq!(found, all);
    }
}
