//! Folds beside execution. Execution says what is due; this task reads payloads,
//! folds them on threads of its own, signs the result, exchanges signatures with the
//! other validators, and puts f+1 equal ones on the ledger.

use crate::{blobs::BlobError, node::Node};
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
use twinfold_fl::fold::{self, FoldInput};
use twinfold_ledger::FoldBasis;
use twinfold_types::{
    BlobDigest, Digest, SeatIndex, Signature,
    hash::Tag,
    key::Signer,
    limits,
    message::PeerMessage,
    model::{ModelId, ModelRecord, model_digest, model_values},
    round::{Entry, FoldJob, FoldResult, RoundKey, SignedFoldResult},
    state_key,
    task::{Cluster, Task},
    tx::{Action, AggregateAction},
};

/// A seat may be ahead of us; so many of its results are kept for jobs not yet due.
const EARLY_PER_SEAT_MAX: usize = 16;
/// Seats put a result on the ledger one after the other, this far apart.
const SUBMIT_STEP: Duration = Duration::from_millis(400);
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Memory that folds may take together; a larger one runs alone.
const FOLDS_MIB_MAX: u32 = 2_048;
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
    /// When own results of due jobs are sent once more.
    repeat_at: Instant,
    /// MiB that no running fold takes.
    memory: Arc<Semaphore>,
}

/// What a fold came to; `None` when the job was no longer due.
type Done = (FoldJob, Result<Option<FoldResult>, FoldError>);

#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error(transparent)]
    Ledger(#[from] twinfold_ledger::LedgerError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{0} is not in the state")]
    Missing(&'static str),
    #[error("model {digest}: {reason}")]
    Model { digest: Digest, reason: String },
    #[error("the folding thread ended badly: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

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
            repeat_at: Instant::now() + REPEAT,
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
            let tick = Instant::now() + RETRY;
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
        self.due = match self.node.reader.fold_jobs() {
            Ok(jobs) => jobs.into_iter().collect(),
            Err(error) => {
                tracing::error!(%error, "cannot read what is to be folded");
                return;
            }
        };
        let due = &self.due;
        self.own.retain(|job, _| due.contains(job));
        self.submit_at.retain(|job, _| due.contains(job));
        self.failed.retain(|job, _| due.contains(job));
        if self.node.seat.is_none() {
            return;
        }
        for job in self.due.clone() {
            let waits = self.failed.get(&job).is_some_and(|(again, _)| *again > Instant::now());
            if !waits && !self.own.contains_key(&job) && self.running.insert(job) {
                let (node, memory) = (self.node.clone(), self.memory.clone());
                folds.spawn(async move { (job, fold_within(&node, job, &memory).await) });
            }
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
        let Some(seat) = node.seat else { return };
        let statement = result.statement(&node.chain, &node.reader.committee().digest());
        let signature = node.key.sign(&statement);
        let signed = SignedFoldResult { result, seat, signature };
        node.links.broadcast(&PeerMessage::Fold(Box::new(signed.clone())));
        node.metrics.folds.inc();
        self.own.insert(signed.result.job, signed.clone());
        self.keep(signed);
    }

    /// A signed result from another seat.
    fn take(&mut self, signed: SignedFoldResult) {
        let committee = self.node.reader.committee();
        let statement = signed.result.statement(&self.node.chain, &committee.digest());
        let bounded = signed.result.outcomes.len() <= limits::PARTICIPANTS_MAX as usize;
        let key = committee.key(signed.seat).filter(|_| bounded);
        let valid = key.is_some_and(|key| key.verify(&statement, &signed.signature));
        if valid {
            self.keep(signed);
        } else {
            tracing::warn!(seat = %signed.seat, "a fold result with a wrong signature");
        }
    }

    fn keep(&mut self, signed: SignedFoldResult) {
        let (job, seat) = (signed.result.job, signed.seat);
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
        let Some(seat) = self.node.seat else { return Duration::MAX };
        let n = self.node.reader.committee().size() as u64;
        let digest = Digest::of(Tag::FoldTurn, &job);
        let first = u64::from(digest.0[0]) % n;
        SUBMIT_STEP * ((u64::from(seat.0) + n - first) % n) as u32
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

/// Folds a job once there is memory for it.
async fn fold_within(
    node: &Node,
    job: FoldJob,
    memory: &Semaphore,
) -> Result<Option<FoldResult>, FoldError> {
    let Some(task) = node.reader.task(&job.task())? else { return Ok(None) };
    let Ok(_held) = memory.acquire_many(memory_mib(&task, &job)).await else { return Ok(None) };
    fold_job(node, job).await
}

/// What a fold holds at most: content, steps and sums of the model and of its result, and the
/// payloads of one batch; a merge holds every cluster's steps.
fn memory_mib(task: &Task, job: &FoldJob) -> u32 {
    let values = model_values(&task.spec.tensors).unwrap_or(u64::MAX);
    let bytes = match job {
        FoldJob::Round(_) => values.saturating_mul(24).saturating_add(fold::BATCH_BYTES),
        FoldJob::Merge { .. } => values.saturating_mul(16 + 4 * u64::from(task.spec.clusters)),
    };
    u32::try_from((bytes >> 20) + 1).unwrap_or(u32::MAX).min(FOLDS_MIB_MAX)
}

/// Folds a job if it is still due: all that goes in is read at one instant, since rows
/// of different heights would make a result that only this node signs.
async fn fold_job(node: &Node, job: FoldJob) -> Result<Option<FoldResult>, FoldError> {
    let Some(basis) = node.reader.fold_basis(&job)? else { return Ok(None) };
    let result = match job {
        FoldJob::Round(key) => fold_round(node, key, basis).await?,
        FoldJob::Merge { .. } => merge(node, job, basis).await?,
    };
    Ok(Some(result))
}

async fn fold_round(node: &Node, key: RoundKey, basis: FoldBasis) -> Result<FoldResult, FoldError> {
    let FoldBasis { task, clusters, entries } = basis;
    let cluster = clusters.iter().find(|cluster| cluster.cluster == key.cluster);
    let cluster = cluster.ok_or(FoldError::Missing("the cluster"))?;
    let base = load_model(node, &task, &cluster.model).await?;
    let inputs = fold_inputs(node, cluster, &entries)?;
    for entry in &entries {
        node.exchange.ensure(&entry.blob, entry.trainer).await?;
    }
    let source = Payloads {
        blobs: node.blobs.clone(),
        digests: entries.iter().map(|entry| entry.blob.digest()).collect(),
    };
    let version = cluster.version;
    let folded = tokio::task::spawn_blocking(move || {
        let mut source = source;
        fold::fold_round(&task.spec, task.id, &base, version, &inputs, &mut source)
    })
    .await??;
    let model = match folded.steps {
        Some(steps) => Some(store_model(node, steps).await?),
        None => None,
    };
    Ok(FoldResult {
        job: FoldJob::Round(key),
        model,
        outcomes: folded.outcomes,
        weight: folded.weight,
        saturations: folded.saturations,
    })
}

async fn merge(node: &Node, job: FoldJob, basis: FoldBasis) -> Result<FoldResult, FoldError> {
    let mut models = Vec::new();
    for cluster in basis.clusters.iter().filter(|cluster| cluster.weight > 0) {
        models.push((load_model(node, &basis.task, &cluster.model).await?, cluster.weight));
    }
    let weight = models.iter().map(|(_, weight)| weight).sum();
    let merged = tokio::task::spawn_blocking(move || {
        let views: Vec<_> =
            models.iter().map(|(steps, weight)| (steps.as_slice(), *weight)).collect();
        fold::merge(&views)
    })
    .await?;
    let model = Some(store_model(node, merged.steps).await?);
    Ok(FoldResult { job, model, outcomes: vec![], weight, saturations: merged.saturations })
}

/// What the fold must know of each entry beside its payload.
fn fold_inputs(
    node: &Node,
    cluster: &Cluster,
    entries: &[Entry],
) -> Result<Vec<FoldInput>, FoldError> {
    let mut digests: BTreeMap<u64, Digest> = [(cluster.version, cluster.model_digest)].into();
    let mut inputs = Vec::with_capacity(entries.len());
    for entry in entries {
        let version = entry.base_version;
        if let std::collections::btree_map::Entry::Vacant(vacant) = digests.entry(version) {
            let key = state_key::cluster_version(&cluster.task, cluster.cluster, version);
            let id: ModelId = node.reader.get(&key)?.ok_or(FoldError::Missing("a base version"))?;
            let record = node.reader.model(&id)?.ok_or(FoldError::Missing("a base model"))?;
            vacant.insert(record.digest);
        }
        let base_digest = digests[&version];
        let (trainer, weight) = (entry.trainer, entry.weight);
        inputs.push(FoldInput { trainer, weight, base_version: version, base_digest });
    }
    Ok(inputs)
}

async fn load_model(node: &Node, task: &Task, id: &ModelId) -> Result<Vec<i32>, FoldError> {
    let record: ModelRecord = node.reader.model(id)?.ok_or(FoldError::Missing("the model"))?;
    let blob: Option<BlobDigest> = record.blob.map(|blob| blob.digest());
    let content = node.model(&record.digest, blob).await?;
    twinfold_fl::steps_from_canonical(&content, &task.spec.tensors)
        .map_err(|error| FoldError::Model { digest: record.digest, reason: error.to_string() })
}

async fn store_model(node: &Node, steps: Vec<i32>) -> Result<Digest, FoldError> {
    let models = node.models.clone();
    let digest = tokio::task::spawn_blocking(move || {
        let content = twinfold_fl::canonical_bytes(&steps);
        let digest = model_digest(&content);
        models.put(&digest, &content).map(|()| digest)
    });
    Ok(digest.await??)
}

/// The round's payloads in list order, one at a time.
struct Payloads {
    blobs: Arc<crate::blobs::BlobStore>,
    digests: Vec<BlobDigest>,
}

impl twinfold_fl::source::Source for Payloads {
    type Payload = Vec<u8>;
    type Error = BlobError;

    fn read(&mut self, index: usize) -> Result<Vec<u8>, BlobError> {
        let digest = self.digests[index];
        self.blobs.read_whole(&digest)?.ok_or(BlobError::NotFound(digest))
    }
}
