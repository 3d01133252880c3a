//! One fold: what it takes in, read at one instant, its payloads and models, from here or from
//! whoever has them, and the sum, on a thread of its own.

use crate::{blobs::BlobError, node::Node};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::Semaphore;
use twinfold_fl::{
    Base, Layout,
    fold::{self, FoldInput},
    server::{Memory, Owner, memory_bytes},
};
use twinfold_ledger::FoldBasis;
use twinfold_types::{
    BlobDigest, Digest, RegionId,
    model::{ModelId, ModelRecord, ModelSource, model_digest, model_values},
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
    #[error("what the server optimiser remembers, {digest}: {reason}")]
    Memory { digest: Digest, reason: String },
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
            let layout = Layout::of(&task.spec.tensors).ok();
            let memory =
                layout.map_or(0, |layout| memory_bytes(task.spec.stepping(), &layout) as u64);
            // In its bytes, before, after, and in the bytes of after.
            let memory = memory.saturating_mul(4);
            values.saturating_mul(24).saturating_add(updates).saturating_add(memory)
        }
        FoldJob::Merge { .. } | FoldJob::RegionMerge { .. } => {
            values.saturating_mul(16 + 4 * u64::from(task.spec.clusters))
        }
    };
    u32::try_from((bytes >> 20) + 1).unwrap_or(u32::MAX).min(FOLDS_MIB_MAX)
}

/// Folds a job if it is still due: all that goes in is read at one instant, since rows
/// of different heights would make a result that only this node signs.
async fn fold_job(node: &Node, job: FoldJob) -> Result<Option<FoldResult>, FoldError> {
    let Some(basis) = node.reader.fold_basis(&job)? else { return Ok(None) };
    let result = match job {
        FoldJob::Round(key) => fold_round(node, key, basis).await?,
        FoldJob::Merge { .. } => merge(node, job, None, basis).await?,
        FoldJob::RegionMerge { region, .. } => merge(node, job, Some(region), basis).await?,
    };
    Ok(Some(result))
}

async fn fold_round(node: &Node, key: RoundKey, basis: FoldBasis) -> Result<FoldResult, FoldError> {
    let FoldBasis { task, clusters, entries, masking, .. } = basis;
    let cluster = clusters.iter().find(|cluster| cluster.cluster == key.cluster);
    let cluster = cluster.ok_or(FoldError::Missing("the cluster"))?;
    let base = load_model(node, &task, &cluster.model).await?;
    let memory = load_memory(node, &task, cluster).await?;
    let inputs = fold_inputs(node, cluster, &entries)?;
    let against = load_against(node, &task, cluster, &entries).await?;
    for entry in &entries {
        node.exchange.ensure(&entry.blob, entry.trainer).await?;
    }
    let source = Payloads {
        blobs: node.blobs.clone(),
        digests: entries.iter().map(|entry| entry.blob.digest()).collect(),
    };
    let (id, version) = (cluster.cluster, cluster.version);
    let folded = tokio::task::spawn_blocking(move || {
        let mut source = source;
        let (memory, against, masking) = (memory.as_ref(), against.as_deref(), masking.as_ref());
        let base = Base { cluster: id, steps: &base, version, memory, against, masking };
        fold::fold_round(&task.spec, task.id, base, &inputs, &mut source)
    })
    .await??;
    let model = match folded.steps {
        Some(steps) => Some(store_model(node, steps).await?),
        None => None,
    };
    let optimiser = match folded.memory {
        Some(memory) => Some(store(node, move || memory.encode()).await?),
        None => None,
    };
    forget(node, cluster, optimiser)?;
    Ok(FoldResult {
        job: FoldJob::Round(key),
        model,
        optimiser,
        outcomes: folded.outcomes,
        contributions: folded.contributions,
        weight: folded.weight,
        saturations: folded.saturations,
    })
}

/// Of a region's clusters, or the global one.
async fn merge(
    node: &Node,
    job: FoldJob,
    of: Option<RegionId>,
    basis: FoldBasis,
) -> Result<FoldResult, FoldError> {
    let mut models = Vec::new();
    for (model, weight) in basis.merging(of).into_iter().filter(|(_, weight)| *weight > 0) {
        models.push((load_model(node, &basis.task, &model).await?, weight));
    }
    let weight = models.iter().map(|(_, weight)| weight).sum();
    let rule = basis.task.spec.merge_rule;
    let merged = tokio::task::spawn_blocking(move || {
        let views: Vec<_> =
            models.iter().map(|(steps, weight)| (steps.as_slice(), *weight)).collect();
        twinfold_fl::merge(rule, &views)
    })
    .await?;
    let model = Some(store_model(node, merged.steps).await?);
    Ok(FoldResult {
        job,
        model,
        optimiser: None,
        outcomes: vec![],
        contributions: vec![],
        weight,
        saturations: merged.saturations,
    })
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
            let id = version_of(node, cluster, version)?;
            let record = node.reader.model(&id)?.ok_or(FoldError::Missing("a base model"))?;
            vacant.insert(record.digest);
        }
        inputs.push(FoldInput::of(entry, digests[&version]));
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

/// Where models are mixed in: the one that the update is against, if it is older.
async fn load_against(
    node: &Node,
    task: &Task,
    cluster: &Cluster,
    entries: &[Entry],
) -> Result<Option<Vec<i32>>, FoldError> {
    let older = entries.first().filter(|entry| entry.base_version < cluster.version);
    let Some(entry) = older.filter(|_| task.spec.mix().is_some()) else { return Ok(None) };
    let id = version_of(node, cluster, entry.base_version)?;
    load_model(node, task, &id).await.map(Some)
}

fn version_of(node: &Node, cluster: &Cluster, version: u64) -> Result<ModelId, FoldError> {
    let key = state_key::cluster_version(&cluster.task, cluster.cluster, version);
    node.reader.get(&key)?.ok_or(FoldError::Missing("a base version"))
}

async fn load_memory(
    node: &Node,
    task: &Task,
    cluster: &Cluster,
) -> Result<Option<Memory>, FoldError> {
    let Some(digest) = cluster.optimiser else { return Ok(None) };
    let fault = |reason: String| FoldError::Memory { digest, reason };
    let content = node.model(&digest, None).await?;
    let layout = Layout::of(&task.spec.tensors).map_err(|error| fault(error.to_string()))?;
    let owner = Owner { task: task.id, cluster: cluster.cluster };
    let memory = Memory::decode(&content, owner, task.spec.stepping(), &layout);
    memory.map(Some).map_err(|error| fault(error.to_string()))
}

async fn store_model(node: &Node, steps: Vec<i32>) -> Result<Digest, FoldError> {
    store(node, move || twinfold_fl::canonical_bytes(&steps)).await
}

async fn store(
    node: &Node,
    content: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Result<Digest, FoldError> {
    let models = node.models.clone();
    let digest = tokio::task::spawn_blocking(move || {
        let content = content();
        let digest = model_digest(&content);
        models.put(&digest, &content).map(|()| digest)
    });
    Ok(digest.await??)
}

/// Versions back from a cluster's model in which an optimiser's memory may still lie here.
const FORGOTTEN_BACK: usize = 4;

/// An optimiser's memory is larger than the model and of use for one round alone: this round's, which
/// others may still fold, and the next one's stay. Whoever verifies makes the others again.
fn forget(node: &Node, cluster: &Cluster, next: Option<Digest>) -> Result<(), FoldError> {
    let mut versions = BTreeSet::from([cluster.model]);
    for _ in 0..FORGOTTEN_BACK {
        let mut before = BTreeSet::new();
        for id in versions {
            let Some(record) = node.reader.model(&id)? else { continue };
            if let ModelSource::Round { optimiser: Some(memory), .. } = &record.source
                && ![cluster.optimiser, next].contains(&Some(*memory))
            {
                node.models.remove(memory)?;
            }
            before.extend(record.parents);
        }
        versions = before;
    }
    Ok(())
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
