//! `twinfold proposal`: what m of n admins decide.

use super::{
    Context,
    admin_action::{NewProposal, admin_action, describe},
};
use crate::{
    error::{CliError, Result},
    render::{pairs, table, time},
};
use clap::Subcommand;
use twinfold_types::{Action, PublicKey, TxId, member::Proposal};

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

pub fn run(context: &Context, command: ProposalCommand) -> Result<()> {
    match command {
        ProposalCommand::New(new) => {
            let action = admin_action(context, new)?;
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
