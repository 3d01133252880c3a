//! One fold: what it takes in, read at one instant, its payloads and models, from here or from
//! whoever has them, and the sum, on a thread of its own.

use crate::{blobs::BlobError, node::Node};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Semaphore;
use twinfold_fl::fold::{self, FoldInput};
use twinfold_ledger::FoldBasis;
use twinfold_types::{
    BlobDigest, Digest,
    model::{ModelId, ModelRecord, model_digest, model_values},
    round::{Entry, FoldJob, FoldResult, RoundKey},
    state_key,
    task::{Cluster, Task},
};

/// Memory that folds may take together; a larger one runs alone.
pub const FOLDS_MIB_MAX: u32 = 2_048;

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

/// Folds a job once there is memory for it.
pub async fn fold_within(
    node: &Node,
    job: FoldJob,
    memory: &Semaphore,
) -> Result<Option<FoldResult>, FoldError> {
    let Some(task) = node.reader.task(&job.task())? else { return Ok(None) };
    let Ok(_held) = memory.acquire_many(memory_mib(&task, &job)).await else { return Ok(None) };
    fold_job(node, job).await
}

/// What a fold holds at most: content, steps and sums of the model and of its result, and the
/// payloads of one batch, or of all where the rule needs them together; a merge holds every cluster's steps.
fn memory_mib(task: &Task, job: &FoldJob) -> u32 {
    let values = model_values(&task.spec.tensors).unwrap_or(u64::MAX);
    let bytes = match job {
        FoldJob::Round(_) => {
            let updates = task.spec.held_bytes().max(fold::BATCH_BYTES);
            values.saturating_mul(24).saturating_add(updates)
        }
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
        let payload = entry.blob.digest();
        inputs.push(FoldInput { trainer, payload, weight, base_version: version, base_digest });
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
        self.blobs.read_whole(&digest).ok_or(BlobError::NotFound(digest))
    }
}
