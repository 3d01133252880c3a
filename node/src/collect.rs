//! Collects payloads that nothing keeps.
//!
//! The ledger says what is kept (`state_key::blob_reference`). A named payload whose row is gone is
//! *released* here once a checkpoint at or above the height at which that was seen is stable; one
//! that was uploaded and never named is *pending*. Both go when their lease is over: for a receipt
//! that this node gave may still stand in a certificate that a transaction brings. Certificates of
//! the running epoch and of the one before count, and the modification time of a file is that of the
//! last receipt. So a file goes when it is older than the lease, and the epoch before the one before
//! had ended, by the time of its last block, some minutes after that receipt.
//!
//! A ledger that lags, or is being fetched anew, knows of no such epoch yet and removes nothing.

use crate::{
    blobs::{BlobError, BlobStore},
    node::Node,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use twinfold_ledger::LedgerError;
use twinfold_types::{
    BlobDigest, Epoch, Height, TimeMs, blob::BlobReference, limits, quorum::PastEpoch, state_key,
};

/// After the start, while a ledger catches up, and then.
const FIRST: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(10 * 60);
/// Between looks while something waits for a checkpoint.
const SOON: Duration = Duration::from_secs(5);
/// Clocks of validators, and blocks, may be so far apart.
const MARGIN_MS: u64 = 10 * 60 * 1_000;

/// Runs for the life of the node.
pub async fn collect(node: Arc<Node>) {
    let mut collector = Collector::new(node.clone(), node.blobs.clone());
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let looking = tokio::task::spawn_blocking(move || {
            let looked = collector.look(SystemTime::now());
            (collector, looked)
        });
        let Ok((next, looked)) = looking.await else { return };
        collector = next;
        match looked {
            Ok(collected) => drop(node.metrics.payloads_collected.inc_by(collected)),
            Err(error) => tracing::warn!(%error, "payloads cannot be collected now"),
        }
        pause = if collector.unwanted.is_empty() { LOOK } else { SOON };
    }
}

/// What collecting goes by: the state that this node executed, and what is stable.
pub trait Kept {
    fn head(&self) -> Height;
    /// The height of the newest stable checkpoint that this node knows of.
    fn stable(&self) -> Height;
    fn is_kept(&self, digest: &BlobDigest) -> Result<bool, LedgerError>;
    fn running(&self) -> Epoch;
    /// When an epoch ended.
    fn ended(&self, epoch: Epoch) -> Result<Option<TimeMs>, LedgerError>;
}

impl Kept for Arc<Node> {
    fn head(&self) -> Height {
        self.reader.head().height
    }

    fn stable(&self) -> Height {
        *self.stable.borrow()
    }

    fn is_kept(&self, digest: &BlobDigest) -> Result<bool, LedgerError> {
        let key = state_key::blob_reference(digest);
        Ok(self.reader.get::<BlobReference>(&key)?.is_some())
    }

    fn running(&self) -> Epoch {
        self.reader.committee().epoch
    }

    fn ended(&self, epoch: Epoch) -> Result<Option<TimeMs>, LedgerError> {
        let past: Option<PastEpoch> = self.reader.get(&state_key::past_epoch(epoch))?;
        Ok(past.map(|past| past.ended))
    }
}

pub struct Collector<K> {
    kept: K,
    blobs: Arc<BlobStore>,
    /// Named payloads without a row in the state of this height.
    unwanted: BTreeSet<BlobDigest>,
    seen: Height,
}

impl<K: Kept> Collector<K> {
    pub fn new(kept: K, blobs: Arc<BlobStore>) -> Self {
        Self { kept, blobs, unwanted: BTreeSet::new(), seen: Height(0) }
    }

    /// Looks at all payloads once; how many it removed.
    pub fn look(&mut self, now: SystemTime) -> Result<u64, BlobError> {
        self.pin()?;
        self.release()?;
        self.expire(now)
    }

    /// What was named while this node was down, or before its fragment came.
    fn pin(&self) -> Result<(), BlobError> {
        for folder in ["pending", "released"] {
            for (digest, _) in self.blobs.listed(folder)? {
                if self.kept.is_kept(&digest)? {
                    self.blobs.mark_named(&digest);
                }
            }
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), BlobError> {
        if self.kept.stable() >= self.seen {
            for digest in std::mem::take(&mut self.unwanted) {
                if !self.kept.is_kept(&digest)? {
                    self.blobs.release(&digest)?;
                    tracing::debug!(payload = %digest, "nothing keeps it any more");
                }
            }
            let seen = self.kept.head();
            for (digest, _) in self.blobs.listed("named")? {
                if !self.kept.is_kept(&digest)? {
                    self.unwanted.insert(digest);
                }
            }
            self.seen = seen;
        }
        Ok(())
    }

    fn expire(&self, now: SystemTime) -> Result<u64, BlobError> {
        // The newest epoch whose certificates no transaction can bring any more.
        let Some(epoch) = self.kept.running().0.checked_sub(2) else { return Ok(0) };
        let Some(ended) = self.kept.ended(Epoch(epoch))? else { return Ok(0) };
        let mut collected = 0;
        for folder in ["pending", "released"] {
            for (digest, answered) in self.blobs.listed(folder)? {
                let over = is_over(answered, now, ended) && !self.kept.is_kept(&digest)?;
                if over && self.blobs.remove(&digest, answered)? {
                    collected += 1;
                    tracing::info!(payload = %digest, folder, "collected");
                }
            }
        }
        Ok(collected)
    }
}

/// Whether the lease of a payload is over for which this node answered last at that time.
fn is_over(answered: SystemTime, now: SystemTime, ended: TimeMs) -> bool {
    let Ok(age) = now.duration_since(answered) else { return false };
    let Ok(answered) = answered.duration_since(UNIX_EPOCH) else { return false };
    let answered_ms = u64::try_from(answered.as_millis()).unwrap_or(u64::MAX);
    age >= Duration::from_millis(limits::UPLOAD_LEASE_MS)
        && ended.0 >= answered_ms.saturating_add(MARGIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(hours * 3_600)
    }

    fn block_at(hours: u64) -> TimeMs {
        TimeMs(hours * 3_600 * 1_000)
    }

    #[test]
    fn a_lease_is_over_when_it_is_old_and_no_certificate_can_name_it_any_more() {
        assert!(is_over(at(100), at(124), block_at(101)));
        assert!(!is_over(at(100), at(123), block_at(101)), "too young");
        assert!(!is_over(at(100), at(500), block_at(100)), "the epoch ended with the receipt");
        assert!(!is_over(at(100), at(500), block_at(7)), "the ledger lags");
        assert!(!is_over(at(100), at(90), block_at(500)), "the clock went back");
    }
}
