//! Models: tensors of 32-bit fixed-point steps with one scale 2^−S each.
//!
//! The *canonical form* is the tensors' steps as little-endian i32, one tensor
//! after the other in the task's order. A model's digest is the Merkle root over
//! 64 KiB blocks of that form, so that any block can be checked alone.

use crate::{
    ClusterId, Digest, Height, PublicKey, RegionId, RoundNumber, TaskId, TimeMs, TxId,
    blob::BlobId, hash::Tag, limits, merkle, store::ModelAbout,
};
use serde::{Deserialize, Serialize};

/// What training does with a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TensorPolicy {
    /// Trained and folded.
    Train,
    /// Never changes.
    Frozen,
    /// Stays with each trainer.
    Local,
    /// An integer buffer, such as a batch counter.
    Buffer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<u64>,
    /// S of the scale 2^−S: |x| < 2^(31−S).
    pub scale: u8,
    pub policy: TensorPolicy,
}

impl TensorSpec {
    /// Number of values, or `None` when it overflows.
    pub fn values(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side))
    }
}

/// Why a list of tensors is not acceptable, if it is not.
pub fn tensors_fault(tensors: &[TensorSpec]) -> Option<String> {
    if tensors.is_empty() || tensors.len() > limits::TENSORS_MAX {
        return Some(format!(
            "{} tensors; 1 to {} are allowed",
            tensors.len(),
            limits::TENSORS_MAX
        ));
    }
    let mut names = std::collections::BTreeSet::new();
    for tensor in tensors {
        let name = &tensor.name;
        if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Some("tensor names take 1 to 128 bytes".into());
        }
        if !names.insert(name) {
            return Some(format!("tensor {name:?} stands twice"));
        }
        if tensor.shape.len() > limits::TENSOR_DIMENSIONS_MAX {
            return Some(format!("tensor {name:?} has {} dimensions", tensor.shape.len()));
        }
        if tensor.values().is_none_or(|values| values == 0) {
            return Some(format!("tensor {name:?} has no values or too many"));
        }
        if tensor.scale > limits::SCALE_MAX {
            return Some(format!("tensor {name:?}: scale {} is over 30", tensor.scale));
        }
    }
    match model_values(tensors) {
        Some(values) if values <= limits::MODEL_VALUES_MAX => None,
        _ => Some(format!("the model has more than {} values", limits::MODEL_VALUES_MAX)),
    }
}

/// Values of the whole model, or `None` when the sum overflows.
pub fn model_values(tensors: &[TensorSpec]) -> Option<u64> {
    tensors.iter().try_fold(0u64, |sum, tensor| sum.checked_add(tensor.values()?))
}

/// Digest of the list of tensors: what a model's steps mean.
pub fn tensors_digest(tensors: &[TensorSpec]) -> Digest {
    Digest::of(Tag::Tensors, &tensors)
}

/// Digest of a model's canonical form.
pub fn model_digest(canonical: &[u8]) -> Digest {
    let leaves: Vec<_> = canonical
        .chunks(limits::MODEL_BLOCK_BYTES)
        .map(|block| Digest::of_bytes(Tag::ModelBlock, block))
        .collect();
    let node = |left: &Digest, right: &Digest| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&left.0);
        bytes[32..].copy_from_slice(&right.0);
        Digest::of_bytes(Tag::ModelNode, &bytes)
    };
    merkle::root_with(&leaves, &node).unwrap_or(Digest::of_bytes(Tag::ModelBlock, &[]))
}

/// Whose model it is within a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Global,
    Cluster(ClusterId),
    Region(RegionId),
}

/// How a model came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// A task's first model.
    Initial { tx: TxId, by: PublicKey },
    /// Brought in from outside.
    Published { tx: TxId, by: PublicKey, about: Box<ModelAbout>, file: BlobId },
    /// Folded from the updates of a cluster's round.
    Round {
        cluster: ClusterId,
        round: RoundNumber,
        folded: u32,
        weight: u64,
        saturations: u64,
        /// Digest of what the task's server optimiser remembers after it.
        optimiser: Option<Digest>,
    },
    /// Merged from cluster models; weights in the order of the clusters.
    Merge { number: u64, weights: Vec<u64>, saturations: u64 },
}

/// One version of a model, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelRecord {
    /// `None` for published models.
    pub task: Option<TaskId>,
    pub level: Level,
    /// Counts within (task, level).
    pub version: u64,
    /// Digest of the canonical form; of a model that is a file only, the file's BLAKE3.
    pub digest: Digest,
    /// Digest of the list of tensors; of the empty list where the model is a file only.
    pub tensors: Digest,
    /// Models it was made from: the base of a round, each cluster's of a merge, or what a
    /// publisher names.
    pub parents: Vec<ModelId>,
    pub source: ModelSource,
    /// Where the canonical form came from outside; folded models have none and are
    /// served by digest.
    pub blob: Option<BlobId>,
    pub height: Height,
    pub time: TimeMs,
}

/// Identity of a model version: the digest of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ModelId(pub Digest);

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ModelRecord {
    /// The file of a model that has nothing else: no task can start from it.
    pub fn file_only(&self) -> Option<&BlobId> {
        match &self.source {
            ModelSource::Published { file, .. } if self.blob.is_none() => Some(file),
            _ => None,
        }
    }

    pub fn id(&self) -> ModelId {
        ModelId(Digest::of(Tag::ModelRecord, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_in_any_block_changes_the_digest() {
        let bytes = vec![3u8; 3 * limits::MODEL_BLOCK_BYTES + 5];
        let digest = model_digest(&bytes);
        for at in [0, limits::MODEL_BLOCK_BYTES, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(model_digest(&other), digest);
        }
    }

    #[test]
    fn shapes_that_overflow_are_named() {
        let tensor = TensorSpec {
            name: "w".into(),
            shape: vec![u64::MAX, 2],
            scale: 20,
            policy: TensorPolicy::Train,
        };
        assert!(tensors_fault(&[tensor]).unwrap().contains("\"w\""));
    }
}
