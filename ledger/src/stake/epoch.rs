//! An epoch's last block: the first whose time reaches the committee's end, or the height that
//! the admins set. After its transactions the epoch is judged, rewarded and closed, and the
//! next committee is elected from the state as it is then.

use super::{
    candidate, election,
    election::{Contender, Replaced, Standing},
    params, participation, put_candidate, reward, takeover, unbonding,
};
use crate::{
    error::LedgerError,
    execute::{Exec, Fail},
};
use twinfold_types::{
    Committee, Epoch, Event, Height, TimeMs, limits,
    member::{Member, Role},
    quorum::{PastEpoch, Seat},
    stake::{Candidate, Jail, Participation, StakeParams},
    state_key::{self, Prefix, StateKey},
};

/// Closes the epoch where this block is its last, and says who sits next.
pub fn close_if_last(exec: &mut Exec<'_>) -> Result<Option<Committee>, LedgerError> {
    let at: Option<Height> = exec.state.get(&state_key::epoch_end())?;
    let by_time = exec.env.time >= exec.env.committee.ends;
    if !by_time && at != Some(exec.env.height) {
        return Ok(None);
    }
    close(exec).map(Some)
}

/// Closes the epoch before by the word of the admins, where this block is the first after a
/// recovery: nobody is judged or paid for an epoch that lost its quorum.
pub fn begin_if_recovered(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    let env = exec.env;
    let (Some(recovered), Some(ended)) = (env.recovered, env.before) else { return Ok(()) };
    exec.env.committee = ended;
    exec.env.before = recovered.older.as_ref();
    let accused_until = accused_until(exec)?;
    start_clocks(exec, accused_until)?;
    pass_on(exec, env.committee, accused_until)?;
    exec.env = env;
    let (epoch, statement) = (env.committee.epoch, recovered.statement);
    exec.event(Event::Recovered { epoch, statement });
    Ok(())
}

fn close(exec: &mut Exec<'_>) -> Result<Committee, LedgerError> {
    let counts = participation::counts(exec)?;
    jail_silent(exec, &counts)?;
    pay(exec, &counts)?;
    let next = elect(exec)?;
    let accused_until = accused_until(exec)?;
    start_clocks(exec, accused_until)?;
    pass_on(exec, &next, accused_until)?;
    Ok(next)
}

/// What a reward may not do (more stake than fits) is left out before: nothing is refused.
fn pay(exec: &mut Exec<'_>, counts: &Participation) -> Result<(), LedgerError> {
    reward::pay(exec, counts).map_err(|fail| match fail {
        Fail::Ledger(error) => error,
        Fail::Refused(code) => {
            exec.state.base().damaged(format!("a reward was refused: {}", code.text()))
        }
    })
}

/// Jails silent seats, the most silent first, as long as the candidates that stay fill all
/// seats and no organisation needs more of them for it than before.
fn jail_silent(exec: &mut Exec<'_>, counts: &Participation) -> Result<(), LedgerError> {
    let params = params(exec)?;
    let committee = exec.env.committee;
    let seats = committee.size().min(usize::from(params.seats));
    let mut fit = contenders(exec, &params)?;
    fit.retain(|one| one.standing == Standing::Fit);
    let cap = election::cap_needed(&fit, seats);
    let until = Epoch(committee.epoch.0 + 1 + u64::from(params.jail_epochs));
    for seat in participation::silent(counts) {
        let Some(validator) = committee.validator(seat) else { continue };
        let Some(found) = super::candidate(exec, validator)? else { continue };
        let mut left = fit.clone();
        left.retain(|one| one.seat.validator != *validator);
        let spare = cap.is_some() && election::cap_needed(&left, seats) == cap;
        if left.len() < fit.len() && !spare {
            continue;
        }
        fit = left;
        candidate::jail(exec, found, Jail::Silent { until });
    }
    Ok(())
}

fn elect(exec: &mut Exec<'_>) -> Result<Committee, LedgerError> {
    let (params, old) = (params(exec)?, exec.env.committee);
    let contenders = contenders(exec, &params)?;
    let whom = match takeover::is_pending(exec)? {
        true => Replaced::OnlyBarred,
        false => Replaced::Anyone,
    };
    let seats = election::elect(&old.seats, &contenders, usize::from(params.seats), whom);
    let epoch = old.epoch.next();
    let protocol: Option<u32> = exec.state.get(&state_key::protocol())?;
    Ok(Committee {
        epoch,
        order: election::leaders(exec.env.chain, epoch, &seats),
        seats,
        anchor: exec.env.height,
        ends: exec.env.time.plus(params.epoch_ms),
        protocol: protocol.unwrap_or(old.protocol),
    })
}

fn contenders(exec: &Exec<'_>, params: &StakeParams) -> Result<Vec<Contender>, LedgerError> {
    let all = candidate::all(exec)?;
    let contender = |one: &Candidate| {
        let (organisation, standing) = standing(exec, one, params)?;
        let seat = Seat { validator: one.validator, key: one.key, organisation };
        Ok(Contender { seat, stake: one.pool.stake, standing })
    };
    all.iter().map(contender).collect()
}

/// A candidate's organisation, and how far it may be elected.
fn standing(
    exec: &Exec<'_>,
    one: &Candidate,
    params: &StakeParams,
) -> Result<(String, Standing), LedgerError> {
    let member: Option<Member> = exec.state.get(&state_key::member(&one.validator))?;
    let Some(member) = member.filter(|member| member.has(Role::Validator)) else {
        return Ok((String::new(), Standing::Barred));
    };
    let standing = match one.jail {
        Some(Jail::Guilty | Jail::Expelled) => Standing::Barred,
        _ if !one.ready || one.pool.stake < params.stake_min => Standing::Unfit,
        Some(Jail::Silent { .. }) => Standing::Silent,
        None => Standing::Fit,
    };
    Ok((member.organisation, standing))
}

/// How long evidence about the epoch is taken: by the rules as they are now, and never for less
/// long than about the epoch before.
fn accused_until(exec: &Exec<'_>) -> Result<TimeMs, LedgerError> {
    let until = exec.env.time.plus(params(exec)?.evidence_ms);
    let Some(before) = exec.env.before else { return Ok(until) };
    let before: PastEpoch = exec.state.expect(&state_key::past_epoch(before.epoch))?;
    Ok(until.max(before.accused_until))
}

/// Stake undelegated in this epoch begins to wait: longer than this epoch, and with it every
/// earlier one that the stake answers for, can be accused. What candidates declared comes into force;
/// candidates that are gone, with nothing bonded to them, are forgotten.
fn start_clocks(exec: &mut Exec<'_>, accused_until: TimeMs) -> Result<(), LedgerError> {
    let free_at = exec.env.time.plus(params(exec)?.unbonding_ms).max(accused_until.plus(1));
    for mut one in candidate::all(exec)? {
        unbonding::start_clock(exec, &one.validator, free_at)?;
        let member = exec.state.has(&state_key::member(&one.validator))?;
        if !member && one.pool.shares == 0 {
            exec.state.delete(state_key::candidate(&one.validator));
        } else if one.commission_permille != one.commission_next_permille {
            one.commission_permille = one.commission_next_permille;
            put_candidate(exec, &one);
        }
    }
    Ok(())
}

/// The old committee steps back, the new one steps in.
fn pass_on(
    exec: &mut Exec<'_>,
    next: &Committee,
    accused_until: TimeMs,
) -> Result<(), LedgerError> {
    let (old, time) = (exec.env.committee, exec.env.time);
    forget(exec, time)?;
    let past = PastEpoch { committee: old.clone(), ended: time, accused_until };
    exec.state.put(state_key::past_epoch(old.epoch), &past);
    takeover::begin(exec, old, next)?;
    exec.state.put(state_key::epoch(), next);
    exec.state.delete(state_key::epoch_end());
    exec.state.delete(state_key::participation());
    let (joined, left) = election::changes(old, next);
    exec.event(Event::EpochEnded { epoch: old.epoch, joined, left });
    Ok(())
}

/// Forgets past epochs about which no evidence is taken any more, and who was punished there. The
/// one before the one that ends stays: by its end nodes know which payload certificates still count.
fn forget(exec: &mut Exec<'_>, now: TimeMs) -> Result<(), LedgerError> {
    let ending = exec.env.committee.epoch;
    for row in exec.state.keys(&Prefix::PastEpoch.scan(), limits::EPOCHS_FORGOTTEN_MAX)? {
        let key = StateKey::of_row(row);
        let past: PastEpoch = exec.state.expect(&key)?;
        if now <= past.accused_until || past.committee.epoch.next() >= ending {
            break;
        }
        let punished = state_key::punished_in(past.committee.epoch);
        for punished in exec.state.keys(&punished, usize::MAX)? {
            exec.state.delete(StateKey::of_row(punished));
        }
        exec.state.delete(key);
    }
    Ok(())
}
