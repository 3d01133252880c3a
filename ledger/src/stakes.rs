//! What readers see of epochs and stake.

use crate::{
    error::LedgerError,
    look::Look,
    open, proof,
    reader::Reader,
    recovery,
    rocks::Order,
    stake::participation,
    store::{self, Column},
    term,
};
use twinfold_types::{
    Committee, Epoch, Height, PublicKey, Stake, TimeMs,
    genesis::ChainParams,
    handover::Trail,
    limits,
    stake::{Candidate, Participation, StakeParams, Unbonding},
    state_key::{self, Prefix},
    vote::CheckpointCertificate,
};

type Result<T> = std::result::Result<T, LedgerError>;

/// What a member has bonded to a validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    pub validator: PublicKey,
    pub shares: u64,
    /// What the shares are worth now.
    pub worth: Stake,
}

/// What a member has on its way out of a validator's pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    pub validator: PublicKey,
    /// In which it was undelegated.
    pub epoch: Epoch,
    pub worth: Stake,
    /// None while the epoch runs.
    pub free_at: Option<TimeMs>,
}

impl Reader {
    // Epochs.

    /// The committee of an epoch that has begun.
    pub fn past_committee(&self, epoch: Epoch) -> Result<Option<Committee>> {
        committee(&self.look(), epoch)
    }

    /// The committee of an epoch and the stable checkpoint of its last height, which names the
    /// next committee: once this node knows it.
    pub fn epoch_end(&self, epoch: Epoch) -> Result<Option<(Committee, CheckpointCertificate)>> {
        epoch_end(&self.look(), epoch)
    }

    /// The hand-overs from the first committee to that of an epoch, which a client follows.
    pub fn trail(&self, epoch: Epoch) -> Result<Trail> {
        proof::trail(&self.look(), epoch)
    }

    /// The committee that may vote: the running epoch's, or that of the epoch before as long as
    /// the checkpoint that ended it is not stable.
    pub fn voting_committee(&self) -> Result<Committee> {
        let look = self.look();
        let newest = open::load(&look)?;
        let running = &newest.committee;
        if recovery::at(&look, newest.head.height)?.is_some() {
            return Ok(running.as_ref().clone());
        }
        let Some(before) =
            term::elected_at(running, &newest.head).map(|_| term::epoch_of(running, &newest.head))
        else {
            return Ok(running.as_ref().clone());
        };
        match epoch_end(&look, before)? {
            Some(_) => Ok(running.as_ref().clone()),
            None => expect_committee(&look, before),
        }
    }

    /// The height that the admins made the running epoch's last.
    pub fn ends_at(&self) -> Result<Option<Height>> {
        self.get(&state_key::epoch_end())
    }

    /// Who signed checkpoints in the running epoch, as its blocks show.
    pub fn participation(&self) -> Result<Participation> {
        let look = self.look();
        let committee = term::running(&look)?;
        let stored: Option<Participation> = look.state(&state_key::participation())?;
        Ok(stored.unwrap_or_else(|| participation::none(&committee)))
    }

    // Stake.

    pub fn stake_params(&self) -> Result<StakeParams> {
        Ok(self.look().expect::<ChainParams>(&state_key::params())?.stake)
    }

    /// All stake: free, bonded and unbonding.
    pub fn stake_total(&self) -> Result<Stake> {
        self.look().expect(&state_key::stake_total())
    }

    pub fn balance(&self, member: &PublicKey) -> Result<Stake> {
        Ok(self.get(&state_key::balance(member))?.unwrap_or_default())
    }

    pub fn candidate(&self, validator: &PublicKey) -> Result<Option<Candidate>> {
        self.get(&state_key::candidate(validator))
    }

    /// Every candidate, in the order of their keys.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        self.look().all(&Prefix::Candidate.scan())
    }

    /// What a member has bonded.
    pub fn delegations(&self, member: &PublicKey) -> Result<Vec<Delegation>> {
        let look = self.look();
        let prefix = state_key::delegations(member);
        let rows = look.scan::<u64>(&prefix, None, Order::Forward, limits::MEMBERS_MAX)?;
        let delegation = |(key, shares): (Vec<u8>, u64)| {
            let damaged = || look.0.damaged(format!("delegation {key:02x?}"));
            let validator = state_key::parse_delegation(&key).ok_or_else(damaged)?;
            let candidate: Candidate = look.expect(&state_key::candidate(&validator))?;
            Ok(Delegation { validator, shares, worth: candidate.pool.worth(shares) })
        };
        rows.into_iter().map(delegation).collect()
    }

    /// What a member has on its way out.
    pub fn unbonding(&self, member: &PublicKey) -> Result<Vec<Leaving>> {
        let look = self.look();
        let prefix = Prefix::Unbonding.scan();
        let mut leaving = Vec::new();
        for (key, row) in look.scan::<Unbonding>(&prefix, None, Order::Forward, usize::MAX)? {
            let damaged = || look.0.damaged(format!("unbonding pool {key:02x?}"));
            let (validator, epoch) = state_key::parse_unbonding(&key).ok_or_else(damaged)?;
            let shares = state_key::unbonding_shares(&validator, epoch, member);
            if let Some(shares) = look.state::<u64>(&shares)? {
                let (worth, free_at) = (row.pool.worth(shares), row.free_at);
                leaving.push(Leaving { validator, epoch, worth, free_at });
            }
        }
        Ok(leaving)
    }
}

pub(crate) fn committee(look: &Look<'_>, epoch: Epoch) -> Result<Option<Committee>> {
    match recovery::committee_of(look, epoch)? {
        Some(committee) => Ok(Some(committee)),
        None => look.value(Column::Committees, &store::epoch_key(epoch), "committee"),
    }
}

pub(crate) fn expect_committee(look: &Look<'_>, epoch: Epoch) -> Result<Committee> {
    let missing = || look.0.damaged(format!("no committee of epoch {epoch}"));
    committee(look, epoch)?.ok_or_else(missing)
}

pub(crate) fn epoch_end(
    look: &Look<'_>,
    epoch: Epoch,
) -> Result<Option<(Committee, CheckpointCertificate)>> {
    let key = store::epoch_key(epoch);
    let Some(end) = look.value(Column::EpochEnds, &key, "end of an epoch")? else {
        return Ok(None);
    };
    Ok(Some((expect_committee(look, epoch)?, end)))
}
