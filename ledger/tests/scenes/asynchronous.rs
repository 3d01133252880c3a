use crate::kit::*;
use twinfold_types::{
    Action, ClusterId, Code, Event, RoundNumber, TaskId, limits,
    round::{FoldJob, RoundState},
    task::{Mode, TaskSpec},
};

fn buffered(spec: &mut TaskSpec) {
    spec.participants_max = 4;
    spec.merge_every = 100;
    spec.mode = Mode::Async { buffer: 2, staleness: vec![limits::FACTOR_ONE, 32_768], mix: None };
}

fn code(chain: &mut Chain, trainer: u8, task: TaskId, base: u64) -> Code {
    let mut update = chain.update(task, 0);
    update.base_version = base;
    chain.code(trainer, Action::Update(Box::new(update)))
}

#[test]
fn the_next_buffer_opens_when_one_is_sealed() {
    let mut chain = Chain::new();
    let task = chain.task(buffered);
    chain.send(TRAINER, task, 0);
    let events = chain.send(TRAINER + 1, task, 0);
    assert_eq!(events[1], Event::RoundSealed { key: round_key(task, 0, 0), entries: 2 });
    assert_eq!(events[2], Event::RoundOpened { key: round_key(task, 0, 1) });
    chain.send(TRAINER + 2, task, 0);
    chain.send(TRAINER + 3, task, 0);
    // Two are sealed; they are folded in order.
    assert_eq!(chain.jobs(), [round_job(task, 0, 0)]);
    let wrong = chain.signed(chain.result(round_job(task, 0, 1), 5), &[0, 1]);
    assert_eq!(chain.code(VALIDATOR, wrong), Code::FoldUnexpected);
    chain.fold(round_job(task, 0, 0), 5);
    chain.fold(round_job(task, 0, 1), 6);
    let cluster = chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap();
    assert_eq!((cluster.version, cluster.folding), (2, RoundNumber(2)));
}

#[test]
fn an_update_may_be_stale_but_not_beyond_the_table_nor_older_than_the_trainers_last() {
    let mut chain = Chain::new();
    let task = chain.task(buffered);
    for round in 0..2 {
        chain.send(TRAINER, task, 0);
        chain.send(TRAINER + 1, task, 0);
        chain.fold(round_job(task, 0, round), 5 + round as u8);
    }
    // The cluster is at version 2; the table reaches one version back.
    assert_eq!(code(&mut chain, TRAINER + 2, task, 0), Code::BaseStale);
    assert_eq!(code(&mut chain, TRAINER + 2, task, 3), Code::BaseOther);
    assert_eq!(code(&mut chain, TRAINER + 2, task, 1), Code::Ok);
    assert_eq!(code(&mut chain, TRAINER + 2, task, 1), Code::UpdateExists);
    let mut named = chain.update(task, 0);
    named.round = Some(RoundNumber(2));
    assert_eq!(chain.code(TRAINER, Action::Update(Box::new(named))), Code::RoundOther);
}

#[test]
fn a_void_buffer_is_passed_over_when_the_ones_before_it_are_folded() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        buffered(spec);
        spec.participants_min = 2;
        spec.extensions_max = 0;
    });
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 0);
    chain.send(TRAINER + 2, task, 0);
    let deadline = chain.reader.next_deadline().unwrap().unwrap();
    chain.block_at(deadline.0, vec![]);
    let void = chain.reader.round(&round_key(task, 0, 1)).unwrap().unwrap();
    assert!(matches!(void.state, RoundState::Void { .. }));
    chain.fold(round_job(task, 0, 0), 5);
    let cluster = chain.reader.cluster(&task, ClusterId(0)).unwrap().unwrap();
    assert_eq!((cluster.folding, cluster.collecting), (RoundNumber(2), RoundNumber(2)));
}

/// Two clusters, a merge after two rounds in all, buffers of one.
fn pair(chain: &mut Chain) -> TaskId {
    chain.task(|spec| {
        buffered(spec);
        spec.clusters = 2;
        spec.merge_every = 1;
        spec.mode = Mode::Async { buffer: 1, staleness: vec![limits::FACTOR_ONE; 8], mix: None };
    })
}

#[test]
fn a_merge_waits_for_the_rounds_that_were_due_before_it_and_holds_up_those_after() {
    let mut chain = Chain::new();
    let task = pair(&mut chain);
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 0);
    chain.send(TRAINER + 2, task, 1);
    chain.fold(round_job(task, 0, 0), 5);
    let events = chain.fold(round_job(task, 0, 1), 6);
    // Two rounds ended, so a merge is wanted; but one of the other cluster was due.
    assert!(!events.iter().any(|event| matches!(event, Event::MergeDue { .. })));
    assert_eq!(chain.jobs(), [round_job(task, 1, 0)]);
    chain.send(TRAINER, task, 0);
    assert_eq!(chain.jobs(), [round_job(task, 1, 0)], "sealed later, so not due");
    let early = chain.signed(chain.result(round_job(task, 0, 2), 9), &[0, 1]);
    assert_eq!(chain.code(VALIDATOR, early), Code::FoldUnexpected);

    let events = chain.fold(round_job(task, 1, 0), 7);
    let merge = FoldJob::Merge { task, number: 0 };
    assert!(events.contains(&Event::MergeDue { task, number: 0 }));
    assert_eq!(chain.jobs(), [merge]);
    chain.fold(merge, 8);
    // The update that waited keeps the task active, and is due now.
    let row = chain.reader.task(&task).unwrap().unwrap();
    assert!(row.active && !row.merge_due && row.merge_wanted.is_none());
    assert_eq!(chain.jobs(), [round_job(task, 0, 2)]);
    let events = chain.fold(round_job(task, 0, 2), 9);
    assert!(matches!(events[0], Event::ModelVersion { version: 4, .. }));
}

#[test]
fn an_idle_task_has_no_deadlines_after_its_merge() {
    let mut chain = Chain::new();
    let task = pair(&mut chain);
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 1);
    chain.fold(round_job(task, 0, 0), 5);
    chain.fold(round_job(task, 1, 0), 6);
    assert!(chain.reader.next_deadline().unwrap().is_some());
    chain.fold(FoldJob::Merge { task, number: 0 }, 7);
    assert!(!chain.reader.task(&task).unwrap().unwrap().active);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
    chain.send(TRAINER, task, 0);
    assert!(chain.reader.next_deadline().unwrap().is_some());
}
