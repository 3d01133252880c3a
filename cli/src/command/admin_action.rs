//! What admins can decide: `twinfold proposal new …`, and each decision in words.

use super::{
    Context,
    member::{self, new_member, roles},
    parse_key,
    stake::{Amount, parse_amount},
};
use crate::{
    client::Client,
    error::{CliError, Result},
    render::{amount, bytes as bytes_text, duration, permille},
};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use std::time::Duration;
use twinfold_types::{
    Digest, PublicKey, Stake,
    keeping::{HoldSubject, StorageOwner},
    member::{AdminAction, Role},
    stake::StakeParams,
    text::{parse_duration, parse_size},
};

#[derive(Debug, Subcommand)]
pub enum NewProposal {
    /// Register a member
    AddMember {
        #[arg(long)]
        name: String,
        #[arg(long)]
        organisation: String,
        /// Role; repeat for several
        #[arg(long, required = true, value_parser = role_parser())]
        role: Vec<String>,
        /// The member's public key
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        member_key: PublicKey,
        /// libp2p peer id of the member's node (validators and auditors)
        #[arg(long)]
        peer: Option<String>,
    },
    /// Remove a member
    RemoveMember {
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        member_key: PublicKey,
    },
    /// Set how many trainers an organisation may have
    SetQuota {
        #[arg(long)]
        organisation: String,
        #[arg(long)]
        trainers: u32,
    },
    /// Set how many signatures a proposal needs
    SetThreshold {
        #[arg(long)]
        signatures: u32,
    },
    /// Make stake and give it to a member, free to delegate
    GrantStake {
        /// Who gets it: name or key
        #[arg(long, value_name = "NAME|KEY")]
        member: String,
        #[command(flatten)]
        amount: Amount,
    },
    /// Change rules of stake and election; what is not given stays as it is. The length of
    /// an epoch changes from the next one on
    StakeParams(Box<ParamsArgs>),
    /// End the running epoch early: its election is held about 64 heights later
    EndEpoch,
    /// Keep a validator out of every election and end the epoch early: it loses its seat
    /// about 64 heights later, not its stake
    Expel(OneValidator),
    /// Let a validator that was guilty or expelled be elected again
    Readmit(OneValidator),
    /// Set the version of the rules from the next epoch on. Nodes whose program does not know
    /// it stop there: bring all of them to a program that does first
    SetProtocol {
        /// A version above the running one: see `twinfold epoch`
        #[arg(long, value_name = "N")]
        protocol: u32,
    },
    /// Set how many bytes of payloads a member or an organisation may have on the ledger
    SetStorageQuota(StorageQuotaArgs),
    /// Keep the updates of a task, or one payload, whatever ends their retention
    Hold {
        #[command(flatten)]
        subject: SubjectArgs,
        /// Why, for whoever reads the list: a case's number, an authority's letter
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End a hold: what only it kept goes
    ReleaseHold(SubjectArgs),
}

#[derive(Debug, Args)]
pub struct StorageQuotaArgs {
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "member",
        conflicts_with = "member"
    )]
    organisation: Option<String>,
    /// Name or key
    #[arg(long, value_name = "NAME|KEY")]
    member: Option<String>,
    /// Such as 500GB or 2TiB; without it the usual applies again: 16 TiB an organisation, no limit of
    /// a member's own
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    bytes: Option<u64>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SubjectArgs {
    /// A task: name or identity
    #[arg(long, value_name = "NAME|ID")]
    task: Option<String>,
    /// A payload, by its digest
    #[arg(long, value_name = "DIGEST")]
    payload: Option<Digest>,
}

impl SubjectArgs {
    fn subject(&self, context: &Context) -> Result<HoldSubject> {
        match (&self.task, self.payload) {
            (Some(task), _) => Ok(HoldSubject::Task(context.client()?.task(task)?.id)),
            (None, Some(payload)) => Ok(HoldSubject::Payload(payload)),
            (None, None) => Err(CliError::usage("what is to be held?", "give --task or --payload")),
        }
    }
}

#[derive(Debug, Args)]
pub struct OneValidator {
    /// The validator: name or key
    #[arg(long, value_name = "NAME|KEY")]
    validator: String,
}

#[derive(Debug, Default, Args)]
#[group(required = true, multiple = true)]
pub struct ParamsArgs {
    /// Seats that an election fills where there are enough candidates
    #[arg(long, value_name = "N")]
    seats: Option<u16>,
    /// Length of an epoch in block time, from the next epoch on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    epoch: Option<Duration>,
    /// Stake that a candidate needs to be elected
    #[arg(long, value_name = "N", value_parser = parse_amount)]
    stake_min: Option<Stake>,
    /// From the end of the epoch in which stake was taken back until it is free
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    unbonding: Option<Duration>,
    /// How long after an epoch's end evidence about it is taken
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    evidence: Option<Duration>,
    /// Stake made for the seats of an epoch together; 0 for none
    #[arg(long, value_name = "N")]
    reward: Option<u64>,
    /// Thousandths lost for signing two things of which only one can be
    #[arg(long, value_name = "PERMILLE")]
    slash_equivocation: Option<u16>,
    /// Thousandths lost for signing a wrong fold result
    #[arg(long, value_name = "PERMILLE")]
    slash_result: Option<u16>,
    /// Epochs that a validator which was silent stays out at least
    #[arg(long, value_name = "N")]
    jail_epochs: Option<u32>,
}

impl ParamsArgs {
    /// The rules in force with these changes; what the chain would refuse is refused here.
    fn applied_to(&self, now: StakeParams) -> Result<StakeParams> {
        let ms = |time: Option<Duration>, now: u64| {
            time.map_or(now, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        let params = StakeParams {
            seats: self.seats.unwrap_or(now.seats),
            epoch_ms: ms(self.epoch, now.epoch_ms),
            stake_min: self.stake_min.unwrap_or(now.stake_min),
            unbonding_ms: ms(self.unbonding, now.unbonding_ms),
            evidence_ms: ms(self.evidence, now.evidence_ms),
            reward: self.reward.map_or(now.reward, Stake),
            slash_equivocation_permille: self
                .slash_equivocation
                .unwrap_or(now.slash_equivocation_permille),
            slash_result_permille: self.slash_result.unwrap_or(now.slash_result_permille),
            jail_epochs: self.jail_epochs.unwrap_or(now.jail_epochs),
        };
        match params.fault() {
            None => Ok(params),
            Some(fault) => Err(CliError::usage(
                fault,
                format!("with these changes the rules would be: {}", params_text(&params)),
            )),
        }
    }
}

fn role_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(["admin", "validator", "trainer", "operator", "auditor"])
}

fn role(text: &str) -> Result<Role> {
    match text {
        "admin" => Ok(Role::Admin),
        "validator" => Ok(Role::Validator),
        "trainer" => Ok(Role::Trainer),
        "operator" => Ok(Role::Operator),
        "auditor" => Ok(Role::Auditor),
        other => Err(CliError::usage(format!("there is no role {other:?}"), "see --help")),
    }
}

/// The decision that a command line asks for. Names and rules in force are read from a node.
pub fn admin_action(context: &Context, new: NewProposal) -> Result<AdminAction> {
    let key_of = |text: &str| member::key_of(&context.client()?, text);
    Ok(match new {
        NewProposal::AddMember { name, organisation, role: names, member_key, peer } => {
            let roles = names.iter().map(|name| role(name)).collect::<Result<_>>()?;
            AdminAction::AddMember(new_member(name, organisation, roles, member_key, peer)?)
        }
        NewProposal::RemoveMember { member_key } => AdminAction::RemoveMember(member_key),
        NewProposal::SetQuota { organisation, trainers } => {
            AdminAction::SetQuota { organisation, trainers }
        }
        NewProposal::SetThreshold { signatures } => AdminAction::SetThreshold(signatures),
        NewProposal::GrantStake { member, amount } => {
            AdminAction::GrantStake { member: key_of(&member)?, amount: amount.amount }
        }
        NewProposal::StakeParams(args) => {
            let client: Client = context.client()?;
            AdminAction::SetStakeParams(args.applied_to(client.stake_params()?)?)
        }
        NewProposal::EndEpoch => AdminAction::EndEpoch,
        NewProposal::Expel(one) => AdminAction::Expel(key_of(&one.validator)?),
        NewProposal::Readmit(one) => AdminAction::Readmit(key_of(&one.validator)?),
        NewProposal::SetProtocol { protocol } => AdminAction::SetProtocol(protocol),
        NewProposal::SetStorageQuota(StorageQuotaArgs { organisation, member, bytes }) => {
            let owner = match (organisation, member) {
                (Some(name), _) => StorageOwner::Organisation(name),
                (None, member) => StorageOwner::Member(key_of(&member.unwrap_or_default())?),
            };
            AdminAction::SetStorageQuota { owner, bytes }
        }
        NewProposal::Hold { subject, reason } => {
            AdminAction::Hold { subject: subject.subject(context)?, reason }
        }
        NewProposal::ReleaseHold(subject) => AdminAction::ReleaseHold(subject.subject(context)?),
    })
}

/// A decision in words.
pub fn describe(action: &AdminAction) -> String {
    match action {
        AdminAction::AddMember(member) => format!(
            "add {} of {} as {} with key {}",
            member.name,
            member.organisation,
            roles(member),
            member.key
        ),
        AdminAction::RemoveMember(key) => format!("remove {key}"),
        AdminAction::SetQuota { organisation, trainers } => {
            format!("let {organisation} have {trainers} trainers")
        }
        AdminAction::SetThreshold(signatures) => {
            format!("let proposals need {signatures} signatures")
        }
        AdminAction::GrantStake { member, amount: some } => {
            format!("make {} stake for {member}", amount(*some))
        }
        AdminAction::SetStakeParams(params) => {
            format!("set the rules of stake: {}", params_text(params))
        }
        AdminAction::EndEpoch => "end the epoch early".into(),
        AdminAction::Expel(key) => format!("expel validator {key}"),
        AdminAction::Readmit(key) => format!("let validator {key} be elected again"),
        AdminAction::SetProtocol(version) => {
            format!("follow version {version} of the rules from the next epoch on")
        }
        AdminAction::SetStorageQuota { owner, bytes } => match bytes {
            Some(bytes) => format!("let {owner} have {} of payloads", bytes_text(*bytes)),
            None => format!("let {owner} have as many bytes of payloads as is usual"),
        },
        AdminAction::Hold { subject, reason } => format!("hold {subject}: {reason}"),
        AdminAction::ReleaseHold(subject) => format!("release the hold on {subject}"),
    }
}

/// Rules of stake in one line.
fn params_text(params: &StakeParams) -> String {
    format!(
        "{} seats, epochs of {}, at least {} stake, unbonding {}, evidence taken for {}, \
         reward {}, slashes of {} (equivocation) and {} (wrong result), jail for {} epochs",
        params.seats,
        duration(params.epoch_ms),
        amount(params.stake_min),
        duration(params.unbonding_ms),
        duration(params.evidence_ms),
        amount(params.reward),
        permille(params.slash_equivocation_permille),
        permille(params.slash_result_permille),
        params.jail_epochs,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_not_named_stay_and_broken_relations_are_named_before_they_are_sent() {
        let now = StakeParams::default();
        let args = ParamsArgs { seats: Some(7), reward: Some(0), ..ParamsArgs::default() };
        let params = args.applied_to(now.clone()).unwrap();
        assert_eq!(params, StakeParams { seats: 7, ..now.clone() });
        let long = Some(Duration::from_secs(30 * 24 * 3_600));
        let args = ParamsArgs { epoch: long, ..ParamsArgs::default() };
        let error = args.applied_to(now).unwrap_err();
        assert!(error.to_string().contains("longer than an epoch"), "{error}");
        assert!(error.hint().contains("epochs of 30d"), "{}", error.hint());
    }

    #[test]
    fn every_decision_is_described() {
        let key = PublicKey([7; 32]);
        let said = [
            (AdminAction::GrantStake { member: key, amount: Stake(2_500) }, "2_500"),
            (AdminAction::SetStakeParams(StakeParams::default()), "epochs of 1d"),
            (AdminAction::EndEpoch, "early"),
            (AdminAction::Expel(key), "expel"),
            (AdminAction::Readmit(key), "elected again"),
            (AdminAction::SetProtocol(2), "version 2"),
            (
                AdminAction::SetStorageQuota {
                    owner: StorageOwner::Organisation("north".into()),
                    bytes: Some(5 << 40),
                },
                "organisation:north",
            ),
            (
                AdminAction::Hold {
                    subject: HoldSubject::Payload(Digest::ZERO),
                    reason: "case 7".into(),
                },
                "case 7",
            ),
        ];
        for (action, word) in said {
            assert!(describe(&action).contains(word), "{}", describe(&action));
        }
    }
}
