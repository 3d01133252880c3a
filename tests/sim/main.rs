//! The seeded simulator of the agreement: the real state machine, a network and disks
//! that fail, members that lie; then the faults stop and everything must heal.
//!
//! One seed decides everything. `TWINFOLD_SIM_SEED=S` runs one, with a trace if
//! `TWINFOLD_SIM_TRACE` is set; `TWINFOLD_SIM_SEEDS=N` runs N of them, from
//! `TWINFOLD_SIM_FIRST` on; `TWINFOLD_SIM_SEATS=N` gives every committee N seats;
//! `TWINFOLD_SIM_LONG=1` goes on where the last long run ended: see `long.rs`.

mod consortium;
mod dice;
mod disk;
#[path = "../invariants/mod.rs"]
mod invariants;
mod keys;
mod learning;
mod ledger;
mod liar;
mod lie;
mod long;
mod node;
mod payloads;
mod plan;
mod planted;
mod pool;
mod setup;
mod shrink;
mod usual;
mod wishes;
mod world;

use plan::Plan;
use world::{Summary, World};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} takes a number, got {text:?}")))
}

fn plan(seed: u64) -> Plan {
    Plan::new(seed, number("TWINFOLD_SIM_SEATS").map(|seats| seats as usize))
}

/// One seed; where it fails, how to repeat it and a smaller plan that fails alike.
fn run(seed: u64) -> Result<Summary, String> {
    let plan = plan(seed);
    World::new(plan.clone(), false).run().map_err(|failure| {
        let seats = number("TWINFOLD_SIM_SEATS").map(|seats| format!(" --seats {seats}"));
        let repeat = format!("./tests/run sim --seed {seed}{}", seats.unwrap_or_default());
        let (smaller, alike) = shrink::shrink(plan, failure.clone());
        format!(
            "seed {seed}: {failure}\n  repeat it: {repeat}\n  shrunk to {smaller:?}\n  which fails: {alike}"
        )
    })
}

fn run_with_trace(seed: u64) {
    let plan = plan(seed);
    println!("{plan:?}");
    let result = World::new(plan, true).run();
    println!("seed {seed}: {result:?}");
    assert!(result.is_ok(), "seed {seed} failed");
}

#[test]
fn every_seed_keeps_what_the_agreement_promises() {
    if std::env::var_os("TWINFOLD_SIM_LONG").is_some() {
        return long::run();
    }
    if let Some(seed) = number("TWINFOLD_SIM_SEED") {
        if std::env::var_os("TWINFOLD_SIM_TRACE").is_some() {
            return run_with_trace(seed);
        }
        let result = run(seed);
        println!("seed {seed}: {result:?}");
        return assert!(result.is_ok(), "seed {seed} failed:\n{}", result.unwrap_err());
    }
    usual::run_seeds();
}

#[test]
fn a_hundred_seats_agree() {
    let mut plan = Plan::new(1, Some(100));
    (plan.txs, plan.faults_ms, plan.checkpoints_lost) = (6, 3_000, false);
    (plan.crashes, plan.partitions, plan.kills_of_all) = (8, 1, 0);
    (plan.drop_percent, plan.duplicate_percent, plan.delay_ms_max) = (2, 0, 100);
    let summary = World::new(plan, false).run().unwrap();
    println!("100 seats: {summary:?}");
}

#[test]
fn a_failure_shrinks_to_a_smaller_plan_that_fails_alike() {
    use lie::{Mistake, WorldFault};
    let mistake = Mistake::World(WorldFault::RecordsLost);
    let fails =
        |seed| Some((seed, World::new(Plan::with_mistake(seed, mistake), false).run().err()?));
    let (seed, failure) = (0..50).find_map(fails).expect("a disk that keeps nothing is noticed");
    let plan = Plan::with_mistake(seed, mistake);
    let (smaller, alike) = shrink::shrink(plan.clone(), failure.clone());
    println!("{failure}\nshrunk to {smaller:?}\n{alike}");
    assert!(smaller.txs < plan.txs);
    assert!(smaller.partitions + smaller.crashes <= plan.partitions + plan.crashes);
    assert_eq!(World::new(smaller, false).run().unwrap_err(), alike);
}
