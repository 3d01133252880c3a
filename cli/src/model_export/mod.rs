//! What is known of a model, written for other tools: a model card, a CycloneDX ML-BOM, an OpenSSF
//! model signature.

mod bom;
mod card;
mod signature;

pub use bom::bom;
pub use card::card;
pub use signature::{PEM_BYTES_MAX, SignatureError, SigningKey, sign};

use crate::{client::Client, error::Result};
use serde::Serialize;
use twinfold_types::{
    Digest, TimeMs,
    api::ModelView,
    model::{ModelId, ModelSource},
    store::{MetricRecord, ModelAbout},
};

/// Parents whose names are looked up; a merge has one for each cluster.
const PARENTS_NAMED_MAX: usize = 16;

/// Everything that the chain says of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Dossier {
    #[serde(flatten)]
    pub view: ModelView,
    pub metrics: Vec<MetricRecord>,
    #[serde(skip)]
    pub parents: Vec<Parent>,
    #[serde(skip)]
    pub chain: Digest,
}

#[derive(Clone, Debug)]
pub struct Parent {
    pub id: ModelId,
    /// What it is called, where that was looked up.
    pub label: Option<String>,
}

impl Dossier {
    pub fn of(client: &Client, id: &ModelId) -> Result<Self> {
        let (view, metrics) = (client.model(id)?, client.model_metrics(id)?);
        let mut parents = vec![];
        for (at, id) in view.record.parents.iter().enumerate() {
            let label = match at < PARENTS_NAMED_MAX {
                true => Some(label(&client.model(id)?)),
                false => None,
            };
            parents.push(Parent { id: *id, label });
        }
        Ok(Self { view, metrics, parents, chain: client.chain()?.digest })
    }

    /// What its publisher says, where it was published.
    pub fn about(&self) -> Option<&ModelAbout> {
        about(&self.view)
    }

    /// Semantic where it was published, else the number within its task and level.
    pub fn version(&self) -> String {
        version(&self.view)
    }

    /// When something was last said of it.
    pub fn newest(&self) -> TimeMs {
        let said = self.view.deprecation.iter().map(|deprecation| deprecation.time);
        let said = said.chain(self.metrics.iter().map(|record| record.time));
        said.fold(self.view.record.time, Ord::max)
    }
}

fn about(view: &ModelView) -> Option<&ModelAbout> {
    match &view.record.source {
        ModelSource::Published { about, .. } => Some(about),
        _ => None,
    }
}

fn version(view: &ModelView) -> String {
    about(view).map_or_else(|| view.record.version.to_string(), |about| about.version.clone())
}

fn label(view: &ModelView) -> String {
    format!("{} {}", view.name, version(view))
}

#[cfg(test)]
mod tests;
