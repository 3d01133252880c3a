//! `docs/python/train_numpy.py`, as its page says: get, train, submit, round after
//! round, with numpy and safetensors and the `twinfold` program.

use crate::lab::{Lab, members::TRAINERS, python::python};
use std::process::Command;
use twinfold_types::{ClusterId, round::RoundState};

const ROUNDS: u64 = 3;

#[test]
fn the_python_script_trains() {
    let lab = Lab::start();
    let line = "--json --key olaf task create --name python --architecture softmax --features 64 --classes 10 \
                --rounds 3 --deadline 90s --participants-max 1";
    lab.twinfold(line, &[]).ok();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/python/train_numpy.py");
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/data/optdigits.csv");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "180"])
        .arg(python())
        .arg(script)
        .args(["--task", "python", "--cluster", "0", "--rounds", "3", "--data", data])
        .env("TWINFOLD_KEY", TRAINERS[0])
        .env("TWINFOLD", &lab.network.programs().cli)
        .env("TWINFOLD_NODE", lab.network.urls().join(","))
        .env("TWINFOLD_DIR", lab.people())
        .env("TWINFOLD_GENESIS", lab.network.genesis())
        .output()
        .expect("the script starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let client = lab.client();
    let mut accuracies = vec![];
    for round in 0..ROUNDS {
        let view = client.round("python", ClusterId(0), round).unwrap().expect("the round");
        assert!(
            matches!(view.round.state, RoundState::Aggregated { .. }),
            "{:?}",
            view.round.state
        );
        accuracies
            .push(view.metrics.and_then(|metrics| metrics.accuracy()).expect("its own figure"));
    }
    assert!(accuracies[2] > accuracies[0] + 0.3, "it learned: {accuracies:?}");
}
