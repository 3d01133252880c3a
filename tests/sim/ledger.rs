//! The ledger's own execution over a state in memory: rows, the replay set, and a root that every
//! write and receipt goes into. A block takes effect whole.

use crate::{consortium::Consortium, learning, lie::Flaw};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    path::PathBuf,
    sync::Arc,
};
use twinfold_ledger::{
    LedgerError,
    pure::{Env, Row, StateRead, Transition, Writes, execute_block},
};
use twinfold_types::{
    Block, Digest, Event, Receipt, SignedTx, TimeMs, TxId, codec,
    hash::Tag,
    limits::DECODE_BYTES_MAX,
    round::{Entry, RoundKey},
    state_key,
    vote::Checkpoint,
};

#[derive(Clone)]
pub struct Ledger {
    consortium: Arc<Consortium>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// (last valid time, transaction) of what was applied in the window.
    replay: BTreeSet<(TimeMs, TxId)>,
    root: Digest,
    /// A mistake in execution.
    flaw: Option<Flaw>,
}

/// What a block came to.
pub struct Executed {
    pub root: Digest,
    pub receipts_digest: Digest,
    pub receipts: Vec<Receipt>,
}

impl StateRead for Ledger {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.rows.get(key).cloned())
    }
    fn read_prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, LedgerError> {
        let rows = self.rows.range(prefix.to_vec()..);
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    fn was_applied(&self, valid_until: TimeMs, id: &TxId) -> Result<bool, LedgerError> {
        Ok(self.replay.contains(&(valid_until, *id)))
    }
    fn damaged(&self, reason: String) -> LedgerError {
        LedgerError::Damaged { dir: PathBuf::from("memory"), reason }
    }
}

impl Ledger {
    pub fn new(consortium: Arc<Consortium>, flaw: Option<Flaw>) -> Self {
        let rows = consortium.state.iter();
        let rows = rows.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        Self { consortium, rows, replay: BTreeSet::new(), root: Digest::ZERO, flaw }
    }

    /// An empty one of the same chain.
    pub fn anew(&self) -> Self {
        Self::new(self.consortium.clone(), self.flaw)
    }

    /// `arrived` tells when a transaction reached this node: execution must not depend on it.
    pub fn execute(
        &mut self,
        block: &Block,
        parent: &Checkpoint,
        arrived: &dyn Fn(&TxId) -> u64,
    ) -> Result<Executed, LedgerError> {
        let consortium = self.consortium.clone();
        let env = Env {
            chain: &consortium.chain,
            committee: &consortium.committee,
            before: None,
            parent,
            height: block.header.height,
            time: block.header.time,
            recovered: None,
        };
        let Transition { receipts, writes, .. } = execute_block(self, env, &block.txs)?;
        self.root = Digest::of(Tag::StateKey, &(self.root, block.digest(), self.in_order(&writes)));
        for (key, value) in writes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.remember(&block.txs, block.header.time);
        for key in sealed(&receipts) {
            let model = self.fold(&key, arrived);
            self.root = Digest::of(Tag::StateKey, &(self.root, model));
        }
        let receipts_digest = Digest::of(Tag::StateKey, &receipts);
        Ok(Executed { root: self.root, receipts_digest, receipts })
    }

    /// Keys and values in the order in which they go into the root.
    fn in_order(&self, writes: &Writes) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let rows = writes.iter().map(|(key, value)| (key.clone(), value.clone()));
        match self.flaw {
            Some(Flaw::UnorderedMap) => {
                rows.collect::<HashMap<_, _, RandomState>>().into_iter().collect()
            }
            _ => rows.collect(),
        }
    }

    /// An identity may go once its last valid time is before the block's: every later block is
    /// later still.
    fn remember(&mut self, txs: &[SignedTx], time: TimeMs) {
        self.replay.extend(txs.iter().map(|tx| (tx.body.valid_until, tx.id())));
        let kept_from = match self.flaw {
            Some(Flaw::ReplayOffByOne) => time.plus(2),
            _ => time,
        };
        self.replay = self.replay.split_off(&(kept_from, TxId(Digest::ZERO)));
    }

    fn fold(&self, key: &RoundKey, arrived: &dyn Fn(&TxId) -> u64) -> Digest {
        let entry = |index: u32| -> Option<Entry> {
            let bytes = self.rows.get(state_key::round_entry(key, index).bytes())?;
            Some(codec::decode(bytes, DECODE_BYTES_MAX).expect("execution wrote it"))
        };
        let entries: Vec<Entry> = (0..).map_while(entry).collect();
        match self.flaw {
            Some(Flaw::ArrivalFold) => {
                learning::fold_by_arrival(&self.consortium, &entries, |entry| arrived(&entry.tx))
            }
            _ => learning::fold(&self.consortium, key.task, &entries),
        }
    }
}

fn sealed(receipts: &[Receipt]) -> Vec<RoundKey> {
    let events = receipts.iter().flat_map(|receipt| &receipt.events);
    let sealed = events.filter_map(|event| match event {
        Event::RoundSealed { key, .. } => Some(*key),
        _ => None,
    });
    sealed.collect()
}
