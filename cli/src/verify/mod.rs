//! From a model back to the first: which updates made it, by which keys, in which
//! blocks; and, when asked, the same fold again, compared bit for bit.
//!
//! The chain of trust: the genesis file names the committee; its quorum signed a
//! checkpoint; the checkpoint's state root holds the model's record; a record's
//! identity is its digest and names its parents by theirs, so all ancestors follow.
//! Each round's list stands under a state root too, and each update's transaction,
//! with its signature and receipt, under an audit root. Nodes only bring the pieces.

mod evidence;
mod lineage;
mod recompute;

use crate::client::{Client, ClientError};
use evidence::Evidence;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use twinfold_types::{
    ClusterId, Digest, Height, PublicKey, TaskId, TxId,
    genesis::Genesis,
    key::EncryptionKey,
    member::Member,
    model::{Level, ModelId, ModelSource},
    proof::ProofError,
    round::{Outcome, RoundKey},
    task::{
        TaskSpec,
        masks::{Deal, Masking},
    },
};

#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Fetch every payload and fold again.
    pub recompute: bool,
    /// How long to wait for a checkpoint over what is not certified yet.
    pub timeout: Duration,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { recompute: true, timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{what}: {error}")]
    Proof { what: String, error: ProofError },
    #[error("{what}: {error}")]
    Checkpoint { what: String, error: String },
    #[error("{what}: expected {expected}, got {found}")]
    Mismatch { what: String, expected: String, found: String },
    #[error(
        "this machine flushes very small numbers to zero, so what a server optimiser does could come out otherwise: verify elsewhere"
    )]
    Subnormals,
    #[error("{0}")]
    Lineage(String),
}

impl VerifyError {
    pub fn mismatch(
        what: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::Mismatch { what: what.into(), expected, found }
    }
}

/// One update in the model's past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedUpdate {
    pub tx: TxId,
    pub trainer: PublicKey,
    /// Block that ordered it.
    pub height: Height,
    pub cluster: ClusterId,
    pub round: u64,
    pub index: u32,
    pub base_version: u64,
    pub weight: u32,
    /// What the committee's fold did with it; the same again when recomputed.
    pub outcome: Outcome,
    /// The model it went into.
    pub model: ModelId,
}

/// What was established. Nothing in it is a node's word.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    pub model: ModelId,
    pub digest: Digest,
    pub task: Option<TaskId>,
    pub level: Level,
    pub version: u64,
    pub chain: Digest,
    /// The checkpoint that proves the model's record, and how many seats signed it.
    pub checkpoint: Height,
    pub checkpoint_signatures: usize,
    /// Models in the lineage, and those folded again with the same digest.
    pub models: usize,
    pub recomputed: usize,
    pub rounds: usize,
    pub merges: usize,
    pub trainers: usize,
    /// Where the lineage ends: a task's first model, or a published one.
    pub origin: ModelId,
    /// In the order of the models, each round's list in order.
    pub updates: Vec<VerifiedUpdate>,
}

/// Verifies a model. `progress` hears what is being done.
pub fn verify_model(
    client: &Client,
    genesis: &Genesis,
    id: &ModelId,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<VerifyReport, VerifyError> {
    let evidence = Evidence::new(client, genesis, options.timeout);
    progress("proving the model's record");
    let proved = evidence.model(id)?;
    progress("walking the lineage");
    let lineage = lineage::walk(client, id, &proved.record)?;
    let task = match proved.record.task {
        Some(task) => Some((task, evidence.task(&task)?)),
        None => None,
    };
    lineage.check(&evidence, task.as_ref())?;
    let mut rounds = BTreeMap::new();
    for (done, (id, record)) in lineage.oldest_first().enumerate() {
        progress(&format!("checking updates of model {} of {}", done + 1, lineage.len()));
        if let (ModelSource::Round { .. }, Some((_, spec))) = (&record.source, &task) {
            rounds.insert(*id, evidence.round(spec, id, record)?);
        }
    }
    let recomputed = match (&task, options.recompute) {
        (_, false) => 0,
        (Some((task, spec)), true) => {
            recompute::all(client, &lineage, &rounds, *task, spec, progress)?
        }
        (None, true) => recompute::published(client, id, &proved.record)?,
    };
    let order = lineage.oldest_first().filter_map(|(id, _)| rounds.remove(id));
    let updates: Vec<_> = order.flat_map(|round| round.updates).collect();
    let trainers: BTreeSet<_> = updates.iter().map(|update| update.trainer).collect();
    Ok(VerifyReport {
        model: *id,
        digest: proved.record.digest,
        task: proved.record.task,
        level: proved.record.level,
        version: proved.record.version,
        chain: genesis.digest(),
        checkpoint: proved.checkpoint.checkpoint.height,
        checkpoint_signatures: proved.checkpoint.signatures.len(),
        models: lineage.len(),
        recomputed,
        rounds: lineage.count(|source| matches!(source, ModelSource::Round { .. })),
        merges: lineage.count(|source| matches!(source, ModelSource::Merge { .. })),
        trainers: trainers.len(),
        origin: lineage.origin(),
        updates,
    })
}

/// A member, and its encryption key if it has one, under a stable checkpoint.
pub fn prove_encryption_key(
    client: &Client,
    member: &PublicKey,
    timeout: Duration,
) -> Result<(Member, Option<EncryptionKey>), VerifyError> {
    Evidence::new(client, &client.chain()?.genesis, timeout).encryption_key(member)
}

/// A masked round under a stable checkpoint: who its members are, and whose update is in its list.
pub fn prove_masking(
    client: &Client,
    key: &RoundKey,
    timeout: Duration,
) -> Result<Masking, VerifyError> {
    Evidence::new(client, &client.chain()?.genesis, timeout).masking(key)
}

/// A task's settings, from the transaction that its identity is of.
pub fn prove_task(
    client: &Client,
    task: &TaskId,
    timeout: Duration,
) -> Result<TaskSpec, VerifyError> {
    Evidence::new(client, &client.chain()?.genesis, timeout).task(task)
}

/// What a member dealt in a masked round.
pub fn prove_deal(
    client: &Client,
    key: &RoundKey,
    dealer: u32,
    timeout: Duration,
) -> Result<Option<Deal>, VerifyError> {
    Evidence::new(client, &client.chain()?.genesis, timeout).deal(key, dealer)
}
