//! Global versions measured: reports are taken until there are enough, then the version has its score,
//! and the task its best version; one that gains nothing any more stops.

use super::{task, update::Enrolment};
use crate::execute::{Exec, Outcome, require};
use twinfold_types::{
    Code, Event, TxId,
    member::Member,
    model::ModelId,
    state_key,
    task::{
        EvaluationRule, Task, TaskStatus,
        evaluation::{Best, EvaluateAction, Evaluation, Evaluators, Goal, Report, is_measured},
    },
};

pub fn evaluate(exec: &mut Exec<'_>, tx: &TxId, by: &Member, action: &EvaluateAction) -> Outcome {
    let EvaluateAction { task, version, examples, metrics } = action;
    let task: Option<Task> = exec.state.get(&state_key::task(task))?;
    let task = task.ok_or(Code::TaskUnknown)?;
    require(is_measured(task.status), Code::TaskEnded)?;
    let rule = task.spec.evaluation.clone().ok_or(Code::EvaluationUnused)?;
    let told = rule.goal == Goal::Loss || metrics.accuracy.is_some();
    require(*examples > 0 && told, Code::EvaluationInvalid)?;
    require(is_evaluator(exec, &task, &rule, by)?, Code::EvaluatorOther)?;
    let there = rule.measures(*version) && *version <= task.global_version;
    require(there, Code::EvaluationVersion)?;
    let scored = task.progress.scored.is_some_and(|scored| *version <= scored);
    require(!scored, Code::EvaluationLate)?;

    let key = state_key::evaluation(&task.id, *version);
    let mut evaluation = match exec.state.get::<Evaluation>(&key)? {
        Some(evaluation) => evaluation,
        None => {
            let model: ModelId =
                exec.state.expect(&state_key::global_version(&task.id, *version))?;
            Evaluation { version: *version, model, reports: vec![], score: None }
        }
    };
    let again = evaluation.reports.iter().any(|report| report.by == by.key);
    require(!again, Code::EvaluationExists)?;
    let (examples, metrics, height) = (*examples, *metrics, exec.env.height);
    evaluation.reports.push(Report { by: by.key, examples, metrics, tx: *tx, height });
    exec.event(Event::VersionMeasured { task: task.id, version: *version, by: by.key });
    if evaluation.reports.len() >= rule.reports as usize {
        score(exec, task, &rule, &mut evaluation)?;
    }
    exec.state.put(key, &evaluation);
    Ok(())
}

fn is_evaluator(
    exec: &Exec<'_>,
    task: &Task,
    rule: &EvaluationRule,
    member: &Member,
) -> Outcome<bool> {
    Ok(match &rule.by {
        Evaluators::Members(members) => members.binary_search(&member.key).is_ok(),
        Evaluators::Trainers => {
            let enrolment = state_key::enrolment(&task.id, &member.key);
            let enrolment: Option<Enrolment> = exec.state.get(&enrolment)?;
            enrolment.is_some_and(|(_, round, _)| round.is_some())
        }
    })
}

/// Scores a version by the reports it has, and stores the task.
fn score(
    exec: &mut Exec<'_>,
    mut task: Task,
    rule: &EvaluationRule,
    evaluation: &mut Evaluation,
) -> Outcome {
    let Evaluation { version, model, ref reports, .. } = *evaluation;
    let score = rule.score(reports, task.spec.weight_max);
    let best = task.progress.take(rule, Best { version, model, score });
    let reports = reports.len() as u32;
    evaluation.score = Some(score);
    exec.event(Event::VersionScored { task: task.id, version, model, score, reports, best });
    let stops = task.status == TaskStatus::Open && task.progress.is_out_of_patience(rule);
    if stops {
        let best = task.progress.best.map_or(version, |best| best.version);
        exec.event(Event::TaskStopped { task: task.id, best });
        task::halt(exec, &mut task, TaskStatus::Stopped)?;
    }
    crate::round::put_task(exec, &task);
    Ok(())
}
