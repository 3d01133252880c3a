//! Killed at any instant, the folder holds every acknowledged block and at most one
//! more, and is the same as one that was never killed.

use crate::kit::*;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use twinfold_ledger::Head;
use twinfold_types::{Action, Code, Digest, member::Role};

const CHILD_DIR: &str = "TWINFOLD_LEDGER_CRASH_DIR";
const KILLS: u64 = 12;

/// The block of a height is a function of the height alone, so that any run can be
/// compared with any other. A trainer comes and goes; models are published.
fn advance(chain: &mut Chain) -> Head {
    let height = chain.reader.head().height.0 + 1;
    let trainer = match height % 2 {
        1 => Action::AddTrainer(member(50, "hospital", &[Role::Trainer])),
        _ => Action::RemoveTrainer(public(50)),
    };
    let mut publish = chain.publishing(&format!("model {height}"));
    publish.about.description = "x".repeat((height % 50) as usize);
    let publish = Action::PublishModel(Box::new(publish));
    let txs = vec![chain.tx(OPERATOR, trainer), chain.tx(TRAINER, publish)];
    let receipts = chain.block(txs);
    assert!(receipts.iter().all(|receipt| receipt.code == Code::Ok));
    if height.is_multiple_of(4) {
        chain.certify();
    }
    chain.reader.head()
}

#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut chain = Chain::at(Path::new(&dir));
    loop {
        let head = advance(&mut chain);
        println!("\nacknowledged {} {}", head.height, head.state_root);
    }
}

/// Runs the child for a while, kills it, and returns the last acknowledged height
/// and root.
fn run_and_kill(dir: &Path, after: Duration) -> Option<(u64, Digest)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_commits_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = |line: String| {
        let mut words = line.strip_prefix("acknowledged ")?.split(' ');
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    // The first acknowledgement says that the child is at work.
    let first = lines.by_ref().find_map(acknowledged);
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(acknowledged).last().or(first)
}

#[test]
fn killed_at_any_instant_nothing_acknowledged_is_lost() {
    let (killed, reference) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut reference = Chain::at(reference.path());
    for kill in 0..KILLS {
        let after = Duration::from_micros((kill * 7_919) % 60_000);
        let (height, root) = run_and_kill(killed.path(), after).expect("an acknowledgement");
        let head = Chain::at(killed.path()).reader.head();
        let extra = head.height.0 - height;
        assert!(extra <= 1, "{extra} heights beyond the acknowledged one");
        let mut same = reference.reader.head();
        while same.height < head.height {
            same = advance(&mut reference);
            if same.height.0 == height {
                assert_eq!(same.state_root, root);
            }
        }
        assert_eq!(same, head);
    }
}
