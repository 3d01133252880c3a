//! A ledger in the making: the state of a certified height, put together from parts that
//! peers sent, and the blocks of the last window. It stands in a folder of its own, which
//! only becomes the ledger's, by a rename, when it is complete; what is kept here survives
//! a kill and is not fetched again.
//!
//! Parts are kept under their nibbles as they came, and checked again against the certified
//! root when the ledger is made from them: a part that a newer root no longer knows is
//! simply fetched anew, all others are still good.

use crate::{
    LedgerError,
    audit::{self, AuditRead},
    ledger::{Head, put_state},
    look::Look,
    rocks::Rocks,
    state::Writes,
    store::{self, Batch, Column, LAYOUT_VERSION},
    term, tree,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use twinfold_types::{
    Block, Digest, Height, codec,
    genesis::Genesis,
    handover::{EpochEnd, Handover, Trail},
    limits,
    subtree::{Part, Row, Subtree},
    vote::CheckpointCertificate,
};

/// Rows of the state brought into the tree at once.
const CHUNK_ROWS: usize = 10_000;
const CHUNK_BYTES: usize = 32 << 20;

/// What a ledger can begin from: a stable checkpoint, and the audit log's right edge there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// From genesis' committee to the one that signed.
    pub trail: Trail,
    pub certificate: CheckpointCertificate,
    /// Hashes of the complete subtrees that the audit log's entries fall into, the largest first.
    pub peaks: Vec<Digest>,
}

impl Anchor {
    pub fn height(&self) -> Height {
        self.certificate.checkpoint.height
    }

    /// Whether the edge is the one that the checkpoint's audit root commits to.
    pub fn is_edge_whole(&self) -> bool {
        let checkpoint = &self.certificate.checkpoint;
        let Some(edge) = Edge::new(checkpoint.audit_size, &self.peaks) else { return false };
        audit::root(&edge, checkpoint.audit_size).is_ok_and(|root| root == checkpoint.audit_root)
    }
}

/// The peaks of a log, by place.
struct Edge(BTreeMap<(u8, u64), Digest>);

impl Edge {
    fn new(size: u64, peaks: &[Digest]) -> Option<Self> {
        let places = audit::peaks(size);
        (places.len() == peaks.len())
            .then(|| Self(places.into_iter().zip(peaks.iter().copied()).collect()))
    }
}

impl AuditRead for Edge {
    fn node(&self, level: u8, index: u64) -> Result<Digest, LedgerError> {
        let missing = || LedgerError::Unknown(format!("audit subtree ({level}, {index})"));
        self.0.get(&(level, index)).copied().ok_or_else(missing)
    }
}

/// The folder of a ledger in the making.
pub struct Joining {
    pub(crate) rocks: Rocks,
    pub(crate) genesis: Genesis,
    target: PathBuf,
}

impl Joining {
    /// Opens the folder, or begins one. `target` is where the complete ledger will stand. None
    /// where it was complete and only had to be moved there.
    pub fn open(
        dir: &Path,
        target: &Path,
        logs: Option<&Path>,
        genesis: &Genesis,
    ) -> Result<Option<Self>, LedgerError> {
        let rocks = Rocks::open(dir, logs)?;
        let (chain, mine) = (genesis.digest(), codec::encode(&(LAYOUT_VERSION, genesis.digest())));
        let joining = Self { rocks, genesis: genesis.clone(), target: target.into() };
        let rocks = &joining.rocks;
        let meta = |key| rocks.view().get(Column::Meta, key);
        if meta(store::META_HEAD)?.is_some() {
            joining.move_to_its_place()?;
            return Ok(None);
        }
        match meta(store::META_JOINING)? {
            Some(found) if found == mine => {}
            Some(_) => return Err(rocks.damaged(format!("it is not of chain {chain}"))),
            None => {
                let mut batch = Batch::default();
                batch.put_raw(Column::Meta, store::META_JOINING, mine);
                rocks.write(batch)?;
            }
        }
        Ok(Some(joining))
    }

    /// A part of the state as it was kept: what it is worth, its hash says.
    pub fn part(&self, nibbles: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.rocks.view().get(Column::Joining, nibbles)
    }

    pub fn keep_parts(&self, parts: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        parts.into_iter().for_each(|(nibbles, part)| batch.put_raw(Column::Joining, nibbles, part));
        self.rocks.write(batch)
    }

    pub fn block(&self, height: Height) -> Result<Option<Block>, LedgerError> {
        crate::proof::block(&self.rocks.view(), height)
    }

    pub fn keep_blocks(&self, blocks: &[Block]) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        for block in blocks {
            batch.put(Column::Blocks, store::height_key(block.header.height), block);
        }
        self.rocks.write(batch)
    }

    /// Makes the ledger of the anchor from what is kept, and moves it to its place. The caller
    /// has verified the certificate, and kept every part of its state and the window's blocks.
    pub fn finish(self, anchor: &Anchor) -> Result<(), LedgerError> {
        let checkpoint = &anchor.certificate.checkpoint;
        let height = checkpoint.height;
        let block = self.block(height)?.filter(|block| block.digest() == checkpoint.block);
        let block = block.ok_or_else(|| self.rocks.damaged(format!("no block {height}")))?;
        self.clear()?;
        let root = self.build_state(height, checkpoint.state_root)?;
        if root != checkpoint.state_root || !anchor.is_edge_whole() {
            return Err(self.rocks.damaged(format!("height {height} does not fit together")));
        }
        let mut batch = Batch::default();
        for ((level, index), hash) in
            audit::peaks(checkpoint.audit_size).into_iter().zip(&anchor.peaks)
        {
            batch.put_raw(Column::Audit, store::audit_key(level, index), hash.0);
        }
        self.remember_window(&block, &mut batch)?;
        let head = Head {
            height,
            digest: checkpoint.block,
            time: block.header.time,
            state_root: root,
            audit_size: checkpoint.audit_size,
            audit_root: checkpoint.audit_root,
        };
        self.put_committees(anchor, &mut batch)?;
        batch.put_raw(Column::BlockIndex, head.digest.0, store::height_key(height));
        batch.put(Column::Checkpoints, store::height_key(height), checkpoint);
        batch.put(Column::Meta, store::META_HEAD, &head);
        batch.put(Column::Meta, store::META_STABLE, &anchor.certificate);
        batch.put(Column::Meta, store::META_FIRST, &height.next());
        batch.put_raw(Column::Meta, store::META_GENESIS, self.genesis.digest().0);
        batch.put_raw(Column::Meta, store::META_FORMAT, LAYOUT_VERSION.to_be_bytes());
        batch.delete(Column::Meta, store::META_JOINING);
        batch.delete_all(Column::Joining);
        self.rocks.write(batch)?;
        self.rocks.compact(&[(Column::Joining, None)])?;
        self.move_to_its_place()
    }

    /// Every committee so far, and the ends of the epochs before: later proofs begin with them.
    fn put_committees(&self, anchor: &Anchor, batch: &mut Batch) -> Result<(), LedgerError> {
        let certificate = &anchor.certificate;
        for Handover { committee, end } in &anchor.trail.ended {
            batch.put(Column::Committees, store::epoch_key(committee.epoch), committee);
            match end {
                EpochEnd::Checkpoint(end) => {
                    batch.put(Column::EpochEnds, store::epoch_key(committee.epoch), end);
                }
                // Followed, so accepted: it is here already.
                EpochEnd::Recovery(_) => {}
            }
        }
        // Where the height ends an epoch, the next one's committee stands in the state already.
        let running = term::running(&Look(self.rocks.view()))?;
        for committee in [&anchor.trail.committee, &running] {
            batch.put(Column::Committees, store::epoch_key(committee.epoch), committee);
        }
        if certificate.checkpoint.next_committee.is_some() {
            let epoch = certificate.checkpoint.epoch;
            batch.put(Column::EpochEnds, store::epoch_key(epoch), certificate);
        }
        Ok(())
    }

    /// Whatever an end that was cut short left behind.
    fn clear(&self) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        for column in Column::ALL {
            let kept = [Column::Meta, Column::Blocks, Column::Recoveries, Column::Joining];
            if !kept.contains(&column) {
                batch.delete_all(column);
            }
        }
        self.rocks.write(batch)
    }

    /// Rows come in the order of their places, so each chunk touches the tree's right edge only.
    /// Chunks are versions from 0 on; the last one's root stands at the height too.
    fn build_state(&self, height: Height, root: Digest) -> Result<Digest, LedgerError> {
        let mut chunks = Chunks::new(&self.rocks, height.0);
        self.walk(&mut Vec::new(), root, &mut |rows| chunks.add(rows))?;
        chunks.finish()
    }

    fn walk(
        &self,
        nibbles: &mut Vec<u8>,
        expected: Digest,
        add: &mut impl FnMut(Vec<Row>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let missing = || self.rocks.damaged(format!("the part of the state at {nibbles:?}"));
        let bytes = self.part(nibbles)?.ok_or_else(missing)?;
        let part = Subtree::decode(&bytes, nibbles, &expected);
        match part.map_err(|error| self.rocks.damaged(error.to_string()))? {
            Subtree::Rows(rows) => add(rows),
            Subtree::Parts(parts) => {
                for (nibble, part) in (0..).zip(*parts).filter(|(_, part)| *part != Part::Empty) {
                    nibbles.push(nibble);
                    self.walk(nibbles, part.hash(), add)?;
                    nibbles.pop();
                }
                Ok(())
            }
        }
    }

    /// The replay set, from the blocks of the window: a transaction that could still come
    /// was valid in none before.
    fn remember_window(&self, newest: &Block, batch: &mut Batch) -> Result<(), LedgerError> {
        let now = newest.header.time;
        let (mut block, mut below) = (newest.clone(), newest.header.height);
        loop {
            let open = block.txs.iter().filter(|tx| tx.body.valid_until >= now);
            for tx in open {
                let key = store::replay_key(tx.body.valid_until, &tx.id());
                batch.put_raw(Column::Replay, key, []);
            }
            let Some(height) = below.prev().filter(|height| height.0 > 0) else { return Ok(()) };
            if !is_in_window(&block, newest) {
                return Ok(());
            }
            let parent = block.header.parent;
            let found = self.block(height)?.filter(|found| found.digest() == parent);
            block = found.ok_or_else(|| self.rocks.damaged(format!("no block {height}")))?;
            below = height;
        }
    }

    fn move_to_its_place(self) -> Result<(), LedgerError> {
        let Self { rocks, target, .. } = self;
        let dir = rocks.dir().to_path_buf();
        drop(rocks);
        let moved = std::fs::rename(&dir, &target).and_then(|()| match target.parent() {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        });
        moved.map_err(|error| LedgerError::Storage { dir, reason: error.to_string() })
    }
}

/// Whether a transaction of this block may still be valid at the newest one's time.
pub fn is_in_window(block: &Block, newest: &Block) -> bool {
    block.header.time.plus(limits::TX_VALIDITY_MS_MAX) >= newest.header.time
}

/// The state's tree while it grows.
struct Chunks<'a> {
    rocks: &'a Rocks,
    /// The version that the tree is for.
    last: u64,
    version: u64,
    rows: Writes,
    bytes: usize,
}

impl<'a> Chunks<'a> {
    fn new(rocks: &'a Rocks, last: u64) -> Self {
        Self { rocks, last, version: 0, rows: Writes::new(), bytes: 0 }
    }

    fn add(&mut self, rows: Vec<Row>) -> Result<(), LedgerError> {
        for (key, value) in rows {
            self.bytes += key.len() + value.len();
            self.rows.insert(key, Some(value));
        }
        let full = self.rows.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES;
        // The last version takes whatever is left.
        if full && self.version < self.last {
            self.write()?;
            self.version += 1;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<Digest, LedgerError> {
        let (view, mut batch) = (self.rocks.view(), Batch::default());
        let root = tree::update(&view, self.version, &self.rows, &mut batch)?;
        put_state(&self.rows, &mut batch);
        crate::ledger::put_model_indexes(&view, &self.rows, &mut batch)?;
        self.rocks.write(batch)?;
        (self.rows, self.bytes) = (Writes::new(), 0);
        Ok(root)
    }

    fn finish(mut self) -> Result<Digest, LedgerError> {
        let root = self.write()?;
        if self.version < self.last {
            let mut batch = Batch::default();
            tree::copy_root(&self.rocks.view(), self.version, self.last, &mut batch)?;
            self.rocks.write(batch)?;
        }
        Ok(root)
    }
}
