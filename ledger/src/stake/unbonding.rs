//! Stake on its way out. What leaves a validator in one epoch shares a pool; the pool's clock
//! starts when the epoch ends. Until it is free it answers for what the validator did in that
//! epoch or before.

use super::{give, put_shares};
use crate::{
    error::LedgerError,
    execute::{Exec, Outcome},
};
use twinfold_types::{
    Code, Epoch, Event, PublicKey, Stake, TimeMs, limits,
    stake::Unbonding,
    state_key::{self, Prefix, StateKey},
};

/// Puts stake into the validator's pool of the running epoch.
pub fn begin(
    exec: &mut Exec<'_>,
    delegator: &PublicKey,
    validator: &PublicKey,
    amount: Stake,
) -> Outcome {
    let epoch = exec.env.committee.epoch;
    let key = state_key::unbonding(validator, epoch);
    let pool: Option<Unbonding> = exec.state.get(&key)?;
    let mut unbonding =
        pool.unwrap_or_else(|| Unbonding { pool: Default::default(), free_at: None });
    let bought = unbonding.pool.join(amount).ok_or(Code::StakeTooMuch)?;
    exec.state.put(key, &unbonding);
    let key = state_key::unbonding_shares(validator, epoch, delegator);
    let owned: u64 = exec.state.get(&key)?.unwrap_or(0);
    put_shares(exec, key, owned.checked_add(bought).ok_or(Code::StakeTooMuch)?);
    Ok(())
}

/// Starts the clock of a validator's pool of the epoch that ends; says whether it has one.
pub fn start_clock(
    exec: &mut Exec<'_>,
    validator: &PublicKey,
    free_at: TimeMs,
) -> Result<bool, LedgerError> {
    let epoch = exec.env.committee.epoch;
    let key = state_key::unbonding(validator, epoch);
    let Some(mut unbonding) = exec.state.get::<Unbonding>(&key)? else { return Ok(false) };
    unbonding.free_at = Some(free_at);
    exec.state.put(key, &unbonding);
    exec.state.put(state_key::unbonding_due(free_at, validator, epoch), &());
    Ok(true)
}

/// Gives back what is free by now: to so many owners in one block, to the rest in the next.
pub fn free(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    let mut left = limits::RELEASES_MAX;
    while left > 0 {
        let first = exec.state.keys(&Prefix::UnbondingDue.scan(), 1)?;
        let due = first.first().and_then(|key| state_key::parse_unbonding_due(key));
        match due {
            Some((at, validator, epoch)) if at <= exec.env.time => {
                left -= free_pool(exec, at, &validator, epoch, left)?.max(1);
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Frees up to `most` owners of a pool and says how many; a pool without owners goes.
fn free_pool(
    exec: &mut Exec<'_>,
    at: TimeMs,
    validator: &PublicKey,
    epoch: Epoch,
    most: usize,
) -> Result<usize, LedgerError> {
    let key = state_key::unbonding(validator, epoch);
    let mut unbonding: Unbonding = exec.state.expect(&key)?;
    let owners = exec.state.keys(&state_key::unbonding_owners(validator, epoch), most)?;
    for row in &owners {
        let damaged = || exec.state.base().damaged(format!("unbonding shares {row:02x?}"));
        let delegator = state_key::parse_unbonding_owner(row).ok_or_else(damaged)?;
        let shares: u64 = exec.state.expect(&StateKey::of_row(row.clone()))?;
        let amount = unbonding.pool.leave(shares).ok_or_else(damaged)?;
        exec.state.delete(StateKey::of_row(row.clone()));
        give(exec, &delegator, amount)?;
        exec.event(Event::StakeFreed { delegator, validator: *validator, amount });
    }
    match unbonding.pool.shares {
        0 => {
            exec.state.delete(key);
            exec.state.delete(state_key::unbonding_due(at, validator, epoch));
        }
        _ => exec.state.put(key, &unbonding),
    }
    Ok(owners.len())
}

/// Burns so many thousandths of what was undelegated from a validator in an epoch or later.
pub fn slash(
    exec: &mut Exec<'_>,
    validator: &PublicKey,
    since: Epoch,
    thousandths: u16,
) -> Result<Stake, LedgerError> {
    let mut burnt = Stake(0);
    for row in exec.state.keys(&state_key::unbondings(validator), usize::MAX)? {
        if state_key::parse_unbonding(&row).is_none_or(|(_, epoch)| epoch < since) {
            continue;
        }
        let key = StateKey::of_row(row);
        let mut unbonding: Unbonding = exec.state.expect(&key)?;
        burnt = Stake(burnt.0 + unbonding.pool.slash(thousandths).0);
        exec.state.put(key, &unbonding);
    }
    Ok(burnt)
}
