//! `docs/python/train_numpy.py`, as its page says: get, train, submit, round after
//! round, with numpy and safetensors and the `twinfold` program.

use crate::lab::{Lab, members::TRAINERS};
use std::{path::PathBuf, process::Command};
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

/// The environment that `tests/run` makes.
fn python() -> PathBuf {
    let path = std::env::var_os("TWINFOLD_PYTHON").map(PathBuf::from);
    let path = path
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python")));
    assert!(
        path.is_file(),
        "{} is not there. Make the Python environment with `./tests/run scenarios`, or with\n  \
         python3 -m venv tests/.venv && tests/.venv/bin/pip install -r tests/requirements.txt",
        path.display()
    );
    path
}
