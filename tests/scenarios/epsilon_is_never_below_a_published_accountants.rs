//! The ledger's accounting by ρ against dp-accounting, which composes privacy loss distributions: ours must
//! never promise more, and not be far off.

use crate::lab::python::python;
use std::{
    io::Write,
    process::{Command, Stdio},
};
use twinfold_types::task::Noise;

const MEMBERS: u32 = 10;

#[test]
fn epsilon_is_never_below_a_published_accountants() {
    let cases = [
        (0.8, 1, 1e-5),
        (1.0, 1, 1e-5),
        (4.0, 10, 1e-5),
        (4.0, 100, 1e-6),
        (2.0, 30, 1e-6),
        (8.0, 100, 1e-5),
        (20.0, 1_000, 1e-7),
    ];
    let published = published(&cases);
    for ((multiplier, rounds, delta), published) in cases.into_iter().zip(published) {
        let noise = Noise::of(10_000, multiplier, MEMBERS, 1.0, delta);
        let ours = noise.epsilon(noise.cost(MEMBERS) * rounds);
        assert!(
            (published..1.35 * published).contains(&ours),
            "noise {multiplier}, {rounds} rounds, δ {delta}: ours {ours}, published {published}"
        );
        println!(
            "noise {multiplier}, {rounds} rounds, δ {delta:e}: ε {ours:.3}, published {published:.3}"
        );
    }
}

fn published(cases: &[(f64, u64, f64)]) -> Vec<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/accountant/published.py");
    let mut program = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the accountant starts");
    let lines = cases.iter().map(|(noise, rounds, delta)| format!("{noise} {rounds} {delta:e}\n"));
    let mut stdin = program.stdin.take().expect("it is piped");
    stdin.write_all(lines.collect::<String>().as_bytes()).expect("it reads");
    drop(stdin);
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}
