use crate::{kit::*, kit_stake::*};
use proptest::prelude::*;
use twinfold_types::{
    Action, Code, Epoch, Event, SecretKey, Stake, TimeMs,
    key::Signer,
    limits,
    member::{AdminAction, Role},
    stake::{Declaration, Jail, StakeAction, StakeParams, key_statement},
    tx::TxBody,
};

#[test]
fn genesis_stake_is_free_or_bonded_to_the_validators_themselves() {
    let chain = staked();
    assert_eq!(chain.reader.stake_total().unwrap(), Stake(4 * 1_000 + 4 * FREE));
    assert_eq!((chain.free(TRAINER), chain.free(VALIDATOR)), (FREE, 0));
    assert_eq!((chain.pool(VALIDATOR), chain.bonded(VALIDATOR, VALIDATOR)), (1_000, 1_000));
    assert!(chain.candidate(VALIDATOR).ready);
    check_conservation(&chain);
}

#[test]
fn stake_goes_into_a_pool_at_once_and_comes_back_when_the_unbonding_time_is_over() {
    let mut chain = staked();
    let (delegator, validator) = (public(TRAINER), public(VALIDATOR));
    let events = chain.ok(TRAINER, delegate(VALIDATOR, 600));
    assert_eq!(events, [Event::Delegated { delegator, validator, amount: Stake(600) }]);
    assert_eq!((chain.free(TRAINER), chain.pool(VALIDATOR)), (FREE - 600, 1_600));

    let events = chain.ok(TRAINER, undelegate(VALIDATOR, 200));
    assert_eq!(events, [Event::Undelegated { delegator, validator, amount: Stake(200) }]);
    assert_eq!((chain.free(TRAINER), chain.bonded(TRAINER, VALIDATOR)), (FREE - 600, 400));
    let leaving = chain.reader.unbonding(&delegator).unwrap();
    assert_eq!((leaving[0].worth, leaving[0].free_at), (Stake(200), None));

    chain.end_epoch();
    let free_at = chain.now() + StakeParams::default().unbonding_ms;
    let leaving = chain.reader.unbonding(&delegator).unwrap();
    assert_eq!((leaving[0].epoch, leaving[0].free_at), (Epoch(0), Some(TimeMs(free_at))));
    chain.block_at(free_at - 1, vec![]);
    assert_eq!(chain.free(TRAINER), FREE - 600);
    let receipts = chain.block_at(free_at, vec![]);
    let freed = Event::StakeFreed { delegator, validator, amount: Stake(200) };
    assert_eq!(receipts[0].events, [freed]);
    assert_eq!(chain.free(TRAINER), FREE - 400);
    assert_eq!(chain.reader.unbonding(&delegator).unwrap(), []);
    check_conservation(&chain);
}

#[test]
fn what_a_member_does_not_have_it_cannot_use() {
    let mut chain = staked();
    chain.ok(TRAINER, delegate(VALIDATOR, 10));
    let refused = [
        (TRAINER, delegate(VALIDATOR, FREE), Code::StakeTooLittle),
        (TRAINER, delegate(VALIDATOR, 0), Code::StakeTooLittle),
        (TRAINER, delegate(OPERATOR, 1), Code::CandidateUnknown),
        (TRAINER, undelegate(VALIDATOR, 11), Code::StakeTooLittle),
        (TRAINER, undelegate(VALIDATOR, 0), Code::StakeTooLittle),
        (TRAINER + 1, undelegate(VALIDATOR, 1), Code::StakeTooLittle),
        (TRAINER, transfer(STRANGER, 1), Code::MemberUnknown),
        (TRAINER, transfer(OPERATOR, FREE), Code::StakeTooLittle),
        (STRANGER, delegate(VALIDATOR, 1), Code::UnknownSender),
        (TRAINER, declare(true, 0), Code::CandidateUnknown),
        (TRAINER, Action::Stake(StakeAction::Release), Code::CandidateUnknown),
        (VALIDATOR, declare(true, 1_001), Code::DeclarationInvalid),
        (VALIDATOR, Action::Stake(StakeAction::Release), Code::NotJailed),
    ];
    for (sender, action, code) in refused {
        assert_eq!(chain.code(sender, action), code);
    }
    chain.ok(TRAINER, transfer(OPERATOR, FREE - 10));
    assert_eq!((chain.free(TRAINER), chain.free(OPERATOR)), (0, FREE - 10));
    check_conservation(&chain);
}

#[test]
fn the_admins_make_stake_but_not_more_than_can_be_counted() {
    let mut chain = staked();
    let events = chain.grant(OPERATOR, 5);
    assert!(events.contains(&Event::StakeGranted { member: public(OPERATOR), amount: Stake(5) }));
    let (member, amount) = (public(OPERATOR), Stake(u64::MAX));
    let action = Action::Propose(AdminAction::GrantStake { member, amount });
    assert_eq!(chain.code(ADMIN, action), Code::StakeTooMuch);
    check_conservation(&chain);
}

#[test]
fn rules_that_contradict_one_another_are_refused() {
    let mut chain = Chain::new();
    let broken = StakeParams { unbonding_ms: 1, ..StakeParams::default() };
    let action = Action::Propose(AdminAction::SetStakeParams(broken));
    assert_eq!(chain.code(ADMIN, action), Code::StakeParamsInvalid);
    let better = StakeParams { reward: Stake(40), ..StakeParams::default() };
    chain.decide(AdminAction::SetStakeParams(better.clone()));
    assert_eq!(chain.reader.stake_params().unwrap(), better);
}

#[test]
fn a_reward_raises_every_share_after_the_validators_commission() {
    let mut chain = Chain::with(|genesis| {
        genesis.params.stake.reward = Stake(4_000);
        genesis.balances = vec![(public(TRAINER), Stake(FREE))];
    });
    chain.ok(TRAINER, delegate(VALIDATOR, 1_000));
    chain.ok(VALIDATOR, declare(true, 100));
    let reward = |commission| Event::Rewarded {
        validator: public(VALIDATOR),
        amount: Stake(1_000),
        commission: Stake(commission),
    };
    // What it asks for now it keeps from the next election on.
    assert!(chain.end_epoch().contains(&reward(0)));
    assert_eq!((chain.bonded(TRAINER, VALIDATOR), chain.pool(VALIDATOR)), (1_500, 3_000));
    assert!(chain.end_epoch().contains(&reward(100)));
    assert_eq!(chain.pool(VALIDATOR), 4_000);
    assert_eq!(chain.bonded(TRAINER, VALIDATOR), 1_950);
    assert!((2_049..=2_050).contains(&chain.bonded(VALIDATOR, VALIDATOR)), "rounded down");
    check_conservation(&chain);
    // Whoever takes out what its shares are worth takes all of them.
    chain.ok(TRAINER, undelegate(VALIDATOR, 1_950));
    assert_eq!(chain.reader.delegations(&public(TRAINER)).unwrap(), []);
    check_conservation(&chain);
}

#[test]
fn what_buys_no_whole_share_stays_free() {
    let mut chain = staked();
    // The pool of a single unit grows to many: one share is worth them all.
    chain.ok(1, undelegate(1, 999));
    chain.decide(AdminAction::SetStakeParams(StakeParams {
        reward: Stake(4 * 300),
        ..StakeParams::default()
    }));
    chain.end_epoch();
    assert_eq!((chain.pool(1), chain.candidate(1).pool.shares), (301, 1));
    assert_eq!(chain.code(TRAINER, delegate(1, 300)), Code::StakeTooLittle);
    chain.ok(TRAINER, delegate(1, 700));
    assert_eq!((chain.free(TRAINER), chain.bonded(TRAINER, 1)), (FREE - 602, 602));
    check_conservation(&chain);
}

#[test]
fn a_consensus_key_is_its_holders_and_nobody_elses() {
    let mut chain = Chain::new();
    let key = |signer: &SecretKey, of: u8, chain: &Chain| {
        let statement = key_statement(&chain.chain, &public(of), &signer.public_key());
        Some((signer.public_key(), signer.sign(&statement)))
    };
    let declare = |key| {
        let declaration = Declaration { ready: true, commission_permille: 0, key, addresses: None };
        Action::Stake(StakeAction::Declare(declaration))
    };
    let stolen = key(&secret(70), 2, &chain);
    assert_eq!(chain.code(1, declare(stolen)), Code::DeclarationInvalid, "for another validator");
    for taken in [2, TRAINER] {
        let other = key(&secret(taken), 1, &chain);
        assert_eq!(chain.code(1, declare(other)), Code::DeclarationInvalid);
    }
    let own = key(&secret(70), 1, &chain);
    chain.ok(1, declare(own));
    let same = key(&secret(70), 2, &chain);
    assert_eq!(chain.code(2, declare(same)), Code::DeclarationInvalid);
    let clash = AdminAction::AddMember(member(70, "new", &[Role::Validator]));
    assert_eq!(chain.code(ADMIN, Action::Propose(clash)), Code::InvalidMember);
    // It signs with the new key from the next epoch on.
    assert_eq!(chain.committee().seats[0].key, public(1));
    chain.end_epoch();
    assert_eq!(chain.committee().seats[0].key, public(70));
    assert_eq!(chain.committee().seats[0].validator, public(1));
    let back = key(&secret(1), 1, &chain);
    chain.ok(1, declare(back));
}

#[test]
fn stake_behind_a_validator_that_is_removed_can_still_leave() {
    let mut chain = staked();
    chain.newcomer(5, "organisation 5", 10);
    chain.ok(TRAINER, delegate(5, 500));
    chain.decide(AdminAction::RemoveMember(public(5)));
    assert_eq!(chain.code(TRAINER, delegate(5, 1)), Code::CandidateUnknown);
    chain.ok(TRAINER, undelegate(5, 500));
    assert_eq!(chain.pool(5), 10);
    chain.end_epoch();
    check_conservation(&chain);
    // A validator that comes again finds its pool, and whatever it was jailed for.
    chain.decide(AdminAction::AddMember(member(5, "organisation 5", &[Role::Validator])));
    assert!(!chain.candidate(5).ready);
    chain.ok(5, undelegate(5, 10));
    chain.decide(AdminAction::RemoveMember(public(5)));
    chain.end_epoch();
    assert_eq!(chain.reader.candidate(&public(5)).unwrap(), None, "nothing is left of it");
    check_conservation(&chain);
}

#[test]
fn a_crowd_is_freed_over_several_blocks() {
    let people = limits::RELEASES_MAX as u16 + 44;
    let person = |i: u16| {
        let mut seed = [200; 32];
        seed[..2].copy_from_slice(&i.to_be_bytes());
        SecretKey::from_seed(&seed)
    };
    let mut chain = Chain::with(|genesis| {
        for i in 0..people {
            let mut new = member(TRAINER, "crowd", &[Role::Trainer]);
            (new.key, new.name) = (person(i).public_key(), format!("person {i}"));
            genesis.balances.push((new.key, Stake(10)));
            genesis.members.push(new);
        }
        genesis.balances.sort();
    });
    for action in [delegate(VALIDATOR, 10), undelegate(VALIDATOR, 10)] {
        let now = chain.now();
        let tx = |i: u16| {
            TxBody {
                chain: chain.chain,
                sender: person(i).public_key(),
                nonce: 0,
                valid_from: TimeMs(now),
                valid_until: TimeMs(now + 60_000),
                action: action.clone(),
            }
            .sign(&person(i))
        };
        let txs = (0..people).map(tx).collect();
        assert!(chain.block(txs).iter().all(|receipt| receipt.code == Code::Ok));
    }
    chain.end_epoch();
    let free_at = chain.now() + StakeParams::default().unbonding_ms;
    let freed = |receipts: Vec<twinfold_types::Receipt>| {
        let events = receipts.into_iter().flat_map(|receipt| receipt.events);
        events.filter(|event| matches!(event, Event::StakeFreed { .. })).count()
    };
    let first = chain.block_at(free_at, vec![]);
    assert_eq!(freed(first), limits::RELEASES_MAX);
    check_conservation(&chain);
    let second = chain.block(vec![]);
    assert_eq!(freed(second), 44);
    let third = chain.block(vec![]);
    assert_eq!(freed(third), 0);
    assert_eq!(chain.reader.balance(&person(0).public_key()).unwrap(), Stake(10));
    check_conservation(&chain);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However stake moves, is made, rewarded and slashed, all of it is somewhere.
    #[test]
    fn stake_is_neither_made_nor_lost_but_by_name(
        steps in proptest::collection::vec((0..9u8, 0..4u8, 1..=4u8, 1..4_000u64), 1..40),
    ) {
        let mut chain = Chain::with(|genesis| {
            genesis.params.stake.reward = Stake(777);
            let mut balances: Vec<_> = (0..4).map(|i| (public(TRAINER + i), Stake(FREE))).collect();
            balances.sort();
            genesis.balances = balances;
        });
        for (step, who, validator, amount) in steps {
            let sender = TRAINER + who;
            match step {
                0 | 1 => { chain.apply(sender, delegate(validator, amount)); }
                2 | 3 => { chain.apply(sender, undelegate(validator, amount)); }
                4 => { chain.apply(sender, transfer(TRAINER + (who + 1) % 4, amount)); }
                5 => { chain.apply(validator, declare(true, (amount % 1_001) as u16)); }
                6 => {
                    let evidence = crate::slashing::equivocation(&chain, u16::from(validator - 1));
                    chain.apply(sender, evidence);
                    if matches!(chain.candidate(validator).jail, Some(Jail::Guilty)) {
                        chain.decide(AdminAction::Readmit(public(validator)));
                    }
                }
                7 => { chain.end_epoch(); }
                _ => {
                    let later = chain.now() + StakeParams::default().unbonding_ms + amount;
                    chain.block_at(later, vec![]);
                }
            }
            check_conservation(&chain);
        }
    }
}
