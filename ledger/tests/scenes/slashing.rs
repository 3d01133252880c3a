use crate::{kit::*, kit_stake::*};
use twinfold_types::key::Signer;
use twinfold_types::{
    Action, Code, Committee, Digest, Epoch, Event, Evidence, Height, SeatIndex, Stake, View,
    evidence::Offence,
    member::AdminAction,
    round::SignedFoldResult,
    stake::{Jail, StakeAction, StakeParams},
    vote::{Vote, VoteBody, VoteKind},
};

fn vote(chain: &Chain, committee: &Committee, seat: u16, digest: u8) -> Box<Vote> {
    let body = VoteBody {
        kind: VoteKind::Commit,
        epoch: committee.epoch,
        view: View(3),
        height: Height(7),
        digest: Digest([digest; 32]),
    };
    let statement = body.statement(&chain.chain, &committee.digest());
    let seat = SeatIndex(seat);
    Box::new(Vote { body, seat, signature: seat_secret(committee, seat).sign(&statement) })
}

/// Two votes of a seat of a committee that exclude one another.
fn votes(chain: &Chain, committee: &Committee, seat: u16) -> Action {
    let (one, other) = (vote(chain, committee, seat, 1), vote(chain, committee, seat, 2));
    Action::Accuse(Box::new(Evidence::Votes(one, other)))
}

/// The same of the running epoch.
pub fn equivocation(chain: &Chain, seat: u16) -> Action {
    votes(chain, &chain.committee(), seat)
}

fn slashed(validator: u8, epoch: u64, burnt: u64) -> Event {
    Event::Slashed {
        validator: public(validator),
        epoch: Epoch(epoch),
        offence: Offence::Equivocation,
        burnt: Stake(burnt),
    }
}

#[test]
fn two_votes_at_one_place_cost_a_twentieth_and_the_right_to_be_elected() {
    let mut chain = staked();
    chain.ok(TRAINER, delegate(2, 1_000));
    let evidence = equivocation(&chain, 1);
    let events = chain.ok(AUDITOR, evidence.clone());
    let jailed = Event::Jailed { validator: public(2), jail: Jail::Guilty };
    assert_eq!(events, [slashed(2, 0, 100), jailed]);
    assert_eq!((chain.pool(2), chain.bonded(TRAINER, 2)), (1_900, 950));
    assert_eq!(chain.reader.stake_total().unwrap(), Stake(4_000 + 4 * FREE - 100));
    check_conservation(&chain);
    // Once is enough, and it does not get out by itself.
    assert_eq!(chain.code(AUDITOR, evidence), Code::EvidenceKnown);
    let release = Action::Stake(StakeAction::Release);
    assert_eq!(chain.code(2, release), Code::JailedStill);
}

#[test]
fn a_guilty_validator_leaves_when_somebody_can_take_its_seat_and_returns_when_the_admins_say() {
    let mut chain = Chain::new();
    let evidence = equivocation(&chain, 1);
    chain.ok(AUDITOR, evidence);
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4], "three seats would bear no liar at all");
    chain.newcomer(5, "organisation 5", 1);
    let events = chain.end_epoch();
    let (joined, left) = (vec![public(5)], vec![public(2)]);
    assert_eq!(events, [Event::EpochEnded { epoch: Epoch(1), joined, left }]);
    assert_eq!(chain.sitting(), [1, 5, 3, 4]);
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 5, 3, 4]);
    let events = chain.decide(AdminAction::Readmit(public(2)));
    assert!(events.contains(&Event::LetOut { validator: public(2) }));
    chain.end_epoch();
    assert_eq!(chain.sitting(), [1, 2, 3, 4]);
    let again = Action::Propose(AdminAction::Readmit(public(2)));
    assert_eq!(chain.code(ADMIN, again), Code::NotJailed);
}

#[test]
fn what_convicts_nobody_is_refused() {
    let mut chain = Chain::new();
    let committee = chain.committee();
    let same = || vote(&chain, &committee, 1, 1);
    let innocent = Evidence::Votes(same(), same());
    let mut forged = vote(&chain, &committee, 1, 2);
    forged.signature = same().signature;
    let forged = Evidence::Votes(same(), forged);
    let later = Committee { epoch: Epoch(1), ..committee.clone() };
    let future = votes(&chain, &later, 1);
    for evidence in [innocent, forged] {
        let accuse = Action::Accuse(Box::new(evidence));
        assert_eq!(chain.code(AUDITOR, accuse), Code::EvidenceInvalid);
    }
    assert_eq!(chain.code(AUDITOR, future), Code::EvidenceInvalid);
    assert_eq!(chain.pool(2), 1_000);
}

#[test]
fn evidence_reaches_across_an_epochs_end_until_its_time_is_over() {
    let mut chain = Chain::new();
    let evidence_ms = StakeParams::default().evidence_ms;
    let first = chain.committee();
    chain.end_epoch();
    let ended = chain.now();
    chain.block_at(ended + evidence_ms - 2_000, vec![]);
    let evidence = votes(&chain, &first, 0);
    assert_eq!(chain.ok(AUDITOR, evidence)[0], slashed(1, 0, 50));
    // Once for each epoch: what it did in another one is another offence.
    let running = equivocation(&chain, 0);
    assert!(matches!(chain.ok(AUDITOR, running)[0], Event::Slashed { .. }));
    let known = votes(&chain, &first, 0);
    let late = votes(&chain, &first, 1);
    assert_eq!(chain.code(AUDITOR, late), Code::EvidenceOld);
    assert_eq!(chain.code(AUDITOR, known), Code::EvidenceOld);
    // By and by the epoch is forgotten.
    chain.end_epoch();
    chain.block_at(chain.now() + evidence_ms + 1, vec![]);
    let again = votes(&chain, &first, 1);
    assert_eq!(chain.code(AUDITOR, again), Code::EvidenceOld);
}

#[test]
fn an_epoch_is_accused_for_as_long_as_its_end_said_whatever_the_rules_become() {
    let mut chain = staked();
    chain.ok(TRAINER, delegate(1, 1_000));
    chain.ok(TRAINER, undelegate(1, 1_000));
    let first = chain.committee();
    let before = StakeParams::default();
    chain.end_epoch();
    let ended = chain.now();
    let set = |evidence_ms| {
        let unbonding_ms = 2 * before.unbonding_ms;
        AdminAction::SetStakeParams(StakeParams { evidence_ms, unbonding_ms, ..before.clone() })
    };
    // Shorter: the epoch that has ended answers still, and is not forgotten.
    chain.decide(set(before.epoch_ms + 1));
    for _ in 0..3 {
        chain.end_epoch();
    }
    let evidence = votes(&chain, &first, 1);
    assert_eq!(chain.ok(AUDITOR, evidence)[0], slashed(2, 0, 50));
    // Who left meanwhile waits for as long as any epoch it answers for can be accused.
    let mut shorter = before.clone();
    (shorter.evidence_ms, shorter.unbonding_ms) = (before.epoch_ms + 1, before.epoch_ms + 2);
    chain.decide(AdminAction::SetStakeParams(shorter));
    chain.ok(2, undelegate(2, 100));
    chain.end_epoch();
    let free_at = chain.reader.unbonding(&public(2)).unwrap()[0].free_at.unwrap();
    assert_eq!(free_at.0, ended + before.evidence_ms + 1);
    // Longer: what left in it is free by the old rules, so nobody is accused beyond them.
    chain.decide(set(before.unbonding_ms + 1_000));
    chain.block_at(ended + before.unbonding_ms, vec![]);
    assert_eq!(chain.free(TRAINER), FREE, "free by the rules of its epoch");
    let late = votes(&chain, &first, 0);
    assert_eq!(chain.code(AUDITOR, late), Code::EvidenceOld);
    assert_eq!(chain.pool(1), 1_000);
}

#[test]
fn stake_on_its_way_out_answers_for_its_last_epoch_and_before_but_not_for_later_ones() {
    let mut chain = staked();
    for trainer in 0..3 {
        chain.ok(TRAINER + trainer, delegate(1, 1_000));
    }
    let leaving = |chain: &Chain, trainer: u8| {
        chain.reader.unbonding(&public(TRAINER + trainer)).unwrap()[0].worth.0
    };
    chain.ok(TRAINER, undelegate(1, 1_000));
    let first = chain.committee();
    chain.end_epoch();
    chain.ok(TRAINER + 1, undelegate(1, 1_000));
    let second = chain.committee();
    chain.end_epoch();
    // An offence in the second epoch: what left in the first had no part in it.
    let evidence = votes(&chain, &second, 0);
    assert_eq!(chain.ok(AUDITOR, evidence)[0], slashed(1, 1, 150));
    assert_eq!((leaving(&chain, 0), leaving(&chain, 1)), (1_000, 950));
    assert_eq!((chain.bonded(TRAINER + 2, 1), chain.bonded(1, 1)), (950, 950));
    // An offence in the first is everybody's.
    let evidence = votes(&chain, &first, 0);
    chain.ok(AUDITOR, evidence);
    assert_eq!((leaving(&chain, 0), leaving(&chain, 1)), (950, 903));
    check_conservation(&chain);
    let free_at = chain.now() + StakeParams::default().unbonding_ms;
    chain.block_at(free_at, vec![]);
    assert_eq!((chain.free(TRAINER), chain.free(TRAINER + 1)), (FREE - 50, FREE - 97));
    check_conservation(&chain);
}

#[test]
fn a_seat_that_signed_another_fold_result_than_the_ledger_took_pays_for_it() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 0);
    let job = round_job(task, 0, 0);
    let accuse = |chain: &Chain, seat: u16, model: u8| {
        let (committee, seat) = (chain.committee(), SeatIndex(seat));
        let result = chain.result(job, model);
        let statement = result.statement(&chain.chain, &committee.digest());
        let signature = seat_secret(&committee, seat).sign(&statement);
        let signed = Box::new(SignedFoldResult { result, seat, signature });
        Action::Accuse(Box::new(Evidence::Result { epoch: committee.epoch, signed }))
    };
    let early = accuse(&chain, 3, 6);
    assert_eq!(chain.code(AUDITOR, early), Code::EvidenceInvalid, "nothing to compare it with");
    chain.fold(job, 5);
    let right = accuse(&chain, 3, 5);
    assert_eq!(chain.code(AUDITOR, right), Code::EvidenceInvalid);
    let wrong = accuse(&chain, 3, 6);
    let (validator, offence) = (public(4), Offence::WrongResult);
    let slashed = Event::Slashed { validator, epoch: Epoch(0), offence, burnt: Stake(50) };
    assert_eq!(chain.ok(AUDITOR, wrong), [slashed], "it pays, and stays a candidate");
    let other = accuse(&chain, 3, 7);
    assert_eq!(chain.code(AUDITOR, other), Code::EvidenceKnown);
    // Voting twice is another offence of the same epoch.
    let votes = equivocation(&chain, 3);
    assert!(matches!(chain.ok(AUDITOR, votes)[0], Event::Slashed { .. }));
}

#[test]
fn a_validator_that_left_answers_for_its_time_on_the_seat() {
    let mut chain = Chain::new();
    chain.newcomer(5, "organisation 5", 2_000);
    let first = chain.committee();
    let (gone, _) = (0..4u8).map(|i| (i + 1, public(i + 1))).max_by_key(|(_, key)| *key).unwrap();
    chain.ok(gone, undelegate(gone, 1_000));
    chain.end_epoch();
    assert!(!chain.sitting().contains(&gone));
    chain.decide(AdminAction::RemoveMember(public(gone)));
    chain.end_epoch();
    assert_eq!(chain.reader.candidate(&public(gone)).unwrap(), None);
    let evidence = votes(&chain, &first, u16::from(gone - 1));
    assert_eq!(chain.ok(AUDITOR, evidence), [slashed(gone, 0, 50)]);
    check_conservation(&chain);
    chain.block_at(chain.now() + StakeParams::default().unbonding_ms, vec![]);
    assert_eq!(chain.free(gone), 950);
}
