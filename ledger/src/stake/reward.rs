//! Rewards of an epoch: made in its last block, an equal part for each seat, less what its
//! participation lacks. A validator keeps its commission, bonded to itself; the rest raises
//! what every share of its pool is worth.

use super::{candidate, delegation, mint, params, put_candidate};
use crate::execute::{Exec, Outcome};
use twinfold_types::{
    Code, Event, PublicKey, Stake,
    stake::{Candidate, Jail, Participation},
};

/// Rewards every seat of the epoch that ends.
pub fn pay(exec: &mut Exec<'_>, counts: &Participation) -> Outcome {
    let committee = exec.env.committee;
    let part = params(exec)?.reward.0 / committee.size() as u64;
    for (seat, signed) in committee.seats.iter().zip(&counts.signed) {
        let earned = earned(part, *signed, counts.checkpoints);
        if earned > Stake(0) {
            pay_one(exec, &seat.validator, earned)?;
        }
    }
    Ok(())
}

fn earned(part: u64, signed: u32, checkpoints: u32) -> Stake {
    if checkpoints == 0 {
        return Stake(part);
    }
    let earned = u128::from(part) * u128::from(signed) / u128::from(checkpoints);
    Stake(u64::try_from(earned).unwrap_or(part))
}

/// Nothing goes to the guilty, to the expelled, or into a pool that nobody owns.
fn pay_one(exec: &mut Exec<'_>, validator: &PublicKey, amount: Stake) -> Outcome {
    let Some(mut candidate) = candidate(exec, validator)? else { return Ok(()) };
    let banned = matches!(candidate.jail, Some(Jail::Guilty | Jail::Expelled));
    if banned || candidate.pool.shares == 0 || !mint(exec, amount)? {
        return Ok(());
    }
    let commission = keep_commission(exec, &mut candidate, amount)?;
    put_candidate(exec, &candidate);
    exec.event(Event::Rewarded { validator: *validator, amount, commission });
    Ok(())
}

/// Adds a reward to a pool and says what of it was commission: none where it buys no share.
fn keep_commission(
    exec: &mut Exec<'_>,
    candidate: &mut Candidate,
    amount: Stake,
) -> Outcome<Stake> {
    let commission = amount.permille(candidate.commission_permille);
    let mut pool = candidate.pool;
    pool.stake = Stake(pool.stake.0 + amount.0 - commission.0);
    match pool.join(commission) {
        Some(bought) => {
            let own = candidate.validator;
            delegation::add_shares(exec, &own, &own, bought)?;
            candidate.pool = pool;
            Ok(commission)
        }
        None => {
            let sum = candidate.pool.stake.plus(amount).ok_or(Code::StakeTooMuch)?;
            candidate.pool.stake = sum;
            Ok(Stake(0))
        }
    }
}
