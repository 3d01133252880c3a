//! Rounds that go on without the last where these keep the others waiting, and tasks that take no more trainers.

use crate::kit::*;
use twinfold_types::{
    Action, ClusterId, Code, Event, RoundNumber, TaskId,
    round::{FoldJob, RoundState},
    task::{Pace, Switch},
    tx::{RecruitAction, UpdateAction},
};

/// Three trainers, of whom two are enough; waiting twice as long is borne.
fn switching() -> (Chain, TaskId) {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.participants_min, spec.participants_max) = (2, 3);
        spec.late = vec![1 << 16, 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11, 1 << 10];
        spec.switch = Some(Switch { ratio_milli: 2_000, rounds: 2 });
        (spec.deadline_ms, spec.rounds_max) = (60_000, 0);
    });
    (chain, task)
}

fn send(chain: &mut Chain, trainer: u8, update: UpdateAction, after_ms: u64) -> Vec<Event> {
    let tx = chain.tx(trainer, Action::Update(Box::new(update)));
    let id = tx.id();
    let receipts = chain.block_at(chain.now() + after_ms, vec![tx]);
    let receipt = receipts.into_iter().find(|receipt| receipt.tx == Some(id)).unwrap();
    assert_eq!(receipt.code, Code::Ok);
    receipt.events
}

/// Two updates two seconds apart; a third so long after, for the round that it was made for.
fn play(chain: &mut Chain, task: TaskId, number: u64, last_after_ms: u64) -> Vec<Event> {
    let update = chain.update(task, 0);
    let mut events = vec![];
    for trainer in 0..2 {
        events.extend(send(chain, TRAINER + trainer, update.clone(), 2_000));
    }
    let closed = !matches!(state(chain, task, number), RoundState::Collecting { .. });
    if closed {
        conclude(chain, task, number);
    }
    events.extend(send(chain, TRAINER + 2, update, last_after_ms));
    if !closed {
        conclude(chain, task, number);
    }
    events
}

fn conclude(chain: &mut Chain, task: TaskId, number: u64) {
    chain.fold(round_job(task, 0, number), number as u8 + 5);
    chain.fold(FoldJob::Merge { task, number }, number as u8 + 5);
}

fn state(chain: &Chain, task: TaskId, number: u64) -> RoundState {
    chain.reader.round(&round_key(task, 0, number)).unwrap().unwrap().state
}

fn pace(chain: &Chain, task: TaskId) -> Pace {
    chain.clusters(task)[0].pacing.pace
}

#[test]
fn stragglers_are_left_behind_and_waited_for_again_when_they_come_soon() {
    let (mut chain, task) = switching();
    play(&mut chain, task, 0, 20_000);
    assert_eq!(pace(&chain, task), Pace::All, "once is no habit");
    let events = play(&mut chain, task, 1, 20_000);
    let chosen = events.iter().find_map(|event| match event {
        Event::PaceChosen { key, pace, arrivals } => Some((key.round, *pace, *arrivals)),
        _ => None,
    });
    let (round, chosen, arrivals) = chosen.expect("the ledger says why");
    assert_eq!((round, chosen), (RoundNumber(1), Pace::Enough));
    assert_eq!((arrivals.updates, arrivals.enough_ms.unwrap() + 20_000), (3, arrivals.last_ms));
    // Now two close a round; the third goes into the next one, at once from here on.
    for number in 2..5 {
        assert_eq!(pace(&chain, task), Pace::Enough, "round {number}");
        play(&mut chain, task, number, 100);
    }
    assert_eq!(pace(&chain, task), Pace::All);
    play(&mut chain, task, 5, 100);
    assert!(matches!(state(&chain, task, 5), RoundState::Aggregated { .. }));
}

#[test]
fn a_task_takes_as_many_trainers_as_its_owner_says_and_those_who_are_there_stay() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.participants_max = 4);
    let recruit = |trainers| Action::Recruit(RecruitAction { task, trainers });
    chain.send(TRAINER, task, 0);
    assert_eq!(chain.code(OTHER_OPERATOR, recruit(Some(1))), Code::NotPermitted);
    assert_eq!(chain.code(TRAINER, recruit(Some(1))), Code::NotPermitted);
    let events = chain.ok(OPERATOR, recruit(Some(1)));
    assert_eq!(events, [Event::RecruitingSet { task, trainers: Some(1) }]);
    let update = Action::Update(Box::new(chain.update(task, 0)));
    assert_eq!(chain.code(TRAINER + 1, update.clone()), Code::RecruitingClosed);
    chain.ok(ADMIN, recruit(None));
    assert_eq!(chain.code(TRAINER + 1, update), Code::Ok);
    let found = chain.reader.task(&task).unwrap().unwrap();
    assert_eq!((found.trainers, found.trainers_max), (2, None));
    chain.ok(OPERATOR, recruit(Some(1)));
    conclude_round_of_two(&mut chain, task);
    // Fewer than are there: nobody has to go.
    chain.send(TRAINER + 1, task, 0);
}

fn conclude_round_of_two(chain: &mut Chain, task: TaskId) {
    chain.block_at(chain.now() + DEADLINE_MS + 1, vec![]);
    chain.fold(round_job(task, 0, 0), 5);
    chain.fold(FoldJob::Merge { task, number: 0 }, 6);
    assert_eq!(chain.clusters(task)[0].cluster, ClusterId(0));
}
