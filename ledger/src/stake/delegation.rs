//! Stake in and out of candidates' pools. An amount is turned into shares with rounding in
//! favour of the pool, by less than one unit: what buys no whole share stays free. Whoever takes
//! out what its shares are worth takes all of them.

use super::{candidate, put_candidate, put_shares, take, unbonding};
use crate::execute::{Exec, Outcome, require};
use twinfold_types::{
    Code, Event, PublicKey, Stake,
    member::{Member, Role},
    stake::StakePool,
    state_key,
};

pub fn delegate(
    exec: &mut Exec<'_>,
    delegator: &PublicKey,
    validator: &PublicKey,
    amount: Stake,
) -> Outcome {
    let member: Option<Member> = exec.state.get(&state_key::member(validator))?;
    require(member.is_some_and(|one| one.has(Role::Validator)), Code::CandidateUnknown)?;
    let mut candidate = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    let amount = candidate.pool.spent(amount);
    require(amount > Stake(0), Code::StakeTooLittle)?;
    take(exec, delegator, amount)?;
    let bought = candidate.pool.join(amount).ok_or(Code::StakeTooMuch)?;
    add_shares(exec, delegator, validator, bought)?;
    put_candidate(exec, &candidate);
    let (delegator, validator) = (*delegator, *validator);
    exec.event(Event::Delegated { delegator, validator, amount });
    Ok(())
}

/// Shares bought are part of a pool whose shares fit into 64 bits together.
pub fn add_shares(
    exec: &mut Exec<'_>,
    delegator: &PublicKey,
    validator: &PublicKey,
    bought: u64,
) -> Outcome {
    let key = state_key::delegation(delegator, validator);
    let owned: u64 = exec.state.get(&key)?.unwrap_or(0);
    put_shares(exec, key, owned.checked_add(bought).ok_or(Code::StakeTooMuch)?);
    Ok(())
}

pub fn undelegate(
    exec: &mut Exec<'_>,
    delegator: &PublicKey,
    validator: &PublicKey,
    amount: Stake,
) -> Outcome {
    let mut candidate = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    let key = state_key::delegation(delegator, validator);
    let owned: u64 = exec.state.get(&key)?.unwrap_or(0);
    require(amount > Stake(0), Code::StakeTooLittle)?;
    let shares = shares_out(&candidate.pool, owned, amount).ok_or(Code::StakeTooLittle)?;
    let worth = candidate.pool.leave(shares).ok_or(Code::StakeTooLittle)?;
    put_shares(exec, key, owned - shares);
    put_candidate(exec, &candidate);
    unbonding::begin(exec, delegator, validator, worth)?;
    let (delegator, validator) = (*delegator, *validator);
    exec.event(Event::Undelegated { delegator, validator, amount: worth });
    Ok(())
}

/// The shares to take out for an amount: the least that are worth it, or all where what stays
/// would be worth nothing.
fn shares_out(pool: &StakePool, owned: u64, amount: Stake) -> Option<u64> {
    let shares = pool.shares_for(amount).filter(|shares| *shares <= owned)?;
    let rest = owned - shares;
    Some(if pool.worth(rest) == Stake(0) { owned } else { shares })
}

pub fn transfer(exec: &mut Exec<'_>, from: &PublicKey, to: &PublicKey, amount: Stake) -> Outcome {
    require(exec.state.has(&state_key::member(to))?, Code::MemberUnknown)?;
    require(amount > Stake(0), Code::StakeTooLittle)?;
    take(exec, from, amount)?;
    super::give(exec, to, amount)?;
    exec.event(Event::StakeTransferred { from: *from, to: *to, amount });
    Ok(())
}
