//! The state before the first block: the parameters and the members that the
//! genesis file names.

use crate::state::Writes;
use std::collections::BTreeMap;
use twinfold_types::{
    codec,
    genesis::Genesis,
    member::Role,
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
    writes
}
