//! Clusters that are formed of the trainers who come. Whoever joins is put where the fewest are; with the next
//! merge, when every cluster begins from the global model, all are put where the task's rule says.

use crate::{
    action::{self, update::Enrolment},
    error::LedgerError,
    execute::{Exec, Outcome, require},
    round,
};
use twinfold_types::{
    ClusterId, Code, Event, limits,
    member::Member,
    state_key,
    task::{
        Task, TaskStatus,
        forming::{Formed, ProfileAction},
    },
};

/// A trainer joins, or says anew what it is like.
pub fn join(exec: &mut Exec<'_>, by: &Member, action: &ProfileAction) -> Outcome {
    let ProfileAction { task, profile } = action;
    let task: Option<Task> = exec.state.get(&state_key::task(task))?;
    let mut task = task.ok_or(Code::TaskUnknown)?;
    require(task.status == TaskStatus::Open, Code::TaskEnded)?;
    require(task.spec.forming.is_some(), Code::EnrolmentUnused)?;
    require(profile.is_bounded(), Code::ProfileInvalid)?;
    let row = state_key::formed(&task.id, &by.key);
    let before: Option<Formed> = exec.state.get(&row)?;
    let cluster = match &before {
        Some(formed) => formed.cluster,
        None => come(exec, &mut task, by)?,
    };
    exec.state.put(row, &Formed { trainer: by.key, cluster, profile: profile.clone() });
    task.unformed = true;
    round::put_task(exec, &task);
    Ok(())
}

/// A trainer that is in no cluster. Who was here before comes back to where it has sent to: it is still known
/// which rounds have an update of its own.
fn come(exec: &mut Exec<'_>, task: &mut Task, by: &Member) -> Outcome<ClusterId> {
    let others = all(exec, task)?;
    require(others.len() < limits::FORMED_MAX, Code::EnrolmentFull)?;
    action::task::take_in(task)?;
    let enrolment = state_key::enrolment(&task.id, &by.key);
    let known: Option<Enrolment> = exec.state.get(&enrolment)?;
    let cluster = match known {
        Some((cluster, ..)) => cluster,
        None => {
            let cluster = emptiest(task, &others);
            let none: Enrolment = (cluster, None, 0);
            exec.state.put(enrolment, &none);
            cluster
        }
    };
    let (task, trainer) = (task.id, by.key);
    exec.event(Event::TrainerEnrolled { task, cluster, trainer });
    Ok(cluster)
}

/// It is in no cluster any more.
pub fn leave(exec: &mut Exec<'_>, by: &Member, mut task: Task) -> Outcome {
    let row = state_key::formed(&task.id, &by.key);
    let formed: Option<Formed> = exec.state.get(&row)?;
    let Formed { trainer, cluster, .. } = formed.ok_or(Code::EnrolmentUnknown)?;
    exec.state.delete(row);
    exec.event(Event::TrainerLeft { task: task.id, cluster, trainer, missed: 0 });
    task.trainers = task.trainers.saturating_sub(1);
    task.unformed = true;
    round::put_task(exec, &task);
    Ok(())
}

/// All clusters begin anew: whoever is in another one from now on is moved. The caller stores the task.
pub fn form_anew(exec: &mut Exec<'_>, task: &mut Task) -> Result<(), LedgerError> {
    let Some(by) = task.spec.forming.filter(|_| task.unformed) else { return Ok(()) };
    let trainers = all(exec, task)?;
    let mut moved = 0;
    for (before, cluster) in trainers.iter().zip(by.form(task.spec.clusters, &trainers)) {
        if cluster == before.cluster {
            continue;
        }
        let none: Enrolment = (cluster, None, 0);
        exec.state.put(state_key::enrolment(&task.id, &before.trainer), &none);
        let after = Formed { cluster, ..before.clone() };
        exec.state.put(state_key::formed(&task.id, &before.trainer), &after);
        moved += 1;
    }
    task.unformed = false;
    let trainers = trainers.len() as u32;
    exec.event(Event::ClustersFormed { task: task.id, by, trainers, moved });
    Ok(())
}

/// Whether a trainer may send to the cluster that it does.
pub fn check(exec: &Exec<'_>, task: &Task, trainer: &Member) -> Outcome {
    if task.spec.forming.is_some() {
        let there = exec.state.has(&state_key::formed(&task.id, &trainer.key))?;
        require(there, Code::EnrolmentUnknown)?;
    }
    Ok(())
}

fn all(exec: &Exec<'_>, task: &Task) -> Result<Vec<Formed>, LedgerError> {
    exec.state.values(&state_key::formed_in(&task.id), limits::FORMED_MAX)
}

/// The cluster with the fewest trainers, of several the first.
fn emptiest(task: &Task, others: &[Formed]) -> ClusterId {
    let count = |cluster: &u16| others.iter().filter(|one| one.cluster.0 == *cluster).count();
    ClusterId((0..task.spec.clusters).min_by_key(count).unwrap_or(0))
}
