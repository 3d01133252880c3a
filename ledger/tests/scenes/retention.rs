//! Old blocks go, everything else stays, and the folder shrinks.

use crate::kit::*;
use std::path::Path;
use twinfold_ledger::{LedgerError, Retention};
use twinfold_types::{
    Action, Code, Height, SignedTx, TxId, genesis::Genesis, keeping::HoldSubject, limits,
    member::AdminAction,
};

/// As little as can be stated.
const SHORT: Retention = Retention { heights: 0, age_ms: 0 };
const HEIGHTS: u64 = 1_300;
/// Blocks stand so far apart that the windows of transactions hold nothing back.
const STEP_MS: u64 = 2_000;

/// One transaction a block; the identities by height.
fn long_chain(chain: &mut Chain, heights: u64, action: impl Fn(u64) -> Action) -> Vec<TxId> {
    let one = |chain: &mut Chain, number| {
        let tx = chain.tx(ADMIN, action(number));
        let id = tx.id();
        chain.block_at(chain.now() + STEP_MS, vec![tx]);
        id
    };
    (0..heights).map(|number| one(chain, number)).collect()
}

fn quota(number: u64) -> Action {
    let organisation = format!("organisation {}", number % 7);
    Action::Propose(AdminAction::SetQuota { organisation, trainers: number as u32 })
}

fn drop_all(chain: &mut Chain, retention: &Retention) -> u64 {
    let mut heights = 0;
    loop {
        let dropped = chain.ledger.drop_blocks(retention).unwrap();
        heights += dropped.heights;
        if !dropped.more {
            return heights;
        }
    }
}

#[test]
fn blocks_of_what_is_held_stay_until_the_hold_is_released() {
    let mut chain = Chain::new();
    let empty = |chain: &mut Chain, blocks| {
        (0..blocks).for_each(|_| drop(chain.block_at(chain.now() + STEP_MS, vec![])));
    };
    empty(&mut chain, 20);
    let task = chain.task(|_| {});
    let created = chain.reader.head().height;
    let subject = HoldSubject::Task(task);
    chain.decide(AdminAction::Hold { subject, reason: "case 7".into() });
    empty(&mut chain, HEIGHTS);
    chain.certify();
    drop_all(&mut chain, &SHORT);
    assert_eq!(chain.reader.first_block(), created);
    chain.decide(AdminAction::ReleaseHold(subject));
    chain.certify();
    assert!(drop_all(&mut chain, &SHORT) > 200);
}

#[test]
fn old_blocks_go_and_what_is_proved_stays_proved() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::at(dir.path());
    let ids = long_chain(&mut chain, HEIGHTS, quota);
    assert_eq!(drop_all(&mut chain, &SHORT), 0, "nothing is stable yet");
    chain.certify();
    let head = chain.reader.head();
    let kept = limits::BLOCKS_KEPT_MIN;
    assert_eq!(drop_all(&mut chain, &SHORT), HEIGHTS - kept - 1);
    let first = chain.reader.first_block();
    assert_eq!(first, Height(HEIGHTS - kept));
    assert_eq!(drop_all(&mut chain, &SHORT), 0);
    chain.reader.compact_dropped().unwrap();
    drop(chain);

    let mut chain = Chain::at(dir.path());
    let reader = chain.reader.clone();
    assert_eq!((reader.head(), reader.first_block()), (head, first));
    for height in [Height(1), first.prev().unwrap()] {
        assert_eq!(reader.block(height).unwrap(), None);
        assert_eq!(reader.certificate(height).unwrap(), None);
        assert_eq!(reader.receipts(height).unwrap(), vec![]);
        assert_eq!(reader.checkpoint(height).unwrap(), None);
    }
    assert!(reader.block(first).unwrap().is_some() && reader.checkpoint(first).unwrap().is_some());
    assert!(reader.checkpoint(Height(0)).unwrap().is_some());
    let (old, kept) = (&ids[0], &ids[first.0 as usize - 1]);
    assert_eq!(reader.tx(old).unwrap(), None);
    let error = reader.prove_tx(old).unwrap_err();
    assert!(matches!(error, LedgerError::Pruned { first: named, .. } if named == first), "{error}");
    verify(&chain.genesis, reader.prove_tx(kept).unwrap());

    // It goes on: newer receipts are proved in the whole audit log.
    let id = long_chain(&mut chain, 1, quota)[0];
    chain.certify();
    verify(&chain.genesis, chain.reader.prove_tx(&id).unwrap());
}

fn verify(genesis: &Genesis, bundle: twinfold_types::proof::Bundle) {
    bundle.verify(genesis, &NONE).unwrap();
}

#[test]
fn what_a_number_or_a_task_covers_stays() {
    let mut chain = Chain::new();
    long_chain(&mut chain, HEIGHTS, quota);
    chain.certify();
    let by_height = Retention { heights: HEIGHTS - 10, age_ms: 0 };
    assert_eq!(drop_all(&mut chain, &by_height), 9);
    let by_age = Retention { heights: 0, age_ms: (HEIGHTS - 20) * STEP_MS };
    assert_eq!(drop_all(&mut chain, &by_age), 10);
    chain.task(|spec| spec.retention_ms = (HEIGHTS - 30) * STEP_MS);
    chain.certify();
    // The newest height is one higher by now.
    assert_eq!(drop_all(&mut chain, &SHORT), 11);
}

#[test]
fn a_transaction_that_a_later_block_carries_again_is_still_found() {
    let mut chain = Chain::new();
    let tx = chain.tx(ADMIN, quota(1));
    chain.block(vec![tx.clone()]);
    // Long after its window, so that it is no replay, and refused.
    long_chain(&mut chain, HEIGHTS, quota);
    assert_eq!(code_of(&mut chain, &tx), Code::NotValidNow);
    chain.certify();
    assert!(drop_all(&mut chain, &SHORT) > 0);
    let (_, height, _) = chain.reader.tx(&tx.id()).unwrap().unwrap();
    assert_eq!(height, Height(HEIGHTS + 2));
}

fn code_of(chain: &mut Chain, tx: &SignedTx) -> Code {
    chain.block(vec![tx.clone()])[0].code
}

#[test]
fn two_windows_of_transactions_stay_however_many_blocks_they_are() {
    let mut chain = Chain::new();
    (0..HEIGHTS).for_each(|_| drop(chain.block(vec![])));
    chain.certify();
    drop_all(&mut chain, &SHORT);
    let seconds = 2 * limits::TX_VALIDITY_MS_MAX / 1_000;
    assert!(seconds > limits::BLOCKS_KEPT_MIN);
    assert_eq!(chain.reader.first_block(), Height(HEIGHTS - seconds));
}

#[test]
fn the_folder_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::at(dir.path());
    let heights = 2 * limits::BLOCKS_KEPT_MIN;
    // Transactions that are refused leave hardly more than their blocks.
    let plain = chain.spec();
    long_chain(&mut chain, heights, |number| {
        let mut spec = plain.clone();
        spec.description = noise(number);
        Action::CreateTask(Box::new(spec))
    });
    chain.certify();
    let keep_all = Retention { heights: u64::MAX, age_ms: 0 };
    assert_eq!(drop_all(&mut chain, &keep_all), 0);
    chain.reader.compact_dropped().unwrap();
    let before = size_of(dir.path());
    let dropped = drop_all(&mut chain, &SHORT);
    chain.reader.compact_dropped().unwrap();
    let after = size_of(dir.path());
    println!("{before} bytes, {after} after dropping {dropped} of {heights} blocks");
    let expected = before - before * dropped / heights;
    assert!(after < expected + before / 10, "{before} bytes before, {after} after");
}

/// Hexadecimal text that hardly compresses.
fn noise(number: u64) -> String {
    let digest = |part: u64| {
        let bytes = (number << 16 | part).to_be_bytes();
        twinfold_types::Digest::of_bytes(twinfold_types::hash::Tag::Sign, &bytes).to_string()
    };
    (0..30).map(digest).collect()
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
