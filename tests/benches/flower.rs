//! Flower on the same work, by the Python program beside this file.

use crate::lab::Lab;
use color_eyre::eyre::{Result, WrapErr, bail};
use std::{
    process::Command,
    time::{Duration, Instant},
};
use twinfold_testnet::processes::{Fate, tail};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/flower.py");
const PATIENCE: Duration = Duration::from_secs(300);

/// The interpreter that `tests/bench` prepared, if it could.
fn python() -> Option<String> {
    std::env::var("TWINFOLD_PYTHON").ok()
}

/// Runs one kind of work to its end. `None` without a Python environment.
pub fn run<T: serde::de::DeserializeOwned>(
    lab: &Lab,
    what: &str,
    arguments: &[String],
) -> Result<Option<T>> {
    let Some(python) = python() else { return Ok(None) };
    let folder = lab.folder().path();
    let (result, log) = (folder.join("flower.json"), folder.join("flower.log"));
    let mut command = Command::new(python);
    command.env("FLWR_TELEMETRY_ENABLED", "0");
    command.arg(PROGRAM).arg(&result).arg(what);
    command.args(arguments);
    lab.processes.start("flower", &mut command, &log)?;
    let started = Instant::now();
    loop {
        match lab.processes.fate("flower")? {
            Fate::Ended(status) if status.success() => break,
            Fate::Ended(status) => bail!("it ended with {status}:\n{}", tail(&log, 20)),
            _ if started.elapsed() > PATIENCE => {
                lab.processes.kill("flower")?;
                bail!("it took over {} s:\n{}", PATIENCE.as_secs(), tail(&log, 20))
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    let text = std::fs::read_to_string(&result).wrap_err("it left no result")?;
    Ok(Some(serde_json::from_str(&text).wrap_err("its result cannot be read")?))
}
