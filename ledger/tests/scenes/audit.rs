//! What somebody changes in a folder, row by row, is found: checksums are no help here, since the
//! database writes them anew.

use crate::kit::*;
use rocksdb::{DB, IteratorMode, Options};
use std::path::Path;
use twinfold_ledger::{LedgerError, Rederived, rederive};
use twinfold_types::{Action, member::AdminAction};

const COLUMNS: [&str; 18] = [
    "meta",
    "blocks",
    "certificates",
    "block_index",
    "receipts",
    "txs",
    "checkpoints",
    "state",
    "nodes",
    "values",
    "stale",
    "audit",
    "replay",
    "models",
    "model_digests",
    "committees",
    "epoch_ends",
    "joining",
];

/// A task with a sealed round and its model, proposals, and an epoch that has ended.
fn written(dir: &Path) {
    let mut chain = Chain::at(dir);
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    for _ in 0..3 {
        chain.decide(AdminAction::SetThreshold(2));
    }
    chain.certify();
    chain.decide(AdminAction::EndEpoch);
    while chain.reader.committee().epoch.0 == 0 {
        chain.block(vec![]);
    }
    chain.ok(ADMIN, Action::Propose(AdminAction::SetThreshold(3)));
}

fn audit(dir: &Path) -> Rederived {
    let logs = tempfile::tempdir().unwrap();
    rederive(dir, logs.path(), &genesis(), &mut |_, _| ()).unwrap()
}

fn open(dir: &Path) -> DB {
    let names = [&COLUMNS[..], &["recoveries"]].concat();
    DB::open_cf(&Options::default(), dir, names).unwrap()
}

fn rows(db: &DB, column: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let handle = db.cf_handle(column).unwrap();
    let rows = db.iterator_cf(handle, IteratorMode::Start).map(Result::unwrap);
    rows.map(|(key, value)| (key.into_vec(), value.into_vec())).collect()
}

/// Up to so many rows of a table, spread over all of it.
fn some<T>(rows: Vec<T>, most: usize) -> Vec<T> {
    let step = rows.len().div_ceil(most).max(1);
    rows.into_iter().step_by(step).collect()
}

/// Puts a row, or takes one away, looks, and puts everything back.
fn changed(dir: &Path, column: &str, key: &[u8], value: Option<&[u8]>) -> Rederived {
    let write = |value: Option<&[u8]>| {
        let db = open(dir);
        let handle = db.cf_handle(column).unwrap();
        let old = db.get_cf(handle, key).unwrap();
        match value {
            Some(value) => db.put_cf(handle, key, value).unwrap(),
            None => db.delete_cf(handle, key).unwrap(),
        }
        old
    };
    let old = write(value);
    let found = audit(dir);
    write(old.as_deref());
    found
}

#[test]
fn a_row_that_is_changed_missing_or_added_is_found() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    assert_eq!(audit(dir.path()).findings, []);
    let (mut tried, mut unseen) = (0, vec![]);
    for column in COLUMNS {
        let all = rows(&open(dir.path()), column);
        assert_eq!(all.is_empty(), column == "joining", "{column}");
        for (number, (key, value)) in some(all, 5).into_iter().enumerate() {
            let mut other = value.clone();
            let at = number * 7 % other.len().max(1);
            other.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x10);
            other.is_empty().then(|| other.push(1));
            let mut beside = key.clone();
            *beside.last_mut().unwrap() ^= 0x10;
            let changes: [(&[u8], Option<&[u8]>); 3] =
                [(&key, Some(&other)), (&key, None), (&beside, Some(&value))];
            let is_nothing = column == "values" && value.ends_with(&[0]);
            for (change, (key, value)) in changes.into_iter().enumerate() {
                // No answer rests on these: a later certificate proves a height as well, what is not
                // listed as stale is only kept for longer, and where nothing is nobody looks.
                let unread = match column {
                    "certificates" => change == 2,
                    "stale" => change > 0,
                    "values" => change == 1 && is_nothing,
                    _ => false,
                };
                if unread {
                    continue;
                }
                tried += 1;
                if changed(dir.path(), column, key, value).findings.is_empty() {
                    unseen.push((column, hex::encode(key), at, change));
                }
            }
        }
    }
    println!("{tried} changes");
    assert_eq!(unseen, [], "of {tried}");
}

#[test]
fn another_genesis_is_named_and_not_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let (mut other, logs) = (genesis(), tempfile::tempdir().unwrap());
    other.params.trainer_quota += 1;
    let refused = rederive(dir.path(), logs.path(), &other, &mut |_, _| ()).unwrap_err();
    assert!(matches!(refused, LedgerError::OtherGenesis { .. }), "{refused}");
}
