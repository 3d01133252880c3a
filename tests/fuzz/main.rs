//! Decoders of remote and stored bytes, against damaged input.
//!
//! Each target takes any bytes. It may refuse them; it must not panic, and what it
//! takes must encode back to the same bytes. A run mutates a small kept corpus from
//! one seed, so that it repeats exactly; a failure prints the command that repeats it
//! alone.
//!
//! `TWINFOLD_BLESS=1` writes the corpus anew from the samples; `TWINFOLD_FUZZ_SEED=N`
//! draws other mutations, `TWINFOLD_FUZZ_FACTOR=N` makes N times as many,
//! `TWINFOLD_FUZZ_ONLY=TARGET` runs one target.

mod corpus;
mod machine;
mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use targets::Target;

const SEED: u64 = 1;

#[test]
fn no_decoder_panics_or_takes_a_second_form_of_a_value() {
    let only = std::env::var("TWINFOLD_FUZZ_ONLY").ok();
    let failures: Vec<_> = targets::all().iter().filter_map(|target| run(target, &only)).collect();
    assert!(failures.is_empty(), "{} targets failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_sample_of_the_corpus_is_taken_by_its_target() {
    for target in targets::all() {
        for (name, bytes) in corpus::read(target.name) {
            assert!((target.run)(&bytes), "{}: sample {name} is refused", target.name);
        }
    }
}

#[test]
fn the_kept_plays_commit_blocks_and_change_views() {
    let ends: Vec<_> = corpus::read("machine_events")
        .into_iter()
        .map(|(name, bytes)| (name, machine::perform(&bytes).expect("a play")))
        .collect();
    let expected = [
        ("a_height", (0, 1)),
        ("a_leader", (0, 1)),
        ("a_view_change_and_a_restart", (2, 2)),
        ("an_observer", (0, 2)),
        ("catching_up", (0, 2)),
    ];
    assert_eq!(ends, expected.map(|(name, end)| (name.to_string(), end)));
}

#[test]
fn the_corpus_holds_every_sample() {
    for (target, samples) in corpus::samples() {
        if std::env::var_os("TWINFOLD_BLESS").is_some() {
            corpus::write(target, &samples);
        }
        let kept: Vec<_> = corpus::read(target).into_iter().map(|(name, _)| name).collect();
        for (name, _) in samples {
            assert!(kept.contains(&name), "{target}/{name} is missing: run with TWINFOLD_BLESS=1");
        }
    }
}

/// The first failure of a target, with the command that repeats it.
fn run(target: &Target, only: &Option<String>) -> Option<String> {
    let seed = number("TWINFOLD_FUZZ_SEED").unwrap_or(SEED);
    let corpus: Vec<_> = corpus::read(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    assert!(!corpus.is_empty(), "no corpus for {}: run with TWINFOLD_BLESS=1", target.name);
    let all = 0..target.rounds * number("TWINFOLD_FUZZ_FACTOR").unwrap_or(1);
    let rounds = match only.as_deref().map(|only| only.split_once(':').unwrap_or((only, ""))) {
        None => all,
        Some((name, "")) if name == target.name => all,
        Some((name, round)) if name == target.name => {
            let round: u64 = round.parse().expect("TWINFOLD_FUZZ_ONLY=TARGET:ROUND");
            round..round + 1
        }
        Some(_) => return None,
    };
    for round in rounds {
        let bytes = mutate::mutated(&corpus, seed, target.name, round);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
            return Some(format!(
                "{name}: panicked on {} bytes; repeat with\n  TWINFOLD_FUZZ_SEED={seed} \
                 TWINFOLD_FUZZ_ONLY={name}:{round} cargo test -p twinfold-tests --test fuzz",
                bytes.len(),
                name = target.name,
            ));
        }
    }
    None
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got {text:?}")))
}
