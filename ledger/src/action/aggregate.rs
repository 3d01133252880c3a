//! Fold results: f+1 equal signatures of the running committee, or of the one before, of which
//! one is honest, make a round's or a merge's result a model version. The result's digest is
//! kept: a seat that signed another one can be shown to have been wrong.

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
    keeping, merge, region, round,
};
use twinfold_types::{
    Code, Digest, Event, RegionId,
    hash::Tag,
    model::{self, Level, ModelId, ModelRecord, ModelSource},
    round::{
        self as rounds, ContributionTotal, Entry, FoldJob, FoldResult, Round, RoundKey, RoundState,
        VoidReason,
    },
    state_key,
    task::{Cluster, Mode, Task, regions::Region},
    tx::AggregateAction,
    vote::verify_signatures,
};

pub fn aggregate(exec: &mut Exec<'_>, action: &AggregateAction) -> Outcome {
    let result = &action.result;
    let task: Option<Task> = exec.state.get(&state_key::task(&result.job.task()))?;
    let task = task.ok_or(Code::FoldUnexpected)?;
    let state = &exec.state;
    let due =
        round::jobs(&task, &|key| state.get(key), &|key| state.get(key), &|key| state.get(key))?;
    require(due.contains(&result.job), Code::FoldUnexpected)?;
    match result.job {
        FoldJob::Round(key) => {
            let round: Round = exec.state.expect(&state_key::round(&key))?;
            require(fits(&task, &round, result), Code::FoldMismatch)?;
            take(exec, action)?;
            fold_round(exec, task, round, result)
        }
        FoldJob::Merge { .. } | FoldJob::RegionMerge { .. } => {
            let digest = result.model.ok_or(Code::FoldMismatch)?;
            let lists = [result.outcomes.is_empty(), result.contributions.is_empty()];
            let empty = lists == [true; 2] && result.optimiser.is_none();
            require(empty, Code::FoldMismatch)?;
            take(exec, action)?;
            match result.job {
                FoldJob::RegionMerge { region, .. } => {
                    region_merged(exec, task, region, digest, result)
                }
                _ => merged(exec, task, digest, result),
            }
        }
    }
}

/// Checks the signatures and keeps what they say.
fn take(exec: &mut Exec<'_>, action: &AggregateAction) -> Outcome {
    let AggregateAction { result, signatures } = action;
    let signed = exec.env.committees().any(|committee| {
        let statement = result.statement(exec.env.chain, &committee.digest());
        let needed = committee.weak_quorum();
        verify_signatures(signatures, needed, &statement, committee, exec.env.verifier).is_ok()
    });
    require(signed, Code::FoldSignatures)?;
    let digest = Digest::of(Tag::FoldResult, result);
    exec.state.put(state_key::fold_result(&result.job), &digest);
    Ok(())
}

/// Whether the result speaks of exactly this round's list.
fn fits(task: &Task, round: &Round, result: &FoldResult) -> bool {
    let weights = folded_weights(result);
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    // Staleness changes what a weight comes to in an asynchronous task.
    let sum_ok = matches!(task.spec.mode, Mode::Async { .. }) || sum == result.weight;
    let contributions = match task.spec.contributions {
        true => weights.len(),
        false => 0,
    };
    result.outcomes.len() == round.entries as usize
        && result.contributions.len() == contributions
        && result.model.is_none() == weights.is_empty()
        && result.optimiser.is_some()
            == (result.model.is_some() && task.spec.stepping().remembers())
        && sum_ok
}

fn folded_weights(result: &FoldResult) -> Vec<u32> {
    let weight = |outcome: &rounds::Outcome| match outcome {
        rounds::Outcome::Folded { weight } => Some(*weight),
        rounds::Outcome::Refused(_) => None,
    };
    result.outcomes.iter().filter_map(weight).collect()
}

fn fold_round(exec: &mut Exec<'_>, mut task: Task, round: Round, result: &FoldResult) -> Outcome {
    let key = round.key;
    let mut cluster: Cluster = exec.state.expect(&state_key::cluster(&key.task, key.cluster))?;
    match result.model {
        Some(digest) => new_cluster_model(exec, &task, &mut cluster, round, digest, result)?,
        None => round::void(exec, &task, round, VoidReason::AllRefused)?,
    }
    Ok(round::end(exec, &mut task, cluster, key.round)?)
}

fn new_cluster_model(
    exec: &mut Exec<'_>,
    task: &Task,
    cluster: &mut Cluster,
    mut round: Round,
    digest: Digest,
    result: &FoldResult,
) -> Result<(), LedgerError> {
    let RoundKey { cluster: id, round: number, .. } = round.key;
    let folded = folded_weights(result).len() as u32;
    let saturations = result.saturations;
    let source = ModelSource::Round {
        cluster: id,
        round: number,
        folded,
        weight: result.weight,
        saturations,
        optimiser: result.optimiser,
    };
    let record = ModelRecord {
        task: Some(task.id),
        level: Level::Cluster(id),
        version: cluster.version + 1,
        digest,
        tensors: model::tensors_digest(&task.spec.tensors),
        parents: vec![cluster.model],
        source,
        blob: None,
        height: exec.env.height,
        time: exec.env.time,
    };
    let model = super::model::put(exec, &record);
    (cluster.model, cluster.model_digest, cluster.version) = (model, digest, record.version);
    cluster.optimiser = result.optimiser;
    add_weight(exec, task, cluster, result.weight);
    let refused = round.entries - folded;
    let key = round.key;
    let (outcomes, contributions) = (result.outcomes.clone(), result.contributions.clone());
    let height = exec.env.height;
    round.state = RoundState::Aggregated { model, outcomes, contributions, height };
    exec.state.put(state_key::round(&key), &round);
    keeping::round_ended(exec, task, &round);
    exec.event(Event::RoundAggregated { key, model, folded, refused, saturations });
    contribute(exec, key, result)
}

/// Adds to each trainer's total what its update had in the round.
fn contribute(exec: &mut Exec<'_>, key: RoundKey, result: &FoldResult) -> Result<(), LedgerError> {
    let counted = (0..).zip(&result.outcomes).filter_map(|(index, outcome)| match outcome {
        rounds::Outcome::Folded { weight } => Some((index, *weight)),
        rounds::Outcome::Refused(_) => None,
    });
    for ((index, weight), contribution) in counted.zip(&result.contributions) {
        let entry: Entry = exec.state.expect(&state_key::round_entry(&key, index))?;
        let row = state_key::contribution(&key.task, &entry.trainer);
        let mut total: ContributionTotal = exec.state.get(&row)?.unwrap_or_default();
        total.updates += 1;
        total.weight = total.weight.saturating_add(weight.into());
        total.share_ppm = total.share_ppm.saturating_add(contribution.share_ppm.into());
        total.cosine_ppm = total.cosine_ppm.saturating_add(contribution.cosine_ppm.into());
        total.metrics = entry.metrics;
        exec.state.put(row, &total);
        let (trainer, contribution) = (entry.trainer, *contribution);
        exec.event(Event::Contributed { key, trainer, contribution });
    }
    Ok(())
}

/// A cluster's weight saturates at the task's cap, which keeps merges in i64.
fn add_weight(exec: &mut Exec<'_>, task: &Task, cluster: &mut Cluster, weight: u64) {
    let cap = u64::from(task.spec.merge_weight_max);
    let sum = cluster.weight.saturating_add(weight);
    cluster.weight = sum.min(cap);
    if sum > cap {
        exec.event(Event::WeightCapped { task: task.id, cluster: cluster.cluster });
    }
}

fn merged(exec: &mut Exec<'_>, mut task: Task, digest: Digest, result: &FoldResult) -> Outcome {
    let (clusters, regions) = (round::clusters(exec, &task)?, region::all(exec, &task)?);
    let parts = merge::parts(&task, &clusters, &regions, None);
    let (number, saturations) = (task.merges, result.saturations);
    let record = merge_record(exec, &task, Level::Global, number, parts, digest, saturations);
    let model = super::model::put(exec, &record);
    (task.global, task.global_version) = (model, record.version);
    exec.state.put(state_key::global_version(&task.id, record.version), &model);
    task.merges += 1;
    exec.event(Event::Merged { task: task.id, number, model, saturations });
    Ok(merge::restart(exec, &mut task, clusters, Some((model, digest)))?)
}

fn region_merged(
    exec: &mut Exec<'_>,
    mut task: Task,
    id: RegionId,
    digest: Digest,
    result: &FoldResult,
) -> Outcome {
    let region: Region = exec.state.expect(&state_key::region(&task.id, id))?;
    let clusters = region::clusters(exec, &task, id)?;
    let parts = merge::parts(&task, &clusters, &[], Some(id));
    let (number, saturations) = (region.merges, result.saturations);
    let record = merge_record(exec, &task, Level::Region(id), number, parts, digest, saturations);
    let model = super::model::put(exec, &record);
    exec.event(Event::RegionMerged { task: task.id, region: id, number, model, saturations });
    region::end_period(exec, &mut task, region, clusters, Some((model, digest)))?;
    round::put_task(exec, &task);
    Ok(())
}

/// A level's first model is no merge: of the merges that follow, the one with number n is its version n + 1.
fn merge_record(
    exec: &Exec<'_>,
    task: &Task,
    level: Level,
    number: u64,
    parts: Vec<(ModelId, u64)>,
    digest: Digest,
    saturations: u64,
) -> ModelRecord {
    let weights = parts.iter().map(|(_, weight)| *weight).collect();
    ModelRecord {
        task: Some(task.id),
        level,
        version: number + 1,
        digest,
        tensors: model::tensors_digest(&task.spec.tensors),
        parents: parts.iter().filter(|(_, weight)| *weight > 0).map(|(model, _)| *model).collect(),
        source: ModelSource::Merge { number, weights, saturations },
        blob: None,
        height: exec.env.height,
        time: exec.env.time,
    }
}
