//! One simulated process: the driver's loop around a real machine.
//!
//! A turn takes everything that waits, steps the machine, writes the records, syncs
//! (which takes time, and a crash meanwhile loses the turn), and only then lets
//! anything out.

use crate::{disk::Disk, plan::Lie};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};
use twinfold_consensus_planted::{Config, Effect, Event, Machine, Planted, Record};
use twinfold_types::{
    Block, Digest, SignedTx, TimeMs, TxId, View,
    key::{Signer, Verifier},
    message::ConsensusMessage,
    vote::{Certificate, ViewChange},
};

pub struct Node {
    pub index: usize,
    pub config: Config,
    pub signer: Arc<dyn Signer>,
    pub verifier: Arc<dyn Verifier>,
    pub lie: Option<Lie>,
    /// The clock's error.
    pub skew_ms: i64,
    pub view_heights: u64,
    pub block_txs: usize,
    /// A mistake in the machine.
    pub planted: Option<Planted>,
    pub machine: Option<Machine>,
    pub disk: Disk,
    /// Counts lives: whatever was scheduled in an earlier one is void.
    pub life: u64,
    pub inbox: Vec<Event>,
    /// A turn's records and effects while its sync runs.
    pub turn: Option<(Vec<Record>, Vec<Effect>)>,
    /// Committed and not executed yet; the first is being executed.
    pub to_execute: VecDeque<(Block, Certificate)>,
    pub wake: Option<TimeMs>,
    /// Transactions that reached this node's pool.
    pub pool: Vec<(TxId, SignedTx)>,
    /// Those in blocks that this node prepared or proposed.
    pub ordered: BTreeSet<TxId>,
    pub build: Option<(View, Digest, TimeMs)>,
    /// What a liar has seen: view changes to build other new views from.
    pub seen_changes: Vec<ViewChange>,
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub fn is_honest(&self) -> bool {
        self.lie.is_none()
    }

    pub fn clock(&self, now_ms: u64) -> TimeMs {
        TimeMs(now_ms.saturating_add_signed(self.skew_ms))
    }

    pub fn crash(&mut self) {
        self.life += 1;
        self.machine = None;
        self.turn = None;
        self.inbox.clear();
        self.to_execute.clear();
        self.wake = None;
        self.ordered.clear();
        self.build = None;
    }

    /// What its disk holds may be what an honest machine never writes: then it stays down.
    pub fn start(&mut self) -> Result<(), String> {
        let machine = Machine::new(
            self.config.clone(),
            self.signer.clone(),
            self.verifier.clone(),
            self.disk.recover(),
        );
        let machine = machine.map_err(|error| format!("node {}: {error}", self.index))?;
        let machine = machine.rotating_every(self.view_heights);
        self.machine = Some(match self.planted {
            Some(mistake) => machine.with_planted(mistake),
            None => machine,
        });
        let checkpoint = self.disk.checkpoint().cloned();
        self.inbox.extend(checkpoint.map(|checkpoint| Event::Executed { checkpoint }));
        self.inbox.push(Event::Tick);
        Ok(())
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> Vec<SignedTx> {
        let committed = |tx: &SignedTx| {
            self.to_execute.iter().any(|(block, _)| block.txs.iter().any(|other| other == tx))
        };
        let waits = |(id, tx): &&(TxId, SignedTx)| {
            !self.ordered.contains(id) && !self.disk.has_executed(id) && !committed(tx)
        };
        self.pool.iter().filter(waits).map(|(_, tx)| tx.clone()).collect()
    }

    /// Steps through everything that waits. The caller lets the effects out after the sync.
    pub fn take_turn(&mut self, now_ms: u64) {
        let now = self.clock(now_ms);
        if self.wake.is_some_and(|wake| wake <= now) {
            self.wake = None;
            self.inbox.push(Event::Tick);
        }
        let waiting = self.waiting();
        let Some(machine) = &mut self.machine else { return };
        self.inbox.push(Event::Work { pending: !waiting.is_empty() });
        if let Some((view, parent, parent_time)) = self.build.filter(|_| !waiting.is_empty()) {
            let time = now.max(parent_time.plus(1));
            let txs = waiting.into_iter().take(self.block_txs);
            let txs = txs.filter(|tx| tx.is_valid_at(time)).collect();
            self.build = None;
            self.inbox.push(Event::Built { view, parent, time, txs });
        }
        let mut records = Vec::new();
        let mut effects = Vec::new();
        for event in std::mem::take(&mut self.inbox) {
            if let Event::Message { message: ConsensusMessage::ViewChange(change), .. } = &event
                && self.lie.is_some()
            {
                self.seen_changes.push((**change).clone());
            }
            for effect in machine.step(now, event) {
                match effect {
                    Effect::Persist(record) => {
                        if let Record::Block(block) = &record {
                            self.ordered.extend(block.txs.iter().map(SignedTx::id));
                        }
                        records.push(record);
                    }
                    Effect::Returned(txs) => {
                        for tx in txs {
                            self.ordered.remove(&tx.id());
                        }
                    }
                    other => effects.push(other),
                }
            }
        }
        self.turn = Some((records, effects));
    }
}
