//! One simulated process: the driver's loop around a real machine.
//!
//! A turn takes everything that waits, steps the machine, writes the records, syncs
//! (which takes time, and a crash meanwhile loses the turn), and only then lets
//! anything out.

use crate::{
    dice::Dice,
    disk::Disk,
    liar::Liar,
    lie::Lie,
    pool::Pool,
    setup::{self, MachineSetup, is_victim},
};
use std::collections::VecDeque;
use twinfold_consensus_planted::{Answer, Docket, Effect, Event, Machine, Record};
use twinfold_types::{
    Action, Block, Code, Digest, Evidence, PublicKey, SeatIndex, SignedTx, TimeMs, View,
    limits::DRIFT_MS_MAX, tx::TxBody, vote::Certificate,
};

/// As long as the node's own transactions are valid, before and after they are made.
const ACCUSATION_BEFORE_MS: u64 = 60_000;
const ACCUSATION_AFTER_MS: u64 = 300_000;

pub struct Node {
    pub index: usize,
    pub setup: MachineSetup,
    pub liar: Option<Liar>,
    /// The clock's error.
    pub skew_ms: i64,
    pub block_txs: usize,
    /// Longest sync.
    pub sync_ms_max: u64,
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
    pub pool: Pool,
    pub build: Option<(View, Digest, TimeMs)>,
    /// Evidence on its way to the ledger: in memory.
    pub docket: Docket,
    /// Whether it is going to be looked at.
    pub tending: bool,
    /// Not part of the network yet: its first start is a joining.
    pub absent: bool,
    /// Gone for good, with its disk.
    pub lost: bool,
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub fn is_honest(&self) -> bool {
        self.liar.is_none()
    }

    /// A liar that holds a seat: without one it has nothing to lie about.
    pub fn seated_liar(&self) -> Option<&Liar> {
        self.liar.as_ref().filter(|_| self.seat().is_some())
    }

    pub fn lie(&self) -> Option<Lie> {
        self.liar.as_ref().map(|liar| liar.lie)
    }

    pub fn seat(&self) -> Option<SeatIndex> {
        self.setup.config.committee.seat_of(&self.setup.config.own)
    }

    pub fn key(&self) -> PublicKey {
        self.setup.signer.public_key()
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
        self.pool.restarted();
        self.build = None;
        (self.docket, self.tending) = (setup::docket(self.setup.planted), false);
    }

    /// What its disk holds may be what an honest machine never writes: then it stays down.
    pub fn start(&mut self) -> Result<(), String> {
        self.setup.config.committee = self.disk.voting_committee().clone();
        let (mut recovered, ahead) = (self.disk.recover(), self.disk.recovery_ahead());
        if ahead.is_some() {
            let epoch = self.setup.config.committee.epoch;
            recovered.records.retain(|record| record.epoch() <= epoch);
        }
        let machine = self.setup.machine(recovered);
        let machine = machine.map_err(|error| format!("node {}: {error}", self.index))?;
        self.machine = Some(match ahead {
            Some(kept) => machine.following_until(kept),
            None => machine,
        });
        let checkpoint = self.disk.checkpoint().cloned();
        let ends_at = self.disk.ends_at();
        self.inbox.extend(checkpoint.map(|checkpoint| Event::Executed { checkpoint, ends_at }));
        self.inbox.push(Event::Tick);
        Ok(())
    }

    /// Something to order, or a liar's wish to make a block of nothing.
    pub fn would_build(&self) -> bool {
        let empty = matches!(self.lie(), Some(Lie::Censor | Lie::Stall));
        self.build.is_some() && (empty || self.has_work())
    }

    /// A transaction waits, or empty blocks lead to an epoch's end.
    fn has_work(&self) -> bool {
        let ending = self.machine.as_ref().is_some_and(|machine| machine.ends_at().is_some());
        ending || !self.pool.is_empty()
    }

    /// Into the next epoch, once the disk has the stable checkpoint that hands over to it, or the
    /// height from which a recovery goes on.
    fn open_epoch(&mut self, now: TimeMs) -> Vec<Effect> {
        let committee = self.disk.voting_committee().clone();
        let recovered = self.disk.recovered().is_some();
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let follows = machine.epoch().next() == committee.epoch || recovered;
        let opens = follows && machine.epoch() < committee.epoch;
        if !opens || machine.executed() != committee.anchor {
            return Vec::new();
        }
        self.build = None;
        self.setup.config.committee = committee.clone();
        let signer = self.setup.signer.clone();
        match recovered {
            true => machine.open_recovered(now, committee, signer),
            false => machine.open_epoch(now, committee, signer),
        }
    }

    /// Steps through everything that waits. The caller lets the effects out after the sync.
    pub fn take_turn(&mut self, now_ms: u64) {
        let now = self.clock(now_ms);
        if self.wake.is_some_and(|wake| wake <= now) {
            self.wake = None;
            self.inbox.push(Event::Tick);
        }
        self.pool.lapse(now);
        self.inbox.push(Event::Work { pending: self.has_work() });
        self.build(now);
        let mut done = self.open_epoch(now);
        let Some(machine) = &mut self.machine else { return };
        for event in std::mem::take(&mut self.inbox) {
            if let (Some(liar), Event::Message { message, .. }) = (&mut self.liar, &event) {
                liar.remember(message);
            }
            done.extend(machine.step(now, event));
        }
        let (mut records, mut effects) = (Vec::new(), Vec::new());
        for effect in done {
            match effect {
                Effect::Persist(record) => {
                    if let Record::Block(block) = &record {
                        block.txs.iter().for_each(|tx| self.pool.ordered(&tx.id()));
                    }
                    records.push(record);
                }
                Effect::Returned(txs) => {
                    txs.iter().for_each(|tx| self.pool.returned(&tx.id()));
                }
                other => effects.push(other),
            }
        }
        self.turn = Some((records, effects));
    }

    /// Brings evidence to the ledger, as `node/src/accuser.rs` does: what it makes of it goes to
    /// every pool.
    pub fn tend_docket(&mut self, now_ms: u64, dice: &mut Dice) -> Vec<SignedTx> {
        let now = self.clock(now_ms);
        let Self { docket, disk, pool, setup, .. } = self;
        let running = disk.running().epoch;
        let mut made = Vec::new();
        let bring = |evidence: &Evidence| {
            let tx = accusation(setup, evidence, now, dice.number());
            match disk.admit(&tx, now) {
                Code::Ok => {
                    made.push(tx);
                    Answer::Waits(made[made.len() - 1].id())
                }
                code => Answer::Refused(code),
            }
        };
        docket.tend(now, running, |id| pool.holds(id), bring);
        made
    }

    fn build(&mut self, now: TimeMs) {
        if !self.would_build() {
            return;
        }
        let Some((view, parent, parent_time)) = self.build.take() else { return };
        let earliest = parent_time.plus(1);
        let (time, repeated) = match self.lie() {
            Some(Lie::Race) => (now.plus(DRIFT_MS_MAX).max(earliest), None),
            Some(Lie::Stall) => self.last_moment(earliest, now.plus(DRIFT_MS_MAX)),
            _ => (now.max(earliest), None),
        };
        let censors = self.lie() == Some(Lie::Censor);
        let passes = |tx: &&SignedTx| tx.is_valid_at(time) && !(censors && is_victim(tx));
        let txs = self.pool.waiting().filter(passes).take(self.block_txs).cloned();
        let txs = repeated.into_iter().chain(txs).collect();
        self.inbox.push(Event::Built { view, parent, time, txs });
    }

    /// The earliest time, unless an executed transaction can be ordered again by another: in
    /// one block its last moment is prepared, in the next it is used.
    fn last_moment(&self, earliest: TimeMs, latest: TimeMs) -> (TimeMs, Option<SignedTx>) {
        let executed = self.disk.valid_after(TimeMs(earliest.0 - 1));
        match executed.into_iter().next() {
            Some(tx) if tx.body.valid_until == earliest => (earliest, Some(tx)),
            Some(tx) if tx.body.valid_until <= latest => {
                (TimeMs(tx.body.valid_until.0 - 1).max(earliest), Some(tx))
            }
            _ => (earliest, None),
        }
    }
}

/// A transaction of the node's own member.
fn accusation(setup: &MachineSetup, evidence: &Evidence, now: TimeMs, nonce: u64) -> SignedTx {
    let body = TxBody {
        chain: setup.config.chain,
        sender: setup.signer.public_key(),
        nonce,
        valid_from: TimeMs(now.0 - ACCUSATION_BEFORE_MS),
        valid_until: now.plus(ACCUSATION_AFTER_MS),
        action: Action::Accuse(Box::new(evidence.clone())),
    };
    body.sign(&*setup.signer)
}
