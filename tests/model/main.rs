//! Model checking of the agreement: every order of events among four seats, one of them lying,
//! within a few views and heights. What it leaves out: docs/model-checking.md.
//!
//! `TWINFOLD_MODEL_LONG=1` looks at more: one view more, and many more states of two heights,
//! `TWINFOLD_MODEL_STATES` of them.

mod agreement;
mod blocks;
mod state;

use agreement::{Agreement, SEATS};
use blocks::Scope;
use stateright::{Checker, HasDiscoveries, Model};
use std::time::Instant;
use twinfold_consensus_planted::{Planted, rules::Rules};

const ONE_HEIGHT: Scope = Scope { views: 3, heights: 1 };
const ONE_HEIGHT_LONG: Scope = Scope { views: 4, heights: 1 };
const TWO_HEIGHTS: Scope = Scope { views: 3, heights: 2 };

/// States generated in a usual run of what cannot be looked at whole, and until a mistake shows.
const STATES: usize = 2_000_000;
/// The same in a long run: less than 8 GiB, at 35 bytes for each generated.
const STATES_LONG: usize = 250_000_000;

fn is_long() -> bool {
    std::env::var_os("TWINFOLD_MODEL_LONG").is_some()
}

fn states() -> usize {
    let text = std::env::var("TWINFOLD_MODEL_STATES").ok();
    let states = text.map(|text| text.parse().expect("TWINFOLD_MODEL_STATES is a number"));
    states.unwrap_or(if is_long() { STATES_LONG } else { STATES })
}

/// Agreement holds in the whole scope, or in its first states if there is a bound.
fn holds(scope: Scope, states_max: Option<usize>) {
    let started = Instant::now();
    let model = Agreement { scope, rules: Rules::new(SEATS) };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = match states_max {
        Some(states) => checker.target_state_count(states),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let generated = checker.state_count();
    let whole = states_max.is_none_or(|states| generated < states);
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
    holds(ONE_HEIGHT, None);
    if is_long() {
        holds(ONE_HEIGHT_LONG, None);
    }
}

#[test]
fn two_heights_agree() {
    holds(TWO_HEIGHTS, Some(states()));
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
