//! Trainers enrol, and rounds choose among them. Enrolment for a round closes with the block in which it
//! opens, or in which enough have come; the draw is by the digest of the next block or a later one, which
//! nobody knew by then.

use crate::{
    action,
    error::LedgerError,
    execute::{Exec, Outcome, require},
    forming, round,
};
use twinfold_types::{
    ClusterId, Code, Event, PublicKey, TaskId, limits,
    member::Member,
    round::{Round, RoundKey, RoundState},
    state_key::{self, Prefix},
    task::{
        Cluster, Selection, Task, TaskStatus,
        selection::{Draw, Drawing, EnrolAction, Enrolled, Reason},
    },
    tx::UpdateAction,
};

pub fn enrol(exec: &mut Exec<'_>, by: &Member, action: &EnrolAction) -> Outcome {
    let EnrolAction { task, cluster } = action;
    let task: Option<Task> = exec.state.get(&state_key::task(task))?;
    let mut task = task.ok_or(Code::TaskUnknown)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    require(task.spec.selection.is_some(), Code::EnrolmentUnused)?;
    require(cluster.0 < task.spec.clusters, Code::ClusterUnknown)?;
    let enrolment = state_key::enrolment(&task.id, &by.key);
    let member: Option<crate::action::update::Enrolment> = exec.state.get(&enrolment)?;
    require(member.is_none_or(|(of, ..)| of == *cluster), Code::ClusterOther)?;
    let row = state_key::enrolled(&task.id, *cluster, &by.key);
    require(!exec.state.has(&row)?, Code::EnrolmentExists)?;
    let count = count(exec, &task.id, *cluster)?;
    require(count < limits::ENROLLED_MAX, Code::EnrolmentFull)?;

    if member.is_none() {
        let none: crate::action::update::Enrolment = (*cluster, None, 0);
        exec.state.put(enrolment, &none);
        action::task::take_in(&mut task)?;
        round::put_task(exec, &task);
    }
    let former: Option<Enrolled> =
        exec.state.get(&state_key::formerly_enrolled(&task.id, &by.key))?;
    let height = exec.env.height;
    let one = former.map_or(Enrolled::new(by.key, height), |former| former.again(height));
    exec.state.put(row, &one);
    exec.state.put(state_key::enrolled_count(&task.id, *cluster), &(count + 1));
    let (task_id, cluster, trainer) = (task.id, *cluster, by.key);
    exec.event(Event::TrainerEnrolled { task: task_id, cluster, trainer });
    let cluster: Cluster = exec.state.expect(&state_key::cluster(&task.id, cluster))?;
    let key = round::collecting_key(&cluster);
    if let Some(mut round) = exec.state.get::<Round>(&state_key::round(&key))? {
        close_if_enough(exec, &task, &mut round)?;
        round::put(exec, &round);
    }
    Ok(())
}

pub fn leave(exec: &mut Exec<'_>, by: &Member, task: &TaskId) -> Outcome {
    if let Some(found) = exec.state.get::<Task>(&state_key::task(task))?
        && found.spec.forming.is_some()
    {
        return forming::leave(exec, by, found);
    }
    let enrolment: Option<crate::action::update::Enrolment> =
        exec.state.get(&state_key::enrolment(task, &by.key))?;
    let (cluster, ..) = enrolment.ok_or(Code::EnrolmentUnknown)?;
    let one: Option<Enrolled> = exec.state.get(&state_key::enrolled(task, cluster, &by.key))?;
    let one = Enrolled { missed: 0, ..one.ok_or(Code::EnrolmentUnknown)? };
    Ok(remove(exec, task, cluster, &one)?)
}

fn count(exec: &Exec<'_>, task: &TaskId, cluster: ClusterId) -> Result<u32, LedgerError> {
    Ok(exec.state.get(&state_key::enrolled_count(task, cluster))?.unwrap_or(0))
}

/// What the trainer delivered is remembered: who comes back is not taken for a new one.
fn remove(
    exec: &mut Exec<'_>,
    task: &TaskId,
    cluster: ClusterId,
    one: &Enrolled,
) -> Result<(), LedgerError> {
    let Enrolled { trainer, missed, .. } = *one;
    let left = count(exec, task, cluster)?.saturating_sub(1);
    exec.state.delete(state_key::enrolled(task, cluster, &trainer));
    exec.state.put(state_key::formerly_enrolled(task, &trainer), one);
    exec.state.put(state_key::enrolled_count(task, cluster), &left);
    exec.event(Event::TrainerLeft { task: *task, cluster, trainer, missed });
    Ok(())
}

/// Closes enrolment for a round that awaits it, once its least number of participants is enrolled. The
/// caller stores the round.
pub fn close_if_enough(
    exec: &mut Exec<'_>,
    task: &Task,
    round: &mut Round,
) -> Result<(), LedgerError> {
    let takes = matches!(round.state, RoundState::Open | RoundState::Collecting { .. });
    if round.draw != Draw::Awaited || !takes {
        return Ok(());
    }
    if count(exec, &task.id, round.key.cluster)? >= task.spec.participants_min {
        let at = exec.env.height;
        round.draw = Draw::Closed { at };
        exec.state.put(state_key::draw_due(at, &round.key), &());
    }
    Ok(())
}

/// Draws for rounds whose enrolment closed below the height before: so many in one block, the rest in
/// the next.
pub fn run_draws(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    for row in exec.state.keys(&Prefix::DrawDue.scan(), limits::DRAWINGS_MAX)? {
        let Some((closed, key)) = state_key::parse_draw_due(&row) else { continue };
        // The parent's digest must be of a block that came after enrolment had closed.
        if closed >= exec.env.parent.height {
            break;
        }
        exec.state.delete(state_key::draw_due(closed, &key));
        let mut task: Task = exec.state.expect(&state_key::task(&key.task))?;
        let round: Round = exec.state.expect(&state_key::round(&key))?;
        let takes = matches!(round.state, RoundState::Open | RoundState::Collecting { .. });
        if let (Some(rule), true) = (task.spec.selection, takes) {
            draw(exec, &mut task, &rule, round)?;
        }
    }
    Ok(())
}

fn draw(
    exec: &mut Exec<'_>,
    task: &mut Task,
    rule: &Selection,
    mut round: Round,
) -> Result<(), LedgerError> {
    let (key, closed) = match round.draw {
        Draw::Closed { at } => (round.key, at),
        _ => return Ok(()),
    };
    let mut enrolled = candidates(exec, task, &key)?;
    enrolled.retain(|one| one.since <= closed);
    if (enrolled.len() as u64) < u64::from(task.spec.participants_min) {
        // Some have left since; enough may be there already to close anew.
        round.draw = Draw::Awaited;
        close_if_enough(exec, task, &mut round)?;
        round::put(exec, &round);
        return Ok(());
    }
    let figures: Vec<_> = enrolled.iter().map(|one| (one.trainer, one.figure(rule.by))).collect();
    let drawing: Drawing = rule.draw(&key, closed, exec.env.parent.block, &figures);
    let mut chosen = 0;
    for (one, candidate) in enrolled.iter_mut().zip(&drawing.candidates) {
        if candidate.reason != Reason::NotChosen {
            (one.chosen, one.newest) = (one.chosen.saturating_add(1), Some((key.round, false)));
            exec.state.put(state_key::enrolled(&key.task, key.cluster, &one.trainer), one);
            chosen += 1;
        }
    }
    exec.state.put(state_key::drawing(&key), &drawing);
    let enrolled = drawing.candidates.len() as u32;
    exec.event(Event::TrainersChosen { key, chosen, enrolled });
    round.draw = Draw::Done;
    round::put(exec, &round);
    round::activate(exec, task)?;
    // Those chosen have the whole time, whenever the round began to wait.
    let round: Round = exec.state.expect(&state_key::round(&key))?;
    round::restart_deadline(exec, task, round);
    Ok(())
}

/// A cluster's enrolled trainers, without those that too many rounds waited for.
fn candidates(
    exec: &mut Exec<'_>,
    task: &Task,
    key: &RoundKey,
) -> Result<Vec<Enrolled>, LedgerError> {
    let RoundKey { task: id, cluster, .. } = *key;
    let all: Vec<Enrolled> =
        exec.state.values(&state_key::enrolled_in(&id, cluster), limits::ENROLLED_MAX as usize)?;
    let mut left = Vec::with_capacity(all.len());
    for mut one in all {
        if let Some((number, false)) = one.newest.filter(|(number, _)| *number < key.round) {
            let before = RoundKey { round: number, ..*key };
            let before: Round = exec.state.expect(&state_key::round(&before))?;
            // A round that was full did not wait for it.
            one.newest = None;
            one.missed += u32::from(before.entries < task.spec.participants_max);
            exec.state.put(state_key::enrolled(&id, cluster, &one.trainer), &one);
        }
        if one.missed >= limits::MISSED_MAX {
            remove(exec, &id, cluster, &one)?;
        } else {
            left.push(one);
        }
    }
    Ok(left)
}

/// Whether a trainer may send this update; then it has delivered.
pub fn take(
    exec: &mut Exec<'_>,
    task: &Task,
    round: &Round,
    trainer: &PublicKey,
    update: &UpdateAction,
) -> Outcome {
    if round.draw == Draw::Unused {
        return Ok(());
    }
    let row = state_key::enrolled(&task.id, update.cluster, trainer);
    let one: Option<Enrolled> = exec.state.get(&row)?;
    let mut one = one.ok_or(Code::NotChosen)?;
    let meant = update.round.unwrap_or(round.key.round);
    // One that is late was chosen for a round before, if it was not chosen anew.
    let late = meant < round.key.round && one.newest.is_some();
    require(one.is_chosen_for(meant) || late, Code::NotChosen)?;
    one.delivers(meant, update.examples.min(task.spec.weight_max), update.metrics);
    exec.state.put(row, &one);
    Ok(())
}
