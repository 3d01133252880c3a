//! Trainers enrol, rounds choose among them, and late updates are carried over.

use crate::kit::*;
use twinfold_types::{
    Action, ClusterId, Code, Event, Height, RoundNumber, TaskId,
    round::{FoldJob, Round, RoundState},
    state_key,
    task::{
        TaskSpec,
        selection::{Draw, Drawing, EnrolAction, Enrolled},
    },
    tx::UpdateAction,
};

const TWO: u8 = TRAINER + 1;
const THREE: u8 = TRAINER + 2;

fn choosing(rule: &str, change: impl FnOnce(&mut TaskSpec)) -> (Chain, TaskId) {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        spec.selection = Some(rule.parse().unwrap());
        change(spec);
    });
    (chain, task)
}

fn enrol(task: TaskId) -> Action {
    Action::Enrol(EnrolAction { task, cluster: ClusterId(0) })
}

fn round(chain: &Chain, task: TaskId, number: u64) -> Round {
    chain.reader.round(&round_key(task, 0, number)).unwrap().unwrap()
}

fn drawing(chain: &Chain, task: TaskId, number: u64) -> Drawing {
    chain.reader.get(&state_key::drawing(&round_key(task, 0, number))).unwrap().unwrap()
}

fn enrolled(chain: &Chain, task: TaskId, who: u8) -> Option<Enrolled> {
    let key = state_key::enrolled(&task, ClusterId(0), &public(who));
    chain.reader.get(&key).unwrap()
}

/// Blocks with nothing in them, until the round's trainers are chosen.
fn wait_for_draw(chain: &mut Chain, task: TaskId, number: u64) {
    while round(chain, task, number).draw != Draw::Done {
        assert!(chain.reader.next_deadline().unwrap().is_some(), "a draw asks for a block");
        chain.block(vec![]);
    }
}

/// Folds a round and merges it.
fn conclude(chain: &mut Chain, task: TaskId, number: u64) {
    chain.fold(round_job(task, 0, number), number as u8 + 5);
    chain.fold(FoldJob::Merge { task, number }, number as u8 + 5);
}

#[test]
fn a_draw_is_among_those_enrolled_before_and_by_a_block_made_after() {
    let (mut chain, task) = choosing("random:2", |spec| spec.participants_min = 2);
    assert_eq!(chain.code(TRAINER, enrol(task)), Code::Ok);
    assert_eq!(round(&chain, task, 0).draw, Draw::Awaited);
    assert_eq!(chain.reader.next_deadline().unwrap(), None, "it waits for more without blocks");
    chain.ok(TWO, enrol(task));
    let closed = chain.reader.head().height;
    assert_eq!(round(&chain, task, 0).draw, Draw::Closed { at: closed });
    let update = chain.update(task, 0);
    assert_eq!(chain.code(TRAINER, Action::Update(Box::new(update))), Code::NotChosen);
    // The third comes with the block whose digest decides.
    let height = chain.reader.head().height;
    assert_eq!(height, Height(closed.0 + 1));
    chain.ok(THREE, enrol(task));
    let drawn = drawing(&chain, task, 0);
    let by = chain.reader.block(height).unwrap().unwrap().digest();
    assert_eq!((drawn.closed, drawn.seed), (closed, by));
    let who: Vec<_> = drawn.candidates.iter().map(|candidate| candidate.trainer).collect();
    let mut expected = vec![public(TRAINER), public(TWO)];
    expected.sort();
    assert_eq!(who, expected);
    assert_eq!(drawn.again(&"random:2".parse().unwrap(), &round_key(task, 0, 0)), drawn);
    assert!(matches!(round(&chain, task, 0).state, RoundState::Collecting { .. }));
    let update = chain.update(task, 0);
    assert_eq!(chain.code(THREE, Action::Update(Box::new(update))), Code::NotChosen);
    chain.send(TRAINER, task, 0);
    chain.send(TWO, task, 0);
    conclude(&mut chain, task, 0);
    wait_for_draw(&mut chain, task, 1);
    assert_eq!(drawing(&chain, task, 1).candidates.len(), 3);
    assert_eq!(drawing(&chain, task, 1).chosen().count(), 2);
}

#[test]
fn of_more_chosen_than_a_round_takes_the_first_are_in_and_the_last_did_not_miss() {
    let (mut chain, task) = choosing("random:3", |spec| spec.participants_min = 2);
    let all = [TRAINER, TWO, THREE].map(|who| chain.tx(who, enrol(task)));
    chain.block(all.into());
    wait_for_draw(&mut chain, task, 0);
    chain.send(TWO, task, 0);
    let late = chain.update(task, 0);
    chain.send(TRAINER, task, 0);
    assert_eq!(chain.code(THREE, Action::Update(Box::new(late))), Code::RoundSealed);
    conclude(&mut chain, task, 0);
    wait_for_draw(&mut chain, task, 1);
    let third = enrolled(&chain, task, THREE).unwrap();
    assert_eq!((third.chosen, third.delivered, third.missed), (2, 0, 0));
    let first = enrolled(&chain, task, TRAINER).unwrap();
    assert_eq!((first.chosen, first.delivered), (2, 1));
}

#[test]
fn who_is_waited_for_in_vain_is_not_chosen_any_more() {
    let (mut chain, task) = choosing("availability:2", |spec| spec.extensions_max = 0);
    let both = [TRAINER, TWO].map(|who| chain.tx(who, enrol(task)));
    chain.block(both.into());
    for number in 0..3 {
        wait_for_draw(&mut chain, task, number);
        assert_eq!(drawing(&chain, task, number).chosen().count(), 2);
        chain.send(TRAINER, task, 0);
        chain.block_at(chain.now() + DEADLINE_MS + 1, vec![]);
        conclude(&mut chain, task, number);
    }
    assert!(enrolled(&chain, task, TWO).is_some_and(|two| two.missed == 2));
    wait_for_draw(&mut chain, task, 3);
    assert_eq!(enrolled(&chain, task, TWO), None);
    assert_eq!(drawing(&chain, task, 3).candidates.len(), 1);
    // It may come back, and is not taken for one who was never tried.
    assert_eq!(chain.code(TWO, enrol(task)), Code::Ok);
    let two = enrolled(&chain, task, TWO).unwrap();
    assert_eq!((two.chosen, two.delivered, two.missed), (3, 0, 0));
}

#[test]
fn a_task_whose_trainers_are_all_gone_makes_no_more_blocks() {
    let (mut chain, task) = choosing("random:2", |spec| spec.extensions_max = 0);
    chain.ok(TRAINER, enrol(task));
    let mut blocks = 0;
    while let Some(due) = chain.reader.next_deadline().unwrap() {
        chain.block_at(due.0.max(chain.now() + 1), vec![]);
        blocks += 1;
        assert!(blocks < 100, "it goes on for ever");
    }
    assert_eq!(enrolled(&chain, task, TRAINER), None);
}

#[test]
fn enrolling_is_for_trainers_of_tasks_that_choose_and_leaving_for_the_enrolled() {
    let (mut chain, task) = choosing("random:2", |spec| spec.clusters = 2);
    assert_eq!(chain.code(OPERATOR, enrol(task)), Code::NotPermitted);
    assert_eq!(chain.code(TRAINER, Action::Leave(task)), Code::EnrolmentUnknown);
    assert_eq!(chain.code(TRAINER, enrol(task)), Code::Ok);
    assert_eq!(chain.code(TRAINER, enrol(task)), Code::EnrolmentExists);
    let other = Action::Enrol(EnrolAction { task, cluster: ClusterId(1) });
    assert_eq!(chain.code(TRAINER, other), Code::ClusterOther);
    let none = Action::Enrol(EnrolAction { task, cluster: ClusterId(2) });
    assert_eq!(chain.code(TWO, none), Code::ClusterUnknown);
    let left = chain.ok(TRAINER, Action::Leave(task));
    let (cluster, trainer) = (ClusterId(0), public(TRAINER));
    assert_eq!(left, [Event::TrainerLeft { task, cluster, trainer, missed: 0 }]);
    assert_eq!(chain.code(TRAINER, enrol(task)), Code::Ok);
    chain.ok(OPERATOR, Action::CloseTask(task));
    assert_eq!(chain.code(TWO, enrol(task)), Code::TaskEnded);
    // What was closed for a draw is drawn no more.
    while chain.reader.next_deadline().unwrap().is_some() {
        chain.block(vec![]);
    }
    let open = chain.task(|spec| spec.name = "for everyone".into());
    assert_eq!(chain.code(TWO, enrol(open)), Code::EnrolmentUnused);
}

#[test]
fn a_selection_that_cannot_fill_a_round_is_refused() {
    let mut chain = Chain::new();
    let mut create = |change: &dyn Fn(&mut TaskSpec)| {
        let mut spec = chain.spec();
        spec.participants_min = 2;
        spec.selection = Some("random:2".parse().unwrap());
        change(&mut spec);
        chain.code(OPERATOR, Action::CreateTask(Box::new(spec)))
    };
    let rule = |text: &str| Some(text.parse().unwrap());
    assert_eq!(create(&|spec| spec.selection = rule("random:1")), Code::TaskInvalid);
    assert_eq!(create(&|spec| spec.selection = rule("random:1025")), Code::TaskInvalid);
    let (buffer, staleness, mix) = (2, vec![65_536], None);
    let mode = twinfold_types::task::Mode::Async { buffer, staleness, mix };
    assert_eq!(create(&|spec| spec.mode = mode.clone()), Code::TaskInvalid);
    assert_eq!(create(&|_| {}), Code::Ok);
}

fn late(chain: &mut Chain, who: u8, update: &UpdateAction) -> Code {
    chain.code(who, Action::Update(Box::new(update.clone())))
}

#[test]
fn a_late_update_is_carried_into_the_next_round_and_no_further_than_it_may() {
    let mut chain = Chain::new();
    let task = chain.task(|spec| {
        (spec.participants_max, spec.late) = (1, vec![65_536, 46_341, 37_837]);
    });
    let of_round_0 = chain.update(task, 0);
    chain.send(TRAINER, task, 0);
    assert_eq!(late(&mut chain, TWO, &of_round_0), Code::RoundSealed, "no round takes updates");
    conclude(&mut chain, task, 0);
    let again = UpdateAction { round: Some(RoundNumber(1)), ..of_round_0.clone() };
    assert_eq!(late(&mut chain, TRAINER, &again), Code::UpdateExists, "it counted already");
    assert_eq!(late(&mut chain, TWO, &of_round_0), Code::Ok);
    let (_, entries) = chain.reader.round_with_entries(&round_key(task, 0, 1)).unwrap().unwrap();
    assert_eq!((entries.len(), entries[0].base_version), (1, 0));
    conclude(&mut chain, task, 1);
    assert_eq!(late(&mut chain, THREE, &of_round_0), Code::BaseStale, "four versions behind");
    let unborn = UpdateAction { round: Some(RoundNumber(9)), ..of_round_0 };
    assert_eq!(late(&mut chain, THREE, &unborn), Code::RoundOther);
}

#[test]
fn a_late_update_comes_from_one_who_was_chosen() {
    let (mut chain, task) = choosing("random:3", |spec| {
        (spec.participants_max, spec.late) = (1, vec![65_536, 46_341, 37_837]);
    });
    let both = [TRAINER, TWO].map(|who| chain.tx(who, enrol(task)));
    chain.block(both.into());
    wait_for_draw(&mut chain, task, 0);
    let of_round_0 = chain.update(task, 0);
    chain.send(TRAINER, task, 0);
    conclude(&mut chain, task, 0);
    wait_for_draw(&mut chain, task, 1);
    assert_eq!(late(&mut chain, THREE, &of_round_0), Code::NotChosen);
    assert_eq!(late(&mut chain, TWO, &of_round_0), Code::Ok);
}
