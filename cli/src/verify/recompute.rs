//! The same fold again, from the payloads, compared bit for bit.

use super::{VerifyError, evidence::ProvedRound, lineage::Lineage};
use crate::{
    client::{Client, ClientError},
    task::fetch_steps,
};
use std::collections::BTreeMap;
use twinfold_fl::{
    Base, FoldInput, Folded, Source, canonical_bytes, fold_round, merge,
    server::{Memory, keeps_subnormals},
};
use twinfold_types::{
    TaskId, limits,
    model::{ModelId, ModelRecord, ModelSource, model_digest},
    round::{Entry, Outcome},
    task::TaskSpec,
};

/// Payloads by entry, fetched as the fold asks for them.
struct Payloads<'a> {
    client: &'a Client,
    entries: &'a [Entry],
}

impl Source for Payloads<'_> {
    type Payload = Vec<u8>;
    type Error = ClientError;

    fn read(&mut self, index: usize) -> Result<Vec<u8>, ClientError> {
        self.client.blob(&self.entries[index].blob)
    }
}

/// A model, and what the task's server optimiser remembered with it.
struct Made {
    steps: Vec<i32>,
    memory: Option<Memory>,
}

/// Models in memory, each for as long as a later one is made from it.
struct Models {
    held: BTreeMap<ModelId, Made>,
    uses: BTreeMap<ModelId, usize>,
}

impl Models {
    /// Where models are mixed in, any older one may be needed again.
    fn of(lineage: &Lineage, spec: &TaskSpec) -> Self {
        let mut uses = BTreeMap::new();
        if spec.mix().is_some() {
            uses.extend(lineage.oldest_first().map(|(id, _)| (*id, 1)));
        }
        for parent in lineage.oldest_first().flat_map(|(_, record)| &record.parents) {
            *uses.entry(*parent).or_insert(0) += 1;
        }
        Self { held: BTreeMap::new(), uses }
    }

    fn get(&self, id: &ModelId) -> Result<&Made, VerifyError> {
        self.held
            .get(id)
            .ok_or_else(|| VerifyError::Lineage(format!("model {id} comes before its parent")))
    }

    fn put(&mut self, id: &ModelId, parents: &[ModelId], made: Made) {
        if self.uses.contains_key(id) {
            self.held.insert(*id, made);
        }
        for parent in parents {
            let Some(uses) = self.uses.get_mut(parent) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.held.remove(parent);
            }
        }
    }
}

/// Folds every model of the lineage again; gives how many came out the same. Any
/// difference is an error.
pub fn all(
    client: &Client,
    lineage: &Lineage,
    rounds: &BTreeMap<ModelId, ProvedRound>,
    task: TaskId,
    spec: &TaskSpec,
    progress: &mut dyn FnMut(&str),
) -> Result<usize, VerifyError> {
    if !spec.server.is_none() && !keeps_subnormals() {
        return Err(VerifyError::Subnormals);
    }
    let mut models = Models::of(lineage, spec);
    let mut done = 0;
    for (id, record) in lineage.oldest_first() {
        progress(&format!("recomputing model {} of {}", done + 1, lineage.len()));
        let found = match &record.source {
            ModelSource::Initial { .. } | ModelSource::Published { .. } => {
                Made { steps: fetch_steps(client, spec, id, &record.digest)?, memory: None }
            }
            ModelSource::Round { .. } => {
                let round = rounds.get(id).ok_or_else(|| {
                    VerifyError::Lineage(format!("the round of model {id} is not proved"))
                })?;
                let folded = fold(client, lineage, &models, task, spec, record, round)?;
                compare_result(id, record, round, folded)?
            }
            ModelSource::Merge { weights, .. } => {
                merge_parents(&models, spec, id, record, weights)?
            }
        };
        let digest = model_digest(&canonical_bytes(&found.steps));
        if digest != record.digest {
            let what = format!("digest of recomputed model {id}");
            return Err(VerifyError::mismatch(what, record.digest, digest));
        }
        models.put(id, &record.parents, found);
        done += 1;
    }
    Ok(done)
}

/// A published model has no past here: its content must have its digest.
pub fn published(
    client: &Client,
    id: &ModelId,
    record: &ModelRecord,
) -> Result<usize, VerifyError> {
    if let Some(file) = record.file_only() {
        // The digest is the one that the payload's identity has, which is checked.
        client.blob(file)?;
        return Ok(1);
    }
    let length = record.blob.map_or(0, |blob| blob.length.min(limits::BLOB_BYTES_MAX));
    client.model_content(id, &record.digest, length)?;
    Ok(1)
}

fn fold(
    client: &Client,
    lineage: &Lineage,
    models: &Models,
    task: TaskId,
    spec: &TaskSpec,
    record: &ModelRecord,
    round: &ProvedRound,
) -> Result<Folded, VerifyError> {
    let entries = round.entries.as_slice();
    let ModelSource::Round { cluster, .. } = record.source else {
        return Err(VerifyError::Lineage("a fold without a round".into()));
    };
    let (base_id, base) = lineage.base(record)?;
    let base_version = record.version.checked_sub(1).ok_or_else(|| {
        VerifyError::Lineage("a folded model of version 0: expected 1 or more".into())
    })?;
    let input = |entry: &Entry| {
        let version = entry.base_version;
        let against = lineage.cluster_version(cluster, base, base_version, version)?;
        Ok(FoldInput::of(entry, against.digest))
    };
    let inputs = entries.iter().map(input).collect::<Result<Vec<_>, VerifyError>>()?;
    let mut payloads = Payloads { client, entries };
    let Made { steps, memory } = models.get(base_id)?;
    let against = match entries {
        [entry] if spec.mix().is_some() && entry.base_version < base_version => {
            let against =
                lineage.cluster_version(cluster, base, base_version, entry.base_version)?;
            Some(models.get(&against.id())?.steps.as_slice())
        }
        _ => None,
    };
    let (memory, masking) = (memory.as_ref(), round.masking.as_ref());
    let base = Base { cluster, steps, version: base_version, memory, against, masking };
    Ok(fold_round(spec, task, base, &inputs, &mut payloads)?)
}

/// The committee's result says the same of every update and of their sum.
fn compare_result(
    id: &ModelId,
    record: &ModelRecord,
    round: &ProvedRound,
    result: Folded,
) -> Result<Made, VerifyError> {
    let told: Vec<_> = round.updates.iter().map(|update| update.outcome).collect();
    if told != result.outcomes {
        let what = format!("what became of the updates of model {id}");
        return Err(VerifyError::mismatch(
            what,
            format!("{told:?}"),
            format!("{:?}", result.outcomes),
        ));
    }
    if round.contributions != result.contributions {
        let what = format!("what updates had in model {id}");
        let (told, found) = (&round.contributions, &result.contributions);
        return Err(VerifyError::mismatch(what, format!("{told:?}"), format!("{found:?}")));
    }
    let counted =
        result.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Folded { .. }));
    let found = (counted.count() as u32, result.weight, result.saturations);
    let (told, told_memory) = match &record.source {
        ModelSource::Round { folded, weight, saturations, optimiser, .. } => {
            ((*folded, *weight, *saturations), *optimiser)
        }
        _ => return Err(VerifyError::Lineage("a fold without a round".into())),
    };
    if found != told {
        let what = format!("updates, weight and saturations of model {id}");
        return Err(VerifyError::mismatch(what, format!("{told:?}"), format!("{found:?}")));
    }
    let memory = result.memory;
    let found_memory = memory.as_ref().map(|memory| model_digest(&memory.encode()));
    if found_memory != told_memory {
        let what = format!("what the server optimiser remembers after model {id}");
        let (told, found) = (format!("{told_memory:?}"), format!("{found_memory:?}"));
        return Err(VerifyError::mismatch(what, told, found));
    }
    let steps = result.steps;
    let steps =
        steps.ok_or_else(|| VerifyError::Lineage(format!("nothing folds into model {id}")))?;
    Ok(Made { steps, memory })
}

/// A merge lists the models of those clusters that have weight.
fn merge_parents(
    models: &Models,
    spec: &TaskSpec,
    id: &ModelId,
    record: &ModelRecord,
    weights: &[u64],
) -> Result<Made, VerifyError> {
    let weights: Vec<_> = weights.iter().copied().filter(|weight| *weight > 0).collect();
    if weights.len() != record.parents.len() || weights.is_empty() {
        let what = format!("clusters with weight in merge {id}");
        return Err(VerifyError::mismatch(what, record.parents.len(), weights.len()));
    }
    let parents = record.parents.iter().zip(weights);
    let parents = parents.map(|(parent, weight)| Ok((models.get(parent)?, weight)));
    let parents = parents.collect::<Result<Vec<_>, VerifyError>>()?;
    let steps: Vec<_> =
        parents.iter().map(|(parent, weight)| (parent.steps.as_slice(), *weight)).collect();
    // One cluster alone keeps its model, and what it remembers.
    let alone = parents.first().filter(|_| spec.clusters == 1);
    let memory = alone.and_then(|(parent, _)| parent.memory.clone());
    Ok(Made { steps: merge(spec.merge_rule, &steps).steps, memory })
}
