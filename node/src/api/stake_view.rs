//! Validators, epochs and stake, put together from the ledger and the running node.

use crate::node::Node;
use std::{cmp::Reverse, collections::BTreeSet};
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    Committee, Epoch, PublicKey, SeatIndex, Stake,
    api::{DelegationView, EpochView, StakeView, UnbondingView, ValidatorView},
    handover::EpochEnd,
    member::{Member, Role},
    quorum::Seat,
    stake::{Candidate, Participation},
    state_key,
};

type Result<T> = std::result::Result<T, LedgerError>;

/// Seats in their order, then the other candidates by rank.
pub fn validators(node: &Node) -> Result<Vec<ValidatorView>> {
    let (reader, committee) = (&node.reader, node.reader.committee());
    let list = List {
        node,
        participation: reader.participation()?,
        connected: node.links.connected(),
        ranked: ranked(reader)?,
    };
    let mut views = Vec::new();
    for (index, seat) in (0u16..).map(SeatIndex).zip(&committee.seats) {
        views.push(list.seat(index, seat)?);
    }
    for candidate in &list.ranked {
        if committee.seat_of(&candidate.validator).is_none() {
            views.push(list.candidate(candidate)?);
        }
    }
    Ok(views)
}

/// Candidates that are still members, as an election ranks them.
fn ranked(reader: &Reader) -> Result<Vec<Candidate>> {
    let members = reader.members()?.into_iter().filter(|member| member.has(Role::Validator));
    let members: BTreeSet<_> = members.map(|member| member.key).collect();
    let mut candidates = reader.candidates()?;
    candidates.retain(|candidate| members.contains(&candidate.validator));
    candidates.sort_by_key(|candidate| (Reverse(candidate.pool.stake), candidate.validator));
    Ok(candidates)
}

struct List<'a> {
    node: &'a Node,
    participation: Participation,
    connected: BTreeSet<PublicKey>,
    ranked: Vec<Candidate>,
}

impl List<'_> {
    fn seat(&self, index: SeatIndex, seat: &Seat) -> Result<ValidatorView> {
        // Who is no member any more keeps the seat to the epoch's end, and the stake behind it.
        let candidate = self.node.reader.candidate(&seat.validator)?;
        let view = self.view(&seat.validator, candidate.as_ref())?;
        // Until the election's checkpoint is stable, the leader is one of the committee before.
        let agreement = *self.node.agreement.borrow();
        Ok(ValidatorView {
            seat: Some(index),
            organisation: seat.organisation.clone(),
            key: seat.key,
            leader: index == agreement.leader,
            checkpoints: Some(self.participation.checkpoints),
            signed: self.participation.signed.get(index.index()).copied(),
            ..view
        })
    }

    fn candidate(&self, candidate: &Candidate) -> Result<ValidatorView> {
        self.view(&candidate.validator, Some(candidate))
    }

    /// What is the same of a seat's holder and of one without a seat.
    fn view(&self, validator: &PublicKey, candidate: Option<&Candidate>) -> Result<ValidatorView> {
        let reader = &self.node.reader;
        let member: Option<Member> = reader.get(&state_key::member(validator))?;
        let rank = self.ranked.iter().position(|other| other.validator == *validator);
        let declared = candidate.and_then(|candidate| candidate.addresses.clone());
        let (name, organisation, peer) = match member {
            Some(member) => (member.name, member.organisation, member.peer.unwrap_or_default()),
            None => (validator.short(), String::new(), String::new()),
        };
        Ok(ValidatorView {
            seat: None,
            rank: rank.map(|place| place as u32 + 1),
            name,
            organisation,
            validator: *validator,
            key: candidate.map_or(*validator, |candidate| candidate.key),
            peer,
            connected: *validator == self.node.own || self.connected.contains(validator),
            leader: false,
            stake: candidate.map(|candidate| candidate.pool.stake).unwrap_or_default(),
            own_stake: own_stake(reader, validator, candidate)?,
            commission_permille: candidate.map_or(0, |one| one.commission_permille),
            commission_next_permille: candidate.map_or(0, |one| one.commission_next_permille),
            ready: candidate.is_some_and(|candidate| candidate.ready),
            jail: candidate.and_then(|candidate| candidate.jail),
            checkpoints: None,
            signed: None,
            addresses: declared.or_else(|| self.in_genesis(validator)),
        })
    }

    fn in_genesis(&self, validator: &PublicKey) -> Option<(String, String)> {
        let mut entries = self.node.genesis.validators.iter();
        let entry = entries.find(|entry| entry.key == *validator)?;
        Some((entry.address.clone(), entry.payload_address.clone()))
    }
}

fn own_stake(
    reader: &Reader,
    validator: &PublicKey,
    candidate: Option<&Candidate>,
) -> Result<Stake> {
    let shares: Option<u64> = reader.get(&state_key::delegation(validator, validator))?;
    let worth = candidate.zip(shares).map(|(candidate, shares)| candidate.pool.worth(shares));
    Ok(worth.unwrap_or_default())
}

/// Epochs from one on, oldest first; the running one is the last there is.
pub fn epochs(reader: &Reader, from: Epoch, rows: usize) -> Result<Vec<EpochView>> {
    let mut before = match from.0.checked_sub(1) {
        Some(before) => reader.past_committee(Epoch(before))?,
        None => None,
    };
    let (mut views, mut epoch) = (Vec::new(), from);
    while views.len() < rows
        && let Some(committee) = reader.past_committee(epoch)?
    {
        let end = reader.end_of(epoch)?;
        // A recovery may leave out the number of an epoch that never had a block.
        epoch = match &end {
            Some(EpochEnd::Recovery(recovery)) => recovery.statement.committee.epoch,
            _ => epoch.next(),
        };
        let (joined, left) = match &before {
            Some(before) => (missing(&committee, before), missing(before, &committee)),
            None => (vec![], vec![]),
        };
        before = Some(committee.clone());
        views.push(EpochView { committee, joined, left, end });
    }
    Ok(views)
}

/// Who sits here and not there.
fn missing(here: &Committee, there: &Committee) -> Vec<PublicKey> {
    let members = here.seats.iter().map(|seat| seat.validator);
    members.filter(|member| there.seat_of(member).is_none()).collect()
}

/// What a member owns; one that was removed may own stake still.
pub fn of_member(reader: &Reader, key: &PublicKey) -> Result<Option<StakeView>> {
    let member: Option<Member> = reader.get(&state_key::member(key))?;
    let name = |key: &PublicKey| -> Result<String> {
        let member: Option<Member> = reader.get(&state_key::member(key))?;
        Ok(member.map_or_else(|| key.short(), |member| member.name))
    };
    let (mut delegated, mut unbonding) = (Vec::new(), Vec::new());
    for part in reader.delegations(key)? {
        let (validator, worth) = (part.validator, part.worth);
        delegated.push(DelegationView { validator, name: name(&validator)?, worth });
    }
    for part in reader.unbonding(key)? {
        unbonding.push(UnbondingView {
            validator: part.validator,
            name: name(&part.validator)?,
            epoch: part.epoch,
            worth: part.worth,
            free_at: part.free_at,
        });
    }
    let free = reader.balance(key)?;
    let owns = free > Stake(0) || !delegated.is_empty() || !unbonding.is_empty();
    if member.is_none() && !owns {
        return Ok(None);
    }
    let name = name(key)?;
    Ok(Some(StakeView { member: *key, name, free, delegated, unbonding }))
}
