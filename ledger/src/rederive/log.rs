//! Receipts, the audit log over them, and where transactions are found.

use super::{Check, chain::Digests};
use crate::{
    audit::{self, Append},
    ledger, proof,
    store::{self, Column, TxPlace},
};
use twinfold_types::{Code, Digest, Height, Receipt, TxId, merkle};

impl Check<'_, '_> {
    /// Each height's receipts make its part of the log, and lead from its transactions to it.
    pub(super) fn receipts(&mut self, digests: &Digests) {
        let first = self.first();
        let (mut count, mut found) = (0, 0);
        let Some(mut size) = self.log_size_below(first) else { return };
        for height in digests.range(first..).map(|(height, _)| *height) {
            let Some(receipts) = self.receipts_of(height) else { return };
            count += receipts.len() as u64;
            found += self.check_places(height, &receipts, size);
            let Some(after) = self.check_log(height, &receipts, size) else { return };
            size = after;
            if height.0.is_multiple_of(64) {
                (self.progress)("receipts", count);
            }
        }
        if size != self.head.audit_size {
            let what = format!("they come to {size}, the head says {}", self.head.audit_size);
            self.report.find("receipts", Some(self.head.height), what);
        }
        self.report.area("receipts", count);
        let mut all = 0;
        self.rows(Column::Receipts, |check, key, _| {
            all += 1;
            let height = key.first_chunk::<8>().map(|height| Height(u64::from_be_bytes(*height)));
            if height.is_none_or(|height| height < first || height > check.head.height) {
                check.find(Column::Receipts, key, height, "it is of no block that is here");
            }
        });
        if all != count {
            self.report.find("receipts", None, format!("{all} rows, {count} of blocks"));
        }
        let places = self.rows(Column::Txs, |_, _, _| {});
        if places != found {
            let what = format!("{places} transactions are listed, {found} have a receipt here");
            self.report.find("txs", None, what);
        }
        self.report.area("transactions", places);
    }

    /// Entries of the log below a height: what its checkpoint says, less its own receipts.
    fn log_size_below(&mut self, first: Height) -> Option<u64> {
        if first <= Height(1) || first > self.head.height {
            return Some(if first <= Height(1) { 0 } else { self.head.audit_size });
        }
        let read = ledger::checkpoint(self.view(), first);
        let checkpoint = self.read(Column::Checkpoints, read)?;
        let own = self.receipts_of(first)?.len() as u64;
        let size = checkpoint.and_then(|checkpoint| checkpoint.audit_size.checked_sub(own));
        if size.is_none() {
            let what = "without it the audit log cannot be made again";
            self.find(Column::Checkpoints, &store::height_key(first), Some(first), what);
        }
        size
    }

    fn receipts_of(&mut self, height: Height) -> Option<Vec<(Vec<u8>, Receipt)>> {
        let prefix = store::height_key(height);
        let order = crate::rocks::Order::Forward;
        let rows = self.view().rows(Column::Receipts, &prefix, None, order, usize::MAX);
        let rows = self.read(Column::Receipts, rows)?;
        let mut receipts = Vec::new();
        for (key, bytes) in rows {
            let receipt: Receipt = self.decode(Column::Receipts, &key, &bytes)?;
            if store::receipt_key(receipt.height, receipt.index) != key {
                let what = format!("it is receipt {} of {}", receipt.index, receipt.height);
                self.find(Column::Receipts, &key, Some(height), what);
            }
            receipts.push((bytes, receipt));
        }
        Some(receipts)
    }

    /// Receipts are of the block's transactions, in order, and these are found at them.
    fn check_places(&mut self, height: Height, receipts: &[(Vec<u8>, Receipt)], size: u64) -> u64 {
        let read = proof::block(self.view(), height);
        let Some(Some(block)) = self.read(Column::Blocks, read) else { return 0 };
        let ids: Vec<TxId> = block.txs.iter().map(|tx| tx.id()).collect();
        let of_txs = receipts.iter().filter_map(|(_, receipt)| receipt.tx);
        if !of_txs.eq(ids.iter().copied()) {
            let what = "they are not of the block's transactions".to_string();
            self.report.find("receipts", Some(height), what);
        }
        let mut found = 0;
        for (at, (_, receipt)) in receipts.iter().enumerate() {
            let (Some(id), true) = (receipt.tx, receipt.code != Code::Replayed) else { continue };
            let place = TxPlace {
                height,
                position: receipt.index.saturating_sub(1),
                audit: size + at as u64,
            };
            let read = self.look.value::<TxPlace>(Column::Txs, &id.0.0, "place");
            let Some(stored) = self.read(Column::Txs, read) else { continue };
            // The same transaction in a later block is found there.
            let moved = stored.is_some_and(|stored| stored.height > height);
            found += u64::from(!moved);
            if stored != Some(place) && !moved {
                let what = format!("it stands at {place:?}, not {stored:?}");
                self.find(Column::Txs, &id.0.0, Some(height), what);
            }
        }
        found
    }

    /// The log after a height's receipts, row by row and by its root.
    fn check_log(
        &mut self,
        height: Height,
        receipts: &[(Vec<u8>, Receipt)],
        size: u64,
    ) -> Option<u64> {
        let look = self.look;
        let mut log = Append::new(&look.0, size);
        for (bytes, _) in receipts {
            let pushed = log.push(bytes);
            self.read(Column::Audit, pushed)?;
        }
        let (after, root) = (log.size(), log.root());
        let root = self.read(Column::Audit, root)?;
        for ((level, index), hash) in log.into_nodes() {
            let key = store::audit_key(level, index);
            let stored = self.view().get(Column::Audit, &key);
            let stored = self.read(Column::Audit, stored)?;
            if stored.as_deref() != Some(&hash.0[..]) {
                self.find(Column::Audit, &key, Some(height), "it is not what the receipts come to");
            }
        }
        let read = ledger::checkpoint(self.view(), height);
        let checkpoint = self.read(Column::Checkpoints, read)?;
        let said = checkpoint.map(|checkpoint| (checkpoint.audit_size, checkpoint.audit_root));
        if said != Some((after, root)) {
            let what = format!("its audit log is {said:?}, the receipts come to {after}, {root}");
            self.find(Column::Checkpoints, &store::height_key(height), Some(height), what);
        }
        Some(after)
    }

    /// Every subtree is made of the two below it; those that no receipt leads to any more too.
    pub(super) fn audit_log(&mut self) {
        let size = self.head.audit_size;
        let count = self.rows(Column::Audit, |check, key, value| {
            if let Err(what) = check.check_subtree(key, value, size) {
                check.find(Column::Audit, key, None, what);
            }
        });
        let whole: u64 = (0..64).map(|level| size >> level).sum();
        if self.first() == Height(1) && count != whole {
            let what = format!("{count} subtrees of {whole} are here");
            self.report.find("audit", None, what);
        }
        let root = audit::root(self.view(), size);
        if self.read(Column::Audit, root).is_some_and(|root| root != self.head.audit_root) {
            let what = "the audit log's root is another".to_string();
            self.report.find("meta head", Some(self.head.height), what);
        }
        self.report.area("audit log", count);
    }

    fn check_subtree(&self, key: &[u8], value: &[u8], size: u64) -> Result<(), String> {
        let [level, index @ ..] = key else { return Err("it has no place".into()) };
        let index = index.try_into().map(u64::from_be_bytes).map_err(|_| "it has no place")?;
        let hash = <[u8; 32]>::try_from(value).map(Digest).map_err(|_| "it is no hash")?;
        if *level >= 64 || index >= size >> level {
            return Err(format!("a log of {size} entries has no such subtree"));
        }
        let Some(below) = level.checked_sub(1) else { return Ok(()) };
        let child = |index: u64| {
            let stored = self.view().get(Column::Audit, &store::audit_key(below, index));
            stored.map(|hash| hash.and_then(|hash| hash.try_into().ok()).map(Digest))
        };
        let children = (child(2 * index), child(2 * index + 1));
        match children {
            (Ok(Some(left)), Ok(Some(right))) if merkle::node_hash(&left, &right) == hash => Ok(()),
            (Ok(None), Ok(None)) => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
            _ => Err("it is not made of the two below it".into()),
        }
    }
}
