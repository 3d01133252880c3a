//! Regions: the level between clusters and the whole task, in tasks that have it. A region whose clusters have
//! run their rounds merges at once; when every region has had its merges, the task does.

use crate::{
    error::LedgerError,
    execute::Exec,
    merge,
    round::{self, has_run, is_finished, put_cluster},
};
use twinfold_types::{
    ClusterId, Digest, Event, RegionId,
    model::ModelId,
    state_key,
    task::{
        Cluster, Task,
        regions::{Region, RegionStage, Regions},
    },
};

pub fn put(exec: &mut Exec<'_>, region: &Region) {
    exec.state.put(state_key::region(&region.task, region.region), region);
}

/// Every region of a task, in order; none where it has none.
pub fn all(exec: &Exec<'_>, task: &Task) -> Result<Vec<Region>, LedgerError> {
    let ids = task.spec.regions.iter().flat_map(Regions::ids);
    ids.map(|id| exec.state.expect(&state_key::region(&task.id, id))).collect()
}

/// The clusters of a region, in order.
pub fn clusters(exec: &Exec<'_>, task: &Task, id: RegionId) -> Result<Vec<Cluster>, LedgerError> {
    let range = task.spec.regions.as_ref().map_or(0..0, |regions| regions.clusters(id));
    range.map(|id| exec.state.expect(&state_key::cluster(&task.id, ClusterId(id)))).collect()
}

/// The regions of a new task begin from its first model.
pub fn begin(exec: &mut Exec<'_>, task: &Task) {
    for id in task.spec.regions.iter().flat_map(Regions::ids) {
        put(
            exec,
            &Region {
                task: task.id,
                region: id,
                model: task.global,
                model_digest: task.spec.initial_model,
                merges: 0,
                periods: 0,
                weight: 0,
                stage: RegionStage::Rounds,
            },
        );
    }
}

/// Sees, after a round ended, which regions are to merge. The caller stores the task.
pub fn consider(exec: &mut Exec<'_>, task: &mut Task) -> Result<(), LedgerError> {
    for mut region in all(exec, task)? {
        let clusters = clusters(exec, task, region.region)?;
        let done = clusters.iter().all(|cluster| has_run(task, cluster));
        if region.stage != RegionStage::Rounds || !done {
            continue;
        }
        if clusters.iter().all(|cluster| cluster.weight == 0) {
            end_period(exec, task, region, clusters, None)?;
            continue;
        }
        region.stage = RegionStage::MergeDue;
        put(exec, &region);
        let (task, region, number) = (task.id, region.region, region.merges);
        exec.event(Event::RegionMergeDue { task, region, number });
    }
    Ok(())
}

/// A region's clusters begin anew, from what they merged into where anything was folded. The caller stores the
/// task.
pub fn end_period(
    exec: &mut Exec<'_>,
    task: &mut Task,
    mut region: Region,
    mut clusters: Vec<Cluster>,
    merged: Option<(ModelId, Digest)>,
) -> Result<(), LedgerError> {
    let weight: u64 = clusters.iter().map(|cluster| cluster.weight).sum();
    add_weight(exec, task, &mut region, clusters.len() as u64, weight);
    if let Some((model, digest)) = merged {
        (region.model, region.model_digest) = (model, digest);
        region.merges += 1;
    }
    region.periods = region.periods.saturating_add(1);
    let every = task.spec.regions.as_ref().map_or(1, |regions| regions.merge_every);
    let finished = clusters.iter().all(|cluster| is_finished(task, cluster));
    let waits = region.periods >= every || finished;
    region.stage = if waits { RegionStage::Waiting } else { RegionStage::Rounds };
    put(exec, &region);
    for cluster in &mut clusters {
        merge::begin_anew(cluster, merged, false);
        put_cluster(exec, cluster);
        if !waits {
            round::open(exec, task, cluster)?;
        }
    }
    if all(exec, task)?.iter().all(|region| region.stage == RegionStage::Waiting) {
        merge::due(exec, task)?;
    }
    Ok(())
}

/// All regions begin anew after a global merge.
pub fn restart(
    exec: &mut Exec<'_>,
    task: &Task,
    merged: Option<(ModelId, Digest)>,
) -> Result<(), LedgerError> {
    for mut region in all(exec, task)? {
        if let Some((model, digest)) = merged {
            (region.model, region.model_digest) = (model, digest);
        }
        (region.periods, region.weight) = (0, 0);
        region.stage = RegionStage::Rounds;
        put(exec, &region);
    }
    Ok(())
}

/// Saturates, which keeps the global merge in i64: all regions together have the weight that all clusters may
/// have.
fn add_weight(exec: &mut Exec<'_>, task: &Task, region: &mut Region, clusters: u64, weight: u64) {
    let cap = u64::from(task.spec.merge_weight_max).saturating_mul(clusters);
    let sum = region.weight.saturating_add(weight);
    region.weight = sum.min(cap);
    if sum > cap {
        exec.event(Event::RegionWeightCapped { task: task.id, region: region.region });
    }
}
