//! The samples of stake, epochs and evidence.

use super::samples::{
    checkpoint_certificate, checkpoint_vote, digest, fold_result, genesis, key, recovery,
    round_key, signature, view_change, vote,
};
use twinfold_types::{
    Committee, Epoch, Event, Evidence, Height, RegionId, SeatIndex, Stake, TaskId, TimeMs,
    evidence::Offence,
    handover::{EpochEnd, Handover, Trail},
    member::AdminAction,
    round::{FoldJob, SignedFoldResult},
    stake::{
        Candidate, Declaration, Jail, Participation, StakeAction, StakeParams, StakePool, Unbonding,
    },
    state_key::{self, StateKey},
    tx::Action,
};

pub fn stake_actions() -> Vec<(&'static str, Action)> {
    let (validator, amount) = (key(2), Stake(500));
    let declaration = Declaration {
        ready: true,
        commission_permille: 100,
        key: Some((key(3), signature(3))),
        addresses: Some(("/ip4/10.0.0.7/tcp/1".into(), "/ip4/10.0.0.7/tcp/2".into())),
    };
    let stake = |action| Action::Stake(action);
    vec![
        ("delegate", stake(StakeAction::Delegate { validator, amount })),
        ("undelegate", stake(StakeAction::Undelegate { validator, amount })),
        ("transfer", stake(StakeAction::Transfer { to: key(4), amount })),
        ("declare", stake(StakeAction::Declare(declaration))),
        ("release", stake(StakeAction::Release)),
        ("attest", Action::Attest(Box::new(checkpoint_certificate()))),
    ]
}

pub fn admin_actions() -> Vec<(&'static str, Action)> {
    let grant = AdminAction::GrantStake { member: key(2), amount: Stake(500) };
    let actions = [
        ("propose grant", grant),
        ("propose rules of stake", AdminAction::SetStakeParams(StakeParams::default())),
        ("propose end of epoch", AdminAction::EndEpoch),
        ("propose expulsion", AdminAction::Expel(key(2))),
        ("propose readmission", AdminAction::Readmit(key(2))),
        ("propose rules", AdminAction::SetProtocol(2)),
    ];
    actions.into_iter().map(|(name, action)| (name, Action::Propose(action))).collect()
}

pub fn accusations() -> Vec<(&'static str, Action)> {
    let (vote, change) = (|| Box::new(vote()), || Box::new(view_change().header));
    let checkpoint = || Box::new(checkpoint_vote());
    let signed =
        SignedFoldResult { result: fold_result(), seat: SeatIndex(1), signature: signature(1) };
    let evidence = [
        ("accuse by votes", Evidence::Votes(vote(), vote())),
        ("accuse by view changes", Evidence::ViewChanges(change(), change())),
        ("accuse by claim", Evidence::Claim(vote(), change())),
        ("accuse by checkpoints", Evidence::Checkpoints(checkpoint(), checkpoint())),
        ("accuse by result", Evidence::Result { epoch: Epoch(3), signed: Box::new(signed) }),
    ];
    let accuse = |(name, evidence)| (name, Action::Accuse(Box::new(evidence)));
    evidence.into_iter().map(accuse).collect()
}

pub fn candidates() -> Vec<(&'static str, Candidate)> {
    let candidate = |jail| Candidate {
        validator: key(2),
        key: key(3),
        ready: true,
        commission_permille: 100,
        commission_next_permille: 50,
        pool: StakePool { stake: Stake(950), shares: 1_000 },
        jail,
        addresses: Some(("/ip4/10.0.0.7/tcp/1".into(), "/ip4/10.0.0.7/tcp/2".into())),
    };
    vec![
        ("free", candidate(None)),
        ("silent", candidate(Some(Jail::Silent { until: Epoch(4) }))),
        ("guilty", candidate(Some(Jail::Guilty))),
        ("expelled", candidate(Some(Jail::Expelled))),
    ]
}

pub fn unbonding() -> Unbonding {
    let pool = StakePool { stake: Stake(950), shares: 1_000 };
    Unbonding { pool, free_at: Some(TimeMs(77)) }
}

pub fn participation() -> Participation {
    Participation { checkpoints: 5, signed: vec![5, 5, 4, 1] }
}

/// An epoch later than the first, which has an end.
pub fn committee() -> Committee {
    Committee {
        epoch: Epoch(3),
        anchor: Height(900),
        ends: TimeMs(99_000),
        ..genesis().committee()
    }
}

pub fn trail() -> Trail {
    let end = EpochEnd::Checkpoint(checkpoint_certificate());
    let handover = Handover { committee: committee(), end };
    let recovered = Handover { committee: committee(), end: EpochEnd::Recovery(recovery().into()) };
    Trail { ended: vec![handover, recovered], committee: committee() }
}

pub fn stake_events() -> Vec<(&'static str, Event)> {
    let (member, validator, amount) = (key(1), key(2), Stake(500));
    let (delegator, to, epoch) = (member, key(4), Epoch(3));
    let jail = Jail::Silent { until: Epoch(4) };
    let (offence, burnt, commission) = (Offence::WrongResult, Stake(25), Stake(50));
    vec![
        ("granted", Event::StakeGranted { member, amount }),
        ("transferred", Event::StakeTransferred { from: member, to, amount }),
        ("delegated", Event::Delegated { delegator, validator, amount }),
        ("undelegated", Event::Undelegated { delegator, validator, amount }),
        ("freed", Event::StakeFreed { delegator, validator, amount }),
        ("declared", Event::CandidateDeclared { validator, ready: true }),
        ("slashed", Event::Slashed { validator, epoch, offence, burnt }),
        ("jailed", Event::Jailed { validator, jail }),
        ("let out", Event::LetOut { validator }),
        ("rewarded", Event::Rewarded { validator, amount, commission }),
        ("rules of stake", Event::StakeParamsSet),
        ("rules", Event::ProtocolSet { version: 2 }),
        ("epoch ending", Event::EpochEnding { at: Height(900) }),
        ("epoch ended", Event::EpochEnded { epoch, joined: vec![validator], left: vec![member] }),
        ("recovered", Event::Recovered { epoch, statement: digest(7) }),
    ]
}

pub fn stake_keys() -> Vec<(&'static str, StateKey)> {
    let (member, validator, epoch) = (key(1), key(2), Epoch(3));
    let region = FoldJob::RegionMerge { task: TaskId(digest(5)), region: RegionId(1), number: 2 };
    let merge = FoldJob::Merge { task: TaskId(digest(5)), number: 2 };
    vec![
        ("epoch", state_key::epoch()),
        ("past epoch", state_key::past_epoch(epoch)),
        ("epoch end", state_key::epoch_end()),
        ("protocol", state_key::protocol()),
        ("attested", state_key::attested(Height(16))),
        ("participation", state_key::participation()),
        ("fold result of a region", state_key::fold_result(&region)),
        ("fold result of a round", state_key::fold_result(&FoldJob::Round(round_key()))),
        ("fold result of a merge", state_key::fold_result(&merge)),
        ("balance", state_key::balance(&member)),
        ("stake total", state_key::stake_total()),
        ("candidate", state_key::candidate(&validator)),
        ("delegation", state_key::delegation(&member, &validator)),
        ("unbonding", state_key::unbonding(&validator, epoch)),
        ("unbonding shares", state_key::unbonding_shares(&validator, epoch, &member)),
        ("unbonding due", state_key::unbonding_due(TimeMs(77), &validator, epoch)),
        ("punished", state_key::punished(epoch, &validator, Offence::WrongResult)),
    ]
}
