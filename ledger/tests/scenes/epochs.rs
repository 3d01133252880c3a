use crate::{kit::*, kit_stake::*};
use twinfold_ledger::{Ledger, LedgerError};
use twinfold_types::{
    Action, Code, Epoch, Event, Height, SeatIndex, Stake, TimeMs, limits, member::AdminAction,
    proof::ProofError, quorum::PastEpoch, state_key,
};

#[test]
fn the_first_block_at_the_end_of_an_epochs_time_is_its_last() {
    let mut chain = Chain::new();
    let first = chain.committee();
    assert_eq!(first.ends, TimeMs(START).plus(24 * 3_600 * 1_000));
    chain.block_at(first.ends.0 - 1, vec![]);
    assert_eq!(chain.last.as_ref().unwrap().checkpoint.next_committee, None);
    chain.block_at(first.ends.0 + 5, vec![]);
    let next = chain.committee();
    let checkpoint = chain.last.clone().unwrap().checkpoint;
    assert_eq!(checkpoint.next_committee, Some(next.digest()));
    assert_eq!((checkpoint.epoch, next.epoch), (Epoch(0), Epoch(1)));
    assert_eq!((next.anchor, next.ends), (Height(2), first.ends.plus(24 * 3_600 * 1_000 + 5)));
    chain.block(vec![]);
    assert_eq!(chain.last.as_ref().unwrap().checkpoint.epoch, Epoch(1));
}

#[test]
fn a_block_is_of_its_epoch_and_follows_its_rules() {
    let mut chain = Chain::new();
    chain.end_epoch();
    let good = chain.draft(chain.now() + 1, vec![]);
    let mut old = good.clone();
    old.header.epoch = Epoch(0);
    let mut other = good.clone();
    other.header.protocol += 1;
    for block in [old, other] {
        let error = chain.ledger.commit(&block, &chain.certificate(&block)).unwrap_err();
        assert!(matches!(error, LedgerError::WrongBlock { .. }), "{error}");
    }
    chain.commit(&good);
}

#[test]
fn the_next_committee_votes_when_the_checkpoint_that_elected_it_is_stable() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::at(dir.path());
    chain.newcomer(5, "organisation 5", 5_000);
    let first = chain.committee();
    let last = chain.draft(first.ends.0, vec![]);
    chain.commit(&last);
    let next = chain.committee();
    assert_ne!(next.seats, first.seats);
    assert_eq!(chain.reader.voting_committee().unwrap(), first);
    assert_eq!(chain.reader.epoch_end(Epoch(0)).unwrap(), None);
    drop(chain);

    let mut chain = Chain::at(dir.path());
    assert_eq!(chain.committee(), next);
    assert_eq!(chain.reader.voting_committee().unwrap(), first);
    chain.certify();
    assert_eq!(chain.reader.voting_committee().unwrap(), next);
    let (committee, end) = chain.reader.epoch_end(Epoch(0)).unwrap().unwrap();
    assert_eq!((committee, end.checkpoint.next_committee), (first.clone(), Some(next.digest())));
    chain.block(vec![]);
    assert_eq!(chain.reader.past_committee(Epoch(0)).unwrap(), Some(first));
    assert_eq!(chain.reader.past_committee(Epoch(1)).unwrap(), Some(next));
    assert_eq!(chain.reader.past_committee(Epoch(2)).unwrap(), None);
}

#[test]
fn the_end_of_an_epoch_is_kept_even_when_a_newer_checkpoint_is_stable_first() {
    let mut chain = Chain::new();
    let last = chain.draft(chain.committee().ends.0, vec![]);
    let executed = chain.commit(&last);
    chain.block(vec![]);
    chain.certify();
    let newest = chain.reader.stable();
    let error = chain.reader.prove_state(&[]).map(|_| chain.reader.trail(Epoch(1)).err());
    assert!(matches!(error, Ok(Some(LedgerError::NotCertified(_)))));
    let end = chain.stable(executed.checkpoint);
    chain.ledger.set_stable(&end).unwrap();
    assert_eq!(chain.reader.stable(), newest);
    assert_eq!(chain.reader.epoch_end(Epoch(0)).unwrap().unwrap().1, end);
    let trail = chain.reader.trail(Epoch(1)).unwrap();
    assert_eq!((trail.ended.len(), trail.committee), (1, chain.committee()));
}

#[test]
fn the_admins_end_an_epoch_so_far_ahead_that_nobody_voted_there_yet() {
    let mut chain = Chain::new();
    let events = chain.decide(AdminAction::EndEpoch);
    let at = Height(chain.reader.head().height.0 + limits::EPOCH_END_HEIGHTS);
    assert!(events.contains(&Event::EpochEnding { at }));
    assert_eq!(chain.last.as_ref().unwrap().ends_at, Some(at));
    assert_eq!(chain.reader.ends_at().unwrap(), Some(at));
    let again = Action::Propose(AdminAction::EndEpoch);
    assert_eq!(chain.code(ADMIN, again), Code::EpochEnding);
    chain.reach_height(at.0 - 1);
    assert_eq!(chain.committee().epoch, Epoch(0));
    chain.reach_height(at.0);
    assert_eq!((chain.committee().epoch, chain.committee().anchor), (Epoch(1), at));
    assert_eq!(chain.last.as_ref().unwrap().ends_at, None);
    chain.decide(AdminAction::EndEpoch);
}

#[test]
fn new_rules_begin_with_an_epoch_and_stop_a_program_that_does_not_know_them() {
    let mut chain = Chain::new();
    let known = limits::PROTOCOL_VERSION;
    let old = Action::Propose(AdminAction::SetProtocol(known));
    assert_eq!(chain.code(ADMIN, old), Code::ProtocolInvalid);
    let events = chain.decide(AdminAction::SetProtocol(known + 1));
    assert!(events.contains(&Event::ProtocolSet { version: known + 1 }));
    chain.end_epoch();
    assert_eq!(chain.committee().protocol, known + 1);
    let block = chain.draft(chain.now() + 1, vec![]);
    let error = chain.ledger.commit(&block, &chain.certificate(&block)).unwrap_err();
    assert!(matches!(error, LedgerError::Protocol { .. }), "{error}");
}

#[test]
fn an_update_stored_under_the_committee_before_is_ordered_and_folded_under_the_next() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 5_000);
    let task = chain.task(|_| {});
    let first = chain.update(task, 0);
    let stale = chain.update(task, 0);
    chain.end_epoch();
    assert!(chain.sitting().contains(&5));
    chain.ok(TRAINER, Action::Update(Box::new(first)));
    chain.send(TRAINER + 1, task, 0);
    // Folded by seats of this epoch; ordered in the next.
    let folded = chain.signed(chain.result(round_job(task, 0, 0), 5), &[0, 2]);
    chain.end_epoch();
    let sender = chain.sitting()[0];
    chain.ok(sender, folded);
    assert_eq!(chain.code(TRAINER + 2, Action::Update(Box::new(stale))), Code::RoundOther);
}

#[test]
fn a_certificate_of_the_epoch_before_the_last_is_too_old() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    let update = chain.update(task, 0);
    chain.end_epoch();
    chain.end_epoch();
    let code = chain.code(TRAINER, Action::Update(Box::new(update)));
    assert_eq!(code, Code::AvailabilityInvalid);
}

#[test]
fn a_bundle_leads_from_genesis_to_the_committee_that_signed_it() {
    let mut chain = Chain::new();
    for number in 5..8 {
        chain.newcomer(number, &format!("organisation {number}"), 1_000 * u64::from(number));
        chain.end_epoch();
    }
    let tx = chain.apply(ADMIN, Action::Propose(AdminAction::SetThreshold(1))).tx.unwrap();
    chain.certify();
    let bundle = chain.reader.prove_tx(&tx).unwrap();
    assert_eq!((bundle.trail.ended.len(), bundle.checkpoint.checkpoint.epoch), (3, Epoch(3)));
    bundle.verify(&chain.genesis, &NONE).unwrap();
    let mut forged = bundle.clone();
    forged.trail.committee.seats[0].organisation = "another".into();
    assert!(matches!(forged.verify(&chain.genesis, &NONE), Err(ProofError::Trail(_))));
    let mut short = bundle.clone();
    short.trail.ended.pop();
    assert!(matches!(short.verify(&chain.genesis, &NONE), Err(ProofError::Trail(_))));
    let mut old = bundle;
    old.trail.committee = old.trail.ended.remove(0).committee;
    old.trail.ended.clear();
    assert!(matches!(old.verify(&chain.genesis, &NONE), Err(ProofError::Checkpoint(_))));
}

#[test]
fn signatures_on_checkpoints_are_counted_once_and_only_when_they_are_right() {
    let mut chain = Chain::new();
    let attest = |shown| Action::Attest(Box::new(shown));
    let shown = chain.next_checkpoint(&[0, 2]);
    assert_eq!(chain.code(AUDITOR, attest(shown.clone())), Code::NotPermitted);
    chain.ok(VALIDATOR, attest(shown.clone()));
    assert_eq!(chain.reader.participation().unwrap().checkpoints, 0, "two are no quorum");
    assert_eq!(chain.code(2, attest(shown.clone())), Code::AttestationKnown);
    let seats = [0, 1, 2].map(SeatIndex);
    let more = chain.checkpoint_signed(shown.checkpoint.clone(), &seats);
    chain.ok(2, attest(more));
    let counts = chain.reader.participation().unwrap();
    assert_eq!((counts.checkpoints, counts.signed), (1, vec![1, 1, 1, 0]));
    let last = chain.checkpoint_signed(shown.checkpoint.clone(), &[SeatIndex(3)]);
    chain.ok(4, attest(last));
    let counts = chain.reader.participation().unwrap();
    assert_eq!((counts.checkpoints, counts.signed), (1, vec![1, 1, 1, 1]));

    let mut wrong = chain.next_checkpoint(&[3]);
    wrong.signatures[0].1 = shown.signatures[0].1;
    let mut other = shown.checkpoint.clone();
    other.audit_size += 1;
    let other = chain.checkpoint_signed(other, &[SeatIndex(3)]);
    let between = chain.reader.checkpoint(Height(3)).unwrap().unwrap();
    let between = chain.checkpoint_signed(between, &[SeatIndex(3)]);
    let empty = chain.checkpoint_signed(shown.checkpoint.clone(), &[]);
    for refused in [wrong, other, between, empty] {
        assert_eq!(chain.code(4, attest(refused)), Code::AttestationInvalid);
    }
    // What an epoch's blocks showed ends with it.
    let late = chain.next_checkpoint(&[3]);
    chain.end_epoch();
    assert_eq!(chain.code(4, attest(late)), Code::AttestationInvalid);
    assert_eq!(chain.reader.participation().unwrap().checkpoints, 0);
}

#[test]
fn a_seat_is_rewarded_for_its_part_in_what_was_shown() {
    let mut chain = Chain::with(|genesis| genesis.params.stake.reward = Stake(4_000));
    chain.attest(3, &[0, 1, 2]);
    chain.attest(2, &[0, 1, 3]);
    let events = chain.end_epoch();
    let rewards: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Rewarded { amount, .. } => Some(amount.0),
            _ => None,
        })
        .collect();
    assert_eq!(rewards, [1_000, 1_000, 600, 400]);
    check_conservation(&chain);
    chain.end_epoch();
    assert_eq!(chain.pool(1), 3_000, "everything where nothing was shown");
}

#[test]
fn a_chain_reopened_after_any_block_around_an_epochs_end_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut reference = Chain::new();
    for step in 0..6u64 {
        let mut chain = Chain::at(dir.path());
        let time = if step == 2 { chain.committee().ends.0 } else { chain.now() + 1 };
        chain.block_at(time, vec![]);
        reference.block_at(time, vec![]);
        assert_eq!(chain.reader.head(), reference.reader.head());
        assert_eq!(chain.committee(), reference.committee());
    }
    drop(reference);
    let genesis = genesis();
    let ledger = Ledger::open(dir.path(), None, &genesis).unwrap();
    assert_eq!(ledger.reader().committee().epoch, Epoch(1));
}

#[test]
fn the_two_newest_past_epochs_stay_however_long_ago_they_ended() {
    const FORTY_DAYS_MS: u64 = 40 * 24 * 3_600 * 1_000;
    let mut chain = staked();
    for _ in 0..4 {
        chain.block_at(chain.now() + FORTY_DAYS_MS, vec![]);
    }
    let running = chain.committee().epoch.0;
    let is_known = |back: u64| {
        let key = state_key::past_epoch(Epoch(running - back));
        chain.reader.get::<PastEpoch>(&key).unwrap().is_some()
    };
    assert_eq!([1, 2, 3].map(is_known), [true, true, false]);
}
