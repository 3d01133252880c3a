//! What holds of every election, and a few that show the rules one by one.

use super::*;
use proptest::prelude::*;

fn elect(old: &[Seat], contenders: &[Contender], seats: usize) -> Vec<Seat> {
    super::elect(old, contenders, seats, Replaced::Anyone)
}

fn seat(number: u8, organisation: u8) -> Seat {
    Seat::of(PublicKey([number; 32]), &format!("organisation {organisation}"))
}

fn contender(number: u8, organisation: u8, stake: u64, standing: Standing) -> Contender {
    Contender { seat: seat(number, organisation), stake: Stake(stake), standing }
}

/// Everyone of an organisation of their own, fit, with this stake.
fn fit(number: u8, stake: u64) -> Contender {
    contender(number, number, stake, Standing::Fit)
}

fn seats(numbers: impl IntoIterator<Item = u8>) -> Vec<Seat> {
    numbers.into_iter().map(|number| seat(number, number)).collect()
}

fn numbers(seats: &[Seat]) -> Vec<u8> {
    seats.iter().map(|seat| seat.validator.0[0]).collect()
}

#[test]
fn the_best_newcomer_takes_the_index_of_the_worst_seat() {
    let all = [fit(1, 50), fit(2, 20), fit(3, 40), fit(4, 30), fit(5, 60), fit(6, 45)];
    assert_eq!(numbers(&elect(&seats(1..=4), &all, 4)), [1, 5, 3, 4]);
}

#[test]
fn while_a_seat_is_not_complete_only_the_guilty_go_and_seats_may_be_added() {
    let mut all = [fit(1, 50), fit(2, 20), fit(3, 40), fit(4, 30), fit(5, 60), fit(6, 45)];
    let waits = |all: &[Contender], seats_wanted| {
        numbers(&super::elect(&seats(1..=4), all, seats_wanted, Replaced::OnlyBarred))
    };
    assert_eq!(waits(&all, 4), [1, 2, 3, 4]);
    assert_eq!(waits(&all, 5), [1, 2, 3, 4, 5], "nobody's fragments are taken away");
    all[2].standing = Standing::Barred;
    assert_eq!(waits(&all, 4), [1, 2, 5, 4]);
}

#[test]
fn of_equal_stake_the_smaller_key_sits() {
    let all = [fit(9, 10), fit(2, 10), fit(3, 10), fit(4, 10), fit(5, 10)];
    assert_eq!(numbers(&elect(&seats([9, 2, 3, 4]), &all, 4)), [5, 2, 3, 4]);
    let all = [fit(1, 10), fit(2, 10), fit(3, 10), fit(4, 10), fit(5, 10)];
    assert_eq!(numbers(&elect(&seats(1..=4), &all, 4)), [1, 2, 3, 4], "a tie replaces nobody");
}

#[test]
fn a_committee_grows_and_shrinks_by_at_most_f_seats_at_a_time() {
    let all: Vec<_> = (1..=7).map(|number| fit(number, 10)).collect();
    let five = elect(&seats(1..=4), &all, 7);
    assert_eq!(numbers(&five), [1, 2, 3, 4, 5]);
    let seven = elect(&elect(&five, &all, 7), &all, 7);
    assert_eq!(numbers(&seven), [1, 2, 3, 4, 5, 6, 7]);
    let mut poorer = all.clone();
    poorer[0].stake = Stake(1);
    poorer[1].stake = Stake(2);
    // The last seats move into the holes that 1 and 2 leave.
    let back = elect(&seven, &poorer, 4);
    assert_eq!(numbers(&back), [7, 6, 3, 4, 5]);
    assert_eq!(numbers(&elect(&back, &poorer, 4)), [5, 6, 3, 4]);
}

#[test]
fn an_organisation_sits_on_no_more_than_its_cap() {
    let rich = |number| contender(number, 1, 100, Standing::Fit);
    let all = [rich(1), rich(8), rich(9), fit(2, 10), fit(3, 10), fit(4, 10)];
    assert_eq!(numbers(&elect(&seats(1..=4), &all, 4)), [1, 2, 3, 4]);
    // Of seven seats it may have two; six could not hold the cap, so there are five.
    let more = [rich(1), rich(8), rich(9), fit(2, 9), fit(3, 9), fit(4, 9), fit(5, 9), fit(6, 9)];
    let five = elect(&seats(1..=4), &more, 7);
    assert_eq!(numbers(&five), [1, 2, 3, 4, 5]);
    let six = elect(&five, &more, 7);
    assert_eq!(numbers(&six), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&elect(&six, &more, 7)), [1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn three_organisations_share_seats_as_evenly_as_they_can() {
    let of = |number: u8, stake| contender(number, number % 3, stake, Standing::Fit);
    let old: Vec<_> = (1..=7).map(|number| seat(number, number % 3)).collect();
    let all: Vec<_> = (1..=12).map(|number| of(number, 100 - u64::from(number))).collect();
    assert_eq!(elect(&old, &all, 7), old, "no cap of two holds over seven seats of three");
}

/// Seats that organisation 1 has.
fn of_the_first(seats: &[Seat]) -> usize {
    seats.iter().filter(|seat| seat.organisation == "organisation 1").count()
}

#[test]
fn who_silences_a_rival_does_not_inherit_its_seat() {
    let rich = |number| contender(number, 1, 100, Standing::Fit);
    let silent = contender(4, 4, 1, Standing::Silent);
    let all = [rich(1), rich(5), rich(6), rich(7), rich(8), fit(2, 9), fit(3, 9), silent];
    assert_eq!(numbers(&elect(&seats(1..=4), &all, 4)), [1, 2, 3, 4]);
    // Nor when the rival is out already.
    let without = [seat(1, 1), seat(2, 2), seat(3, 3), seat(5, 1)];
    assert_eq!(of_the_first(&elect(&without, &all, 4)), 1);
}

#[test]
fn where_many_seats_are_wanted_the_only_rich_organisation_keeps_to_its_cap_too() {
    let mut all: Vec<_> =
        (11..=17).map(|number| contender(number, 1, 100, Standing::Fit)).collect();
    let silent = contender(4, 4, 1, Standing::Silent);
    all.extend([fit(1, 100), fit(2, 9), fit(3, 9), silent]);
    let mut committee = seats(1..=4);
    for _ in 0..6 {
        committee = elect(&committee, &all, 10);
        let cap = organisation_seats_max(committee.len());
        assert!(of_the_first(&committee) <= cap, "{committee:?}");
    }
    // With three organisations no cap holds; it rises by one seat, not by the wish for ten.
    all.pop();
    for _ in 0..6 {
        committee = elect(&committee, &all, 10);
        assert!(of_the_first(&committee) <= 2 && committee.len() == 4, "{committee:?}");
    }
}

#[test]
fn silent_ones_fill_no_more_seats_than_a_committee_can_do_without() {
    let silent = |number| contender(number, number, 50, Standing::Silent);
    let all = [fit(1, 10), contender(5, 1, 9, Standing::Fit), fit(2, 10), silent(3), silent(4)];
    let new = elect(&seats(1..=4), &all, 4);
    assert_eq!(numbers(&new), [1, 2, 3, 5], "two silent ones of four would stop the chain");
}

#[test]
fn the_guilty_stay_until_somebody_can_take_their_seat() {
    let guilty = contender(1, 1, 100, Standing::Barred);
    let others = [fit(2, 10), fit(3, 10), fit(4, 10)];
    let alone: Vec<_> = others.iter().cloned().chain([guilty.clone()]).collect();
    assert_eq!(numbers(&elect(&seats(1..=4), &alone, 4)), [1, 2, 3, 4]);
    let with = |more: Contender| [alone.clone(), vec![more]].concat();
    assert_eq!(numbers(&elect(&seats(1..=4), &with(fit(5, 1)), 4)), [5, 2, 3, 4]);
    // The cap gives way, and the jail for silence does; guilt does not.
    let same = contender(5, 2, 1, Standing::Fit);
    assert_eq!(numbers(&elect(&seats(1..=4), &with(same), 4)), [5, 2, 3, 4]);
    let silent = contender(5, 5, 1, Standing::Silent);
    assert_eq!(numbers(&elect(&seats(1..=4), &with(silent), 4)), [5, 2, 3, 4]);
    let unfit = contender(5, 5, 1, Standing::Unfit);
    assert_eq!(numbers(&elect(&seats(1..=4), &with(unfit), 4)), [1, 2, 3, 4]);
    // Above the floor nothing keeps them.
    let five: Vec<_> = alone.iter().cloned().chain([fit(5, 1)]).collect();
    assert_eq!(numbers(&elect(&seats(1..=5), &five, 5)), [5, 2, 3, 4]);
}

#[test]
fn leaders_are_a_permutation_that_changes_with_the_epoch() {
    let seats = seats(1..=20);
    let order = |epoch| leaders(&Digest([1; 32]), Epoch(epoch), &seats);
    let mut sorted = order(3);
    sorted.sort();
    assert_eq!(sorted, (0..20).map(SeatIndex).collect::<Vec<_>>());
    assert_eq!(order(3), order(3));
    assert_ne!(order(3), order(4));
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        6 => Just(Standing::Fit),
        1 => Just(Standing::Silent),
        1 => Just(Standing::Unfit),
        1 => Just(Standing::Barred),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_election_holds_to_its_rules(
        old in 1..=20u8,
        wanted in 1..=25usize,
        organisations in 1..=9u8,
        people in proptest::collection::vec((0..6u64, standing(), any::<u8>()), 1..=40),
    ) {
        let of = |number: u8, salt: u8| salt.wrapping_add(number) % organisations;
        let all: Vec<_> = (1..)
            .zip(&people)
            .map(|(number, (stake, standing, salt))| {
                contender(number, of(number, *salt), *stake, *standing)
            })
            .collect();
        // Some who sit are no candidates any more.
        let old: Vec<_> = (1..=old)
            .map(|number| {
                let known = all.get(usize::from(number) - 1);
                known.map_or_else(|| seat(number, 0), |one| one.seat.clone())
            })
            .collect();
        let new = elect(&old, &all, wanted);
        let (before, after) = (numbers(&old), numbers(&new));

        // Distinct seats, no fewer than the floor, no more than asked for beyond the old ones.
        let mut distinct = after.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), after.len());
        prop_assert!(after.len() >= old.len().min(4));
        prop_assert!(after.len() <= wanted.max(old.len()));

        // At most max(1, f) leave and as many join.
        let f = ((old.len() - 1) / 3).max(1);
        let joined: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
        let left = before.iter().filter(|one| !after.contains(one)).count();
        prop_assert!(joined.len() <= f && left <= f, "{} join, {left} leave", joined.len());

        // Who stays keeps its index, unless the committee shrank below it.
        for (at, one) in after.iter().enumerate() {
            if let Some(was) = before.iter().position(|other| other == one) {
                prop_assert!(was == at || was >= after.len());
            }
        }

        // Nobody comes in who is not fit, but to hold the floor or the cap; no newcomer breaks
        // the cap, but to hold the floor or where no cap holds.
        let floor = after.len() == old.len().min(4);
        let fit_organisations: std::collections::BTreeSet<_> = all
            .iter()
            .filter(|one| one.standing == Standing::Fit)
            .map(|one| &one.seat.organisation)
            .collect();
        let few = fit_organisations.len() < 4;
        for one in joined {
            let found = &all[usize::from(*one) - 1];
            let silent = found.standing == Standing::Silent && (floor || few);
            prop_assert!(found.standing == Standing::Fit || silent);
            let same = |seat: &&Seat| seat.organisation == found.seat.organisation;
            let held = new.iter().filter(same).count();
            let cap = organisation_seats_max(new.len());
            prop_assert!(held <= cap || floor || few);
        }

        // The order in which contenders are named changes nothing, nor does asking twice.
        let mut reversed = all.clone();
        reversed.reverse();
        prop_assert_eq!(&elect(&old, &reversed, wanted), &new);
    }

    #[test]
    fn elections_come_to_rest_in_the_best_committee(
        stakes in proptest::collection::vec(1..1_000u64, 7..=20),
    ) {
        let all: Vec<_> = (1..).zip(&stakes).map(|(number, stake)| fit(number, *stake)).collect();
        let mut committee = seats(1..=4);
        for _ in 0..20 {
            committee = elect(&committee, &all, 7);
        }
        let mut best: Vec<_> = all.iter().map(|one| (Reverse(one.stake), one.seat.validator)).collect();
        best.sort();
        let mut sitting: Vec<_> = committee.iter().map(|seat| seat.validator).collect();
        let mut expected: Vec<_> = best[..7].iter().map(|(_, validator)| *validator).collect();
        sitting.sort();
        expected.sort();
        prop_assert_eq!(sitting, expected);
    }
}
