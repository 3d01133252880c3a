//! The seeded simulator of the agreement: the real state machine, a network and disks
//! that fail, members that lie; then the faults stop and everything must heal.
//!
//! One seed decides everything. `TWINFOLD_SIM_SEED=S` runs one, with a trace if
//! `TWINFOLD_SIM_TRACE` is set; `TWINFOLD_SIM_SEEDS=N` runs N of them, from
//! `TWINFOLD_SIM_FIRST` on.

mod dice;
mod disk;
#[path = "../invariants/mod.rs"]
mod invariants;
mod keys;
mod liar;
mod node;
mod plan;
mod setup;
mod world;

use plan::{Plan, Planted};
use world::{Summary, World};

/// Seeds of a usual run: a matter of seconds.
const SEEDS: u64 = 100;
/// A run ends after so many failures.
const FAILURES_MAX: u64 = 3;
/// Seeds in which a planted mistake must show.
const SEEDS_PLANTED: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} takes a number, got {text:?}")))
}

fn run(seed: u64, planted: Option<Planted>, trace: bool) -> Result<Summary, String> {
    let plan = Plan::new(seed, planted);
    if trace {
        println!("{plan:?}");
    }
    World::new(plan, trace).run()
}

#[test]
fn every_seed_keeps_what_the_agreement_promises() {
    if let Some(seed) = number("TWINFOLD_SIM_SEED") {
        let trace = std::env::var_os("TWINFOLD_SIM_TRACE").is_some();
        let result = run(seed, None, trace);
        println!("seed {seed}: {result:?}");
        assert!(result.is_ok(), "seed {seed} failed");
        return;
    }
    let seeds = number("TWINFOLD_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("TWINFOLD_SIM_FIRST").unwrap_or(0);
    let (mut failures, mut total) = (0, Summary::default());
    for seed in first..first + seeds {
        if failures == FAILURES_MAX {
            break;
        }
        match run(seed, None, false) {
            Ok(summary) => {
                total.height += summary.height;
                total.view += summary.view;
                total.sent += summary.sent;
            }
            Err(failure) => {
                failures += 1;
                println!("seed {seed}: {failure}\n  repeat it: ./tests/run sim --seed {seed}");
            }
        }
    }
    let Summary { height, view, sent } = total;
    println!("{seeds} seeds: {height} heights in {view} views, {sent} messages");
    assert_eq!(failures, 0, "of {seeds} seeds at most");
}

/// Runs seeds until the mistake shows as the broken promise it is.
fn is_found(planted: Planted, promises: &[&str]) {
    let found = (0..SEEDS_PLANTED).find_map(|seed| {
        let failure = run(seed, Some(planted), false).err()?;
        promises.iter().any(|promise| failure.starts_with(promise)).then_some((seed, failure))
    });
    let (seed, failure) = found.unwrap_or_else(|| panic!("{planted:?} shows in no seed"));
    println!("{planted:?} shows at seed {seed}: {failure}");
}

#[test]
fn one_liar_too_many_breaks_agreement() {
    is_found(Planted::OneLiarTooMany, &["agreement"]);
}

#[test]
fn a_disk_that_loses_records_makes_seats_vote_twice() {
    is_found(Planted::RecordsLost, &["single vote"]);
}

#[test]
fn speaking_before_the_sync_makes_seats_vote_twice() {
    is_found(Planted::SpokenBeforeDurable, &["single vote"]);
}

#[test]
fn view_changes_without_claims_break_agreement() {
    is_found(Planted::ClaimsForgotten, &["agreement"]);
}
