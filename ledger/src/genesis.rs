//! The state before the first block: the parameters, the members and the stake that the
//! genesis file names, and the first epoch.

use crate::{stake::candidate, state::Writes};
use std::collections::BTreeMap;
use twinfold_types::{
    Stake, codec,
    genesis::{Genesis, GenesisValidator},
    member::Role,
    stake::Candidate,
    state_key::{self, StateKey},
};

/// Every row of the first state.
pub fn state(genesis: &Genesis) -> Writes {
    let mut writes = Writes::new();
    let mut put = |key: StateKey, value: Vec<u8>| {
        writes.insert(key.into_bytes(), Some(value));
    };
    put(state_key::params(), codec::encode(&genesis.params));
    let members = genesis.all_members();
    put(state_key::member_count(), codec::encode(&(members.len() as u32)));
    let mut trainers: BTreeMap<&str, u32> = BTreeMap::new();
    for member in &members {
        put(state_key::member(&member.key), codec::encode(member));
        if member.has(Role::Trainer) {
            *trainers.entry(&member.organisation).or_default() += 1;
        }
    }
    for (organisation, count) in trainers {
        put(state_key::trainer_count(organisation), codec::encode(&count));
    }
    put_stake(genesis, &mut put);
    let committee = genesis.committee();
    put(state_key::protocol(), codec::encode(&committee.protocol));
    put(state_key::epoch(), codec::encode(&committee));
    writes
}

/// Free stake, and the validators' own, bonded to themselves.
fn put_stake(genesis: &Genesis, put: &mut impl FnMut(StateKey, Vec<u8>)) {
    let mut total = 0;
    for (member, amount) in genesis.balances.iter().filter(|(_, amount)| *amount > Stake(0)) {
        put(state_key::balance(member), codec::encode(amount));
        total += amount.0;
    }
    for validator in &genesis.validators {
        let (candidate, shares) = first_candidate(validator);
        put(state_key::candidate(&validator.key), codec::encode(&candidate));
        if shares > 0 {
            put(state_key::delegation(&validator.key, &validator.key), codec::encode(&shares));
        }
        total += candidate.pool.stake.0;
    }
    put(state_key::stake_total(), codec::encode(&Stake(total)));
}

fn first_candidate(validator: &GenesisValidator) -> (Candidate, u64) {
    let mut candidate = Candidate { ready: true, ..candidate::new(&validator.key) };
    let shares = candidate.pool.join(validator.stake).unwrap_or(0);
    (candidate, shares)
}
