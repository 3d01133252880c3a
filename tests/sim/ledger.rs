//! The ledger's own execution over a state in memory: rows, the replay set, and a root that every
//! write and receipt goes into. A block takes effect whole.

use crate::{consortium::Consortium, keys, learning, lie::Flaw};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    path::PathBuf,
    sync::Arc,
};
use twinfold_ledger::{
    LedgerError,
    pure::{Env, Recovered, Row, StateRead, Transition, Writes, admit, execute_block},
};
use twinfold_types::{
    Block, Code, Committee, Digest, Event, Height, Receipt, SignedTx, TimeMs, TxId, codec,
    genesis::ChainParams,
    hash::Tag,
    key::Verifier,
    limits::{DECODE_BYTES_MAX, TX_VALIDITY_MS_MAX},
    quorum::PastEpoch,
    recovery::RecoveryStatement,
    round::{Entry, RoundKey},
    stake::StakeParams,
    state_key::{self, Prefix, StateKey},
    vote::Checkpoint,
};

#[derive(Clone)]
pub struct Ledger {
    consortium: Arc<Consortium>,
    verifier: Arc<dyn Verifier>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// (last valid time, transaction) of what was applied in the window.
    replay: BTreeSet<(TimeMs, TxId)>,
    /// Recoveries that the operator accepted, by the height that each keeps.
    pub recoveries: BTreeMap<Height, RecoveryStatement>,
    root: Digest,
    /// A mistake in execution.
    flaw: Option<Flaw>,
}

/// What a block came to.
pub struct Executed {
    pub root: Digest,
    pub receipts_digest: Digest,
    pub receipts: Vec<Receipt>,
    pub elected: Option<Committee>,
    pub ends_at: Option<Height>,
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
        let verifier = keys::verifier(consortium.real_signatures);
        let (replay, recoveries, root) = (BTreeSet::new(), BTreeMap::new(), Digest::ZERO);
        Self { consortium, verifier, rows, replay, recoveries, root, flaw }
    }

    /// An empty one of the same chain.
    pub fn anew(&self) -> Self {
        Self::new(self.consortium.clone(), self.flaw)
    }

    /// The committee of the epoch that the next block belongs to.
    pub fn running(&self) -> Committee {
        self.get(&state_key::epoch()).expect("genesis has a committee")
    }

    pub fn stake_params(&self) -> StakeParams {
        self.get::<ChainParams>(&state_key::params()).expect("genesis has them").stake
    }

    /// Where the admins end the epoch.
    pub fn ends_at(&self) -> Option<Height> {
        self.get(&state_key::epoch_end())
    }

    pub fn rows_of(&self, prefix: Prefix) -> Vec<Row> {
        self.read_prefix(prefix.scan().bytes(), usize::MAX).expect("in memory")
    }

    /// What a transaction would come to in a block of this time above a height.
    pub fn admit(&self, tx: &SignedTx, parent: &Checkpoint, time: TimeMs) -> Code {
        self.within(parent, parent.height.next(), time, |env| admit(self, env, tx))
            .expect("a state in memory is never damaged")
    }

    pub fn get<T: Serialize + DeserializeOwned>(&self, key: &StateKey) -> Option<T> {
        self.rows.get(key.bytes()).map(|bytes| decode(bytes))
    }

    /// With what execution knows beside the state.
    fn within<T>(
        &self,
        parent: &Checkpoint,
        height: Height,
        time: TimeMs,
        f: impl FnOnce(Env<'_>) -> T,
    ) -> T {
        let running = self.running();
        let before = self.rows_of(Prefix::PastEpoch).pop();
        let before = before.map(|(_, row)| decode::<PastEpoch>(&row).committee);
        let (committee, before, recovered) = match self.recoveries.get(&parent.height) {
            Some(statement) => {
                let recovered = Recovered { statement: statement.digest(), older: before };
                (statement.committee.clone(), Some(running), Some(recovered))
            }
            None => (running, before, None),
        };
        f(Env {
            chain: &self.consortium.chain,
            committee: &committee,
            before: before.as_ref(),
            parent,
            height,
            time,
            verifier: &*self.verifier,
            recovered: recovered.as_ref(),
        })
    }

    /// `arrived` tells when a transaction reached this node: execution must not depend on it.
    pub fn execute(
        &mut self,
        block: &Block,
        parent: &Checkpoint,
        arrived: &dyn Fn(&TxId) -> u64,
    ) -> Result<Executed, LedgerError> {
        let (height, time) = (block.header.height, block.header.time);
        let Transition { receipts, writes, elected, ends_at } =
            self.within(parent, height, time, |env| execute_block(self, env, &block.txs))?;
        self.root = Digest::of(Tag::StateKey, &(self.root, block.digest(), self.in_order(&writes)));
        for (key, value) in writes {
            if self.keeps(&key, value.is_none()) {
                continue;
            }
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
        Ok(Executed { root: self.root, receipts_digest, receipts, elected, ends_at })
    }

    /// The mistake: a row that execution deletes stays.
    fn keeps(&self, key: &[u8], deleted: bool) -> bool {
        let unbonding = key.first() == Some(&(Prefix::Unbonding as u8));
        self.flaw == Some(Flaw::UnbondingKept) && deleted && unbonding
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

    /// The replay set as one that joins makes it: of the blocks whose transactions may be valid
    /// still, whatever execution remembered.
    pub fn replay_of<'a>(&mut self, blocks: impl Iterator<Item = &'a Block>, now: TimeMs) {
        let recent = TimeMs(now.0.saturating_sub(TX_VALIDITY_MS_MAX));
        self.replay.clear();
        for block in blocks.filter(|block| block.header.time >= recent) {
            let lasting = block.txs.iter().filter(|tx| tx.body.valid_until >= now);
            self.replay.extend(lasting.map(|tx| (tx.body.valid_until, tx.id())));
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
        let entry = |index: u32| self.get(&state_key::round_entry(key, index));
        let entries: Vec<Entry> = (0..).map_while(entry).collect();
        match self.flaw {
            Some(Flaw::ArrivalFold) => {
                learning::fold_by_arrival(&self.consortium, &entries, |entry| arrived(&entry.tx))
            }
            _ => learning::fold(&self.consortium, key.task, &entries),
        }
    }
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes, DECODE_BYTES_MAX).expect("execution wrote it")
}

fn sealed(receipts: &[Receipt]) -> Vec<RoundKey> {
    let events = receipts.iter().flat_map(|receipt| &receipt.events);
    let sealed = events.filter_map(|event| match event {
        Event::RoundSealed { key, .. } => Some(*key),
        _ => None,
    });
    sealed.collect()
}
