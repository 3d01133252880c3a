//! `twinfold member`: the list, and an operator's own trainers.

use super::{Context, parse_key};
use crate::{
    client::Client,
    error::{CliError, Result},
    render::{pairs, table},
};
use clap::Subcommand;
use twinfold_types::{
    Action, PublicKey,
    member::{Member, Role},
};

#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// All members
    List,
    /// One member, by key or name
    Show { member: String },
    /// Add a trainer to the operator's organisation (signs with --key)
    Add {
        #[arg(long)]
        name: String,
        #[arg(long)]
        organisation: String,
        /// The trainer's public key
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        member_key: PublicKey,
    },
    /// Remove a trainer of the operator's organisation, by key or name
    Remove { member: String },
}

pub fn run(context: &Context, command: MemberCommand) -> Result<()> {
    match command {
        MemberCommand::List => list(context),
        MemberCommand::Show { member } => {
            let member = find(&context.client()?.members()?, &member)?;
            context.output.show(&member, || human(&member))
        }
        MemberCommand::Add { name, organisation, member_key } => {
            let member = new_member(name, organisation, vec![Role::Trainer], member_key, None)?;
            let done = format!("{} is a trainer of {}", member.name, member.organisation);
            context.transact(Action::AddTrainer(member), &done)
        }
        MemberCommand::Remove { member } => {
            let key = key_of(&context.client()?, &member)?;
            context.transact(Action::RemoveTrainer(key), &format!("{member} is removed"))
        }
    }
}

/// A member as it would be registered; what the chain would refuse is refused here.
pub fn new_member(
    name: String,
    organisation: String,
    roles: Vec<Role>,
    key: PublicKey,
    peer: Option<String>,
) -> Result<Member> {
    let member = Member { key, name, organisation, roles: roles.into_iter().collect(), peer };
    match member.fault() {
        None => Ok(member),
        Some(fault) => Err(CliError::usage(fault, "see --help for what each flag takes")),
    }
}

/// The key that a name or key on the command line means. A key is taken as it is: whether it
/// is a member's is the chain's to say.
pub fn key_of(client: &Client, text: &str) -> Result<PublicKey> {
    match parse_key(text) {
        Ok(key) => Ok(key),
        Err(_) => Ok(find(&client.members()?, text)?.key),
    }
}

/// A member by key or by name.
pub fn find(members: &[Member], text: &str) -> Result<Member> {
    let by_key = parse_key(text).ok();
    let is_it = |member: &&Member| Some(member.key) == by_key || member.name == text;
    let found: Vec<_> = members.iter().filter(is_it).collect();
    match found.as_slice() {
        [member] => Ok((*member).clone()),
        [] => Err(CliError::failed(
            format!("no member has the name or key {text:?}"),
            "see `twinfold member list`",
        )),
        several => Err(CliError::usage(
            format!("{} members are named {text:?}", several.len()),
            "give the member's key",
        )),
    }
}

fn list(context: &Context) -> Result<()> {
    let members = context.client()?.members()?;
    context.output.show(&members, || {
        let row = |member: &Member| {
            [
                member.name.clone(),
                member.organisation.clone(),
                roles(member),
                member.key.to_string(),
            ]
        };
        table(&["name", "organisation", "roles", "key"], members.iter().map(row))
    })
}

/// A member's name; of a key that is none's (any more) its first digits.
pub fn name_of(members: &[Member], key: &PublicKey) -> String {
    let found = members.iter().find(|member| member.key == *key);
    found.map_or_else(|| key.short(), |member| member.name.clone())
}

pub fn roles(member: &Member) -> String {
    let name = |role: &Role| format!("{role:?}").to_lowercase();
    member.roles.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn human(member: &Member) -> String {
    pairs(&[
        ("name", member.name.clone()),
        ("organisation", member.organisation.clone()),
        ("roles", roles(member)),
        ("key", member.key.to_string()),
        ("peer", member.peer.clone().unwrap_or_else(|| "–".into())),
    ])
}
