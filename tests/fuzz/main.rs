//! Decoders of remote and stored bytes, against damaged input.
//!
//! Each target takes any bytes. It may refuse them; it must not panic, and what it
//! takes must encode back to the same bytes. A run mutates a small kept corpus from
//! one seed, so that it repeats exactly; a failure prints the command that repeats it
//! alone.
//!
//! `TWINFOLD_BLESS=1` writes the corpus anew from the samples; `TWINFOLD_FUZZ_SEED=N`
//! draws other mutations, `TWINFOLD_FUZZ_FACTOR=N` makes N times as many.

mod corpus;
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
    let rounds = match only {
        None => 0..target.rounds * number("TWINFOLD_FUZZ_FACTOR").unwrap_or(1),
        Some(only) => match only.split_once(':') {
            Some((name, round)) if name == target.name => {
                let round: u64 = round.parse().expect("TWINFOLD_FUZZ_ONLY=TARGET:ROUND");
                round..round + 1
            }
            _ => return None,
        },
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
