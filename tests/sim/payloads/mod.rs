//! The seeded simulator of the payload plane: real stores on a disk, the ledger's own execution,
//! the node's own collector and rebuilding, and days that pass in moments. The order of blocks is
//! agreed here (the other simulation is about that); sites execute it each in its own time.
//!
//! `TWINFOLD_SIM_PAYLOADS=S` runs one seed, with a trace if `TWINFOLD_SIM_TRACE` is set.

mod chain;
mod content;
mod members;
mod nodes;
mod promise;
mod site;
mod world;

use crate::number;
use world::{Mistake, Tally, World};

/// Seeds of the usual run, and of one for hours.
const SEEDS: u64 = 30;
const SEEDS_LONG: u64 = 5_000;

fn repeat(seed: u64) -> String {
    format!("repeat it: TWINFOLD_SIM_PAYLOADS={seed} ./tests/run sim")
}

#[test]
fn what_was_certified_is_readable_and_what_nothing_keeps_goes() {
    if let Some(seed) = number("TWINFOLD_SIM_PAYLOADS") {
        let result = World::new(seed, None).run();
        println!("seed {seed}: {result:?}");
        return assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    let long = std::env::var_os("TWINFOLD_SIM_LONG").is_some();
    let mut total = Tally::default();
    for seed in 0..if long { SEEDS_LONG } else { SEEDS } {
        match World::new(seed, None).run() {
            Ok(tally) => total.add(&tally),
            Err(failure) => panic!("seed {seed}: {failure}\n  {}", repeat(seed)),
        }
    }
    println!("payloads: {total:?}");
    assert!(total.certified > 0 && total.collected > 0 && total.rebuilt > 0);
    assert!(total.took_over > 0 && total.condemned > 0 && total.held > 0);
}

/// The first seed at which a mistake shows.
fn shows(mistake: Mistake, seeds: u64) {
    let found = (0..seeds).find_map(|seed| {
        World::new(seed, Some(mistake)).run().err().map(|failure| (seed, failure))
    });
    let (seed, failure) = found.unwrap_or_else(|| panic!("{mistake:?} shows at no seed"));
    println!("{mistake:?} shows at seed {seed}: {failure}");
}

#[test]
fn a_lease_that_is_not_kept_is_seen() {
    shows(Mistake::NoLease, 60);
}

#[test]
fn seats_that_pass_on_without_their_fragments_are_seen() {
    shows(Mistake::NothingTakenOver, 200);
}

#[test]
fn an_encoder_that_nobody_checks_is_seen() {
    shows(Mistake::NotCodedAgain, 60);
}
