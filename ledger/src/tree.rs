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
    Digest, codec,
    proof::{StateProof, TreeHasher, key_hash},
};

/// Versions kept below the newest stable checkpoint, for proofs under way.
pub const VERSIONS_KEPT: u64 = 64;
/// Stale rows removed at once; the rest goes with the next checkpoint.
const PRUNE_ROWS_MAX: usize = 20_000;

/// Nodes and values as the store holds them.
struct Stored<'a>(&'a View<'a>);

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
        let beyond = value_key(&key.0, max_version.saturating_add(1));
        let newest = self.0.rows(Column::Values, &key.0, Some(&beyond), Order::Backward, 1)?;
        let decode = |bytes: &[u8]| decode(bytes, "tree value", |why| self.0.damaged(why));
        match newest.first() {
            Some((_, bytes)) => Ok(decode(bytes)?),
            None => Ok(None),
        }
    }

    /// Only for restoring a tree node by node, which is not done here.
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("the rightmost leaf is not kept")
    }
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
        put_value(view, version, &key_hash(key), value, batch)?;
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

fn put_value(
    view: &View<'_>,
    version: Version,
    hash: &KeyHash,
    value: &Option<Vec<u8>>,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
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
    batch.put(Column::Values, key, value);
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
