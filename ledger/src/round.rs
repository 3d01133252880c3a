//! The life of rounds. A round is open, then collecting (a deadline runs), then
//! sealed, then aggregated; or void. A cluster keeps two numbers: `collecting`,
//! the round that takes updates, and `folding`, the next whose result is awaited.
//!
//! *Synchronous*: both are the same; the next round opens when the result is in,
//! and after the merge when the cluster has run its rounds. *Asynchronous*: the
//! next buffer opens when one is sealed, and sealed ones wait their turn.
//!
//! A fold job's inputs never change while it is due: see `merge`.

use crate::{error::LedgerError, execute::Exec, keeping, masking, merge, pace, selection};
use twinfold_types::{
    ClusterId, Event, RoundNumber, limits,
    round::{FoldJob, Round, RoundKey, RoundState, VoidReason},
    state_key::{self, Prefix, StateKey},
    task::{
        Cluster, Mode, Regions, Task, TaskStatus,
        regions::{Region, RegionStage},
        selection::Draw,
    },
};

/// Deadlines looked at in one read.
const DEADLINES_AT_ONCE: usize = 64;

pub fn put_task(exec: &mut Exec<'_>, task: &Task) {
    exec.state.put(state_key::task(&task.id), task);
}

/// Open tasks of an organisation.
pub fn open_tasks(exec: &Exec<'_>, organisation: &str) -> Result<u32, LedgerError> {
    Ok(exec.state.get(&state_key::open_task_count(organisation))?.unwrap_or(0))
}

/// An open task ends, and makes room for another of its organisation. The caller stores it.
pub fn end_task(
    exec: &mut Exec<'_>,
    task: &mut Task,
    status: TaskStatus,
) -> Result<(), LedgerError> {
    task.status = status;
    let key = state_key::open_task_count(&task.organisation);
    match open_tasks(exec, &task.organisation)?.saturating_sub(1) {
        0 => exec.state.delete(key),
        left => exec.state.put(key, &left),
    }
    Ok(())
}

/// Stores a cluster, and what its version names: deltas may be against it later.
pub fn put_cluster(exec: &mut Exec<'_>, cluster: &Cluster) {
    let Cluster { task, cluster: id, version, model, .. } = cluster;
    exec.state.put(state_key::cluster(task, *id), cluster);
    exec.state.put(state_key::cluster_version(task, *id, *version), model);
}

pub fn put(exec: &mut Exec<'_>, round: &Round) {
    exec.state.put(state_key::round(&round.key), round);
}

/// Every cluster of a task, in order.
pub fn clusters(exec: &Exec<'_>, task: &Task) -> Result<Vec<Cluster>, LedgerError> {
    let ids = (0..task.spec.clusters).map(ClusterId);
    ids.map(|id| exec.state.expect(&state_key::cluster(&task.id, id))).collect()
}

pub fn key(cluster: &Cluster, round: RoundNumber) -> RoundKey {
    RoundKey { task: cluster.task, cluster: cluster.cluster, round }
}

pub fn collecting_key(cluster: &Cluster) -> RoundKey {
    key(cluster, cluster.collecting)
}

/// Whether the cluster's rounds have all been opened.
pub fn was_last(task: &Task, cluster: &Cluster) -> bool {
    task.spec.rounds_max != 0 && cluster.collecting.0 >= task.spec.rounds_max
}

/// Opens the cluster's next round, unless its last one was; its deadline runs at
/// once where the task is active.
pub fn open(exec: &mut Exec<'_>, task: &Task, cluster: &Cluster) -> Result<(), LedgerError> {
    if was_last(task, cluster) {
        return Ok(());
    }
    let (key, opened) = (collecting_key(cluster), exec.env.time);
    let draw = task.spec.selection.map_or(Draw::Unused, |_| Draw::Awaited);
    let mut round = Round { key, state: RoundState::Open, entries: 0, opened, draw };
    exec.event(Event::RoundOpened { key });
    selection::close_if_enough(exec, task, &mut round)?;
    match task.active {
        true => start(exec, task, round),
        false => put(exec, &round),
    }
    Ok(())
}

fn start(exec: &mut Exec<'_>, task: &Task, mut round: Round) {
    let deadline = exec.env.time.plus(task.spec.deadline_ms);
    run_until_deadline(exec, task, &mut round, 0);
    exec.event(Event::RoundStarted { key: round.key, deadline });
}

/// The task becomes active: the deadlines of all its open rounds run, so that a
/// cluster without trainers cannot hold up a merge.
pub fn start_all(exec: &mut Exec<'_>, task: &Task) -> Result<(), LedgerError> {
    for cluster in clusters(exec, task)? {
        let round: Option<Round> = exec.state.get(&state_key::round(&collecting_key(&cluster)))?;
        match round {
            Some(round) if round.state == RoundState::Open => start(exec, task, round),
            _ => {}
        }
    }
    Ok(())
}

/// The task becomes active if it was not.
pub fn activate(exec: &mut Exec<'_>, task: &mut Task) -> Result<(), LedgerError> {
    if !task.active {
        task.active = true;
        put_task(exec, task);
        start_all(exec, task)?;
    }
    Ok(())
}

/// The deadline of a round that collects runs anew; its extensions stand.
pub fn restart_deadline(exec: &mut Exec<'_>, task: &Task, mut round: Round) {
    if let RoundState::Collecting { extensions, .. } = round.state {
        stop_deadline(exec, &round);
        run_until_deadline(exec, task, &mut round, extensions);
    }
}

fn run_until_deadline(exec: &mut Exec<'_>, task: &Task, round: &mut Round, extensions: u32) {
    let deadline = exec.env.time.plus(task.spec.deadline_ms);
    round.state = RoundState::Collecting { deadline, extensions };
    exec.state.put(state_key::deadline(deadline, &round.key), &());
    put(exec, round);
}

pub fn stop_deadline(exec: &mut Exec<'_>, round: &Round) {
    if let RoundState::Collecting { deadline, .. } = round.state {
        exec.state.delete(state_key::deadline(deadline, &round.key));
    }
}

/// Fixes which updates count. Stores the cluster where its next buffer opens.
pub fn seal(
    exec: &mut Exec<'_>,
    task: &Task,
    cluster: &mut Cluster,
    mut round: Round,
) -> Result<(), LedgerError> {
    stop_deadline(exec, &round);
    pace::close(exec, task, cluster, &round);
    round.state = RoundState::Sealed { height: exec.env.height };
    put(exec, &round);
    exec.event(Event::RoundSealed { key: round.key, entries: round.entries });
    if matches!(task.spec.mode, Mode::Async { .. }) {
        cluster.collecting = cluster.collecting.next();
        put_cluster(exec, cluster);
        open(exec, task, cluster)?;
    }
    Ok(())
}

pub fn void(
    exec: &mut Exec<'_>,
    task: &Task,
    mut round: Round,
    reason: VoidReason,
) -> Result<(), LedgerError> {
    stop_deadline(exec, &round);
    masking::forget_shares(exec, task, &round.key)?;
    keeping::round_ended(exec, task, &round);
    round.state = RoundState::Void { reason, height: exec.env.height };
    put(exec, &round);
    exec.event(Event::RoundVoid { key: round.key, reason });
    Ok(())
}

/// Voids everything that has not ended: the task is closed.
pub fn void_all(exec: &mut Exec<'_>, task: &Task) -> Result<(), LedgerError> {
    for cluster in clusters(exec, task)? {
        for number in cluster.folding.0..=cluster.collecting.0 {
            let key = key(&cluster, RoundNumber(number));
            match exec.state.get::<Round>(&state_key::round(&key))? {
                Some(round) if !has_ended(&round) => {
                    void(exec, task, round, VoidReason::TaskClosed)?
                }
                _ => {}
            }
        }
    }
    Ok(())
}

pub fn has_ended(round: &Round) -> bool {
    matches!(round.state, RoundState::Aggregated { .. } | RoundState::Void { .. })
}

/// Whatever deadline is at or before the block's time, in order: so many in one block, the rest
/// in the next.
pub fn run_deadlines(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    let mut left = limits::DEADLINES_MAX;
    while left > 0 {
        let due = exec.state.keys(&Prefix::Deadline.scan(), DEADLINES_AT_ONCE.min(left))?;
        let due = due.iter().filter_map(|key| state_key::parse_deadline(key));
        let due: Vec<_> = due.take_while(|(at, _)| *at <= exec.env.time).collect();
        if due.is_empty() {
            return Ok(());
        }
        left -= due.len();
        for (at, key) in due {
            // An earlier deadline of this block may have ended the task's activity.
            if exec.state.has(&state_key::deadline(at, &key))? {
                run_deadline(exec, &key)?;
            }
        }
    }
    Ok(())
}

fn run_deadline(exec: &mut Exec<'_>, key: &RoundKey) -> Result<(), LedgerError> {
    let mut round: Round = exec.state.expect(&state_key::round(key))?;
    let mut task: Task = exec.state.expect(&state_key::task(&key.task))?;
    let mut cluster: Cluster = exec.state.expect(&state_key::cluster(&key.task, key.cluster))?;
    let RoundState::Collecting { extensions, .. } = round.state else {
        return Err(exec
            .state
            .base()
            .damaged(format!("a deadline of a round that does not collect: {key:?}")));
    };
    if task.spec.masks.is_some() {
        return masking::run_deadline(exec, task, cluster, round);
    }
    if round.entries >= task.spec.participants_min {
        return seal(exec, &task, &mut cluster, round);
    }
    if extensions >= task.spec.extensions_max {
        void(exec, &task, round, VoidReason::TooFew)?;
        return end(exec, &mut task, cluster, key.round);
    }
    stop_deadline(exec, &round);
    run_until_deadline(exec, &task, &mut round, extensions + 1);
    let (deadline, extensions) = (exec.env.time.plus(task.spec.deadline_ms), extensions + 1);
    exec.event(Event::RoundExtended { key: *key, deadline, extensions });
    Ok(())
}

/// A round was aggregated or is void: moves its cluster on, and sees whether a
/// merge is due. Stores cluster and task.
pub fn end(
    exec: &mut Exec<'_>,
    task: &mut Task,
    mut cluster: Cluster,
    round: RoundNumber,
) -> Result<(), LedgerError> {
    cluster.rounds_since_merge = cluster.rounds_since_merge.saturating_add(1);
    if round == cluster.collecting {
        cluster.collecting = round.next();
        let waits = task.spec.mode == Mode::Sync && has_run(task, &cluster);
        if !waits {
            open(exec, task, &cluster)?;
        }
    }
    while cluster.folding < cluster.collecting {
        let key = state_key::round(&key(&cluster, cluster.folding));
        if !has_ended(&exec.state.expect(&key)?) {
            break;
        }
        cluster.folding = cluster.folding.next();
    }
    put_cluster(exec, &cluster);
    merge::consider(exec, task)?;
    put_task(exec, task);
    Ok(())
}

/// Whether the cluster has run its rounds before the next merge.
pub fn has_run(task: &Task, cluster: &Cluster) -> bool {
    cluster.rounds_since_merge >= task.spec.merge_every || is_finished(task, cluster)
}

pub fn is_finished(task: &Task, cluster: &Cluster) -> bool {
    task.spec.rounds_max != 0 && cluster.folding.0 >= task.spec.rounds_max
}

/// Whether a result of this round, its cluster's next, may come now.
pub fn is_due(task: &Task, round: Option<&Round>) -> bool {
    let Some(RoundState::Sealed { height }) = round.map(|round| &round.state) else {
        return false;
    };
    task.merge_wanted.is_none_or(|wanted| *height < wanted)
}

/// The folding that a task waits for.
pub fn jobs<E>(
    task: &Task,
    cluster: &dyn Fn(&StateKey) -> Result<Option<Cluster>, E>,
    round: &dyn Fn(&StateKey) -> Result<Option<Round>, E>,
    region: &dyn Fn(&StateKey) -> Result<Option<Region>, E>,
) -> Result<Vec<FoldJob>, E> {
    if task.status != TaskStatus::Open {
        return Ok(vec![]);
    }
    if task.merge_due {
        return Ok(vec![FoldJob::Merge { task: task.id, number: task.merges }]);
    }
    let mut jobs = Vec::new();
    for id in task.spec.regions.iter().flat_map(Regions::ids) {
        let Some(region) = region(&state_key::region(&task.id, id))? else { continue };
        if region.stage == RegionStage::MergeDue {
            let (task, region, number) = (task.id, region.region, region.merges);
            jobs.push(FoldJob::RegionMerge { task, region, number });
        }
    }
    for id in (0..task.spec.clusters).map(ClusterId) {
        let Some(cluster) = cluster(&state_key::cluster(&task.id, id))? else { continue };
        let key = key(&cluster, cluster.folding);
        if is_due(task, round(&state_key::round(&key))?.as_ref()) {
            jobs.push(FoldJob::Round(key));
        }
    }
    Ok(jobs)
}
