//! The one loop around the agreement core: events in, effects performed.
//!
//! A turn takes what has arrived, steps the core, appends every record to the
//! journal with one sync, and only then speaks. Own broadcasts come back as events
//! of the next turn, so no own vote is counted before it is durable. A failed sync
//! ends the process.

use crate::{
    answers, clock,
    journal::{Journal, JournalError},
    network::Links,
    node::{AgreementStatus, own_tx},
    pool::Pool,
    proposals::Proposals,
    seat_keys::SeatKeys,
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use twinfold_consensus::{Diagnosis, Effect, Event, HaltReason, Machine, Record, Silent};
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    Block, Committee, Digest, Evidence, Height, PublicKey, SeatIndex, SecretKey, SignedTx, TimeMs,
    View, limits,
    message::{ConsensusMessage, PeerMessage},
    state_key,
    tx::Action,
    vote::{Certificate, Checkpoint, CheckpointCertificate, VoteKind},
};

/// Events stepped before the journal is synced once for all of them.
const TURN_EVENTS_MAX: usize = 256;
/// Between two proposals of little.
const PROPOSAL_INTERVAL: Duration = Duration::from_millis(5);
/// So much is worth a block at once.
const ENOUGH_BYTES: usize = 128 << 10;
/// The loop turns at least once a second, also when nothing comes.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_millis(250);

/// What the executor tells, in order.
pub enum FromExecutor {
    Executed {
        checkpoint: Checkpoint,
        ends_at: Option<Height>,
    },
    /// The end of an epoch is synced: its successor's committee may go on.
    NextEpoch(Arc<Committee>),
    /// The height that an accepted recovery keeps is synced: its committee may go on.
    Recovered(Arc<Committee>),
}

impl From<FromExecutor> for Input {
    fn from(told: FromExecutor) -> Self {
        match told {
            FromExecutor::Executed { checkpoint, ends_at } => {
                Input::Event(Event::Executed { checkpoint, ends_at })
            }
            FromExecutor::NextEpoch(committee) => Input::NextEpoch(committee),
            FromExecutor::Recovered(committee) => Input::Recovered(committee),
        }
    }
}

/// One step of a turn.
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
pub enum Input {
    Event(Event),
    NextEpoch(Arc<Committee>),
    Recovered(Arc<Committee>),
}

/// Work for the executor, in order.
pub enum ToExecutor {
    Commit(Box<Block>, Certificate),
    Stable(CheckpointCertificate),
}

pub struct Driver {
    pub machine: Machine,
    pub journal: Journal,
    pub own: PublicKey,
    pub key: Arc<SecretKey>,
    pub keys: Arc<SeatKeys>,
    pub links: Links,
    pub pool: Arc<Pool>,
    pub proposals: Arc<Proposals>,
    /// When a block was built last.
    pub proposed: Option<Instant>,
    pub reader: Reader,
    pub executor: mpsc::Sender<ToExecutor>,
    pub accuser: mpsc::Sender<Evidence>,
    pub status: watch::Sender<AgreementStatus>,
    pub diagnosis: watch::Sender<Diagnosis>,
    /// When that was made last.
    pub diagnosed: Instant,
    /// A block asked for by the core and not yet built.
    pub build: Option<Build>,
    pub timer: Option<TimeMs>,
    /// Earliest round deadline or lapse on the newest state.
    pub deadline: Option<TimeMs>,
    /// The height of that state.
    pub deadline_at: Option<Height>,
    pub pending: bool,
    pub loopback: VecDeque<Event>,
    /// What was last told of it.
    pub silent: Option<Silent>,
    /// The newest height whose checkpoint's signatures went into a block of this node's.
    pub attested: Height,
    /// Results of execution. Unbounded, so that executor and driver never wait for
    /// each other; what is in it is bounded by the executor's own bounded queue.
    pub executed: mpsc::UnboundedReceiver<FromExecutor>,
}

pub struct Build {
    pub view: View,
    pub parent: Digest,
    pub parent_time: TimeMs,
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the executor has stopped")]
    Executor,
    #[error("agreement stopped: {0}")]
    Halted(Box<HaltReason>),
}

impl Driver {
    /// Runs until it is told to stop, or until it must not go on.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        stop: CancellationToken,
    ) -> Result<(), DriverError> {
        let mut turn = Vec::with_capacity(TURN_EVENTS_MAX);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                more = self.wait(&mut events, &mut turn) => if !more { break },
            }
            self.turn(&mut turn).await?;
        }
        Ok(())
    }

    /// Fills the turn; false when there will be no more events.
    async fn wait(&mut self, events: &mut mpsc::Receiver<Event>, turn: &mut Vec<Input>) -> bool {
        turn.extend(self.loopback.drain(..).map(Input::Event));
        // First of all, at the start too: whether the epoch is over shows in what was executed.
        while let Ok(told) = self.executed.try_recv() {
            turn.push(told.into());
        }
        if turn.is_empty() {
            let pause = self.pause();
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => turn.push(Input::Event(event)),
                    None => return false,
                },
                told = self.executed.recv() => match told {
                    Some(told) => turn.push(told.into()),
                    None => return false,
                },
                () = tokio::time::sleep(pause) => turn.push(Input::Event(Event::Tick)),
            }
        }
        while let Ok(told) = self.executed.try_recv() {
            turn.push(told.into());
        }
        while turn.len() < TURN_EVENTS_MAX {
            match events.try_recv() {
                Ok(event) => turn.push(Input::Event(event)),
                Err(_) => break,
            }
        }
        true
    }

    /// Until the core's timer or the next round deadline, whichever is first.
    fn pause(&self) -> Duration {
        let now = clock::now();
        let wait = |at: &TimeMs| at.0.saturating_sub(now.0);
        let due = self.deadline();
        let pause = self.timer.iter().chain(&due).map(wait).min().unwrap_or(1_000);
        let pause = Duration::from_millis(pause.clamp(1, 1_000));
        match self.build.is_some() && self.pending {
            true => pause.min(self.build_pause()),
            false => pause,
        }
    }

    async fn turn(&mut self, turn: &mut Vec<Input>) -> Result<(), DriverError> {
        let mut effects = Vec::new();
        for input in turn.drain(..) {
            effects.extend(self.step(input));
        }
        self.note_work(&mut effects)?;
        let records: Vec<&Record> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record),
                _ => None,
            })
            .collect();
        // What others decided binds nobody here: execution does not wait for its sync.
        let mut decided = Vec::new();
        if records.iter().all(|record| is_decision(record)) {
            decided.extend(records.into_iter().cloned());
        } else {
            self.journal.append(&records)?;
        }
        for effect in effects {
            self.perform(effect).await?;
        }
        if !decided.is_empty() {
            self.journal.append(&decided)?;
        }
        if self.journal.wants_compaction() {
            self.journal.compact(&self.machine.durable_records())?;
        }
        self.publish();
        Ok(())
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let now = clock::now();
        match input {
            Input::Event(event) => {
                // The core asks for the next tick, if it needs one: an old time would wake the
                // loop a thousand times a second for nothing.
                self.timer = self.timer.filter(|_| !matches!(event, Event::Tick));
                self.machine.step(now, event)
            }
            Input::NextEpoch(committee) => {
                let signer = self.keys.signer(&committee);
                let effects = self.machine.open_epoch(now, (*committee).clone(), signer);
                self.tell_epoch(&committee, "a new epoch");
                effects
            }
            Input::Recovered(committee) => {
                let signer = self.keys.signer(&committee);
                let effects = self.machine.open_recovered(now, (*committee).clone(), signer);
                self.tell_epoch(&committee, "a new epoch, by the recovery that was accepted");
                effects
            }
        }
    }

    fn tell_epoch(&self, committee: &Committee, what: &str) {
        tracing::info!(
            epoch = %committee.epoch, seat = ?self.machine.seat(), seats = committee.size(), "{what}"
        );
    }

    /// Tells the core when there starts or ceases to be something to order, and
    /// builds the blocks it waits for.
    fn note_work(&mut self, effects: &mut Vec<Effect>) -> Result<(), DriverError> {
        let now = clock::now();
        let executed = self.reader.head().height;
        if self.deadline_at != Some(executed) {
            (self.deadline, self.deadline_at) = (self.reader.next_deadline()?, Some(executed));
        }
        let mut noted = 0;
        loop {
            // First, or the next block would carry once more what this turn ordered.
            effects[noted..].iter().for_each(|effect| self.note(effect));
            noted = effects.len();
            let pending = self.has_work(now);
            if pending != self.pending {
                self.pending = pending;
                effects.extend(self.machine.step(now, Event::Work { pending }));
                continue;
            }
            let due = pending && self.build_pause().is_zero();
            let Some(build) = self.build.take_if(|_| due) else { return Ok(()) };
            self.proposed = Some(Instant::now());
            let time = TimeMs(now.0.max(build.parent_time.0 + 1));
            let txs = self.with_attestation(self.pool.select(time), time)?;
            let built = Event::Built { view: build.view, parent: build.parent, time, txs };
            effects.extend(self.machine.step(now, built));
        }
    }

    /// How long the next block waits for more to carry: each height costs every node the
    /// same, however little it orders. The first one after a while goes at once.
    fn build_pause(&self) -> Duration {
        let waited = self.proposed.map_or(PROPOSAL_INTERVAL, |last| last.elapsed());
        match self.pool.queued_bytes() < ENOUGH_BYTES {
            true => PROPOSAL_INTERVAL.saturating_sub(waited),
            false => Duration::ZERO,
        }
    }

    /// What the pool and the next block must know of an effect at once.
    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Commit { block, certificate } => {
                let committee = self.machine.committee();
                let of_epoch = committee.epoch == certificate.body.epoch;
                let leader = of_epoch.then(|| committee.leader(certificate.body.view));
                self.pool.remove_committed(block, leader);
                self.pool.prune(block.header.time);
            }
            Effect::Persist(Record::Block(block)) => self.pool.note_ordered(&block.txs),
            Effect::Returned(txs) => txs.iter().for_each(|tx| self.pool.give_back(tx.clone())),
            Effect::Build { view, parent, parent_time, .. } => {
                let (view, parent, parent_time) = (*view, *parent, *parent_time);
                self.build = Some(Build { view, parent, parent_time });
            }
            _ => {}
        }
    }

    /// When there is something to order that no transaction brings: the state's deadlines, and
    /// empty blocks that lead to where the admins end the epoch.
    fn deadline(&self) -> Option<TimeMs> {
        let tick = self.machine.ends_at().map(|_| self.machine.tip().time.plus(limits::TICK_MS));
        self.deadline.into_iter().chain(tick).min()
    }

    /// Something waits that no block in flight carries or brings about.
    fn has_work(&self, now: TimeMs) -> bool {
        let reached = self.machine.tip().time;
        if self.deadline().is_some_and(|at| at <= now && at > reached) {
            return true;
        }
        // Whoever leads offers everything; the others wait only for what f leaders at
        // most passed over.
        match self.machine.seat() == Some(self.machine.leader()) {
            true => self.pool.has_valid(now),
            false => self.pool.has_undisputed(now, self.machine.committee().faults()),
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), DriverError> {
        match effect {
            Effect::Persist(_) | Effect::Build { .. } | Effect::Returned(_) => {}
            Effect::Broadcast(message) => {
                self.links.broadcast(&match &message {
                    ConsensusMessage::PrePrepare { vote, block } if !block.txs.is_empty() => {
                        self.proposals.announce(vote, block, &self.pool)
                    }
                    _ => PeerMessage::Consensus(message.clone()),
                });
                self.loopback.push_back(Event::Message { from: self.own, message });
            }
            Effect::Send { to, message } => self.links.send(&to, &PeerMessage::Consensus(message)),
            Effect::Commit { block, certificate } => self.commit(block, certificate).await?,
            Effect::Stable(certificate) => self.execute(ToExecutor::Stable(certificate)).await?,
            Effect::ServeCommitted { to, from } => {
                self.answer(&to, answers::committed(&self.reader, from));
            }
            Effect::ServeBlock { to, height, digest } => {
                self.answer(&to, answers::block(&self.reader, height, &digest));
            }
            Effect::Timer(at) => self.timer = Some(at),
            Effect::ServeEpochEnd { to, epoch } => {
                self.answer(&to, answers::epoch_end(&self.reader, epoch));
            }
            Effect::Evidence(evidence) => {
                tracing::error!(?evidence, "a seat signed what excludes one another");
                // Every honest node that saw it accuses: one lost here is no loss.
                self.accuser.try_send(*evidence).ok();
            }
            Effect::Halt(reason) => return Err(DriverError::Halted(Box::new(reason))),
        }
        Ok(())
    }

    async fn commit(&mut self, block: Block, certificate: Certificate) -> Result<(), DriverError> {
        tracing::debug!(height = %block.header.height, txs = block.txs.len(), "committed");
        self.execute(ToExecutor::Commit(Box::new(block), certificate)).await
    }

    async fn execute(&self, work: ToExecutor) -> Result<(), DriverError> {
        self.executor.send(work).await.map_err(|_| DriverError::Executor)
    }

    fn answer(&self, to: &PublicKey, found: Result<Option<PeerMessage>, LedgerError>) {
        match found {
            Ok(Some(message)) => self.links.send(to, &message),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot read what a peer asks for"),
        }
    }

    /// Says when this validator begins or ceases to sign nothing.
    fn tell_silence(&mut self) {
        let silent = self.machine.silent();
        if silent == self.silent {
            return;
        }
        match (silent, self.silent) {
            (Some(Silent::Until(forgotten)), _) => tracing::error!(
                view = %forgotten.view, height = %forgotten.height,
                "the journal lacks what others saw this validator sign, as after a restored backup: \
                 it signs nothing until a stable checkpoint beyond this height"
            ),
            (None, Some(_)) => tracing::info!("this validator takes part"),
            _ => {}
        }
        self.silent = silent;
    }

    /// Adds the attestation that is due, where need be in place of the last transactions.
    fn with_attestation(
        &mut self,
        mut txs: Vec<SignedTx>,
        time: TimeMs,
    ) -> Result<Vec<SignedTx>, DriverError> {
        let Some(attestation) = self.attestation(time)? else { return Ok(txs) };
        let room = limits::BLOCK_BYTES_MAX.saturating_sub(attestation.encoded_bytes() + 16);
        let mut bytes: usize = txs.iter().map(SignedTx::encoded_bytes).sum();
        while bytes > room || txs.len() >= limits::BLOCK_TXS_MAX {
            let Some(last) = txs.pop() else { break };
            bytes -= last.encoded_bytes();
        }
        txs.push(attestation);
        Ok(txs)
    }

    /// Signatures on a regular checkpoint that the ledger does not have yet, for the block that is
    /// being built: what participation is counted from.
    fn attestation(&mut self, time: TimeMs) -> Result<Option<SignedTx>, DriverError> {
        let newer: Vec<_> =
            self.machine.attestations().filter(|at| at.checkpoint.height > self.attested).collect();
        for certificate in newer {
            self.attested = certificate.checkpoint.height;
            if self.lacks(&certificate)? {
                let action = Action::Attest(Box::new(certificate));
                return Ok(Some(own_tx(&self.reader.chain(), &self.key, time, action)));
            }
        }
        Ok(None)
    }

    /// Whether the ledger has not seen one of these signatures.
    fn lacks(&self, certificate: &CheckpointCertificate) -> Result<bool, DriverError> {
        let key = state_key::attested(certificate.checkpoint.height);
        let Some((_, seen)) = self.reader.get::<(Digest, BTreeSet<SeatIndex>)>(&key)? else {
            return Ok(false);
        };
        Ok(certificate.signatures.iter().any(|(seat, _)| !seen.contains(seat)))
    }

    fn publish(&mut self) {
        self.tell_silence();
        if self.diagnosed.elapsed() >= DIAGNOSIS_INTERVAL {
            self.diagnosed = Instant::now();
            self.diagnosis.send_replace(self.machine.diagnosis());
        }
        let status = AgreementStatus {
            view: self.machine.view(),
            leader: self.machine.leader(),
            committed: self.machine.committed().height,
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }
}

/// A commit certificate: what the log keeps for whoever makes a recovery from it.
fn is_decision(record: &Record) -> bool {
    matches!(record, Record::Certificate(it) if it.body.kind == VoteKind::Commit)
}
