//! Delegated stake and epochs.
//!
//! Stake is free (a member's balance), bonded (in a candidate's pool) or unbonding (in a pool
//! for each validator and epoch of leaving). The sum of all three is the total that the state
//! names; it changes only by genesis, a grant, a reward and a slash. Owners of a pool hold
//! shares, so that a reward or a slash writes one row, however many they are.
//!
//! | file | what |
//! |---|---|
//! | `delegation` | delegate, undelegate, transfer |
//! | `unbonding` | stake on its way out: when it is free, what a slash takes |
//! | `candidate` | who may be elected: declarations, jail |
//! | `participation` | who signed checkpoints, as the chain shows |
//! | `slashing` | evidence |
//! | `admin` | what m of n admins decide |
//! | `election` | who sits next: pure |
//! | `takeover` | what a seat that changed hands has to hold first |
//! | `epoch` | an epoch's last block |

pub mod admin;
pub mod candidate;
pub mod delegation;
pub mod election;
pub mod epoch;
pub mod participation;
pub mod reward;
pub mod slashing;
pub mod takeover;
pub mod unbonding;

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome},
};
use twinfold_types::{
    Code, PublicKey, Stake,
    genesis::ChainParams,
    member::Member,
    stake::{Candidate, StakeAction, StakeParams},
    state_key,
};

/// What a member does with its stake.
pub fn act(exec: &mut Exec<'_>, sender: &Member, action: &StakeAction) -> Outcome {
    match action {
        StakeAction::Delegate { validator, amount } => {
            delegation::delegate(exec, &sender.key, validator, *amount)
        }
        StakeAction::Undelegate { validator, amount } => {
            delegation::undelegate(exec, &sender.key, validator, *amount)
        }
        StakeAction::Transfer { to, amount } => {
            delegation::transfer(exec, &sender.key, to, *amount)
        }
        StakeAction::Declare(declaration) => candidate::declare(exec, &sender.key, declaration),
        StakeAction::Release => candidate::release(exec, &sender.key),
    }
}

/// What a block's time and height bring about before its transactions.
pub fn begin_block(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    participation::open_parent(exec)?;
    unbonding::free(exec)
}

pub fn params(exec: &Exec<'_>) -> Result<StakeParams, LedgerError> {
    Ok(exec.state.expect::<ChainParams>(&state_key::params())?.stake)
}

pub fn candidate(exec: &Exec<'_>, validator: &PublicKey) -> Result<Option<Candidate>, LedgerError> {
    exec.state.get(&state_key::candidate(validator))
}

pub fn put_candidate(exec: &mut Exec<'_>, candidate: &Candidate) {
    exec.state.put(state_key::candidate(&candidate.validator), candidate);
}

pub fn balance(exec: &Exec<'_>, member: &PublicKey) -> Result<Stake, LedgerError> {
    Ok(exec.state.get(&state_key::balance(member))?.unwrap_or_default())
}

/// Takes free stake of a member.
pub fn take(exec: &mut Exec<'_>, member: &PublicKey, amount: Stake) -> Outcome {
    let left = balance(exec, member)?.minus(amount).ok_or(Code::StakeTooLittle)?;
    put_balance(exec, member, left);
    Ok(())
}

/// Gives a member free stake. The total bounds every balance.
pub fn give(exec: &mut Exec<'_>, member: &PublicKey, amount: Stake) -> Result<(), LedgerError> {
    let sum = balance(exec, member)?.plus(amount);
    let sum = sum.ok_or_else(|| exec.state.base().damaged("more stake than there is".into()))?;
    put_balance(exec, member, sum);
    Ok(())
}

fn put_balance(exec: &mut Exec<'_>, member: &PublicKey, amount: Stake) {
    let key = state_key::balance(member);
    match amount {
        Stake(0) => exec.state.delete(key),
        amount => exec.state.put(key, &amount),
    }
}

/// Adds new stake to the total; false where there would be too much.
pub fn mint(exec: &mut Exec<'_>, amount: Stake) -> Result<bool, LedgerError> {
    let total: Stake = exec.state.expect(&state_key::stake_total())?;
    let sum = total.plus(amount);
    if let Some(sum) = sum {
        exec.state.put(state_key::stake_total(), &sum);
    }
    Ok(sum.is_some())
}

pub fn burn(exec: &mut Exec<'_>, amount: Stake) -> Result<(), LedgerError> {
    let total: Stake = exec.state.expect(&state_key::stake_total())?;
    let left = total.minus(amount);
    let left = left.ok_or_else(|| exec.state.base().damaged("less stake than is burnt".into()))?;
    exec.state.put(state_key::stake_total(), &left);
    Ok(())
}

/// Shares of a pool that somebody owns, under a key of its own.
pub fn put_shares(exec: &mut Exec<'_>, key: state_key::StateKey, shares: u64) {
    match shares {
        0 => exec.state.delete(key),
        shares => exec.state.put(key, &shares),
    }
}
