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
mod lie;
mod node;
mod plan;
mod planted;
mod pool;
mod setup;
mod world;

use plan::Plan;
use world::{Summary, World};

/// Seeds of a usual run: a matter of seconds.
const SEEDS: u64 = 100;
/// A run ends after so many failures.
const FAILURES_MAX: u64 = 12;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} takes a number, got {text:?}")))
}

fn run(seed: u64, trace: bool) -> Result<Summary, String> {
    let plan = Plan::new(seed, number("TWINFOLD_SIM_SEATS").map(|seats| seats as usize));
    if trace {
        println!("{plan:?}");
    }
    World::new(plan, trace).run()
}

#[test]
fn every_seed_keeps_what_the_agreement_promises() {
    if let Some(seed) = number("TWINFOLD_SIM_SEED") {
        let trace = std::env::var_os("TWINFOLD_SIM_TRACE").is_some();
        let result = run(seed, trace);
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
        match run(seed, false) {
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
