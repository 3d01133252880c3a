//! Folds beside execution. Execution says what is due; this task has it
//! folded (see [`crate::folding`]), signs the result, exchanges signatures with the
//! other validators, and puts f+1 equal ones on the ledger.

use crate::{
    fold_turn,
    folding::{FOLDS_MIB_MAX, FoldError, fold_within},
    node::Node,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use twinfold_types::{
    Digest, Epoch, Evidence, SeatIndex, Signature,
    hash::Tag,
    key::Signer,
    limits,
    message::PeerMessage,
    round::{FoldJob, FoldResult, SignedFoldResult},
    tx::{Action, AggregateAction},
};

/// A seat may be ahead of us; so many of its results are kept for jobs not yet due.
const EARLY_PER_SEAT_MAX: usize = 16;
/// Seats put a result on the ledger one after the other, this far apart.
const SUBMIT_STEP: Duration = Duration::from_millis(400);
const RETRY: Duration = Duration::from_millis(500);
/// With nothing to fold only a new block brings something.
const LOOK: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(60);
const REPEAT: Duration = Duration::from_secs(1);

pub struct Folder {
    node: Arc<Node>,
    /// Jobs due on the newest state.
    due: BTreeSet<FoldJob>,
    running: BTreeSet<FoldJob>,
    own: BTreeMap<FoldJob, SignedFoldResult>,
    /// Newest signed result of each seat for each job.
    signed: BTreeMap<(FoldJob, SeatIndex), SignedFoldResult>,
    /// When this seat puts the job's result on the ledger, if it still waits then.
    submit_at: BTreeMap<FoldJob, Instant>,
    /// When a job whose folding failed is tried again, and how long it waits after the next failure.
    failed: BTreeMap<FoldJob, (Instant, Duration)>,
    /// When this seat folds a due job, where not all do at once.
    turn_at: BTreeMap<FoldJob, Option<Instant>>,
    /// When own results of due jobs are sent once more.
    repeat_at: Instant,
    /// MiB that no running fold takes.
    memory: Arc<Semaphore>,
    /// The epoch in which `own` was signed.
    epoch: Epoch,
}

/// What a fold came to; `None` when the job was no longer due.
type Done = (FoldJob, Result<Option<FoldResult>, FoldError>);

impl Folder {
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            due: BTreeSet::new(),
            running: BTreeSet::new(),
            own: BTreeMap::new(),
            signed: BTreeMap::new(),
            submit_at: BTreeMap::new(),
            failed: BTreeMap::new(),
            turn_at: BTreeMap::new(),
            repeat_at: Instant::now() + REPEAT,
            epoch: Epoch::default(),
            memory: Arc::new(Semaphore::new(FOLDS_MIB_MAX as usize)),
        }
    }

    /// Runs for the life of the node. Nodes without a seat do not fold.
    pub async fn run(mut self, mut inbound: mpsc::Receiver<SignedFoldResult>) {
        let mut heads = self.node.heads.clone();
        let mut folds: JoinSet<Done> = JoinSet::new();
        let mut changed = true;
        loop {
            // Not for each result that a peer sends: looking costs, and they change nothing.
            if std::mem::replace(&mut changed, true) {
                self.refresh(&mut folds);
            }
            let wake = self.submit_at.values().min().copied();
            let tick = Instant::now() + if self.due.is_empty() { LOOK } else { RETRY };
            let wake = wake.map_or(tick, |at| at.min(tick));
            tokio::select! {
                head = heads.changed() => if head.is_err() { return },
                signed = inbound.recv() => match signed {
                    Some(signed) => {
                        self.take(signed);
                        changed = false;
                    }
                    None => return,
                },
                Some(done) = folds.join_next() => self.finished(done),
                () = tokio::time::sleep_until(wake) => {
                    self.submit_due();
                    self.repeat_own();
                }
            }
        }
    }

    /// Looks at what is due, and starts what is not running.
    fn refresh(&mut self, folds: &mut JoinSet<Done>) {
        let due = match self.node.reader.fold_jobs() {
            Ok(jobs) => jobs.into_iter().collect(),
            Err(error) => {
                tracing::error!(%error, "cannot read what is to be folded");
                return;
            }
        };
        let before = std::mem::replace(&mut self.due, due);
        let left = |job: &FoldJob| matches!(self.turn_at.get(job), Some(Some(_)));
        let others =
            |job: &&FoldJob| !self.due.contains(job) && !self.own.contains_key(job) && left(job);
        before
            .iter()
            .filter(others)
            .for_each(|job| fold_turn::fetch_result(self.node.clone(), *job));
        let due = &self.due;
        self.own.retain(|job, _| due.contains(job));
        self.submit_at.retain(|job, _| due.contains(job));
        self.failed.retain(|job, _| due.contains(job));
        self.turn_at.retain(|job, _| due.contains(job));
        self.follow_epoch();
        if self.node.seat().is_none() {
            return;
        }
        for job in self.due.clone() {
            let failed = self.failed.get(&job).is_some_and(|(again, _)| *again > Instant::now());
            let waits = failed || self.is_for_others(job);
            if !waits && !self.own.contains_key(&job) && self.running.insert(job) {
                let (node, memory) = (self.node.clone(), self.memory.clone());
                folds.spawn(async move { (job, fold_within(&node, job, &memory).await) });
            }
        }
    }

    /// Whether this seat leaves a job to others, for now or because enough have folded it.
    fn is_for_others(&mut self, job: FoldJob) -> bool {
        let turn = match self.turn_at.get(&job) {
            Some(turn) => *turn,
            None => {
                let pause = fold_turn::pause(&self.node, job).unwrap_or_else(|error| {
                    tracing::warn!(%error, ?job, "cannot say whose turn it is to fold");
                    None
                });
                *self.turn_at.entry(job).or_insert(pause.map(|pause| Instant::now() + pause))
            }
        };
        turn.is_some_and(|at| at > Instant::now() || self.equal_signatures(job).is_some())
    }

    /// What was signed for one committee counts for no other: after an epoch's end it is signed anew.
    fn follow_epoch(&mut self) {
        let epoch = self.node.reader.committee().epoch;
        if std::mem::replace(&mut self.epoch, epoch) == epoch {
            return;
        }
        self.signed.clear();
        self.submit_at.clear();
        for (_, signed) in std::mem::take(&mut self.own) {
            self.sign(signed.result);
        }
    }

    fn finished(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok((job, Ok(result))) => {
                self.running.remove(&job);
                if let Some(result) = result {
                    self.sign(result);
                }
            }
            Ok((job, Err(error))) => {
                tracing::warn!(%error, ?job, "folding failed, trying again");
                self.running.remove(&job);
                self.fail(job);
            }
            // A fold panicked: which one is not told, so all that run count as failed.
            Err(error) => {
                tracing::error!(%error, "a fold ended badly");
                std::mem::take(&mut self.running).into_iter().for_each(|job| self.fail(job));
            }
        }
    }

    /// Tries again later and later: what is missing may never come.
    fn fail(&mut self, job: FoldJob) {
        let pause = self.failed.get(&job).map_or(RETRY, |(_, pause)| *pause);
        self.failed.insert(job, (Instant::now() + pause, (pause * 2).min(RETRY_MAX)));
    }

    /// Links lose messages, and a peer may have started after the last word.
    fn repeat_own(&mut self) {
        let now = Instant::now();
        if now < self.repeat_at {
            return;
        }
        self.repeat_at = now + REPEAT;
        for signed in self.own.values() {
            self.node.links.broadcast(&PeerMessage::Fold(Box::new(signed.clone())));
        }
    }

    fn sign(&mut self, result: FoldResult) {
        let node = &self.node;
        let committee = node.reader.committee();
        let Some((seat, key)) = node.keys.of_seat(&committee) else { return };
        let signature = key.sign(&result.statement(&node.chain, &committee.digest()));
        let signed = SignedFoldResult { result, seat, signature };
        node.links.broadcast(&PeerMessage::Fold(Box::new(signed.clone())));
        node.metrics.folds.inc();
        self.own.insert(signed.result.job, signed.clone());
        self.keep(signed);
    }

    /// A signed result from another seat.
    fn take(&mut self, signed: SignedFoldResult) {
        self.follow_epoch();
        let committee = self.node.reader.committee();
        let statement = signed.result.statement(&self.node.chain, &committee.digest());
        let lists = [signed.result.outcomes.len(), signed.result.contributions.len()];
        let bounded = lists.iter().all(|len| *len <= limits::PARTICIPANTS_MAX as usize);
        let key = committee.key(signed.seat).filter(|_| bounded);
        let valid = key.is_some_and(|key| key.verify(&statement, &signed.signature));
        if valid {
            self.keep(signed);
        } else {
            tracing::debug!(seat = %signed.seat, "a fold result with a wrong signature");
        }
    }

    fn keep(&mut self, signed: SignedFoldResult) {
        let (job, seat) = (signed.result.job, signed.seat);
        // Results are repeated every second; the second time says nothing new.
        if self.signed.get(&(job, seat)) == Some(&signed) {
            return;
        }
        self.signed.insert((job, seat), signed);
        self.forget_old(seat);
        self.alarm(job);
        if !self.submit_at.contains_key(&job) && self.equal_signatures(job).is_some() {
            self.submit_at.insert(job, Instant::now() + self.turn(job));
        }
    }

    /// Keeps at most so many results of a seat; those of due jobs go last.
    fn forget_old(&mut self, seat: SeatIndex) {
        let jobs = self.signed.keys().filter(|(_, of)| *of == seat).map(|(job, _)| *job);
        let (due, other): (Vec<_>, Vec<_>) = jobs.partition(|job| self.due.contains(job));
        // What is due stays: the state bounds it, and nobody would send it again.
        let excess = (due.len() + other.len()).saturating_sub(EARLY_PER_SEAT_MAX);
        for job in other.into_iter().take(excess) {
            self.signed.remove(&(job, seat));
        }
    }

    /// Another digest than ours is somebody's fault: say so, loudly.
    fn alarm(&self, job: FoldJob) {
        let Some(own) = self.own.get(&job) else { return };
        for ((of, seat), signed) in &self.signed {
            if *of == job && signed.result != own.result {
                self.node.metrics.fold_alarms.inc();
                tracing::error!(%seat, ?job, ours = ?own.result.model, theirs = ?signed.result.model,
                    "a seat signed another fold result than this node computed");
                let (epoch, signed) = (self.epoch, Box::new(signed.clone()));
                self.node.accuser.try_send(Evidence::Result { epoch, signed }).ok();
            }
        }
    }

    /// f+1 equal results: at least one signer is honest.
    fn equal_signatures(&self, job: FoldJob) -> Option<AggregateAction> {
        let needed = self.node.reader.committee().weak_quorum();
        let of_job: Vec<_> = self
            .signed
            .iter()
            .filter(|((of, _), _)| *of == job)
            .map(|(_, signed)| signed)
            .collect();
        of_job.iter().find_map(|candidate| {
            let signatures: Vec<(SeatIndex, Signature)> = of_job
                .iter()
                .filter(|signed| signed.result == candidate.result)
                .map(|signed| (signed.seat, signed.signature))
                .take(needed)
                .collect();
            let result = candidate.result.clone();
            (signatures.len() == needed).then_some(AggregateAction { result, signatures })
        })
    }

    /// The seats take turns, starting from one that the job picks.
    fn turn(&self, job: FoldJob) -> Duration {
        let Some(seat) = self.node.seat() else { return Duration::MAX };
        let digest = Digest::of(Tag::FoldTurn, &job);
        SUBMIT_STEP
            * fold_turn::place_from(&digest, seat, self.node.reader.committee().size()) as u32
    }

    fn submit_due(&mut self) {
        let now = Instant::now();
        let ready: Vec<_> =
            self.submit_at.iter().filter(|(_, at)| **at <= now).map(|(job, _)| *job).collect();
        for job in ready {
            // Again later, should this one be lost; the ledger takes only the first.
            let again = SUBMIT_STEP * self.node.reader.committee().size() as u32;
            self.submit_at.insert(job, now + again);
            if !self.due.contains(&job) {
                continue;
            }
            if let Some(aggregate) = self.equal_signatures(job)
                && let Err(error) = self.node.submit_own(Action::Aggregate(Box::new(aggregate)))
            {
                tracing::debug!(%error, "a fold result was not taken");
            }
        }
    }
}
