use crate::kit::*;
use twinfold_ledger::{Ledger, LedgerError};
use twinfold_types::{
    Action, Code, Height, TimeMs, limits, member::AdminAction, state_key::Prefix,
};

fn threshold(signatures: u32) -> Action {
    Action::Propose(AdminAction::SetThreshold(signatures))
}

#[test]
fn a_transaction_is_applied_once() {
    let mut chain = Chain::new();
    let tx = chain.tx(ADMIN, threshold(1));
    let first = chain.block(vec![tx.clone()]);
    assert_eq!(first[0].code, Code::Ok);
    let root = chain.reader.head().state_root;
    let second = chain.block(vec![tx.clone()]);
    assert_eq!((second[0].code, second[0].events.len()), (Code::Replayed, 0));
    assert_eq!(chain.reader.head().state_root, root);
    // It is still found where it was applied.
    let (_, height, receipt) = chain.reader.tx(&tx.id()).unwrap().unwrap();
    assert_eq!((height, receipt), (Height(1), first[0].clone()));
}

#[test]
fn a_refused_transaction_is_used_up_too() {
    let mut chain = Chain::new();
    let tx = chain.tx(STRANGER, threshold(1));
    assert_eq!(chain.block(vec![tx.clone()])[0].code, Code::UnknownSender);
    assert_eq!(chain.block(vec![tx])[0].code, Code::Replayed);
}

#[test]
fn a_transaction_counts_only_inside_its_window() {
    let mut chain = Chain::new();
    let tx = chain.tx(ADMIN, threshold(1));
    let after = tx.body.valid_until.0 + 1;
    assert_eq!(chain.block_at(after, vec![tx.clone()])[0].code, Code::NotValidNow);
    // Long after, the replay set has let it go and the window still refuses it.
    chain.block_at(after + limits::TX_VALIDITY_MS_MAX, vec![]);
    assert_eq!(chain.block(vec![tx])[0].code, Code::NotValidNow);
}

#[test]
fn admission_says_what_execution_would() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    let update = chain.update(task, 0);
    let tx = chain.tx(TRAINER, Action::Update(Box::new(update)));
    let now = TimeMs(chain.now() + 5);
    assert_eq!(chain.reader.admit(&tx, now).unwrap(), Ok(()));
    let late = tx.body.valid_until.plus(1);
    assert_eq!(chain.reader.admit(&tx, late).unwrap(), Err(Code::NotValidNow));
    chain.block(vec![tx.clone()]);
    assert_eq!(chain.reader.admit(&tx, now).unwrap(), Err(Code::Replayed));
    let stranger = chain.tx(STRANGER, threshold(1));
    assert_eq!(chain.reader.admit(&stranger, now).unwrap(), Err(Code::UnknownSender));
    let again = chain.update(task, 0);
    let again = chain.tx(TRAINER, Action::Update(Box::new(again)));
    assert_eq!(chain.reader.admit(&again, now).unwrap(), Err(Code::UpdateExists));
}

#[test]
fn the_blocks_own_receipt_stands_before_those_of_its_transactions() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    let deadline = chain.reader.next_deadline().unwrap().unwrap();
    let tx = chain.tx(ADMIN, threshold(1));
    let receipts = chain.block_at(deadline.0, vec![tx.clone()]);
    assert_eq!((receipts[0].index, receipts[0].tx), (0, None));
    assert_eq!((receipts[1].index, receipts[1].tx), (1, Some(tx.id())));
    assert_eq!(chain.reader.receipts(chain.reader.head().height).unwrap(), receipts);
}

#[test]
fn only_the_block_that_follows_is_committed() {
    let mut chain = Chain::new();
    chain.block(vec![]);
    let head = chain.reader.head();
    let good = chain.draft(chain.now() + 1, vec![]);
    let mut wrong = vec![];
    for change in 0..5 {
        let mut block = good.clone();
        match change {
            0 => block.header.height = head.height,
            1 => block.header.parent.0[0] ^= 1,
            2 => block.header.time = head.time,
            3 => block.header.chain.0[0] ^= 1,
            _ => block.header.body.0[0] ^= 1,
        }
        wrong.push(block);
    }
    for block in wrong {
        let error = chain.ledger.commit(&block, &chain.certificate(&block)).unwrap_err();
        assert!(matches!(error, LedgerError::WrongBlock { .. }), "{error}");
    }
    assert_eq!(chain.reader.head(), head);
    chain.commit(&good);
}

#[test]
fn everything_written_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::at(dir.path());
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    chain.certify();
    let (head, stable) = (chain.reader.head(), chain.reader.stable());
    let block = chain.reader.block(head.height).unwrap().unwrap();
    let receipts = chain.reader.receipts(head.height).unwrap();
    drop(chain);

    let mut chain = Chain::at(dir.path());
    assert_eq!((chain.reader.head(), chain.reader.stable()), (head, stable));
    assert_eq!(chain.reader.block(head.height).unwrap().as_ref(), Some(&block));
    assert_eq!(chain.reader.certificate(head.height).unwrap(), Some(chain.certificate(&block)));
    assert_eq!(chain.reader.receipts(head.height).unwrap(), receipts);
    assert_eq!(chain.reader.height_of(&block.digest()).unwrap(), Some(head.height));
    assert_eq!(chain.reader.block_digest(Height(0)).unwrap(), Some(chain.chain));
    assert_eq!(chain.reader.block(head.height.next()).unwrap(), None);
    chain.send(TRAINER + 1, task, 0);
}

#[test]
fn a_listing_pages_in_both_directions() {
    let chain = Chain::new();
    let prefix = Prefix::Member.scan();
    let all = chain.reader.members().unwrap();
    assert_eq!(all.len(), 14);
    let (mut after, mut before) = (None, None);
    let (mut up, mut down) = (vec![], vec![]);
    loop {
        let page = chain.reader.scan(&prefix, after.as_deref(), 5).unwrap();
        let back = chain.reader.scan_back(&prefix, before.as_deref(), 5).unwrap();
        after = page.last().map(|(key, _)| key.clone());
        before = back.last().map(|(key, _)| key.clone());
        up.extend(page.into_iter().map(|(_, member)| member));
        down.extend(back.into_iter().map(|(_, member)| member));
        if after.is_none() && before.is_none() {
            break;
        }
    }
    down.reverse();
    assert_eq!((up, down), (all.clone(), all));
}

#[test]
fn a_folder_of_another_genesis_is_refused_with_both_digests() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::at(dir.path());
    let ours = chain.chain;
    drop(chain);
    let mut other = genesis();
    other.chain = "another".into();
    let error = Ledger::open(dir.path(), None, &other).err().unwrap().to_string();
    assert!(error.contains(&ours.to_string()), "{error}");
    assert!(error.contains(&other.digest().to_string()), "{error}");
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _chain = Chain::at(dir.path());
    let error = Ledger::open(dir.path(), None, &genesis()).err().unwrap();
    assert!(matches!(error, LedgerError::Locked { .. }), "{error}");
}

#[test]
fn a_genesis_that_fails_its_check_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = genesis();
    broken.params.threshold = 9;
    let error = Ledger::open(dir.path(), None, &broken).err().unwrap();
    assert!(matches!(error, LedgerError::Genesis(_)), "{error}");
}
