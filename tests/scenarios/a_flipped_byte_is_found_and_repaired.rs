//! One byte of a real node's folder is changed, anywhere, many times: each time the audit finds it
//! and names the file, or no answer rests on that file and the ledger opens as before. What the
//! audit puts aside comes back from the other nodes.

use crate::lab::{
    Lab,
    cli::Said,
    files::{copy_folder, flip},
    learn::options,
    members::{self, TRAINERS},
    until,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    fs,
    path::{Path, PathBuf},
};
use twinfold_ledger::{Head, Ledger};
use twinfold_node::{audit, config::Config, genesis_file};

/// Changes in the usual run, and in a long one.
const FLIPS: u64 = 300;
const FLIPS_LONG: u64 = 5_000;
/// Written anew from settings, or for people: docs/state.md lists them.
const UNREAD: [&str; 3] = ["IDENTITY", "LOCK", "OPTIONS-"];

/// A folder with something of everything, as a node leaves it that was started twice.
fn lived_in() -> (Lab, PathBuf) {
    let mut lab = Lab::start();
    let course = lab.course(&options("audited", 2));
    for round in 0..2 {
        TRAINERS[..2].iter().for_each(|trainer| drop(course.update(trainer, 0, 0.25)));
        course.ended(0, round);
    }
    until("a merge is done", || {
        lab.client().task(&course.name()).ok().filter(|task| task.merges >= 1)
    });
    let file = lab.folder().join("payload");
    fs::write(&file, vec![7; 300_000]).unwrap();
    lab.twinfold("--key ann blob put {}", &[&file.display()]).ok();
    assert!(lab.stop(3).success());
    lab.restart(3);
    (0..5).for_each(|number| drop(lab.done("ann", members::set_quota(number))));
    lab.same_root();
    assert!(lab.stop(3).success());
    let dir = lab.folder_of(3);
    (lab, dir)
}

fn config(dir: &Path) -> Config {
    Config::read(&dir.join("config.toml")).unwrap()
}

/// Files that a node wrote and reads, with something in them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.retain(|path| fs::metadata(path).unwrap().len() > 0);
    found.sort();
    found
}

fn is_unread(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    UNREAD.iter().any(|unread| name.starts_with(unread))
}

fn head(dir: &Path) -> Head {
    let config = config(dir);
    let genesis = genesis_file::read(&config.genesis).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&config.data.join("ledger"), copy.path());
    Ledger::open(copy.path(), None, &genesis).unwrap().reader().head()
}

/// Whether the audit finds something in this file, or cannot even begin for its sake.
fn is_found(dir: &Path, file: &Path) -> bool {
    match audit::audit(&config(dir)) {
        Ok(report) => report.found.iter().any(|found| file.starts_with(&found.file)),
        Err(error) => format!("{error:#}").contains("genesis"),
    }
}

/// Like the name of the file, and where in it.
fn drawn(all: &[PathBuf], number: u64, dice: &mut ChaCha8Rng) -> (PathBuf, usize) {
    let sizes = all.iter().map(|path| fs::metadata(path).unwrap().len());
    let mut at = dice.random_range(0..sizes.clone().sum());
    // Every other time each file is as likely as any other, however small.
    if number.is_multiple_of(2) {
        let file = dice.random_range(0..all.len());
        let size = sizes.clone().nth(file).unwrap();
        return (all[file].clone(), dice.random_range(0..size) as usize);
    }
    for (path, size) in all.iter().zip(sizes) {
        match at.checked_sub(size) {
            Some(rest) => at = rest,
            None => return (path.clone(), at as usize),
        }
    }
    unreachable!("the byte is in one of them")
}

/// A command of the node's program on the folder of the last node.
fn say(lab: &Lab, command: &str) -> Said {
    lab.node_program("{} --dir {}", &[&command, &lab.folder_of(3).display()])
}

#[test]
fn a_flipped_byte_is_found_in_whatever_file_it_is() {
    let (_lab, dir) = lived_in();
    let whole = audit::audit(&config(&dir)).unwrap();
    assert!(whole.found.is_empty(), "{:?}", whole.found);
    let true_head = head(&dir);
    let mut all = files(&dir.join("data"));
    all.extend(files(&dir.join("keys")));
    all.push(dir.join("genesis.json"));
    let long = std::env::var_os("TWINFOLD_AUDIT_LONG").is_some();
    let mut dice = ChaCha8Rng::seed_from_u64(42);
    let mut missed = vec![];
    for number in 0..if long { FLIPS_LONG } else { FLIPS } {
        let (file, at) = drawn(&all, number, &mut dice);
        let change: u8 = dice.random_range(1..=u8::MAX);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        // One in ten is cut off instead.
        match number % 10 == 9 {
            true => bad.truncate(at),
            false => bad[at] ^= change,
        }
        fs::write(&file, bad).unwrap();
        let harmless = || is_unread(&file) && head(&dir) == true_head;
        if !is_found(&dir, &file) && !harmless() {
            let (place, around) = (file.display(), &good[at.saturating_sub(20)..]);
            let around = around[..around.len().min(40)].escape_ascii();
            missed.push(format!("{place} at {at} of {}, ^{change:#x}: {around}", good.len()));
        }
        fs::write(&file, good).unwrap();
    }
    assert!(missed.is_empty(), "{} changes are not found:\n{}", missed.len(), missed.join("\n"));
    assert!(audit::audit(&config(&dir)).unwrap().found.is_empty(), "all is as it was");
}

#[test]
fn what_is_put_aside_comes_back_from_the_others() {
    let (mut lab, dir) = lived_in();
    lab.configure(&dir, &[("pause_seconds = 86400", "pause_seconds = 1")]);
    let all = files(&dir.join("data"));
    let under = |part: &str| {
        let part = dir.join("data").join(part);
        all.iter().find(|file| file.starts_with(&part)).expect("a file").clone()
    };
    let (model, payload) = (under("models"), under("blobs/named"));
    [&model, &payload].into_iter().for_each(|file| flip(file, 20));
    say(&lab, "audit").refused(1, &["2 findings", "twinfold-node repair"]);
    assert!(say(&lab, "repair").ok().out.contains("put aside"));
    assert!(say(&lab, "audit").ok().out.contains("everything is what was written"));
    assert!(!model.exists() && !payload.exists());

    // A ledger is fetched as a whole; its votes stay.
    let table = all.iter().find(|file| file.extension().is_some_and(|end| end == "sst"));
    let table = table.expect("a table was written at the second start");
    flip(table, fs::metadata(table).unwrap().len() as usize / 3);
    let table = table.file_name().unwrap().to_string_lossy();
    let said = say(&lab, "audit").refused(1, &["findings"]);
    assert!(said.out.contains(&*table), "{}", said.out);
    assert!(say(&lab, "repair").ok().out.contains("begins anew"));
    lab.restart(3);
    lab.same_root();
    (0..5).for_each(|number| drop(lab.done("ann", members::set_quota(number))));
    lab.same_root();
    until("the fragment is made again", || payload.exists().then_some(()));
    say(&lab, "audit").refused(1, &["is running"]);

    assert!(lab.stop(3).success());
    assert!(say(&lab, "audit").ok().out.contains("everything is what was written"));
    // What nobody else has is not put aside.
    flip(&dir.join("data").join("journal"), 100);
    say(&lab, "repair").refused(1, &["journal", "this node's alone"]);
    assert!(dir.join("data").join("journal").exists());
}
