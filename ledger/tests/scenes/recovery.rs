//! Three of four validators are gone for good; the admins say who goes on.

use crate::{kit::*, kit_stake::*};
use std::path::Path;
use twinfold_ledger::{Draft, Joining, Ledger, LedgerError, RecoverError};
use twinfold_types::{
    Action, Code, Digest, Epoch, Event, Height, PublicKey, TimeMs, TxId,
    handover::EpochEnd,
    member::AdminAction,
    proof::ProofError,
    recovery::{Accepted, Recovery, RecoveryError, RecoveryStatement},
};

/// Site 1 is left; sites 5 to 7 wait for a seat.
const GO_ON: [u8; 4] = [1, 5, 6, 7];

/// A chain with some history, and a transaction of it.
fn chain_at(dir: &Path) -> (Chain, TxId) {
    let mut chain = Chain::at(dir);
    for number in 5..8 {
        chain.newcomer(number, &format!("organisation {number}"), 10);
    }
    let quota = AdminAction::SetQuota { organisation: "hospital".into(), trainers: 9 };
    let tx = chain.apply(ADMIN, Action::Propose(quota)).tx.unwrap();
    (chain, tx)
}

fn chain() -> (Chain, TxId, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (chain, tx) = chain_at(&dir.path().join("ledger"));
    (chain, tx, dir)
}

fn keys(numbers: &[u8]) -> Vec<PublicKey> {
    numbers.iter().map(|number| public(*number)).collect()
}

fn drafted(chain: &Chain, seats: &[u8]) -> Result<RecoveryStatement, RecoverError> {
    let (seats, time) = (keys(seats), TimeMs(chain.now() + 3_600_000));
    chain.reader.draft_recovery(&Draft { seats: &seats, epoch: None, time })
}

fn signed(statement: RecoveryStatement) -> Recovery {
    let mut recovery = Recovery::unsigned(statement);
    [ADMIN_THREE, ADMIN].iter().for_each(|admin| recovery.sign(&secret(*admin)).unwrap());
    recovery
}

fn recovery(chain: &Chain) -> Recovery {
    signed(drafted(chain, &GO_ON).unwrap())
}

/// What accepting says of a statement that was changed before it was signed.
fn refused(chain: &mut Chain, change: impl FnOnce(&mut RecoveryStatement)) -> RecoverError {
    let mut statement = drafted(chain, &GO_ON).unwrap();
    change(&mut statement);
    let before = chain.reader.recoveries().unwrap();
    let error = chain.ledger.accept_recovery(&signed(statement)).unwrap_err();
    assert_eq!(chain.reader.recoveries().unwrap(), before);
    error
}

#[test]
fn the_chain_goes_on_from_the_newest_height_under_the_named_committee() {
    let (mut chain, tx, _dir) = chain();
    chain.certify();
    let (old, head, state) = (chain.committee(), chain.reader.head(), candidates(&chain));
    let recovery = recovery(&chain);
    chain.ledger.accept_recovery(&recovery).unwrap();
    assert_eq!(chain.reader.head(), head, "nothing that was executed changes");
    let next = chain.committee();
    assert_eq!((next.epoch, next.anchor, next.size()), (Epoch(1), head.height, 4));
    assert_eq!(chain.reader.voting_committee().unwrap(), next);

    let receipts = chain.block(vec![]);
    let statement = recovery.digest();
    let joined = keys(&[5, 6, 7]);
    let left = keys(&[2, 3, 4]);
    let events = [
        Event::EpochEnded { epoch: Epoch(0), joined, left },
        Event::Recovered { epoch: Epoch(1), statement },
    ];
    assert_eq!(receipts[0].events, events);
    assert_eq!(chain.reader.past_committee(Epoch(0)).unwrap(), Some(old));
    assert_eq!(candidates(&chain), state, "nobody is slashed, jailed or paid");
    check_conservation(&chain);

    // A later epoch ends as ever.
    chain.end_epoch();
    chain.block(vec![]);
    chain.certify();
    assert_eq!(chain.committee().epoch, Epoch(2));
    let bundle = chain.reader.prove_tx(&tx).unwrap();
    assert_eq!(bundle.trail.ended.len(), 2);
    let refused = bundle.verify(&chain.genesis, &NONE).unwrap_err();
    assert!(refused.to_string().contains("--accept-recovery"), "{refused}");
    bundle.verify(&chain.genesis, &Accepted::from([statement])).unwrap();
    let other = bundle.verify(&chain.genesis, &Accepted::from([Digest([1; 32])]));
    assert!(matches!(other, Err(ProofError::Trail(_))));
}

fn candidates(chain: &Chain) -> Vec<twinfold_types::stake::Candidate> {
    chain.reader.candidates().unwrap()
}

#[test]
fn a_replay_from_genesis_comes_to_the_same_and_needs_the_same_word() {
    let (mut chain, _, _dir) = chain();
    let recovery = recovery(&chain);
    chain.ledger.accept_recovery(&recovery).unwrap();
    for _ in 0..3 {
        let quota = AdminAction::SetThreshold(3);
        chain.apply(ADMIN, Action::Propose(quota));
    }
    let last = chain.reader.head();
    let replay = |accepts: bool| {
        let mut other = Chain::new();
        if accepts {
            // Far ahead of what it can compare.
            other.ledger.accept_recovery(&recovery).unwrap();
        }
        for height in 1..=last.height.0 {
            let block = chain.reader.block(Height(height)).unwrap().unwrap();
            let executed = other.ledger.commit(&block, &other.certificate(&block))?;
            let here = Height(height) == recovery.statement.kept.height && accepts;
            assert_eq!(executed.recovered.is_some(), here);
        }
        Ok(other.reader.head())
    };
    assert_eq!(replay(true).unwrap(), last);
    let error: LedgerError = replay(false).unwrap_err();
    assert!(matches!(error, LedgerError::WrongBlock { .. }), "{error}");
}

#[test]
fn it_survives_closing_and_is_accepted_once() {
    let (mut chain, _, dir) = chain();
    let recovery = recovery(&chain);
    assert!(!chain.ledger.accept_recovery(&recovery).unwrap().known);
    let next = chain.committee();
    drop(chain);
    let mut chain = Chain::at(&dir.path().join("ledger"));
    assert_eq!((chain.committee(), chain.reader.voting_committee().unwrap()), (next.clone(), next));
    assert!(chain.ledger.accept_recovery(&recovery).unwrap().known);
    chain.block(vec![]);
    assert!(chain.ledger.accept_recovery(&recovery).unwrap().known, "long done");
    assert_eq!(chain.reader.recoveries().unwrap(), [recovery]);
}

#[test]
fn a_statement_that_does_not_fit_the_state_is_refused_and_says_what_differs() {
    let (mut chain, _, _dir) = chain();
    let wrong = Digest([7; 32]);
    let error = refused(&mut chain, |s| s.kept.state_root = wrong);
    assert!(matches!(error, RecoverError::Differs { what: "state root", .. }), "{error}");
    let error = refused(&mut chain, |s| s.kept.block = wrong);
    assert!(matches!(error, RecoverError::Differs { what: "block", .. }), "{error}");
    let error = refused(&mut chain, |s| s.ended = wrong);
    assert!(matches!(error, RecoverError::Differs { .. }), "{error}");
    let error = refused(&mut chain, |s| s.threshold = 1);
    assert!(matches!(error, RecoverError::Differs { what: "list of admins", .. }), "{error}");
    let error = refused(&mut chain, |s| s.committee.seats[1].key = public(STRANGER));
    assert!(matches!(error, RecoverError::Differs { what: "new committee", .. }), "{error}");
    let error = refused(&mut chain, |s| s.committee.seats[1].validator = public(TRAINER));
    assert!(matches!(error, RecoverError::NoValidator { .. }), "{error}");
}

#[test]
fn what_too_few_signed_or_was_made_for_another_chain_is_refused() {
    let (mut chain, _, _dir) = chain();
    let mut few = recovery(&chain);
    few.signatures.pop();
    let error = chain.ledger.accept_recovery(&few).unwrap_err();
    let too_few = RecoveryError::TooFew { found: 1, needed: 2 };
    assert!(matches!(&error, RecoverError::Statement(found) if *found == too_few), "{error}");
    few.signatures.push(few.signatures[0]);
    let error = chain.ledger.accept_recovery(&few).unwrap_err();
    assert!(matches!(error, RecoverError::Statement(RecoveryError::Order)), "{error}");
    let mut statement = drafted(&chain, &GO_ON).unwrap();
    statement.chain = Digest([7; 32]);
    let error = chain.ledger.accept_recovery(&signed(statement)).unwrap_err();
    assert!(matches!(error, RecoverError::Statement(RecoveryError::OtherChain { .. })), "{error}");
}

#[test]
fn nothing_that_a_survivor_executed_is_thrown_away() {
    let (mut chain, _, _dir) = chain();
    let behind = recovery(&chain);
    chain.block(vec![]);
    let error = chain.ledger.accept_recovery(&behind).unwrap_err();
    let kept = behind.statement.kept.height;
    let head = kept.next();
    assert!(matches!(error, RecoverError::Ahead { head: h, kept: k } if (h, k) == (head, kept)));
    assert!(error.to_string().contains("Make the statement from this node's folder"), "{error}");
}

#[test]
fn only_admitted_validators_sit_and_only_where_no_quorum_is_left() {
    let (mut chain, _, _dir) = chain();
    let error = drafted(&chain, &[1, 5, TRAINER]).unwrap_err();
    assert!(matches!(error, RecoverError::NoValidator { .. }), "{error}");
    let error = drafted(&chain, &[1, 2, 3, 5]).unwrap_err();
    assert!(matches!(error, RecoverError::QuorumLeft { left: 3, quorum: 3 }), "{error}");
    let error = drafted(&chain, &[1, 5, 5, 6]).unwrap_err();
    assert!(matches!(error, RecoverError::Statement(_)), "{error}");
    chain.decide(AdminAction::Expel(public(6)));
    let error = drafted(&chain, &GO_ON).unwrap_err();
    assert!(matches!(error, RecoverError::Barred { .. }), "{error}");
}

#[test]
fn who_is_behind_compares_on_the_way_and_goes_no_further_where_it_differs() {
    let (mut chain, _, _dir) = chain();
    let before = chain.reader.head().height;
    chain.block(vec![]);
    let good = recovery(&chain);
    let mut wrong = good.statement.clone();
    wrong.kept.state_root = Digest([7; 32]);
    let dir = tempfile::tempdir().unwrap();
    let mut behind = Chain::at(dir.path());
    let block = |height: Height| chain.reader.block(height).unwrap().unwrap();
    for height in 1..=before.0 {
        behind.commit(&block(Height(height)));
    }
    behind.ledger.accept_recovery(&signed(wrong.clone())).unwrap();
    let last = block(before.next());
    let error = behind.ledger.commit(&last, &behind.certificate(&last)).unwrap_err();
    assert!(matches!(error, LedgerError::Recovery { .. }), "{error}");
    drop(behind);

    // The wrong one can be given up for a later one, and only for that.
    let mut behind = Chain::at(dir.path());
    assert!(behind.reader.check_recovery().is_err());
    let error = behind.ledger.accept_recovery(&good).unwrap_err();
    assert!(matches!(error, RecoverError::Other { epoch: Epoch(1), .. }), "{error}");
    let (seats, time) = (keys(&GO_ON), good.statement.time);
    let draft = Draft { seats: &seats, epoch: Some(Epoch(2)), time };
    let later = signed(behind.reader.draft_recovery(&draft).unwrap());
    let examined = behind.ledger.accept_recovery(&later).unwrap();
    assert_eq!(examined.replaces, [signed(wrong)]);
    behind.block(vec![]);
    assert_eq!(behind.committee().epoch, Epoch(2));
    behind.certify();
    assert_eq!(behind.reader.trail(Epoch(2)).unwrap().ended.len(), 1);
    behind.end_epoch();
    behind.block(vec![]);
    assert_eq!(behind.committee().epoch, Epoch(3));
}

#[test]
fn a_block_of_the_replaced_committee_is_refused_by_name() {
    let (mut chain, _, _dir) = chain();
    let late = chain.draft(chain.now() + 1, vec![]);
    let recovery = recovery(&chain);
    chain.ledger.accept_recovery(&recovery).unwrap();
    let error = chain.ledger.commit(&late, &chain.certificate(&late)).unwrap_err();
    assert!(matches!(error, LedgerError::BeyondRecovery { .. }), "{error}");
}

#[test]
fn an_epoch_whose_last_block_found_no_quorum_is_recovered_as_well() {
    for certified in [false, true] {
        let (mut chain, tx, _dir) = chain();
        let last = chain.draft(chain.committee().ends.0, vec![]);
        chain.commit(&last);
        if certified {
            chain.certify();
        }
        let elected = chain.committee();
        let gone: Vec<_> = elected.seats.iter().map(|seat| seat.validator).collect();
        let seats: Vec<u8> = (1..8).filter(|n| !gone[1..].contains(&public(*n))).collect();
        let recovery = signed(drafted(&chain, &seats).unwrap());
        assert_eq!(recovery.statement.kept.epoch, Epoch(0));
        chain.ledger.accept_recovery(&recovery).unwrap();
        assert_eq!((elected.epoch, chain.committee().epoch), (Epoch(1), Epoch(2)));
        chain.block(vec![]);
        chain.certify();
        let bundle = chain.reader.prove_tx(&tx).unwrap();
        bundle.verify(&chain.genesis, &Accepted::from([recovery.digest()])).unwrap();
        check_conservation(&chain);
    }
}

#[test]
fn a_node_without_a_ledger_accepts_before_it_joins() {
    let (mut chain, _, _dir) = chain();
    let recovery = recovery(&chain);
    chain.ledger.accept_recovery(&recovery).unwrap();
    chain.block(vec![]);
    chain.certify();
    let dir = tempfile::tempdir().unwrap();
    let (folder, target) = (dir.path().join("joining"), dir.path().join("ledger"));
    let open = || Joining::open(&folder, &target, None, &chain.genesis).unwrap().unwrap();
    let mut given_up = recovery.statement.clone();
    given_up.time = given_up.time.plus(1);
    let given_up = signed(given_up);
    assert_eq!(open().accept_recovery(&given_up).unwrap(), []);
    let error = open().accept_recovery(&recovery).unwrap_err();
    assert!(matches!(error, RecoverError::Other { epoch: Epoch(1), .. }), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(open().accept_recovery(&recovery).unwrap(), []);
    assert_eq!(open().accept_recovery(&recovery).unwrap(), [], "again");
    let mut later = recovery.statement.clone();
    later.committee.epoch = Epoch(2);
    let other = dir.path().join("other");
    let open_other = || Joining::open(&other, &target, None, &chain.genesis).unwrap().unwrap();
    open_other().accept_recovery(&recovery).unwrap();
    let replaced = open_other().accept_recovery(&signed(later.clone())).unwrap();
    assert_eq!(replaced, std::slice::from_ref(&recovery));
    assert_eq!(open_other().recoveries().unwrap(), [signed(later)]);
    let joining = open();
    assert_eq!(joining.recoveries().unwrap(), [recovery]);
    let anchor = chain.reader.anchor().unwrap().unwrap();
    crate::joining::copy_parts(&chain.reader, &joining, anchor.height(), vec![]);
    crate::joining::copy_blocks(&chain.reader, &joining, anchor.height());
    joining.finish(&anchor).unwrap();
    let reader = Ledger::open(&target, None, &chain.genesis).unwrap().reader();
    assert_eq!(reader.committee(), chain.reader.committee());
    let epoch = chain.committee().epoch;
    assert_eq!(reader.trail(epoch).unwrap(), chain.reader.trail(epoch).unwrap());
}

#[test]
fn what_was_signed_twice_in_the_ended_epoch_is_admitted_before_the_first_block_after_it() {
    let (mut chain, _, _dir) = chain();
    let evidence = crate::slashing::equivocation(&chain, 1);
    let recovery = recovery(&chain);
    chain.ledger.accept_recovery(&recovery).unwrap();
    let tx = chain.tx(AUDITOR, evidence);
    let now = TimeMs(chain.now() + 5);
    assert_eq!(chain.reader.admit(&tx, now).unwrap(), Ok(()));
    let receipts = chain.block(vec![tx]);
    assert_eq!(receipts.last().unwrap().code, Code::Ok);
}

#[test]
fn whoever_stands_in_an_epoch_that_was_left_out_is_told_what_ended_it() {
    let (mut chain, _, _dir) = chain();
    let (seats, time) = (keys(&GO_ON), TimeMs(chain.now() + 3_600_000));
    let draft = Draft { seats: &seats, epoch: Some(Epoch(3)), time };
    let recovery = signed(chain.reader.draft_recovery(&draft).unwrap());
    chain.ledger.accept_recovery(&recovery).unwrap();
    let end = EpochEnd::Recovery(Box::new(recovery));
    for epoch in 0..3 {
        assert_eq!(chain.reader.end_of(Epoch(epoch)).unwrap().as_ref(), Some(&end));
    }
    assert_eq!(chain.reader.end_of(Epoch(3)).unwrap(), None);
}
