//! Stake in the scenes: who has it, who gives it to whom, how an epoch ends.

use crate::kit::*;
use std::collections::BTreeMap;
use twinfold_types::{
    Action, Committee, Event, PublicKey, SeatIndex, Stake, limits,
    member::{AdminAction, Role},
    stake::{Candidate, Declaration, StakeAction, Unbonding},
    state_key::Prefix,
    vote::CheckpointCertificate,
};

/// Free stake of each trainer of [`staked`].
pub const FREE: u64 = 10_000;

/// The usual chain, whose four trainers have free stake.
pub fn staked() -> Chain {
    Chain::with(|genesis| {
        let mut balances: Vec<_> = (0..4).map(|i| (public(TRAINER + i), Stake(FREE))).collect();
        balances.sort();
        genesis.balances = balances;
    })
}

pub fn delegate(validator: u8, amount: u64) -> Action {
    let (validator, amount) = (public(validator), Stake(amount));
    Action::Stake(StakeAction::Delegate { validator, amount })
}

pub fn undelegate(validator: u8, amount: u64) -> Action {
    let (validator, amount) = (public(validator), Stake(amount));
    Action::Stake(StakeAction::Undelegate { validator, amount })
}

pub fn transfer(to: u8, amount: u64) -> Action {
    Action::Stake(StakeAction::Transfer { to: public(to), amount: Stake(amount) })
}

pub fn declare(ready: bool, commission_permille: u16) -> Action {
    let declaration = Declaration { ready, commission_permille, key: None, addresses: None };
    Action::Stake(StakeAction::Declare(declaration))
}

/// What nothing may change: free, bonded and unbonding stake are all the stake there is, and
/// every share of a pool has an owner.
pub fn check_conservation(chain: &Chain) {
    check_shares(chain, Prefix::Delegation, Prefix::Candidate, 33..65);
    check_shares(chain, Prefix::UnbondingShares, Prefix::Unbonding, 1..41);
    let sum = |amounts: Vec<Stake>| amounts.iter().map(|amount| amount.0).sum::<u64>();
    let rows = |prefix: Prefix| prefix.scan();
    let scan = |prefix| chain.reader.scan::<Stake>(&prefix, None, usize::MAX).unwrap();
    let free = scan(rows(Prefix::Balance)).into_iter().map(|(_, amount)| amount).collect();
    let pools = chain.reader.candidates().unwrap();
    let bonded = pools.iter().map(|one| one.pool.stake).collect();
    let leaving = rows(Prefix::Unbonding);
    let leaving = chain.reader.scan::<Unbonding>(&leaving, None, usize::MAX).unwrap();
    let leaving = leaving.into_iter().map(|(_, row)| row.pool.stake).collect();
    let all = sum(free) + sum(bonded) + sum(leaving);
    assert_eq!(chain.reader.stake_total().unwrap(), Stake(all));
}

/// The shares in rows of one kind, by the part of the key that names their pool, are those of
/// the pools, which name themselves after their prefix.
fn check_shares(chain: &Chain, owners: Prefix, pools: Prefix, pool: std::ops::Range<usize>) {
    let mut owned = BTreeMap::<Vec<u8>, u64>::new();
    for (key, shares) in chain.reader.scan::<u64>(&owners.scan(), None, usize::MAX).unwrap() {
        *owned.entry(key[pool.clone()].to_vec()).or_default() += shares;
    }
    let shares: BTreeMap<Vec<u8>, u64> = match pools {
        Prefix::Candidate => {
            let all = chain.reader.candidates().unwrap().into_iter();
            all.map(|one| (one.validator.0.to_vec(), one.pool.shares)).collect()
        }
        _ => {
            let all = chain.reader.scan::<Unbonding>(&pools.scan(), None, usize::MAX).unwrap();
            all.into_iter().map(|(key, row)| (key[1..].to_vec(), row.pool.shares)).collect()
        }
    };
    let shares: BTreeMap<_, _> = shares.into_iter().filter(|(_, shares)| *shares > 0).collect();
    assert_eq!(owned, shares);
}

impl Chain {
    pub fn free(&self, member: u8) -> u64 {
        self.reader.balance(&public(member)).unwrap().0
    }

    pub fn candidate(&self, validator: u8) -> Candidate {
        self.reader.candidate(&public(validator)).unwrap().expect("a candidate")
    }

    pub fn pool(&self, validator: u8) -> u64 {
        self.candidate(validator).pool.stake.0
    }

    /// What a member's shares in a validator's pool are worth.
    pub fn bonded(&self, member: u8, validator: u8) -> u64 {
        let all = self.reader.delegations(&public(member)).unwrap();
        let found = all.into_iter().find(|one| one.validator == public(validator));
        found.map_or(0, |one| one.worth.0)
    }

    pub fn committee(&self) -> Committee {
        self.reader.committee().as_ref().clone()
    }

    /// Who sits, by number.
    pub fn sitting(&self) -> Vec<u8> {
        let number = |key: &PublicKey| (0..=u8::MAX).find(|number| public(*number) == *key);
        let seats = &self.committee().seats;
        seats.iter().map(|seat| number(&seat.validator).expect("a number")).collect()
    }

    /// A new validator with stake of its own that is ready for a seat.
    pub fn newcomer(&mut self, number: u8, organisation: &str, stake: u64) {
        let new = member(number, organisation, &[Role::Validator]);
        self.decide(AdminAction::AddMember(new));
        self.grant(number, stake);
        self.ok(number, delegate(number, stake));
        self.ok(number, declare(true, 0));
    }

    pub fn grant(&mut self, number: u8, amount: u64) -> Vec<Event> {
        let (member, amount) = (public(number), Stake(amount));
        self.decide(AdminAction::GrantStake { member, amount })
    }

    /// The last block of the epoch, by its time; the events it brings about itself.
    pub fn end_epoch(&mut self) -> Vec<Event> {
        let receipts = self.block_at(self.committee().ends.0, vec![]);
        receipts.into_iter().flat_map(|receipt| receipt.events).collect()
    }

    pub fn reach_height(&mut self, height: u64) {
        while self.reader.head().height.0 < height {
            self.block(vec![]);
        }
    }

    /// Goes to the next height that a checkpoint is due at, and one beyond; the checkpoint with
    /// some seats' signatures.
    pub fn next_checkpoint(&mut self, seats: &[u16]) -> CheckpointCertificate {
        let interval = limits::CHECKPOINT_INTERVAL_HEIGHTS;
        let due = (self.reader.head().height.0 / interval + 1) * interval;
        self.reach_height(due + 1);
        let checkpoint = self.reader.checkpoint(twinfold_types::Height(due)).unwrap().unwrap();
        let seats: Vec<_> = seats.iter().copied().map(SeatIndex).collect();
        self.checkpoint_signed(checkpoint, &seats)
    }

    /// Shows so many checkpoints that these seats signed.
    pub fn attest(&mut self, checkpoints: usize, seats: &[u16]) {
        for _ in 0..checkpoints {
            let shown = self.next_checkpoint(seats);
            let sender = self.sitting()[0];
            self.ok(sender, Action::Attest(Box::new(shown)));
        }
    }
}
