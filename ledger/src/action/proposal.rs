//! Proposals: what m of n admins decide. A proposal is carried out by the
//! signature that makes m; only signatures of members who are admins at that
//! moment count. When the state refuses it by then, it has failed, and the
//! signature that made m was still good.

use super::member;
use crate::{
    error::LedgerError,
    execute::{Exec, Outcome, require},
    keeping,
    stake::admin,
};
use twinfold_types::{
    Code, Event, TxId,
    genesis::ChainParams,
    limits,
    member::{AdminAction, Member, Proposal, ProposalStatus, Role},
    state_key::{self, Prefix},
};

pub fn propose(exec: &mut Exec<'_>, id: &TxId, admin: &Member, action: &AdminAction) -> Outcome {
    let open = exec.state.keys(&Prefix::ProposalLapse.scan(), limits::PROPOSALS_OPEN_MAX)?;
    require(open.len() < limits::PROPOSALS_OPEN_MAX, Code::TooManyProposals)?;
    let unsupported = unsupported_of(exec, &open, admin)?;
    require(unsupported < limits::PROPOSALS_UNSUPPORTED_MAX, Code::TooManyProposals)?;
    check(exec, action)?;
    let proposal = Proposal {
        id: *id,
        action: action.clone(),
        signers: [admin.key].into(),
        expires: exec.env.time.plus(limits::PROPOSAL_LIFETIME_MS),
        status: ProposalStatus::Open,
    };
    exec.state.put(state_key::proposal_lapse(proposal.expires, id), &());
    exec.event(Event::ProposalOpened { id: *id });
    settle(exec, proposal)
}

/// Open proposals that this admin alone has signed.
fn unsupported_of(exec: &Exec<'_>, open: &[Vec<u8>], admin: &Member) -> Outcome<usize> {
    let mut found = 0;
    for (_, id) in open.iter().filter_map(|key| state_key::parse_proposal_lapse(key)) {
        let proposal: Proposal = exec.state.expect(&state_key::proposal(&id))?;
        found += usize::from(proposal.signers.len() == 1 && proposal.signers.contains(&admin.key));
    }
    Ok(found)
}

pub fn sign(exec: &mut Exec<'_>, id: &TxId, admin: &Member) -> Outcome {
    let proposal: Option<Proposal> = exec.state.get(&state_key::proposal(id))?;
    let mut proposal = proposal.ok_or(Code::ProposalUnknown)?;
    require(proposal.status == ProposalStatus::Open, Code::ProposalEnded)?;
    require(proposal.signers.insert(admin.key), Code::AlreadySigned)?;
    let signatures = valid_signatures(exec, &proposal)?;
    exec.event(Event::ProposalSigned { id: *id, by: admin.key, signatures });
    settle(exec, proposal)
}

/// Ends the proposals whose lifetime is over.
pub fn lapse(exec: &mut Exec<'_>) -> Result<(), LedgerError> {
    for key in exec.state.keys(&Prefix::ProposalLapse.scan(), limits::PROPOSALS_OPEN_MAX)? {
        let Some((expires, id)) = state_key::parse_proposal_lapse(&key) else { continue };
        if expires > exec.env.time {
            break;
        }
        let proposal: Proposal = exec.state.expect(&state_key::proposal(&id))?;
        end(exec, proposal, ProposalStatus::Lapsed);
        exec.event(Event::ProposalLapsed { id });
    }
    Ok(())
}

/// Carries a proposal out when it has enough signatures, and stores it.
fn settle(exec: &mut Exec<'_>, proposal: Proposal) -> Outcome {
    let params: ChainParams = exec.state.expect(&state_key::params())?;
    if valid_signatures(exec, &proposal)? < params.threshold {
        exec.state.put(state_key::proposal(&proposal.id), &proposal);
        return Ok(());
    }
    let id = proposal.id;
    match exec.attempt(|exec| carry_out(exec, &proposal.action))? {
        Code::Ok => {
            end(exec, proposal, ProposalStatus::Passed);
            exec.event(Event::ProposalPassed { id });
        }
        code => {
            end(exec, proposal, ProposalStatus::Failed);
            exec.event(Event::ProposalFailed { id, code });
        }
    }
    Ok(())
}

fn end(exec: &mut Exec<'_>, mut proposal: Proposal, status: ProposalStatus) {
    proposal.status = status;
    exec.state.delete(state_key::proposal_lapse(proposal.expires, &proposal.id));
    exec.state.put(state_key::proposal(&proposal.id), &proposal);
}

fn valid_signatures(exec: &Exec<'_>, proposal: &Proposal) -> Result<u32, LedgerError> {
    let mut count = 0;
    for key in &proposal.signers {
        let member: Option<Member> = exec.state.get(&state_key::member(key))?;
        count += u32::from(member.is_some_and(|member| member.has(Role::Admin)));
    }
    Ok(count)
}

/// Refuses at once what could not be carried out as things stand.
fn check(exec: &mut Exec<'_>, action: &AdminAction) -> Outcome {
    let events = exec.events.len();
    let trial = exec.state.begin();
    let outcome = carry_out(exec, action);
    exec.state.end(trial, false);
    exec.events.truncate(events);
    outcome
}

fn carry_out(exec: &mut Exec<'_>, action: &AdminAction) -> Outcome {
    match action {
        AdminAction::AddMember(member) => member::add(exec, member),
        AdminAction::RemoveMember(key) => member::remove(exec, key),
        AdminAction::SetQuota { organisation, trainers } => {
            set_quota(exec, organisation, *trainers)
        }
        AdminAction::SetThreshold(threshold) => set_threshold(exec, *threshold),
        AdminAction::GrantStake { member, amount } => admin::grant(exec, member, *amount),
        AdminAction::SetStakeParams(params) => admin::set_params(exec, params),
        AdminAction::EndEpoch => admin::end_epoch(exec),
        AdminAction::Expel(validator) => admin::expel(exec, validator),
        AdminAction::Readmit(validator) => admin::readmit(exec, validator),
        AdminAction::SetProtocol(version) => admin::set_protocol(exec, *version),
        AdminAction::SetStorageQuota { owner, bytes } => {
            keeping::set_storage_quota(exec, owner, *bytes)
        }
        AdminAction::Hold { subject, reason } => keeping::hold(exec, subject, reason),
        AdminAction::ReleaseHold(subject) => keeping::release_hold(exec, subject),
    }
}

fn set_quota(exec: &mut Exec<'_>, organisation: &str, trainers: u32) -> Outcome {
    let length = organisation.len();
    require((1..=limits::NAME_BYTES_MAX).contains(&length), Code::InvalidMember)?;
    exec.state.put(state_key::quota(organisation), &trainers);
    exec.event(Event::QuotaSet { organisation: organisation.into(), trainers });
    Ok(())
}

fn set_threshold(exec: &mut Exec<'_>, threshold: u32) -> Outcome {
    require((1..=member::admins(exec)?).contains(&threshold), Code::ThresholdInvalid)?;
    let mut params: ChainParams = exec.state.expect(&state_key::params())?;
    params.threshold = threshold;
    exec.state.put(state_key::params(), &params);
    exec.event(Event::ThresholdSet { threshold });
    Ok(())
}
