//! `twinfold proposal`: what m of n admins decide.

use super::{
    Context,
    member::{new_member, roles},
    parse_key,
};
use crate::{
    error::{CliError, Result},
    render::{pairs, table, time},
};
use clap::{Subcommand, builder::PossibleValuesParser};
use twinfold_types::{
    Action, PublicKey, TxId,
    member::{AdminAction, Proposal, Role},
};

#[derive(Debug, Subcommand)]
pub enum ProposalCommand {
    /// Open a proposal; this signs it too
    #[command(subcommand)]
    New(NewProposal),
    /// All proposals
    List,
    /// One proposal
    Show { id: TxId },
    /// Sign an open proposal
    Sign { id: TxId },
}

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

pub fn run(context: &Context, command: ProposalCommand) -> Result<()> {
    match command {
        ProposalCommand::New(new) => {
            let action = admin_action(new)?;
            let done = format!("proposed: {}", describe(&action));
            context.transact(Action::Propose(action), &done)
        }
        ProposalCommand::List => {
            let proposals = context.client()?.proposals()?;
            context.output.show(&proposals, || human_list(&proposals))
        }
        ProposalCommand::Show { id } => {
            let proposals = context.client()?.proposals()?;
            let found = proposals.into_iter().find(|proposal| proposal.id == id);
            let proposal = found.ok_or_else(|| {
                CliError::failed(format!("no proposal {id}"), "see `twinfold proposal list`")
            })?;
            context.output.show(&proposal, || human(&proposal))
        }
        ProposalCommand::Sign { id } => {
            context.transact(Action::SignProposal(id), &format!("proposal {id} is signed"))
        }
    }
}

fn admin_action(new: NewProposal) -> Result<AdminAction> {
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
    })
}

fn describe(action: &AdminAction) -> String {
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
    }
}

fn status(proposal: &Proposal) -> String {
    format!("{:?}", proposal.status).to_lowercase()
}

fn human_list(proposals: &[Proposal]) -> String {
    let row = |proposal: &Proposal| {
        [
            proposal.id.to_string(),
            status(proposal),
            proposal.signers.len().to_string(),
            describe(&proposal.action),
        ]
    };
    table(&["proposal", "status", "signatures", "what"], proposals.iter().map(row))
}

fn human(proposal: &Proposal) -> String {
    let signers: Vec<_> = proposal.signers.iter().map(PublicKey::to_string).collect();
    pairs(&[
        ("proposal", proposal.id.to_string()),
        ("what", describe(&proposal.action)),
        ("status", status(proposal)),
        ("signed by", signers.join(", ")),
        ("lapses", time(proposal.expires)),
    ])
}
