//! The models behind a model. Each record is taken only under its own digest, so
//! a proved model proves its ancestors.

use super::{VerifyError, evidence::Evidence};
use crate::client::Client;
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    ClusterId, TaskId,
    model::{Level, ModelId, ModelRecord, ModelSource, tensors_digest},
    task::TaskSpec,
};

/// Models that a walk follows before it gives up.
const MODELS_MAX: usize = 1_000_000;

pub struct Lineage {
    records: BTreeMap<ModelId, ModelRecord>,
    /// Parents before children; the model asked for is last.
    order: Vec<ModelId>,
    /// Global models by version.
    globals: BTreeMap<u64, ModelId>,
}

/// Collects the model's ancestors: from the node's lineage in one go, and one by
/// one where that leaves any out.
pub fn walk(client: &Client, id: &ModelId, record: &ModelRecord) -> Result<Lineage, VerifyError> {
    let listed = client.lineage(id)?.models.into_iter();
    let mut known: BTreeMap<_, _> = listed.map(|view| (view.record.id(), view.record)).collect();
    known.insert(*id, record.clone());
    let mut records = BTreeMap::new();
    let mut order = vec![];
    // Depth first; a model is listed once all its parents are.
    let mut pending = vec![(*id, false)];
    let mut seen = BTreeSet::new();
    while let Some((id, parents_done)) = pending.pop() {
        if parents_done {
            order.push(id);
            continue;
        }
        if !seen.insert(id) {
            continue;
        }
        if seen.len() > MODELS_MAX {
            return Err(VerifyError::Lineage(format!("more than {MODELS_MAX} models")));
        }
        let record = match known.remove(&id) {
            Some(record) => record,
            None => client.model(&id)?.record,
        };
        pending.push((id, true));
        // What a published model was made from is its publisher's word: nothing there to prove. What a
        // task started from has a line of its own.
        let stated =
            matches!(record.source, ModelSource::Published { .. } | ModelSource::Initial { .. });
        let parents = if stated { &[][..] } else { &record.parents };
        pending.extend(parents.iter().map(|parent| (*parent, false)));
        records.insert(id, record);
    }
    let global = |(id, record): (&ModelId, &ModelRecord)| {
        (record.level == Level::Global).then_some((record.version, *id))
    };
    let globals = records.iter().filter_map(global).collect();
    Ok(Lineage { records, order, globals })
}

impl Lineage {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn oldest_first(&self) -> impl Iterator<Item = (&ModelId, &ModelRecord)> {
        self.order.iter().map(|id| (id, &self.records[id]))
    }

    pub fn count(&self, wanted: impl Fn(&ModelSource) -> bool) -> usize {
        self.records.values().filter(|record| wanted(&record.source)).count()
    }

    /// Where the lineage ends.
    pub fn origin(&self) -> ModelId {
        self.order[0]
    }

    fn record(&self, id: &ModelId) -> Result<&ModelRecord, VerifyError> {
        self.records
            .get(id)
            .ok_or_else(|| VerifyError::Lineage(format!("model {id} is not in the lineage")))
    }

    /// The one parent of a model folded in a round.
    pub fn base<'a>(
        &'a self,
        record: &'a ModelRecord,
    ) -> Result<(&'a ModelId, &'a ModelRecord), VerifyError> {
        match record.parents.as_slice() {
            [base] => Ok((base, self.record(base)?)),
            parents => Err(VerifyError::mismatch(
                format!("parents of round model {}", record.id()),
                1,
                parents.len(),
            )),
        }
    }

    /// The model that was version `version` of a cluster, going back from `from`,
    /// which was version `at`. A merge counts as a version of each cluster.
    pub fn cluster_version<'a>(
        &'a self,
        cluster: ClusterId,
        from: &'a ModelRecord,
        mut at: u64,
        version: u64,
    ) -> Result<&'a ModelRecord, VerifyError> {
        let mut record = from;
        while at > version {
            let parent = self.cluster_parent(cluster, record).ok_or_else(|| {
                VerifyError::Lineage(format!(
                    "cluster {cluster} has no version {version}: its line ends at {at}"
                ))
            })?;
            record = self.record(&parent)?;
            at -= 1;
        }
        if at != version {
            let what = format!("an update's base in cluster {cluster}: at most version");
            return Err(VerifyError::mismatch(what, at, version));
        }
        Ok(record)
    }

    /// What a cluster had before this model. A merge lists the clusters with weight
    /// only; one without was still at the global model before.
    fn cluster_parent(&self, cluster: ClusterId, record: &ModelRecord) -> Option<ModelId> {
        let ModelSource::Merge { weights, .. } = &record.source else {
            return record.parents.first().copied();
        };
        let index = usize::from(cluster.0);
        if *weights.get(index)? == 0 {
            return self.globals.get(&record.version.checked_sub(1)?).copied();
        }
        let before = weights[..index].iter().filter(|weight| **weight > 0).count();
        record.parents.get(before).copied()
    }

    /// All models are of one task and its tensors, and the line ends at the task's
    /// first model, or at the transaction that published it.
    pub fn check(
        &self,
        evidence: &Evidence<'_>,
        task: Option<&(TaskId, TaskSpec)>,
    ) -> Result<(), VerifyError> {
        for (id, record) in &self.records {
            if record.task != task.map(|(task, _)| *task) {
                return Err(VerifyError::Lineage(format!("model {id} is of another task")));
            }
            if let Some((_, spec)) = task
                && record.tensors != tensors_digest(&spec.tensors)
            {
                return Err(VerifyError::Lineage(format!("model {id} has other tensors")));
            }
            match (&record.source, task) {
                (ModelSource::Initial { tx, .. }, Some((task, spec))) => {
                    let started = spec.start.iter().eq(&record.parents);
                    if tx.0 != task.0 || record.digest != spec.initial_model || !started {
                        let what = format!("first model {id}");
                        return Err(VerifyError::mismatch(what, spec.initial_model, record.digest));
                    }
                }
                (ModelSource::Published { tx, by, .. }, None) => {
                    evidence.published(tx, by, record)?;
                }
                (ModelSource::Round { cluster, .. }, Some(_)) => {
                    let (_, base) = self.base(record)?;
                    check_level(id, record, Level::Cluster(*cluster), base)?;
                }
                (ModelSource::Merge { weights, .. }, Some((_, spec))) => {
                    let expected = merged_models(spec, record.level);
                    if expected != Some(weights.len()) {
                        let what = format!("weights of merge {id}");
                        let expected = expected
                            .map_or("none at its level".into(), |models| models.to_string());
                        return Err(VerifyError::mismatch(
                            what,
                            expected,
                            weights.len().to_string(),
                        ));
                    }
                }
                _ => {
                    let text = format!("model {id} has a source that does not go with its task");
                    return Err(VerifyError::Lineage(text));
                }
            }
        }
        Ok(())
    }
}

/// Models that a merge at a level is of; `None` where there is no merge at such a level.
fn merged_models(spec: &TaskSpec, level: Level) -> Option<usize> {
    match (level, &spec.regions) {
        (Level::Global, None) => Some(usize::from(spec.clusters)),
        (Level::Global, Some(regions)) => Some(regions.sizes.len()),
        (Level::Region(id), Some(regions)) => {
            Some(regions.clusters(id).len()).filter(|clusters| *clusters > 0)
        }
        _ => None,
    }
}

fn check_level(
    id: &ModelId,
    record: &ModelRecord,
    level: Level,
    base: &ModelRecord,
) -> Result<(), VerifyError> {
    if record.level != level {
        let (expected, found) = (format!("{level:?}"), format!("{:?}", record.level));
        return Err(VerifyError::mismatch(format!("level of model {id}"), expected, found));
    }
    // A base of the same cluster is the version before; a merge has numbers of its own.
    if base.level == level && base.version.checked_add(1) != Some(record.version) {
        let (expected, found) = (base.version.saturating_add(1), record.version);
        return Err(VerifyError::mismatch(format!("version of model {id}"), expected, found));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Digest, Height, PublicKey, RoundNumber, TimeMs, TxId};

    fn record(level: Level, version: u64, parents: &[ModelId], source: ModelSource) -> ModelRecord {
        ModelRecord {
            task: Some(TaskId(Digest::ZERO)),
            level,
            version,
            digest: Digest::ZERO,
            tensors: Digest::ZERO,
            parents: parents.to_vec(),
            source,
            blob: None,
            height: Height(1),
            time: TimeMs(1),
        }
    }

    fn round(cluster: u16, version: u64, parent: ModelId) -> ModelRecord {
        let cluster = ClusterId(cluster);
        let (round, folded, weight, saturations) = (RoundNumber(version), 1, 1, 0);
        let source =
            ModelSource::Round { cluster, round, folded, weight, saturations, optimiser: None };
        record(Level::Cluster(cluster), version, &[parent], source)
    }

    fn merge(number: u64, weights: &[u64], parents: &[ModelId]) -> ModelRecord {
        let source = ModelSource::Merge { number, weights: weights.to_vec(), saturations: 0 };
        record(Level::Global, number + 1, parents, source)
    }

    #[test]
    fn a_clusters_versions_go_back_through_merges_with_and_without_its_weight() {
        let (tx, by) = (TxId(Digest::ZERO), PublicKey([0; 32]));
        let first = record(Level::Global, 0, &[], ModelSource::Initial { tx, by });
        let both = [round(0, 1, first.id()), round(1, 1, first.id())];
        let merged = merge(0, &[5, 6], &[both[0].id(), both[1].id()]);
        // Only cluster 1 learns before the second merge.
        let alone = round(1, 3, merged.id());
        let last = merge(1, &[0, 7], &[alone.id()]);
        let all = [&first, &both[0], &both[1], &merged, &alone, &last];
        let globals = [&first, &merged, &last].map(|record| (record.version, record.id()));
        let lineage = Lineage {
            records: all.iter().map(|record| (record.id(), (*record).clone())).collect(),
            order: all.iter().map(|record| record.id()).collect(),
            globals: globals.into(),
        };
        // (cluster, its version of the last merge, the model that was each version)
        let lines = [
            (0, 3, vec![&first, &both[0], &merged, &last]),
            (1, 4, vec![&first, &both[1], &merged, &alone, &last]),
        ];
        for (cluster, newest, versions) in lines {
            for (version, expected) in (0..).zip(versions) {
                let found = lineage.cluster_version(ClusterId(cluster), &last, newest, version);
                assert_eq!(found.unwrap().id(), expected.id(), "cluster {cluster}, {version}");
            }
        }
        let beyond = lineage.cluster_version(ClusterId(0), &last, 3, 4).map(ModelRecord::id);
        assert!(beyond.unwrap_err().to_string().contains("at most version"));
    }
}
