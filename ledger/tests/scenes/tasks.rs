use crate::kit::*;
use twinfold_types::{
    Action, BlobId, Code, Digest, Event, TaskId, limits,
    model::{Level, ModelSource},
    round::{FoldJob, RoundState, VoidReason},
    task::{TaskSpec, TaskStatus},
};

fn create_code(change: impl FnOnce(&Chain, &mut TaskSpec)) -> Code {
    let mut chain = Chain::new();
    let mut spec = chain.spec();
    change(&chain, &mut spec);
    chain.code(OPERATOR, Action::CreateTask(Box::new(spec)))
}

#[test]
fn a_task_begins_with_its_first_model_and_an_open_round_in_each_cluster() {
    let mut chain = Chain::new();
    let id = chain.task(|spec| spec.clusters = 2);
    let task = chain.reader.task_by_name("digits").unwrap().unwrap();
    assert_eq!((task.id, task.owner), (id, public(OPERATOR)));
    let model = chain.reader.model(&task.global).unwrap().unwrap();
    assert_eq!((model.level, model.version), (Level::Global, 0));
    assert!(matches!(model.source, ModelSource::Initial { by, .. } if by == public(OPERATOR)));
    for cluster in chain.clusters(id) {
        assert_eq!((cluster.model, cluster.version), (task.global, 0));
        let round = chain.reader.round(&round_key(id, cluster.cluster.0, 0)).unwrap().unwrap();
        assert_eq!(round.state, RoundState::Open);
    }
    // An idle task asks for no blocks.
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
}

#[test]
fn a_task_that_cannot_work_is_refused() {
    assert_eq!(create_code(|_, spec| spec.clusters = 0), Code::TaskInvalid);
    let overflowing = |_: &Chain, spec: &mut TaskSpec| {
        (spec.clusters, spec.merge_weight_max) = (2, u32::MAX);
    };
    assert_eq!(create_code(overflowing), Code::TaskInvalid);
    assert_eq!(create_code(|_, spec| spec.deadline_ms = 99), Code::TaskInvalid);
    assert_eq!(create_code(|_, spec| spec.deadline_ms = 100), Code::Ok);
    let longest = limits::RETENTION_MS_MAX;
    assert_eq!(create_code(|_, spec| spec.retention_ms = longest + 1), Code::TaskInvalid);
    assert_eq!(create_code(|_, spec| spec.retention_ms = longest), Code::Ok);
}

#[test]
fn a_first_model_must_be_held_by_a_quorum_and_have_the_right_size() {
    let no_quorum = |chain: &Chain, spec: &mut TaskSpec| {
        spec.initial = chain.availability(2_600, 2);
    };
    assert_eq!(create_code(no_quorum), Code::AvailabilityInvalid);
    let other_size = |chain: &Chain, spec: &mut TaskSpec| {
        spec.initial = chain.availability(2_604, 3);
    };
    assert_eq!(create_code(other_size), Code::ModelInvalid);
    let other_committee = |chain: &Chain, spec: &mut TaskSpec| {
        let blob = BlobId::of_whole_copies(2_600, Digest([7; 32]), 5);
        spec.initial = chain.availability_of(blob, 3);
    };
    assert_eq!(create_code(other_committee), Code::AvailabilityInvalid);
}

#[test]
fn two_tasks_cannot_have_one_name() {
    let mut chain = Chain::new();
    chain.task(|_| {});
    let spec = chain.spec();
    assert_eq!(chain.code(ADMIN, Action::CreateTask(Box::new(spec))), Code::TaskNameTaken);
}

#[test]
fn an_organisation_has_only_so_many_open_tasks_and_an_ended_one_makes_room() {
    let mut chain = Chain::new();
    let named = |chain: &Chain, number: u32| {
        let name = format!("task {number}");
        Action::CreateTask(Box::new(TaskSpec { name, ..chain.spec() }))
    };
    let once = chain.task(|spec| (spec.rounds_max, spec.participants_max) = (1, 1));
    let all = (1..limits::TASKS_OPEN_MAX).map(|number| {
        let create = named(&chain, number);
        chain.tx(OPERATOR, create)
    });
    let all = all.collect();
    assert!(chain.block(all).iter().all(|receipt| receipt.code == Code::Ok));
    let next = named(&chain, 100);
    assert_eq!(chain.code(OPERATOR, next.clone()), Code::TooManyTasks);
    let other = named(&chain, 101);
    assert_eq!(chain.code(OTHER_OPERATOR, other), Code::Ok, "each organisation by itself");
    // One that has run its rounds makes room, and so does a closed one.
    chain.send(TRAINER, once, 0);
    chain.fold(round_job(once, 0, 0), 5);
    chain.fold(FoldJob::Merge { task: once, number: 0 }, 6);
    assert_eq!(chain.reader.task(&once).unwrap().unwrap().status, TaskStatus::Finished);
    let second = chain.apply(OPERATOR, next);
    assert_eq!(second.code, Code::Ok);
    let third = named(&chain, 102);
    assert_eq!(chain.code(OPERATOR, third.clone()), Code::TooManyTasks);
    chain.ok(ADMIN, Action::CloseTask(TaskId(second.tx.unwrap().0)));
    assert_eq!(chain.code(OPERATOR, third), Code::Ok);
}

#[test]
fn a_closed_task_takes_nothing_more() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.clusters = 2);
    chain.send(TRAINER, task, 0);
    let events = chain.ok(OPERATOR, Action::CloseTask(task));
    let void = |cluster| Event::RoundVoid {
        key: round_key(task, cluster, 0),
        reason: VoidReason::TaskClosed,
    };
    assert_eq!(events, [void(0), void(1), Event::TaskClosed { task }]);
    assert_eq!(chain.reader.task(&task).unwrap().unwrap().status, TaskStatus::Closed);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
    let update = chain.update(task, 0);
    assert_eq!(chain.code(TRAINER, Action::Update(Box::new(update))), Code::TaskEnded);
    assert_eq!(chain.code(OPERATOR, Action::CloseTask(task)), Code::TaskEnded);
}

#[test]
fn a_sealed_round_of_a_closed_task_is_void_and_its_result_unexpected() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_max = 1);
    chain.send(TRAINER, task, 0);
    let late = chain.signed(chain.result(round_job(task, 0, 0), 5), &[0, 1]);
    chain.ok(ADMIN, Action::CloseTask(task));
    assert!(chain.jobs().is_empty());
    assert_eq!(chain.code(VALIDATOR, late), Code::FoldUnexpected);
}

#[test]
fn an_operator_closes_its_own_tasks_and_an_admin_all() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    assert_eq!(chain.code(OTHER_OPERATOR, Action::CloseTask(task)), Code::NotPermitted);
    let unknown = TaskId(Digest([3; 32]));
    assert_eq!(chain.code(ADMIN, Action::CloseTask(unknown)), Code::TaskUnknown);
    chain.ok(ADMIN, Action::CloseTask(task));
}
