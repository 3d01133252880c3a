//! Model updates: ordered into the list of a round. The payload is only named; it
//! is judged when it is folded.

use super::{check_available, task};
use crate::{
    execute::{Exec, Outcome, require},
    forming, keeping, masking, pace, round, selection,
};
use twinfold_types::{
    ClusterId, Code, Event, RoundNumber, TxId,
    member::Member,
    model,
    round::{Entry, Round, RoundKey, RoundState},
    state_key,
    task::{Cluster, Mode, Task, TaskStatus},
    tx::UpdateAction,
};

/// Room for an update's header and the names of its tensors.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// A value at most: four bytes of step, four of index, one to spare.
const VALUE_BYTES_MAX: u64 = 9;

/// A trainer's cluster in a task, the last round it has an update in, and that
/// update's base version.
pub type Enrolment = (ClusterId, Option<RoundNumber>, u64);

pub fn update(exec: &mut Exec<'_>, tx: &TxId, trainer: &Member, update: &UpdateAction) -> Outcome {
    require(update.examples > 0, Code::ExamplesInvalid)?;
    let task: Option<Task> = exec.state.get(&state_key::task(&update.task))?;
    let mut task = task.ok_or(Code::TaskUnknown)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    require(update.cluster.0 < task.spec.clusters, Code::ClusterUnknown)?;
    let mut cluster: Cluster = exec.state.expect(&state_key::cluster(&task.id, update.cluster))?;
    let enrolment_key = state_key::enrolment(&task.id, &trainer.key);
    let enrolment: Option<Enrolment> = exec.state.get(&enrolment_key)?;
    forming::check(exec, &task, trainer)?;
    let same_cluster = enrolment.is_none_or(|(cluster, ..)| cluster == update.cluster);
    require(same_cluster, Code::ClusterOther)?;
    let round = open_round(exec, &task, &cluster, update)?;
    check_base(exec, &task, &cluster, update, enrolment)?;
    check_payload(exec, &task, update)?;
    selection::take(exec, &task, &round, &trainer.key, update)?;
    let masking = masking::take(exec, &task, &round, &trainer.key)?;
    keeping::refer(exec, &update.payload, trainer)?;
    if enrolment.is_none() {
        task::take_in(&mut task)?;
    }

    round::activate(exec, &mut task)?;
    let round = append(exec, tx, trainer, &task, update, &round.key)?;
    exec.state.put(enrolment_key, &(cluster.cluster, Some(round.key.round), update.base_version));
    pace::take(exec, &task, &mut cluster, &round, update.round);
    if let Some(masking) = masking {
        masking::close_if_all_sent(exec, &task, masking, round)?;
    } else if pace::is_full(&task, &cluster, &round) {
        round::seal(exec, &task, &mut cluster, round)?;
    }
    round::put_task(exec, &task);
    Ok(())
}

/// The round that takes the update.
fn open_round(
    exec: &Exec<'_>,
    task: &Task,
    cluster: &Cluster,
    update: &UpdateAction,
) -> Outcome<Round> {
    let meant = match task.spec.mode {
        // A late one is carried into the round that collects now.
        Mode::Sync if !task.spec.late.is_empty() => {
            update.round.is_some_and(|round| round <= cluster.collecting)
        }
        Mode::Sync => update.round == Some(cluster.collecting),
        Mode::Async { .. } => update.round.is_none(),
    };
    require(meant, Code::RoundOther)?;
    let key = round::collecting_key(cluster);
    let round: Option<Round> = exec.state.get(&state_key::round(&key))?;
    // No round is open while a merge is awaited, nor after the last.
    let round = round.ok_or(match round::was_last(task, cluster) {
        true => Code::TaskEnded,
        false => Code::RoundSealed,
    })?;
    let open = matches!(round.state, RoundState::Open | RoundState::Collecting { .. });
    require(open, Code::RoundSealed)?;
    Ok(round)
}

fn check_base(
    exec: &Exec<'_>,
    task: &Task,
    cluster: &Cluster,
    update: &UpdateAction,
    enrolment: Option<Enrolment>,
) -> Outcome {
    let base = update.base_version;
    let last = enrolment.and_then(|(_, round, base)| Some((round?, base)));
    match &task.spec.mode {
        Mode::Sync => {
            // One for a round, whichever base it is against.
            let again = last.is_some_and(|(round, _)| round == cluster.collecting);
            require(!again, Code::UpdateExists)?;
            if base == cluster.version {
                return Ok(());
            }
            let late = !task.spec.late.is_empty() && base < cluster.version;
            require(late, Code::BaseOther)?;
            require(cluster.version - base < task.spec.late.len() as u64, Code::BaseStale)?;
            require(is_new(exec, cluster, base, last)?, Code::UpdateExists)
        }
        Mode::Async { staleness, .. } => {
            require(base <= cluster.version, Code::BaseOther)?;
            require(is_new(exec, cluster, base, last)?, Code::UpdateExists)?;
            require(cluster.version - base < staleness.len() as u64, Code::BaseStale)
        }
    }
}

/// Whether the trainer has no update yet that is against this base or a later one.
fn is_new(
    exec: &Exec<'_>,
    cluster: &Cluster,
    base: u64,
    last: Option<(RoundNumber, u64)>,
) -> Outcome<bool> {
    match last {
        Some((round, before)) if base <= before => is_void(exec, cluster, round),
        _ => Ok(true),
    }
}

/// Whether the trainer's last buffer came to nothing: then its base may be used again.
fn is_void(exec: &Exec<'_>, cluster: &Cluster, round: RoundNumber) -> Outcome<bool> {
    let round: Round = exec.state.expect(&state_key::round(&round::key(cluster, round)))?;
    Ok(matches!(round.state, RoundState::Void { .. }))
}

fn check_payload(exec: &Exec<'_>, task: &Task, update: &UpdateAction) -> Outcome {
    let values = model::model_values(&task.spec.tensors).unwrap_or(0);
    let most = values.saturating_mul(VALUE_BYTES_MAX).saturating_add(HEADER_BYTES_MAX);
    require(update.payload.blob.length <= most, Code::PayloadTooLarge)?;
    if task.spec.masks.is_some() {
        let exact = task.spec.masked_bytes() == Some(update.payload.blob.length);
        require(exact, Code::MaskPayload)?;
    }
    // Every validator folds every update, so that a fragment would only have to be completed.
    require(update.payload.blob.k == 1, Code::AvailabilityInvalid)?;
    check_available(exec, &update.payload)
}

fn append(
    exec: &mut Exec<'_>,
    tx: &TxId,
    trainer: &Member,
    task: &Task,
    update: &UpdateAction,
    key: &RoundKey,
) -> Outcome<Round> {
    let mut round: Round = exec.state.expect(&state_key::round(key))?;
    let index = round.entries;
    let entry = Entry {
        tx: *tx,
        trainer: trainer.key,
        blob: update.payload.blob,
        base_version: update.base_version,
        weight: update.examples.min(task.spec.weight_max),
        metrics: update.metrics,
        height: exec.env.height,
    };
    exec.state.put(state_key::round_entry(key, index), &entry);
    round.entries += 1;
    exec.state.put(state_key::round(key), &round);
    exec.event(Event::UpdateOrdered { key: *key, index, trainer: trainer.key });
    Ok(round)
}
