//! Dropping old blocks. What goes, oldest first: blocks, their commit certificates, receipts
//! and own checkpoints, and the indexes that lead to them. What stays for good: the state and
//! its tree, every node of the audit log's tree (newer receipts are proved with it), the
//! checkpoints that end an epoch, and genesis.
//!
//! A block goes only when it is further below the newest stable checkpoint than the stated
//! number of heights, and older than the stated age by block time. However little is stated,
//! the blocks of two windows of transaction validity stay (a snapshot's replay set is made from
//! them), as do those that the longest retention of any task covers, and those of what is held.

use crate::{
    Ledger, LedgerError,
    rocks::View,
    store::{self, Batch, Column, TxPlace},
};
use twinfold_types::{
    Block, Digest, Height, TimeMs,
    blob::BlobReference,
    keeping::{Hold, HoldSubject},
    limits,
    state_key::{self, Prefix},
    task::Task,
    vote::Checkpoint,
};

/// Heights dropped in one batch, and block bytes read for it: execution waits that long.
const STEP_HEIGHTS: u64 = 256;
const STEP_BYTES: usize = 16 << 20;

/// What an operator wants to keep; whatever either number covers stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub heights: u64,
    pub age_ms: u64,
}

/// What one step dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub heights: u64,
    /// Of their blocks as stored.
    pub bytes: usize,
    /// There may be more to drop.
    pub more: bool,
}

/// Where dropping must stop, as of one view.
struct Bounds {
    below: Height,
    /// No block of this time or a later one.
    before: TimeMs,
}

impl Ledger {
    /// Drops some of what the retention no longer covers.
    pub fn drop_blocks(&mut self, retention: &Retention) -> Result<Dropped, LedgerError> {
        let view = self.shared.rocks.view();
        let first = self.shared.published().first;
        let Some(bounds) = self.bounds(&view, retention, first)? else {
            return Ok(Dropped::default());
        };
        let (mut batch, mut dropped, mut next) = (Batch::default(), Dropped::default(), first);
        while next < bounds.below && dropped.heights < STEP_HEIGHTS && dropped.bytes < STEP_BYTES {
            let Some((block, bytes)) = stored(&view, next)? else {
                return Err(view.damaged(format!("block {next} is missing")));
            };
            if block.header.time >= bounds.before {
                break;
            }
            forget(&view, &block, &mut batch)?;
            dropped.heights += 1;
            dropped.bytes += bytes;
            next = next.next();
        }
        if dropped.heights == 0 {
            return Ok(dropped);
        }
        dropped.more = true;
        for column in [Column::Blocks, Column::Certificates, Column::Receipts] {
            // Also what stood below the first: the window of a ledger that began from a checkpoint.
            batch.delete_range(column, store::height_key(Height(0)), store::height_key(next));
        }
        batch.put(Column::Meta, store::META_FIRST, &next);
        self.shared.rocks.write(batch)?;
        self.shared.publish(|published| published.first = next);
        Ok(dropped)
    }

    fn bounds(
        &self,
        view: &View<'_>,
        retention: &Retention,
        first: Height,
    ) -> Result<Option<Bounds>, LedgerError> {
        let Some(stable) = self.shared.published().stable else { return Ok(None) };
        let heights = retention.heights.max(limits::BLOCKS_KEPT_MIN);
        let below = Height(stable.checkpoint.height.0.saturating_sub(heights));
        if first >= below {
            return Ok(None);
        }
        let Some((newest, _)) = stored(view, stable.checkpoint.height)? else { return Ok(None) };
        let tasks: Vec<Task> = self.reader().all(&Prefix::Task.scan())?;
        let tasks = tasks.iter().map(|task| task.spec.retention_ms).max().unwrap_or(0);
        let age = retention.age_ms.max(tasks).max(2 * limits::TX_VALIDITY_MS_MAX);
        let before = TimeMs(newest.header.time.0.saturating_sub(age));
        Ok(Some(self.without_held(Bounds { below, before })?))
    }

    /// Blocks stay from the one on that created a held task, or first named a held payload.
    fn without_held(&self, mut bounds: Bounds) -> Result<Bounds, LedgerError> {
        let reader = self.reader();
        for hold in reader.all::<Hold>(&Prefix::Hold.scan())? {
            match hold.subject {
                HoldSubject::Task(task) => {
                    let task = reader.task(&task)?;
                    bounds.before =
                        task.map_or(bounds.before, |task| bounds.before.min(task.created));
                }
                HoldSubject::Payload(blob) => {
                    let kept: Option<BlobReference> =
                        reader.get(&state_key::blob_reference(&blob))?;
                    bounds.below = kept.map_or(bounds.below, |kept| bounds.below.min(kept.height));
                }
            }
        }
        Ok(bounds)
    }
}

fn stored(view: &View<'_>, height: Height) -> Result<Option<(Block, usize)>, LedgerError> {
    let Some(bytes) = view.get(Column::Blocks, &store::height_key(height))? else {
        return Ok(None);
    };
    let block = store::decode(&bytes, "block", |why| view.damaged(why))?;
    Ok(Some((block, bytes.len())))
}

/// The rows that do not stand under the block's height, and its checkpoint.
fn forget(view: &View<'_>, block: &Block, batch: &mut Batch) -> Result<(), LedgerError> {
    let height = block.header.height;
    let digest: Digest = block.digest();
    batch.delete(Column::BlockIndex, digest.0);
    for tx in &block.txs {
        let id = tx.id();
        let Some(place) = view.get(Column::Txs, &id.0.0)? else { continue };
        let place: TxPlace = store::decode(&place, "place", |why| view.damaged(why))?;
        // The same transaction in a later block is found there.
        if place.height == height {
            batch.delete(Column::Txs, id.0.0);
        }
    }
    let ends_epoch = |checkpoint: &Checkpoint| checkpoint.next_committee.is_some();
    if !crate::ledger::checkpoint(view, height)?.as_ref().is_some_and(ends_epoch) {
        batch.delete(Column::Checkpoints, store::height_key(height));
    }
    Ok(())
}
