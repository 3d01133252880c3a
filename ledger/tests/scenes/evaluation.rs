//! Global versions measured, and what trainers had in them.

use crate::kit::*;
use twinfold_types::{
    Action, Code, Event, TaskId,
    round::{FoldJob, Metrics, RoundState},
    state_key,
    task::{
        EvaluationRule, TaskStatus,
        evaluation::{EvaluateAction, Evaluation, Evaluators, Goal, Pooling},
    },
};

fn rule(by: Evaluators, reports: u32) -> EvaluationRule {
    let (goal, pooling) = (Goal::Loss, Pooling::Mean);
    EvaluationRule { by, reports, every: 1, goal, pooling, gain: 1, patience: 2 }
}

fn by_members(who: &[u8]) -> Evaluators {
    let mut members: Vec<_> = who.iter().map(|seed| public(*seed)).collect();
    members.sort();
    Evaluators::Members(members)
}

fn report(task: TaskId, version: u64, loss: u32) -> Action {
    let metrics = Metrics { loss, accuracy: None };
    Action::Evaluate(EvaluateAction { task, version, examples: 10, metrics })
}

/// One update folded and merged: the next global version.
fn next_version(chain: &mut Chain, task: TaskId, version: u64) {
    chain.send(TRAINER, task, 0);
    chain.fold(round_job(task, 0, version - 1), version as u8);
    chain.fold(FoldJob::Merge { task, number: version - 1 }, version as u8);
}

fn measured(by: Evaluators, reports: u32) -> (Chain, TaskId) {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.participants_max, spec.evaluation) = (1, Some(rule(by, reports)));
    });
    (chain, task)
}

#[test]
fn a_version_is_scored_by_its_first_reports_and_the_best_is_kept_in_view() {
    let (mut chain, task) = measured(by_members(&[ADMIN, AUDITOR, OPERATOR]), 2);
    let events = chain.ok(ADMIN, report(task, 0, 400));
    assert_eq!(events, [Event::VersionMeasured { task, version: 0, by: public(ADMIN) }]);
    assert_eq!(chain.code(ADMIN, report(task, 0, 1)), Code::EvaluationExists);
    let events = chain.ok(AUDITOR, report(task, 0, 600));
    let model = chain.reader.task(&task).unwrap().unwrap().global;
    let score = Metrics { loss: 500, accuracy: None };
    let scored = Event::VersionScored { task, version: 0, model, score, reports: 2, best: true };
    assert_eq!(events[1..], [scored]);
    assert_eq!(chain.code(OPERATOR, report(task, 0, 1)), Code::EvaluationLate);

    next_version(&mut chain, task, 1);
    chain.ok(ADMIN, report(task, 1, 900));
    chain.ok(AUDITOR, report(task, 1, 900));
    let progress = chain.reader.task(&task).unwrap().unwrap().progress;
    assert_eq!(progress.best.map(|best| (best.version, best.model)), Some((0, model)));
    assert_eq!((progress.scored, progress.without_gain), (Some(1), 1));
    let row: Evaluation = chain.reader.get(&state_key::evaluation(&task, 1)).unwrap().unwrap();
    assert_eq!((row.reports.len(), row.score.map(|score| score.loss)), (2, Some(900)));
}

#[test]
fn a_task_without_a_gain_stops_and_takes_nothing_more() {
    let (mut chain, task) = measured(by_members(&[AUDITOR]), 1);
    chain.ok(AUDITOR, report(task, 0, 500));
    next_version(&mut chain, task, 1);
    chain.ok(AUDITOR, report(task, 1, 400));
    next_version(&mut chain, task, 2);
    chain.ok(AUDITOR, report(task, 2, 401));
    next_version(&mut chain, task, 3);
    chain.send(TRAINER, task, 0);
    let events = chain.ok(AUDITOR, report(task, 3, 400));
    assert!(events.contains(&Event::TaskStopped { task, best: 1 }), "{events:?}");
    let row = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((row.status, row.progress.without_gain), (TaskStatus::Stopped, 2));
    let round = chain.reader.round(&round_key(task, 0, 3)).unwrap().unwrap();
    assert!(matches!(round.state, RoundState::Void { .. }), "{:?}", round.state);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
    assert!(chain.jobs().is_empty());
    let update = chain.update(task, 0);
    assert_eq!(chain.code(TRAINER, Action::Update(Box::new(update))), Code::TaskEnded);
    assert_eq!(chain.code(AUDITOR, report(task, 3, 1)), Code::TaskEnded);
    assert_eq!(chain.code(OPERATOR, Action::CloseTask(task)), Code::TaskEnded);
}

#[test]
fn the_last_version_of_a_finished_task_is_measured_too() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.participants_max, spec.rounds_max) = (1, 1);
        spec.evaluation = Some(EvaluationRule { patience: 1, ..rule(Evaluators::Trainers, 1) });
    });
    next_version(&mut chain, task, 1);
    assert_eq!(chain.reader.task(&task).unwrap().unwrap().status, TaskStatus::Finished);
    chain.ok(TRAINER, report(task, 0, 5));
    chain.ok(TRAINER, report(task, 1, 9));
    let row = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((row.status, row.progress.scored), (TaskStatus::Finished, Some(1)));
}

#[test]
fn only_those_named_measure_and_trainers_once_they_have_an_update() {
    let (mut chain, task) = measured(by_members(&[AUDITOR]), 1);
    assert_eq!(chain.code(TRAINER, report(task, 0, 5)), Code::EvaluatorOther);
    assert_eq!(chain.code(STRANGER, report(task, 0, 5)), Code::UnknownSender);
    let (mut chain, task) = measured(Evaluators::Trainers, 1);
    assert_eq!(chain.code(TRAINER, report(task, 0, 5)), Code::EvaluatorOther);
    chain.send(TRAINER, task, 0);
    assert_eq!(chain.code(TRAINER, report(task, 0, 5)), Code::Ok);
    assert_eq!(chain.code(AUDITOR, report(task, 0, 5)), Code::EvaluatorOther);
}

#[test]
fn reports_that_say_nothing_or_of_no_such_version_are_refused() {
    let mut chain = Chain::new();
    let unmeasured = chain.task(|_| {});
    assert_eq!(chain.code(AUDITOR, report(unmeasured, 0, 5)), Code::EvaluationUnused);
    let by = by_members(&[AUDITOR]);
    let task = chain.task(|spec| {
        let goal = Goal::Accuracy;
        spec.name = "second".into();
        spec.participants_max = 1;
        spec.evaluation = Some(EvaluationRule { goal, every: 2, ..rule(by, 1) });
    });
    assert_eq!(chain.code(AUDITOR, report(task, 0, 5)), Code::EvaluationInvalid, "no accuracy");
    let with = |version, examples| {
        let metrics = Metrics { loss: 5, accuracy: Some(9) };
        Action::Evaluate(EvaluateAction { task, version, examples, metrics })
    };
    assert_eq!(chain.code(AUDITOR, with(0, 0)), Code::EvaluationInvalid, "no examples");
    next_version(&mut chain, task, 1);
    assert_eq!(chain.code(AUDITOR, with(1, 1)), Code::EvaluationVersion, "every second one");
    assert_eq!(chain.code(AUDITOR, with(2, 1)), Code::EvaluationVersion, "not there yet");
    assert_eq!(chain.code(AUDITOR, with(0, 1)), Code::Ok);
}

#[test]
fn a_rule_that_could_never_score_is_refused() {
    let mut chain = Chain::new();
    let mut create = |rule: EvaluationRule| {
        let mut spec = chain.spec();
        spec.evaluation = Some(rule);
        chain.code(OPERATOR, Action::CreateTask(Box::new(spec)))
    };
    assert_eq!(create(rule(by_members(&[AUDITOR]), 2)), Code::TaskInvalid);
    assert_eq!(create(rule(Evaluators::Trainers, 0)), Code::TaskInvalid);
    let twice = Evaluators::Members(vec![public(AUDITOR); 2]);
    assert_eq!(create(rule(twice, 1)), Code::TaskInvalid);
    let never = EvaluationRule { every: 0, ..rule(Evaluators::Trainers, 1) };
    assert_eq!(create(never), Code::TaskInvalid);
}

#[test]
fn contributions_add_up_and_a_result_without_them_does_not_fit() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| (spec.participants_max, spec.contributions) = (1, true));
    for round in 0..2 {
        chain.send(TRAINER, task, 0);
        let job = round_job(task, 0, round);
        let mut without = chain.result(job, 5);
        without.contributions.clear();
        let action = chain.signed(without, &[0, 2]);
        assert_eq!(chain.code(VALIDATOR, action), Code::FoldMismatch);
        let events = chain.fold(job, 5 + round as u8);
        let told = |event: &Event| matches!(event, Event::Contributed { trainer, .. } if *trainer == public(TRAINER));
        assert!(events.iter().any(told), "{events:?}");
        chain.fold(FoldJob::Merge { task, number: round }, 5 + round as u8);
    }
    let row = state_key::contribution(&task, &public(TRAINER));
    let total: twinfold_types::round::ContributionTotal = chain.reader.get(&row).unwrap().unwrap();
    assert_eq!((total.updates, total.weight, total.share_ppm), (2, 100, 1_000_000));
    assert_eq!((total.cosine_ppm, total.metrics.loss), (1_800_000, 3 << 16));
}
