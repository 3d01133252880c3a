//! Model checking of the agreement: every order of events among four seats, one of them lying,
//! within a few views and heights. What it leaves out: docs/model-checking.md.
//!
//! `TWINFOLD_MODEL_LONG=1` looks at more: one view more, and two heights as far as
//! `TWINFOLD_MODEL_SECONDS` allow (two hours) instead of the first states.

mod agreement;
mod blocks;
mod state;

use agreement::{Agreement, SEATS};
use blocks::Scope;
use stateright::{Checker, HasDiscoveries, Model};
use std::time::{Duration, Instant};
use twinfold_consensus_planted::{Planted, rules::Rules};

const ONE_HEIGHT: Scope = Scope { views: 3, heights: 1 };
const ONE_HEIGHT_LONG: Scope = Scope { views: 4, heights: 1 };
const TWO_HEIGHTS: Scope = Scope { views: 3, heights: 2 };

/// States generated in a usual run of what cannot be looked at whole, and until a mistake shows.
const STATES: usize = 2_000_000;
/// Two hours: the end of a long run even if there is more.
const LONG_SECONDS: u64 = 7_200;

/// How far to look.
#[derive(Clone, Copy)]
enum Until {
    Whole,
    States(usize),
    Time(Duration),
}

/// What a long run may take; none for a usual run.
fn long() -> Option<Duration> {
    std::env::var_os("TWINFOLD_MODEL_LONG")?;
    let seconds = std::env::var("TWINFOLD_MODEL_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("TWINFOLD_MODEL_SECONDS is a number"));
    Some(Duration::from_secs(seconds.unwrap_or(LONG_SECONDS)))
}

fn holds(scope: Scope, until: Until) {
    let started = Instant::now();
    let model = Agreement { scope, rules: Rules::new(SEATS) };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = match until {
        Until::Whole => checker,
        Until::States(states) => checker.target_state_count(states),
        Until::Time(time) => checker.timeout(time),
    };
    let checker = checker.spawn_bfs().join();
    let generated = checker.state_count();
    let whole = match until {
        Until::Whole => true,
        Until::States(states) => generated < states,
        Until::Time(time) => started.elapsed() < time,
    };
    println!(
        "{scope:?}: {} unique states ({generated} generated), depth {}, {}, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        if whole { "the whole" } else { "not the whole" },
        started.elapsed().as_secs_f64()
    );
    checker.assert_no_discovery("agreement");
    if whole {
        checker.assert_any_discovery("the last view commits");
    }
}

/// A mistake in the guards must break agreement within the states of a usual run.
fn is_found(planted: Planted, scope: Scope) {
    let model = Agreement { scope, rules: Rules::new(SEATS).with_planted(planted) };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(STATES).spawn_bfs().join();
    println!(
        "{planted:?} in {scope:?}: found within {} unique states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    for action in checker.assert_any_discovery("agreement").into_actions() {
        println!("  {action:?}");
    }
}

#[test]
fn one_height_agrees() {
    holds(ONE_HEIGHT, Until::Whole);
    if long().is_some() {
        holds(ONE_HEIGHT_LONG, Until::Whole);
    }
}

#[test]
fn two_heights_agree() {
    holds(TWO_HEIGHTS, long().map_or(Until::States(STATES), Until::Time));
}

#[test]
fn a_quorum_short_by_one_breaks_agreement() {
    is_found(Planted::QuorumShortByOne, ONE_HEIGHT);
}

#[test]
fn a_view_change_that_claims_nothing_breaks_agreement() {
    is_found(Planted::ClaimIgnored, ONE_HEIGHT);
}

#[test]
fn a_new_view_on_the_lowest_claim_breaks_agreement() {
    is_found(Planted::LowestClaimTaken, ONE_HEIGHT);
}

#[test]
fn a_base_that_is_not_prepared_again_breaks_agreement() {
    is_found(Planted::BaseSkipped, ONE_HEIGHT);
}

#[test]
fn votes_after_leaving_break_agreement() {
    is_found(Planted::LeavingIgnored, ONE_HEIGHT);
}

#[test]
fn a_block_prepared_above_a_gap_breaks_agreement() {
    is_found(Planted::GapFilled, TWO_HEIGHTS);
}
