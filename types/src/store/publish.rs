//! Publishing a model, and saying that it should no longer be used.

use super::ModelAbout;
use crate::{
    AvailabilityCertificate, Digest, Height, PublicKey, TimeMs, limits,
    model::{ModelId, TensorSpec},
};
use serde::{Deserialize, Serialize};

/// A model from outside: the file as it was given, and what tasks can start from, where the file
/// has that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishAction {
    pub about: ModelAbout,
    /// Models that it was made from, as its publisher says.
    pub parents: Vec<ModelId>,
    pub file: AvailabilityCertificate,
    pub steps: Option<PublishedSteps>,
}

/// The model's canonical form is the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSteps {
    pub tensors: Vec<TensorSpec>,
    pub model: Digest,
    pub payload: AvailabilityCertificate,
}

impl PublishAction {
    /// Why it is not acceptable, if it is not.
    pub fn fault(&self) -> Option<String> {
        let max = limits::MODEL_PARENTS_MAX;
        if self.parents.len() > max {
            return Some(format!("{} parents; at most {max} are taken", self.parents.len()));
        }
        if self.parents.iter().enumerate().any(|(at, id)| self.parents[..at].contains(id)) {
            return Some("a parent stands twice".into());
        }
        self.about.fault().or_else(|| self.steps.as_ref().and_then(PublishedSteps::fault))
    }

    /// All that each seat stores of it.
    pub fn payloads(&self) -> impl Iterator<Item = &AvailabilityCertificate> {
        std::iter::once(&self.file).chain(self.steps.as_ref().map(|steps| &steps.payload))
    }

    /// What stands as the model's digest: of the canonical form, or else the file's BLAKE3.
    pub fn digest(&self) -> Digest {
        self.steps.as_ref().map_or(self.file.blob.content, |steps| steps.model)
    }

    /// The list of tensors of the canonical form; empty where the model is a file only.
    pub fn tensors(&self) -> &[TensorSpec] {
        self.steps.as_ref().map_or(&[], |steps| &steps.tensors)
    }
}

impl PublishedSteps {
    fn fault(&self) -> Option<String> {
        let Self { tensors, payload, .. } = self;
        let bytes = crate::model::model_values(tensors).and_then(|values| values.checked_mul(4));
        crate::model::tensors_fault(tensors).or_else(|| {
            let length = payload.blob.length;
            (bytes != Some(length)).then(|| {
                format!("the payload has {length} bytes, which is not what the tensors take")
            })
        })
    }
}

/// A model should no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeprecateAction {
    pub model: ModelId,
    pub reason: String,
    /// What to use instead.
    pub successor: Option<ModelId>,
}

impl DeprecateAction {
    /// Why it is not acceptable, if it is not.
    pub fn fault(&self) -> Option<String> {
        let length = self.reason.len();
        if !(1..=limits::DESCRIPTION_BYTES_MAX).contains(&length) {
            let max = limits::DESCRIPTION_BYTES_MAX;
            return Some(format!("the reason has {length} bytes; 1 to {max} are taken"));
        }
        let own = self.successor == Some(self.model);
        own.then(|| "a model cannot be its own successor".into())
    }
}

/// Who said that a model should no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deprecation {
    pub by: PublicKey,
    pub reason: String,
    pub successor: Option<ModelId>,
    pub height: Height,
    pub time: TimeMs,
}
