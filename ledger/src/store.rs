//! The layout of the folder: which column holds what under which key. Numbers in
//! keys are big-endian, so that a scan lists in natural order; values are in the
//! canonical encoding unless said otherwise.

use crate::error::LedgerError;
use serde::{Serialize, de::DeserializeOwned};
use twinfold_types::{
    ClusterId, Digest, Epoch, Height, RegionId, TaskId, TimeMs, TxId, codec, limits,
    model::{Level, ModelId, ModelRecord},
};

/// Version of this layout; a folder of another one is refused by name.
pub const LAYOUT_VERSION: u32 = 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// `format`, `genesis`, `head`, `stable`, `first`.
    Meta,
    /// Height → block.
    Blocks,
    /// Height → commit certificate.
    Certificates,
    /// Block digest → height.
    BlockIndex,
    /// (height, receipt index) → receipt.
    Receipts,
    /// Transaction → [`TxPlace`].
    Txs,
    /// Height → our own checkpoint of it.
    Checkpoints,
    /// State key → newest value (raw).
    State,
    /// Tree node key → tree node.
    Nodes,
    /// (key hash, version) → state key and its value at that version, if any.
    Values,
    /// (version, kind, key) → nothing: rows that no version from this one on needs.
    Stale,
    /// (level, index) → hash of a complete subtree of the audit log (raw).
    Audit,
    /// (last valid time, transaction) → nothing: what was applied in the window.
    Replay,
    /// (task, level, version, model) → nothing.
    Models,
    /// (content digest, height, model) → nothing.
    ModelDigests,
    /// Epoch → its committee.
    Committees,
    /// Epoch → the stable checkpoint of its last height.
    EpochEnds,
    /// Height → the recovery, accepted by the operator, that goes on from it.
    Recoveries,
    /// Nibbles → the part of the state below them: only while a ledger is in the making.
    Joining,
}

impl Column {
    pub const ALL: [Column; 19] = [
        Column::Meta,
        Column::Blocks,
        Column::Certificates,
        Column::BlockIndex,
        Column::Receipts,
        Column::Txs,
        Column::Checkpoints,
        Column::State,
        Column::Nodes,
        Column::Values,
        Column::Stale,
        Column::Audit,
        Column::Replay,
        Column::Models,
        Column::ModelDigests,
        Column::Committees,
        Column::EpochEnds,
        Column::Recoveries,
        Column::Joining,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Column::Meta => "meta",
            Column::Blocks => "blocks",
            Column::Certificates => "certificates",
            Column::BlockIndex => "block_index",
            Column::Receipts => "receipts",
            Column::Txs => "txs",
            Column::Checkpoints => "checkpoints",
            Column::State => "state",
            Column::Nodes => "nodes",
            Column::Values => "values",
            Column::Stale => "stale",
            Column::Audit => "audit",
            Column::Replay => "replay",
            Column::Models => "models",
            Column::ModelDigests => "model_digests",
            Column::Committees => "committees",
            Column::EpochEnds => "epoch_ends",
            Column::Recoveries => "recoveries",
            Column::Joining => "joining",
        }
    }
}

/// Keys of [`Column::Meta`].
pub const META_FORMAT: &[u8] = b"format";
pub const META_GENESIS: &[u8] = b"genesis";
pub const META_HEAD: &[u8] = b"head";
pub const META_STABLE: &[u8] = b"stable";
/// Layout version and chain, in a folder whose ledger is not complete.
pub const META_JOINING: &[u8] = b"joining";
/// Lowest height whose block, receipts and certificate are here.
pub const META_FIRST: &[u8] = b"first";

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct TxPlace {
    pub height: Height,
    /// Position among the block's transactions.
    pub position: u32,
    /// Index of its receipt in the audit log.
    pub audit: u64,
}

pub fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

pub fn epoch_key(epoch: Epoch) -> [u8; 8] {
    epoch.0.to_be_bytes()
}

pub fn receipt_key(height: Height, index: u32) -> Vec<u8> {
    join(&[&height.0.to_be_bytes(), &index.to_be_bytes()])
}

pub fn replay_key(valid_until: TimeMs, id: &TxId) -> Vec<u8> {
    join(&[&valid_until.0.to_be_bytes(), &id.0.0])
}

pub fn value_key(key_hash: &[u8; 32], version: u64) -> Vec<u8> {
    join(&[key_hash, &version.to_be_bytes()])
}

/// Which column a stale row stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StaleKind {
    Node = 0,
    Value = 1,
}

impl StaleKind {
    pub fn column(self) -> Column {
        match self {
            StaleKind::Node => Column::Nodes,
            StaleKind::Value => Column::Values,
        }
    }
}

pub fn stale_key(since: u64, kind: StaleKind, key: &[u8]) -> Vec<u8> {
    join(&[&since.to_be_bytes(), &[kind as u8], key])
}

/// The row that a key made by [`stale_key`] names.
pub fn parse_stale(key: &[u8]) -> Option<(StaleKind, &[u8])> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    match rest.split_first()? {
        (0, row) => Some((StaleKind::Node, row)),
        (1, row) => Some((StaleKind::Value, row)),
        _ => None,
    }
}

pub fn audit_key(level: u8, index: u64) -> Vec<u8> {
    join(&[&[level], &index.to_be_bytes()])
}

/// Prefix of the models of a task (`None`: published) at a level, in order of version.
pub fn models_prefix(task: Option<&TaskId>, level: Level) -> Vec<u8> {
    let task = task.map_or(vec![0], |task| join(&[&[1], &task.0.0]));
    let level = match level {
        Level::Global => vec![0],
        Level::Cluster(ClusterId(cluster)) => join(&[&[1], &cluster.to_be_bytes()]),
        Level::Region(RegionId(region)) => join(&[&[2], &region.to_be_bytes()]),
    };
    join(&[&task, &level])
}

pub fn model_index_key(id: &ModelId, record: &ModelRecord) -> Vec<u8> {
    let prefix = models_prefix(record.task.as_ref(), record.level);
    join(&[&prefix, &record.version.to_be_bytes(), &id.0.0])
}

pub fn model_digest_key(digest: &Digest, height: Height, id: &ModelId) -> Vec<u8> {
    join(&[&digest.0, &height.0.to_be_bytes(), &id.0.0])
}

/// The model that ends a key of [`Column::Models`] or [`Column::ModelDigests`].
pub fn parse_model_suffix(key: &[u8]) -> Option<ModelId> {
    key.last_chunk::<32>().map(|id| ModelId(Digest(*id)))
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows to write together. A later row of the same key wins.
#[derive(Default)]
pub struct Batch {
    pub(crate) rows: Vec<(Column, Vec<u8>, Option<Vec<u8>>)>,
    /// Deleted before any of the rows is written: from a key up to, not including, another.
    pub(crate) ranges: Vec<(Column, Vec<u8>, Vec<u8>)>,
}

impl Batch {
    pub fn put_raw(&mut self, column: Column, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.rows.push((column, key.into(), Some(value.into())));
    }

    pub fn put<T: Serialize>(&mut self, column: Column, key: impl Into<Vec<u8>>, value: &T) {
        self.put_raw(column, key, codec::encode(value));
    }

    pub fn delete(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        self.rows.push((column, key.into(), None));
    }

    pub fn delete_range(
        &mut self,
        column: Column,
        from: impl Into<Vec<u8>>,
        end: impl Into<Vec<u8>>,
    ) {
        self.ranges.push((column, from.into(), end.into()));
    }

    /// No key is as long as this, or as high.
    pub fn delete_all(&mut self, column: Column) {
        self.delete_range(column, [], [u8::MAX; 512]);
    }
}

/// Decodes a stored value; a failure means the folder is damaged.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    what: &str,
    damaged: impl FnOnce(String) -> LedgerError,
) -> Result<T, LedgerError> {
    codec::decode(bytes, limits::DECODE_BYTES_MAX)
        .map_err(|error| damaged(format!("{what}: {error}")))
}
