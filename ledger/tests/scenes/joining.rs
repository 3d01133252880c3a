//! A second ledger begins from a checkpoint of the first and goes on like it.

use crate::kit::*;
use std::path::Path;
use twinfold_ledger::{Anchor, Joining, Ledger, LedgerError, Reader, is_in_window};
use twinfold_types::{
    Action, Block, Code, Digest, Height, TxId, codec, limits,
    member::AdminAction,
    subtree::{Part, Subtree},
};

/// A chain with more rows than one part lists, stable at its head.
fn chain() -> Chain {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    for hundred in 0..4 {
        let mut txs = vec![];
        for number in 0..100 {
            let organisation = format!("organisation {hundred} {number}");
            let quota = AdminAction::SetQuota { organisation, trainers: number };
            let proposed = chain.tx(ADMIN, Action::Propose(quota));
            let id = TxId(proposed.id().0);
            txs.extend([proposed, chain.tx(ADMIN_TWO, Action::SignProposal(id))]);
        }
        assert!(chain.block(txs).iter().all(|receipt| receipt.code == Code::Ok));
    }
    chain.certify();
    chain
}

/// Everything under a part, as a peer would hand it over.
pub fn copy_parts(reader: &Reader, joining: &Joining, height: Height, nibbles: Vec<u8>) -> usize {
    let part = reader.subtree(height, &nibbles).unwrap().unwrap();
    joining.keep_parts(vec![(nibbles.clone(), codec::encode(&part))]).unwrap();
    let Subtree::Parts(parts) = part else { return 1 };
    let held = (0..).zip(*parts).filter(|(_, part)| *part != Part::Empty);
    let below = |(nibble, _)| [nibbles.as_slice(), &[nibble]].concat();
    held.map(|part| copy_parts(reader, joining, height, below(part))).sum()
}

pub fn copy_blocks(reader: &Reader, joining: &Joining, last: Height) -> usize {
    let newest = reader.block(last).unwrap().unwrap();
    let block = |height| reader.block(Height(height)).unwrap().unwrap();
    let mut blocks: Vec<Block> = vec![];
    for height in (1..=last.0).rev() {
        blocks.push(block(height));
        if !is_in_window(&blocks[blocks.len() - 1], &newest) {
            break;
        }
    }
    joining.keep_blocks(&blocks).unwrap();
    blocks.len()
}

fn begin(dir: &Path, genesis: &twinfold_types::genesis::Genesis) -> Option<Joining> {
    Joining::open(&dir.join("joining"), &dir.join("ledger"), None, genesis).unwrap()
}

fn join(chain: &Chain, dir: &Path) -> Anchor {
    let (joining, anchor) = (begin(dir, &chain.genesis).unwrap(), chain.reader.anchor().unwrap());
    let anchor = anchor.unwrap();
    assert!(copy_parts(&chain.reader, &joining, anchor.height(), vec![]) >= 16);
    copy_blocks(&chain.reader, &joining, anchor.height());
    joining.finish(&anchor).unwrap();
    anchor
}

#[test]
fn it_stands_where_the_first_stood_and_goes_on_like_it() {
    let (mut chain, dir) = (chain(), tempfile::tempdir().unwrap());
    let anchor = join(&chain, dir.path());
    let mut joined = Ledger::open(&dir.path().join("ledger"), None, &chain.genesis).unwrap();
    let reader = joined.reader();
    assert_eq!(reader.head(), chain.reader.head());
    assert_eq!(reader.stable(), Some(anchor.certificate.clone()));
    assert_eq!(reader.first_block(), anchor.height().next());
    assert_eq!(reader.members().unwrap(), chain.reader.members().unwrap());
    let models = |reader: &Reader, task| {
        reader.models(Some(task), twinfold_types::model::Level::Global, None, 9).unwrap()
    };
    let task = chain.reader.tasks().unwrap()[0].id;
    assert_eq!(models(&reader, &task), models(&chain.reader, &task));
    assert_eq!(models(&reader, &task).len(), 1);

    // A transaction of the last window is no less a replay there.
    let old = chain.reader.block(Height(2)).unwrap().unwrap().txs[0].clone();
    assert_eq!(reader.admit(&old, chain.reader.head().time).unwrap(), Err(Code::Replayed));
    for _ in 0..3 {
        let update = chain.tx(ADMIN, Action::Propose(AdminAction::SetThreshold(3)));
        let block = chain.draft(chain.now() + 1_000, vec![old.clone(), update]);
        let ours = joined.commit(&block, &chain.certificate(&block)).unwrap();
        assert_eq!(ours, chain.commit(&block));
        assert_eq!(ours.receipts[0].code, Code::Replayed);
    }
    chain.certify();
    joined.set_stable(&chain.reader.stable().unwrap()).unwrap();
    let newest = chain.last.as_ref().unwrap().receipts[1].tx.unwrap();
    reader.prove_tx(&newest).unwrap().verify(&chain.genesis, &NONE).unwrap();
    // What was before is not there, and said to be.
    let error = reader.prove_tx(&old.id()).unwrap_err();
    assert!(matches!(error, LedgerError::Pruned { .. }), "{error}");
    drop((reader, joined));
    Ledger::open(&dir.path().join("ledger"), None, &chain.genesis).unwrap();
}

#[test]
fn transactions_whose_window_is_over_need_no_block() {
    let mut chain = chain();
    let before = chain.reader.head().height;
    chain.block_at(chain.now() + limits::TX_VALIDITY_MS_MAX + 1, vec![]);
    chain.certify();
    let dir = tempfile::tempdir().unwrap();
    let joining = begin(dir.path(), &chain.genesis).unwrap();
    // The last of them only shows that it is too old.
    assert_eq!(copy_blocks(&chain.reader, &joining, before.next()), 2);
    drop(joining);
    join(&chain, dir.path());
}

#[test]
fn what_a_kill_left_is_gone_on_with_and_never_taken_for_a_ledger() {
    let (chain, dir) = (chain(), tempfile::tempdir().unwrap());
    let anchor = chain.reader.anchor().unwrap().unwrap();
    let joining = begin(dir.path(), &chain.genesis).unwrap();
    copy_blocks(&chain.reader, &joining, anchor.height());
    // Nothing of the state is there: it ends in the middle of being made.
    let error = joining.finish(&anchor).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert!(!dir.path().join("ledger").exists());

    let joining = begin(dir.path(), &chain.genesis).unwrap();
    assert!(joining.block(anchor.height()).unwrap().is_some());
    copy_parts(&chain.reader, &joining, anchor.height(), vec![]);
    joining.finish(&anchor).unwrap();
    assert!(!dir.path().join("joining").exists());

    // Complete, and killed before it was moved.
    std::fs::rename(dir.path().join("ledger"), dir.path().join("joining")).unwrap();
    assert!(begin(dir.path(), &chain.genesis).is_none());
    let reader = Ledger::open(&dir.path().join("ledger"), None, &chain.genesis).unwrap().reader();
    assert_eq!(reader.head(), chain.reader.head());
}

#[test]
fn what_does_not_hash_to_what_is_certified_makes_no_ledger() {
    let (chain, dir) = (chain(), tempfile::tempdir().unwrap());
    let anchor = chain.reader.anchor().unwrap().unwrap();
    let joining = begin(dir.path(), &chain.genesis).unwrap();
    copy_parts(&chain.reader, &joining, anchor.height(), vec![]);
    copy_blocks(&chain.reader, &joining, anchor.height());
    let mut root = joining.part(&[]).unwrap().unwrap();
    *root.last_mut().unwrap() ^= 1;
    joining.keep_parts(vec![(vec![], root)]).unwrap();
    assert!(joining.finish(&anchor).is_err());

    let mut edge = anchor.clone();
    edge.peaks[0] = Digest::ZERO;
    assert!(anchor.is_edge_whole() && !edge.is_edge_whole());
    edge.peaks.clear();
    assert!(!edge.is_edge_whole());

    let mut other = genesis();
    other.chain = "another".into();
    let folder = dir.path().join("joining");
    let error = Joining::open(&folder, &dir.path().join("ledger"), None, &other).err().unwrap();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[test]
fn a_ledger_that_begins_in_a_later_epoch_has_every_hand_over() {
    let mut chain = chain();
    for after in 0..3 {
        chain.end_epoch();
        // Right at the hand-over, and one block into the next epoch.
        if after > 0 {
            chain.block(vec![]);
            chain.certify();
        }
        let dir = tempfile::tempdir().unwrap();
        join(&chain, dir.path());
        let joined = Ledger::open(&dir.path().join("ledger"), None, &chain.genesis).unwrap();
        let reader = joined.reader();
        assert_eq!(
            (reader.head(), reader.committee()),
            (chain.reader.head(), chain.reader.committee())
        );
        let epoch = chain.reader.stable().unwrap().checkpoint.epoch;
        assert_eq!(reader.trail(epoch).unwrap(), chain.reader.trail(epoch).unwrap());
        assert_eq!(reader.voting_committee().unwrap(), chain.reader.voting_committee().unwrap());
        let mut joined = joined;
        let block = chain.draft(chain.now() + 1_000, vec![]);
        let ours = joined.commit(&block, &chain.certificate(&block)).unwrap();
        assert_eq!(ours, chain.commit(&block));
    }
}
