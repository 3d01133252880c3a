//! The state and its tree: every node by its hash, every leaf by its value, every row of the
//! state by its leaf, and of older versions no more than is kept.

use super::Check;
use crate::{
    ledger,
    store::{self, Column, StaleKind},
    tree::{self, ValueRow},
};
use jmt::{
    KeyHash, ValueHash,
    storage::{LeafNode, NibblePath, Node, NodeKey},
};
use std::collections::BTreeSet;
use twinfold_types::{
    Height, codec,
    limits::DECODE_BYTES_MAX,
    proof::{TreeHasher, key_hash},
};

/// Rows that nobody will need, and since which version: a deleted one that came back is listed twice.
type Stale = BTreeSet<(StaleKind, Vec<u8>, u64)>;

/// Which nodes of the tree were met.
#[derive(Default)]
struct Met {
    /// From the head's root, and from any kept one.
    of_head: BTreeSet<Vec<u8>>,
    all: BTreeSet<Vec<u8>>,
    leaves: u64,
}

impl Check<'_, '_> {
    pub(super) fn tree(&mut self) {
        let (roots, count) = self.node_keys();
        let head = self.head.height.0;
        let mut met = Met::default();
        for version in roots.iter().rev().copied() {
            if version > head {
                let what = format!("a tree of height {version}, above the head");
                self.report.find("nodes", None, what);
                continue;
            }
            let read = ledger::checkpoint(self.view(), Height(version));
            let own = self.read(Column::Checkpoints, read).flatten();
            let expected = own.map(|own| own.state_root.0);
            self.walk(&root_key(version), expected, version, &mut met);
            if version == head {
                met.of_head = met.all.clone();
            }
        }
        let kept = self.stable().0.saturating_sub(tree::VERSIONS_KEPT);
        for version in kept.max(self.first().0 - 1)..=head {
            if !roots.contains(&version) {
                let what = "a height whose tree is kept has no root".to_string();
                self.report.find("nodes", Some(Height(version)), what);
            }
        }
        self.report.area("tree nodes", count);
        let rows = self.rows(Column::State, |_, _, _| {});
        if rows != met.leaves {
            let what = format!("{rows} rows, the tree has {} leaves", met.leaves);
            self.report.find("state", Some(self.head.height), what);
        }
        self.report.area("state", rows);
        let stale = self.stale(&met);
        self.values(&stale);
        self.lost_nodes(&met, &stale);
    }

    /// Versions that have a root, and how many nodes there are.
    fn node_keys(&mut self) -> (BTreeSet<u64>, u64) {
        let mut roots = BTreeSet::new();
        let count = self.rows(Column::Nodes, |check, key, _| {
            match codec::decode::<NodeKey>(key, DECODE_BYTES_MAX) {
                Ok(node) if node.nibble_path().num_nibbles() == 0 => {
                    roots.insert(node.version());
                }
                Ok(_) => {}
                Err(error) => check.find(Column::Nodes, key, None, error.to_string()),
            }
        });
        (roots, count)
    }

    /// A node and all below it that were not met yet, as a version has them.
    fn walk(&mut self, key: &NodeKey, expected: Option<[u8; 32]>, version: u64, met: &mut Met) {
        let row = codec::encode(key);
        if !met.all.insert(row.clone()) {
            return;
        }
        if met.all.len().is_multiple_of(1_000) {
            (self.progress)("tree", met.all.len() as u64);
        }
        let read = self.look.value::<Node>(Column::Nodes, &row, "tree node");
        let Some(node) = self.read(Column::Nodes, read) else { return };
        let Some(node) = node else {
            return self.find(
                Column::Nodes,
                &row,
                None,
                "a node above it leads to it: it is missing",
            );
        };
        let hash = match &node {
            Node::Internal(inner) => inner.hash::<TreeHasher>(),
            Node::Leaf(leaf) => leaf.hash::<TreeHasher>(),
            // Of a state without rows, which only a tree in the making has.
            Node::Null => return,
        };
        if expected.is_some_and(|expected| expected != hash) {
            self.find(Column::Nodes, &row, None, "its hash is not the one that is named above it");
        }
        match &node {
            Node::Internal(inner) => {
                for (nibble, child) in inner.children_sorted() {
                    let path = key.nibble_path().nibbles().chain([nibble]);
                    let below = NodeKey::new(child.version, path.collect());
                    self.walk(&below, Some(child.hash), version, met);
                }
            }
            Node::Leaf(leaf) => self.leaf(leaf, version, met),
            Node::Null => {}
        }
    }

    /// Its value is what the leaf's hash says, and in the head's tree what the state has.
    fn leaf(&mut self, leaf: &LeafNode, version: u64, met: &mut Met) {
        let place = leaf.key_hash();
        let newest = tree::newest(self.view(), version, place);
        let Some(newest) = self.read(Column::Values, newest) else { return };
        let Some((key, Some(value))) = newest else {
            let what = format!("version {version} has no value");
            return self.find(Column::Values, &place.0, None, what);
        };
        let made = LeafNode::new(place, ValueHash::with::<TreeHasher>(&value));
        if key_hash(&key) != place || made.hash::<TreeHasher>() != leaf.hash::<TreeHasher>() {
            let what = format!("the leaf of version {version} has another value");
            self.find(Column::Values, &place.0, None, what);
        }
        if version != self.head.height.0 {
            return;
        }
        met.leaves += 1;
        let stored = self.view().get(Column::State, &key);
        if self.read(Column::State, stored).is_some_and(|stored| stored.as_ref() != Some(&value)) {
            self.find(Column::State, &key, None, "the tree has another value");
        }
    }

    fn stale(&mut self, met: &Met) -> Stale {
        let mut stale = Stale::new();
        let count = self.rows(Column::Stale, |check, key, value| {
            let since = key.first_chunk::<8>().map(|since| u64::from_be_bytes(*since));
            let (Some(since), Some((kind, row))) = (since, store::parse_stale(key)) else {
                return check.find(Column::Stale, key, None, "it names no row");
            };
            let needed = kind == StaleKind::Node && met.of_head.contains(row);
            if needed || since > check.head.height.0 || !value.is_empty() {
                check.find(Column::Stale, key, None, "the newest state needs the row it names");
            }
            stale.insert((kind, row.to_vec(), since));
        });
        self.report.area("rows to be forgotten", count);
        stale
    }

    /// Of each place the newest row stays, and no older one that nothing will remove.
    fn values(&mut self, stale: &Stale) {
        let mut older: Option<Vec<u8>> = None;
        let count = self.rows(Column::Values, |check, key, value| {
            let Some((state_key, content)) = check.decode::<ValueRow>(Column::Values, key, value)
            else {
                return;
            };
            let (Some((place, version)), true) = (key.split_first_chunk::<32>(), key.len() == 40)
            else {
                return check.find(Column::Values, key, None, "it has no place");
            };
            let version = version.first_chunk::<8>().map(|version| u64::from_be_bytes(*version));
            if key_hash(&state_key) != KeyHash(*place) {
                check.find(Column::Values, key, None, "it is the value of another key");
            }
            let listed = |row: &[u8]| {
                version
                    .is_some_and(|since| stale.contains(&(StaleKind::Value, row.to_vec(), since)))
            };
            let before = older.replace(key.to_vec()).filter(|older| older.starts_with(place));
            if let Some(before) = before
                && !listed(&before)
            {
                check.find(
                    Column::Values,
                    &before,
                    None,
                    "a later one replaced it: it is not listed",
                );
            }
            if content.is_none() && !listed(key) {
                check.find(
                    Column::Values,
                    key,
                    None,
                    "it says that there is nothing: it is not listed",
                );
            }
        });
        self.report.area("values", count);
    }

    fn lost_nodes(&mut self, met: &Met, stale: &Stale) {
        self.rows(Column::Nodes, |check, key, _| {
            let first = (StaleKind::Node, key.to_vec(), 0);
            let listed = stale
                .range(first..)
                .next()
                .is_some_and(|(kind, row, _)| *kind == StaleKind::Node && row == key);
            if !met.all.contains(key) && !listed {
                check.find(Column::Nodes, key, None, "nothing leads to it");
            }
        });
    }
}

fn root_key(version: u64) -> NodeKey {
    NodeKey::new(version, NibblePath::from_iter([]))
}
