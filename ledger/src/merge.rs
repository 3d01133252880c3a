//! Merges: across a task's clusters, after so many rounds of each (synchronous) or
//! of all together (asynchronous).
//!
//! A fold job's inputs must not change while validators work on it. That is why
//! nothing but the merge is due while a merge is, and why an asynchronous merge
//! first lets those rounds through that were due when it became wanted; rounds
//! sealed later wait for it.

use crate::{
    error::LedgerError,
    execute::Exec,
    forming, region,
    round::{self, collecting_key, has_ended, has_run, is_due, is_finished, put_cluster, put_task},
};
use twinfold_types::{
    Digest, Event, RegionId,
    model::ModelId,
    round::{Round, RoundState},
    state_key,
    task::{Cluster, Mode, Task, TaskStatus, regions::Region},
};

/// Sees, after a round ended, whether a merge is wanted, and whether it is due. The
/// caller stores the task.
pub fn consider(exec: &mut Exec<'_>, task: &mut Task) -> Result<(), LedgerError> {
    if task.spec.regions.is_some() {
        return region::consider(exec, task);
    }
    let clusters = round::clusters(exec, task)?;
    if task.merge_wanted.is_none() && !is_wanted(task, &clusters) {
        return Ok(());
    }
    task.merge_wanted.get_or_insert(exec.env.height);
    for cluster in &clusters {
        let folding = state_key::round(&round::key(cluster, cluster.folding));
        if is_due(task, exec.state.get(&folding)?.as_ref()) {
            return Ok(());
        }
    }
    due(exec, task)
}

/// Nothing stands in the way of the global merge: it is awaited, unless nothing was folded.
pub fn due(exec: &mut Exec<'_>, task: &mut Task) -> Result<(), LedgerError> {
    let (clusters, regions) = (round::clusters(exec, task)?, region::all(exec, task)?);
    if parts(task, &clusters, &regions, None).iter().all(|(_, weight)| *weight == 0) {
        return restart(exec, task, clusters, None);
    }
    task.merge_due = true;
    exec.event(Event::MergeDue { task: task.id, number: task.merges });
    Ok(())
}

/// What a merge is of: each model and its weight, in order. The global one is of regions where there are any,
/// else of clusters; a region's is of its clusters.
pub fn parts(
    task: &Task,
    clusters: &[Cluster],
    regions: &[Region],
    of: Option<RegionId>,
) -> Vec<(ModelId, u64)> {
    let of_cluster = |cluster: &Cluster| (cluster.model, cluster.weight);
    match (of, &task.spec.regions) {
        (Some(region), Some(all)) => {
            let range = all.clusters(region);
            let own = clusters.iter().filter(|cluster| range.contains(&cluster.cluster.0));
            own.map(of_cluster).collect()
        }
        (None, Some(_)) => regions.iter().map(|region| (region.model, region.weight)).collect(),
        _ => clusters.iter().map(of_cluster).collect(),
    }
}

/// A cluster goes on from what it was merged into. What its optimiser remembers goes with the cluster's own
/// model; one that merged alone keeps its model.
pub fn begin_anew(cluster: &mut Cluster, merged: Option<(ModelId, Digest)>, alone: bool) {
    if let Some((model, digest)) = merged {
        (cluster.model, cluster.model_digest) = (model, digest);
        cluster.version += 1;
        cluster.optimiser = cluster.optimiser.filter(|_| alone);
    }
    cluster.weight = 0;
    cluster.rounds_since_merge = 0;
}

fn is_wanted(task: &Task, clusters: &[Cluster]) -> bool {
    let rounds: u64 = clusters.iter().map(|cluster| u64::from(cluster.rounds_since_merge)).sum();
    let enough = u64::from(task.spec.merge_every).saturating_mul(clusters.len() as u64);
    match task.spec.mode {
        Mode::Sync => clusters.iter().all(|cluster| has_run(task, cluster)),
        Mode::Async { .. } => {
            rounds >= enough
                || (rounds > 0 && clusters.iter().all(|cluster| is_finished(task, cluster)))
        }
    }
}

/// A new period begins after a merge, or without one when nothing was folded. The
/// task stays active only if updates wait already.
pub fn restart(
    exec: &mut Exec<'_>,
    task: &mut Task,
    mut clusters: Vec<Cluster>,
    merged: Option<(ModelId, Digest)>,
) -> Result<(), LedgerError> {
    task.merge_due = false;
    task.merge_wanted = None;
    task.active = false;
    let alone = clusters.len() == 1;
    for cluster in &mut clusters {
        begin_anew(cluster, merged, alone);
        put_cluster(exec, cluster);
        let round: Option<Round> = exec.state.get(&state_key::round(&collecting_key(cluster)))?;
        let waiting = round.is_some_and(|round| round.entries > 0);
        task.active |= waiting || cluster.folding < cluster.collecting;
    }
    region::restart(exec, task, merged)?;
    forming::form_anew(exec, task)?;
    if clusters.iter().all(|cluster| is_finished(task, cluster)) {
        task.active = false;
        round::end_task(exec, task, TaskStatus::Finished)?;
        exec.event(Event::TaskFinished { task: task.id });
    } else {
        reopen(exec, task, &clusters)?;
    }
    put_task(exec, task);
    Ok(())
}

/// Every cluster has an open round again; an idle task's deadlines stand still, so
/// that it makes no blocks.
fn reopen(exec: &mut Exec<'_>, task: &Task, clusters: &[Cluster]) -> Result<(), LedgerError> {
    for cluster in clusters {
        let round: Option<Round> = exec.state.get(&state_key::round(&collecting_key(cluster)))?;
        match round {
            None => round::open(exec, task, cluster)?,
            Some(mut round) if !task.active && !has_ended(&round) => {
                round::stop_deadline(exec, &round);
                round.state = RoundState::Open;
                round::put(exec, &round);
            }
            Some(_) => {}
        }
    }
    Ok(())
}
