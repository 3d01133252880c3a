//! `twinfold-testnet`, which `testnet/up` runs: the whole of it, from the first key to
//! the last line, in several ways. Afterwards no process and no file is left.

use crate::lab::{cli, programs, until};
use serde_json::Value;
use std::{path::Path, process::Command};

/// One way of running it, and what came of it.
struct Run {
    temporary: tempfile::TempDir,
    said: cli::Said,
}

fn launch(options: &str) -> Run {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=30", "240"]).arg(launcher());
    command.args(options.split_whitespace()).env("TMPDIR", temporary.path());
    let said = cli::run(&mut command);
    Run { temporary, said }
}

fn launcher() -> std::path::PathBuf {
    let path = programs().node.with_file_name("twinfold-testnet");
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

impl Run {
    /// It ended well; the summary, after what holds of every run was checked.
    #[track_caller]
    fn summary(self) -> Value {
        assert_eq!(self.said.code, Some(0), "{:#?}", self.said);
        let lines: Vec<Value> = self
            .said
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect("only JSON goes to stdout"))
            .collect();
        let summary = lines.last().expect("a last line").clone();
        assert_eq!(summary["state_roots_equal"], true, "{summary}");
        assert_eq!(summary["lineage_verified"], true, "{summary}");
        assert_eq!(summary["validators"], 4, "{summary}");
        let number = |name: &str| {
            summary[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {summary}"))
        };
        assert!(number("bytes_sent") > 0.0 && number("bytes_dense") > 0.0);
        assert!(number("bytes_relayed") > number("bytes_sent"), "payloads go to all validators");
        assert!(number("commit_ms_p50") <= number("commit_ms_p99"), "{summary}");
        assert!(number("seconds") > 0.0);
        for name in ["accuracy", "central_accuracy"] {
            assert!((0.0..=1.0).contains(&number(name)), "{summary}");
        }
        assert!(number("central_accuracy") > 0.7, "{summary}");
        assert!(number("accuracy") > 0.5, "far above a guess among ten digits: {summary}");
        leaves_nothing(self.temporary.path());
        summary
    }
}

/// No file, and no process whose command line names the folder.
fn leaves_nothing(folder: &Path) {
    let left: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert_eq!(processes_of(folder), Vec::<String>::new());
}

fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    });
    lines.filter(|line| line.contains(&folder)).collect()
}

#[test]
fn the_defaults_train_nearly_as_well_as_one_place_with_all_the_data() {
    let summary = launch("--once --json --rounds 4").summary();
    assert_eq!((&summary["rounds"], &summary["killed"]), (&4.into(), &0.into()), "{summary}");
    let accuracy = |name: &str| summary[name].as_f64().unwrap();
    assert!(accuracy("accuracy") > accuracy("central_accuracy") - 0.08, "{summary}");
    // Eight bits a value, and some for the envelope.
    let share = accuracy("bytes_sent") / accuracy("bytes_dense");
    assert!((0.25..0.5).contains(&share), "{summary}");
}

#[test]
fn a_validator_killed_in_mid_round_changes_nothing() {
    // Enough of them that one is caught in its middle however busy the machine is.
    let summary = launch("--once --json --rounds 10 --kill 1").summary();
    assert_eq!((&summary["rounds"], &summary["killed"]), (&10.into(), &1.into()), "{summary}");
}

#[test]
fn asynchronous_rounds_of_unequal_data_and_whole_steps_train_too() {
    let summary =
        launch("--once --json --rounds 4 --mode async --compress none --split dirichlet:0.3")
            .summary();
    let bytes = |name: &str| summary[name].as_f64().unwrap();
    // Places whose pixels are always empty are left out: hardly a place takes more than a bit.
    assert!(bytes("bytes_sent") > bytes("bytes_dense") / 2.0, "32-bit steps: {summary}");
}

#[test]
fn the_largest_two_of_a_hundred_values_are_enough_to_learn() {
    let summary = launch("--once --json --rounds 6 --compress topk:0.02").summary();
    let bytes = |name: &str| summary[name].as_f64().unwrap();
    assert!(bytes("bytes_sent") < bytes("bytes_dense") / 8.0, "{summary}");
}

#[test]
fn a_run_for_people_says_what_it_found() {
    let run = launch("--once --rounds 2 --trainers 2 --clusters 1");
    assert_eq!(run.said.code, Some(0), "{:#?}", run.said);
    for word in ["genesis", "Accuracy on held-out data", "Lineage verified", "same state"] {
        assert!(run.said.out.contains(word), "{word:?} is missing: {}", run.said.out);
    }
    leaves_nothing(run.temporary.path());
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    let refused = |options: &str, words: &[&str]| {
        let run = launch(options);
        assert!(run.said.out.is_empty(), "{:#?}", run.said);
        let temporary = run.temporary;
        run.said.refused(2, words);
        leaves_nothing(temporary.path());
    };
    refused("--once --nodes 3", &["--allow-unsafe-size"]);
    refused("--once --kill 2", &["--kill 2", "at most 1"]);
    refused("--once --keep", &["--keep"]);
    refused("--once --trainers 1 --clusters 2", &["--trainers 1"]);
    refused("--once --compress q7", &["topk:F"]);
    refused("--once --split dirichlet:-1", &["dirichlet:ALPHA"]);
    let run = launch("--once --data /nowhere/data.csv");
    let temporary = run.temporary;
    run.said.refused(1, &["/nowhere/data.csv"]);
    leaves_nothing(temporary.path());
}

#[test]
fn a_kept_network_runs_on_until_it_is_taken_down() {
    let outer = tempfile::tempdir().expect("a temporary folder");
    let dir = outer.path().join("network");
    let options = format!("--keep --json --rounds 1 --trainers 2 --dir {}", dir.display());
    let guard = Guard(dir.clone());
    let run = launch(&options);
    assert_eq!(run.said.code, Some(0), "{:#?}", run.said);
    assert!(run.said.err.contains("testnet/down --dir"), "{:#?}", run.said);
    assert_eq!(processes_of(&dir).len(), 4, "{:?}", processes_of(&dir));
    let said = down(&dir);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.out.contains("4 processes stopped"), "{said:#?}");
    until("no process is left", || processes_of(&dir).is_empty().then_some(()));
    assert!(dir.is_dir() && !dir.join("pids").exists(), "the folder that was asked for stays");
    assert_ne!(down(&dir).code, Some(0), "there is nothing to end any more");
    drop(guard);
}

/// Ends the network should the scene fail.
struct Guard(std::path::PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            down(&self.0);
        }
    }
}

fn down(dir: &Path) -> cli::Said {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/down");
    let mut command = cli::bounded(Path::new(script));
    cli::run(command.arg("--dir").arg(dir))
}

#[test]
fn an_interrupt_stops_everything() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(launcher());
    command.args(["--json", "--rounds", "200"]).env("TMPDIR", temporary.path());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("it starts");
    until("validators and trainers run", || {
        (processes_of(temporary.path()).len() >= 12).then_some(())
    });
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    leaves_nothing(temporary.path());
}
