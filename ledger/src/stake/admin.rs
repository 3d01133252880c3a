//! What m of n admins decide about stake and epochs.

use super::{candidate, give, mint};
use crate::execute::{Exec, Outcome, require};
use twinfold_types::{
    Code, Event, Height, PublicKey, Stake,
    genesis::ChainParams,
    limits,
    stake::{Jail, StakeParams},
    state_key,
};

pub fn grant(exec: &mut Exec<'_>, member: &PublicKey, amount: Stake) -> Outcome {
    require(exec.state.has(&state_key::member(member))?, Code::MemberUnknown)?;
    require(amount > Stake(0), Code::StakeTooLittle)?;
    require(mint(exec, amount)?, Code::StakeTooMuch)?;
    give(exec, member, amount)?;
    exec.event(Event::StakeGranted { member: *member, amount });
    Ok(())
}

pub fn set_params(exec: &mut Exec<'_>, new: &StakeParams) -> Outcome {
    require(new.fault().is_none(), Code::StakeParamsInvalid)?;
    let mut all: ChainParams = exec.state.expect(&state_key::params())?;
    all.stake = new.clone();
    exec.state.put(state_key::params(), &all);
    exec.event(Event::StakeParamsSet);
    Ok(())
}

/// Ends the epoch so far ahead that nobody can vote there without knowing it.
pub fn end_epoch(exec: &mut Exec<'_>) -> Outcome {
    require(!exec.state.has(&state_key::epoch_end())?, Code::EpochEnding)?;
    let at = Height(exec.env.height.0 + limits::EPOCH_END_HEIGHTS);
    exec.state.put(state_key::epoch_end(), &at);
    exec.event(Event::EpochEnding { at });
    Ok(())
}

/// Keeps a validator out of every election; the next one comes early, unless it is on its way.
pub fn expel(exec: &mut Exec<'_>, validator: &PublicKey) -> Outcome {
    let found = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    super::candidate::jail(exec, found, Jail::Expelled);
    match exec.state.has(&state_key::epoch_end())? {
        true => Ok(()),
        false => end_epoch(exec),
    }
}

pub fn readmit(exec: &mut Exec<'_>, validator: &PublicKey) -> Outcome {
    let found = candidate(exec, validator)?.ok_or(Code::CandidateUnknown)?;
    require(found.jail.is_some(), Code::NotJailed)?;
    super::candidate::let_out(exec, found);
    Ok(())
}

pub fn set_protocol(exec: &mut Exec<'_>, version: u32) -> Outcome {
    require(version > exec.env.committee.protocol, Code::ProtocolInvalid)?;
    exec.state.put(state_key::protocol(), &version);
    exec.event(Event::ProtocolSet { version });
    Ok(())
}
