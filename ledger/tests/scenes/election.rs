use crate::{kit::*, kit_stake::*};
use twinfold_types::{
    Action, Code, Epoch, Event, SeatIndex, Stake,
    member::AdminAction,
    stake::{Jail, StakeAction, StakeParams},
};

fn params(change: impl FnOnce(&mut StakeParams)) -> AdminAction {
    let mut params = StakeParams::default();
    change(&mut params);
    AdminAction::SetStakeParams(params)
}

#[test]
fn delegated_stake_wins_a_seat_at_the_epochs_end_and_not_before() {
    let mut chain = staked();
    chain.newcomer(5, "organisation 5", 1);
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4], "the least stake is outside");
    chain.ok(TRAINER, delegate(5, 1_000));
    chain.ok(TRAINER, delegate(1, 1));
    chain.ok(TRAINER, delegate(2, 1));
    chain.ok(TRAINER, delegate(3, 1));
    assert_eq!(chain.sitting(), [1, 2, 3, 4]);
    let events = chain.end_epoch();
    let (joined, left) = (vec![public(5)], vec![public(4)]);
    assert_eq!(events, [Event::EpochEnded { epoch: Epoch(1), joined, left }]);
    assert_eq!(chain.sitting(), [1, 2, 3, 5], "the newcomer takes the leaver's index");
}

#[test]
fn of_equal_stake_the_smaller_key_sits_everywhere() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 1_000);
    chain.end_epoch();
    let mut all: Vec<u8> = (1..=5).collect();
    all.sort_by_key(|number| public(*number));
    let mut sitting = chain.sitting();
    sitting.sort_by_key(|number| public(*number));
    assert_eq!(sitting, all[..4]);
}

#[test]
fn who_is_not_ready_or_lacks_the_minimum_is_not_elected() {
    let mut chain = staked();
    chain.newcomer(5, "organisation 5", 5_000);
    chain.newcomer(6, "organisation 6", 40);
    chain.ok(5, declare(false, 0));
    chain.decide(params(|params| {
        params.seats = 6;
        params.stake_min = Stake(50);
    }));
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4]);
    chain.ok(5, declare(true, 0));
    chain.ok(TRAINER, delegate(6, 10));
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4, 5]);
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4, 5, 6]);
    // Who wants to go goes, as long as four stay.
    chain.ok(2, declare(false, 0));
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 6, 3, 4, 5]);
}

#[test]
fn an_organisation_with_all_the_stake_gets_one_seat_of_four() {
    let mut chain = Chain::new();
    for number in [5, 6, 7] {
        chain.newcomer(number, "organisation 1", 100_000);
    }
    for _ in 0..3 {
        chain.end_epoch();
    }
    let seats = chain.committee().seats;
    let held = seats.iter().filter(|seat| seat.organisation == "organisation 1").count();
    assert_eq!((held, seats.len()), (1, 4));
    assert!(!chain.sitting().contains(&1), "by its richest validator");
}

#[test]
fn the_leaders_of_an_epoch_depend_on_no_block() {
    let mut chain = Chain::new();
    let mut same = Chain::new();
    same.reach_height(5);
    same.ok(ADMIN, Action::Propose(AdminAction::SetThreshold(1)));
    chain.end_epoch();
    same.end_epoch();
    assert_eq!(chain.committee().order, same.committee().order);
    let first = chain.committee().order;
    let orders: Vec<_> = (0..6)
        .map(|_| {
            chain.end_epoch();
            chain.committee().order
        })
        .collect();
    assert!(orders.iter().any(|order| *order != first));
}

#[test]
fn an_expelled_validator_leaves_at_an_early_end_of_the_epoch() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 1);
    let events = chain.decide(AdminAction::Expel(public(3)));
    let at = twinfold_types::Height(chain.reader.head().height.0 + 64);
    let jailed = Event::Jailed { validator: public(3), jail: Jail::Expelled };
    assert_eq!(events[1..3], [jailed, Event::EpochEnding { at }]);
    // Another one meanwhile leaves with the same end.
    chain.newcomer(6, "organisation 6", 1);
    chain.decide(AdminAction::Expel(public(4)));
    chain.reach_height(at.0);
    assert_eq!(chain.committee().epoch, Epoch(1));
    chain.end_epoch();
    let mut sitting = chain.sitting();
    sitting.sort();
    assert_eq!(sitting, [1, 2, 5, 6], "one at a time");
    assert_eq!(chain.code(3, Action::Stake(StakeAction::Release)), Code::JailedStill);
    let removed = chain.decide(AdminAction::RemoveMember(public(3)));
    assert!(removed.contains(&Event::MemberRemoved { key: public(3) }));
}

#[test]
fn a_silent_seat_is_jailed_only_when_others_can_fill_the_seats() {
    let mut chain = Chain::new();
    chain.attest(4, &[0, 1, 2]);
    let events = chain.end_epoch();
    assert!(!events.iter().any(|event| matches!(event, Event::Jailed { .. })), "nobody else");
    chain.newcomer(5, "organisation 5", 1);
    // Seat 2 signs half, seat 3 less.
    chain.attest(3, &[0, 1, 2]);
    chain.attest(2, &[0, 1, 3]);
    chain.attest(2, &[0, 1, 2]);
    chain.attest(1, &[0, 1, 3]);
    let events = chain.end_epoch();
    let until = Epoch(3);
    let jail = Jail::Silent { until };
    assert_eq!(events[0], Event::Jailed { validator: public(4), jail });
    assert!(!events[1..].iter().any(|event| matches!(event, Event::Jailed { .. })));
    assert_eq!(chain.sitting(), [1, 2, 3, 5]);
    chain.end_epoch();
    // After its time a silent one asks to be let out.
    let release = || Action::Stake(StakeAction::Release);
    chain.end_epoch();
    assert_eq!(chain.committee().epoch, Epoch(4));
    assert_eq!(chain.ok(4, release()), [Event::LetOut { validator: public(4) }]);
    chain.end_epoch();
    assert!(chain.sitting().contains(&4));
}

#[test]
fn a_silent_seat_keeps_its_place_where_a_rivals_organisation_would_get_a_second_one() {
    let mut chain = Chain::new();
    for number in 5..=8 {
        chain.newcomer(number, "organisation 1", 500);
    }
    chain.attest(4, &[0, 1, 2]);
    let events = chain.end_epoch();
    assert!(!events.iter().any(|event| matches!(event, Event::Jailed { .. })));
    assert_eq!(chain.sitting(), [1, 2, 3, 4]);
    // With a candidate of a fifth organisation it is as ever.
    chain.newcomer(9, "organisation 9", 1);
    chain.attest(4, &[0, 1, 2]);
    let events = chain.end_epoch();
    assert!(matches!(events[0], Event::Jailed { validator, .. } if validator == public(4)));
    assert_eq!(chain.sitting(), [1, 2, 3, 9]);
}

#[test]
fn of_several_silent_seats_the_most_silent_are_jailed_as_far_as_others_can_fill_the_seats() {
    let mut chain = Chain::new();
    for number in 5..=8 {
        chain.newcomer(number, &format!("organisation {number}"), 500);
    }
    chain.decide(AdminAction::SetStakeParams(StakeParams { seats: 7, ..Default::default() }));
    for _ in 0..3 {
        chain.end_epoch();
    }
    let sitting = chain.sitting();
    assert_eq!(sitting.len(), 7);
    // Seats 5 and 6 sign one and two of five; one candidate is outside.
    chain.attest(2, &[0, 1, 2, 3, 4]);
    chain.attest(1, &[0, 1, 2, 3, 4, 5, 6]);
    chain.attest(1, &[0, 1, 2, 3, 6]);
    chain.attest(1, &[0, 1, 2, 3, 4]);
    let events = chain.end_epoch();
    let jailed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Jailed { validator, .. } => Some(*validator),
            _ => None,
        })
        .collect();
    assert_eq!(jailed, [public(sitting[5])]);
    assert_eq!(chain.sitting().len(), 7);
}

#[test]
fn the_time_of_a_jail_for_silence_must_be_over() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 1);
    chain.attest(4, &[0, 1, 2]);
    chain.end_epoch();
    let release = || Action::Stake(StakeAction::Release);
    assert_eq!(chain.code(4, release()), Code::JailedStill);
    chain.end_epoch();
    chain.ok(4, release());
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4]);
}

#[test]
fn three_checkpoints_judge_nobody() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 1);
    chain.attest(3, &[0, 1, 2]);
    let events = chain.end_epoch();
    assert!(!events.iter().any(|event| matches!(event, Event::Jailed { .. })));
}

fn lapses(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::TakeoverLapsed { .. })).count()
}

#[test]
fn while_a_newcomer_makes_its_fragments_nobody_else_is_replaced() {
    let mut chain = staked();
    crate::keeping::register(&mut chain, 5);
    for number in 5..=8 {
        chain.newcomer(number, &format!("organisation {number}"), 9_000 - u64::from(number));
    }
    chain.end_epoch();
    let first = chain.sitting();
    assert_eq!(first.iter().filter(|seat| **seat >= 5).collect::<Vec<_>>(), [&5]);
    chain.end_epoch();
    assert_eq!(chain.sitting(), first, "its fragments are not made");

    assert_eq!(chain.code(first[0], Action::TakeOver), Code::TakeoverUnknown);
    assert_eq!(chain.code(6, Action::TakeOver), Code::NotPermitted);
    let place = first.iter().position(|seat| *seat == 5).unwrap();
    let seat = SeatIndex(place as u16);
    assert_eq!(chain.ok(5, Action::TakeOver), [Event::SeatTakenOver { seat, by: public(5) }]);
    assert_eq!(chain.code(5, Action::TakeOver), Code::TakeoverUnknown, "said already");
    chain.end_epoch();
    let second = chain.sitting();
    assert!(second.contains(&6));

    // The next one never says so: four epochs later it is waited for no longer.
    for _ in 0..3 {
        assert_eq!(lapses(&chain.end_epoch()), 0);
        assert_eq!(chain.sitting(), second);
    }
    assert_eq!(lapses(&chain.end_epoch()), 1);
    assert_eq!(chain.sitting(), second);
    chain.end_epoch();
    assert!(chain.sitting().contains(&7));
}

#[test]
fn whoever_is_expelled_goes_at_once_whatever_is_being_made() {
    let mut chain = staked();
    crate::keeping::register(&mut chain, 5);
    chain.newcomer(5, "organisation 5", 9_000);
    chain.newcomer(6, "organisation 6", 8_000);
    chain.end_epoch();
    assert!(chain.sitting().contains(&5));
    chain.decide(AdminAction::Expel(public(5)));
    chain.end_epoch();
    assert!(!chain.sitting().contains(&5));
    assert!(chain.sitting().contains(&6), "its seat has to be taken over again");
    assert_eq!(chain.code(6, Action::TakeOver), Code::Ok);
}
