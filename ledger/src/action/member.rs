//! Members: by the admins' decision, or trainers by their own operator. Counts of
//! members and of an organisation's trainers are kept beside the members.

use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
    stake,
};
use twinfold_types::{
    Code, Event, PublicKey,
    genesis::ChainParams,
    limits,
    member::{Member, Role},
    state_key::{self, Prefix},
};

pub fn add_trainer(exec: &mut Exec<'_>, operator: &Member, member: &Member) -> Outcome {
    require(member.organisation == operator.organisation, Code::OtherOrganisation)?;
    let only_trainer = member.roles.len() == 1 && member.has(Role::Trainer);
    require(only_trainer && member.peer.is_none(), Code::InvalidMember)?;
    let quota = quota(exec, &member.organisation)?;
    require(trainers(exec, &member.organisation)? < quota, Code::QuotaReached)?;
    add(exec, member)
}

pub fn remove_trainer(exec: &mut Exec<'_>, operator: &Member, key: &PublicKey) -> Outcome {
    let member: Option<Member> = exec.state.get(&state_key::member(key))?;
    let member = member.ok_or(Code::MemberUnknown)?;
    require(member.organisation == operator.organisation, Code::OtherOrganisation)?;
    let only_trainer = member.roles.len() == 1 && member.has(Role::Trainer);
    require(only_trainer, Code::NotPermitted)?;
    Ok(forget(exec, &member)?)
}

/// Registers a member, whoever decided it.
pub fn add(exec: &mut Exec<'_>, member: &Member) -> Outcome {
    require(member.fault().is_none(), Code::InvalidMember)?;
    require(!exec.state.has(&state_key::member(&member.key))?, Code::MemberExists)?;
    let count: u32 = exec.state.get(&state_key::member_count())?.unwrap_or(0);
    require((count as usize) < limits::MEMBERS_MAX, Code::TooManyMembers)?;
    if let Some(peer) = &member.peer {
        let taken = all(exec)?.iter().any(|other| other.peer.as_ref() == Some(peer));
        require(!taken, Code::InvalidMember)?;
    }
    if member.has(Role::Validator) {
        stake::candidate::add(exec, member)?;
    }
    exec.state.put(state_key::member(&member.key), member);
    exec.state.put(state_key::member_count(), &(count + 1));
    if member.has(Role::Trainer) {
        let trainers = trainers(exec, &member.organisation)?;
        exec.state.put(state_key::trainer_count(&member.organisation), &(trainers + 1));
    }
    exec.event(Event::MemberAdded { key: member.key });
    Ok(())
}

/// Removes a member by the admins' decision. Its stake stays where it is; what others bonded to
/// it they can still take out.
pub fn remove(exec: &mut Exec<'_>, key: &PublicKey) -> Outcome {
    let member: Option<Member> = exec.state.get(&state_key::member(key))?;
    let member = member.ok_or(Code::MemberUnknown)?;
    require(exec.env.committee.seat_of(key).is_none(), Code::HoldsSeat)?;
    if member.has(Role::Admin) {
        let params: ChainParams = exec.state.expect(&state_key::params())?;
        require(admins(exec)? > params.threshold, Code::AdminsTooFew)?;
    }
    Ok(forget(exec, &member)?)
}

/// Admins in all.
pub fn admins(exec: &Exec<'_>) -> Result<u32, LedgerError> {
    Ok(all(exec)?.iter().filter(|member| member.has(Role::Admin)).count() as u32)
}

fn all(exec: &Exec<'_>) -> Result<Vec<Member>, LedgerError> {
    exec.state.values(&Prefix::Member.scan(), limits::MEMBERS_MAX)
}

fn forget(exec: &mut Exec<'_>, member: &Member) -> Result<(), LedgerError> {
    let count: u32 = exec.state.expect(&state_key::member_count())?;
    exec.state.delete(state_key::member(&member.key));
    exec.state.delete(state_key::encryption_key(&member.key));
    exec.state.put(state_key::member_count(), &count.saturating_sub(1));
    if member.has(Role::Trainer) {
        let trainers = trainers(exec, &member.organisation)?;
        let key = state_key::trainer_count(&member.organisation);
        exec.state.put(key, &trainers.saturating_sub(1));
    }
    exec.event(Event::MemberRemoved { key: member.key });
    Ok(())
}

fn trainers(exec: &Exec<'_>, organisation: &str) -> Result<u32, LedgerError> {
    Ok(exec.state.get(&state_key::trainer_count(organisation))?.unwrap_or(0))
}

fn quota(exec: &Exec<'_>, organisation: &str) -> Result<u32, LedgerError> {
    match exec.state.get(&state_key::quota(organisation))? {
        Some(quota) => Ok(quota),
        None => Ok(exec.state.expect::<ChainParams>(&state_key::params())?.trainer_quota),
    }
}
