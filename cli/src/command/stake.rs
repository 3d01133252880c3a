//! `twinfold stake`: what a member owns, and what it does with it.

use super::{Context, member};
use crate::{
    client::Client,
    error::{CliError, Result},
    render::{amount, pairs, table, time},
};
use clap::{Args, Subcommand};
use twinfold_types::{
    Action, PublicKey, Stake, TimeMs,
    api::{DelegationView, StakeView, UnbondingView},
    stake::StakeAction,
    text::parse_stake,
};

#[derive(Debug, Subcommand)]
pub enum StakeCommand {
    /// Bond free stake to a validator: it counts at the next election, earns with it and can
    /// be slashed with it
    Delegate(ToValidator),
    /// Take bonded stake back: free after the unbonding time
    Undelegate(ToValidator),
    /// Give free stake to another member
    Transfer {
        /// Who gets it: name or key
        #[arg(long, value_name = "NAME|KEY")]
        to: String,
        #[command(flatten)]
        amount: Amount,
    },
    /// What a member has free, delegated and unbonding
    Show {
        /// Name or key [default: the key this would sign with]
        member: Option<String>,
    },
    /// Ask to be let out of jail, as a validator that was silent (signs with --key)
    Release,
}

#[derive(Debug, Args)]
pub struct ToValidator {
    /// The validator: name or key
    #[arg(long, value_name = "NAME|KEY")]
    validator: String,
    #[command(flatten)]
    amount: Amount,
}

#[derive(Debug, Args)]
pub struct Amount {
    /// How much, in the smallest unit: 2500 or 2_500
    #[arg(long, value_name = "N", value_parser = parse_amount)]
    pub amount: Stake,
}

pub fn run(context: &Context, command: StakeCommand) -> Result<()> {
    match command {
        StakeCommand::Delegate(ToValidator { validator, amount: Amount { amount: some } }) => {
            let key = member::key_of(&context.client()?, &validator)?;
            let done = format!("{} delegated to {validator}", amount(some));
            transact(context, StakeAction::Delegate { validator: key, amount: some }, &done)
        }
        StakeCommand::Undelegate(ToValidator { validator, amount: Amount { amount: some } }) => {
            let key = member::key_of(&context.client()?, &validator)?;
            let done = format!(
                "{} taken back from {validator}; `twinfold stake show` says when it is free",
                amount(some)
            );
            transact(context, StakeAction::Undelegate { validator: key, amount: some }, &done)
        }
        StakeCommand::Transfer { to, amount: Amount { amount: some } } => {
            let key = member::key_of(&context.client()?, &to)?;
            let done = format!("{} given to {to}", amount(some));
            transact(context, StakeAction::Transfer { to: key, amount: some }, &done)
        }
        StakeCommand::Show { member } => show(context, member.as_deref()),
        StakeCommand::Release => {
            let done = "let out: electable again from the next election on";
            transact(context, StakeAction::Release, done)
        }
    }
}

fn transact(context: &Context, action: StakeAction, done: &str) -> Result<()> {
    context.transact(Action::Stake(action), done)
}

/// An amount above zero.
pub fn parse_amount(text: &str) -> Result<Stake, String> {
    match parse_stake(text)? {
        Stake(0) => Err("expected an amount above zero".into()),
        some => Ok(some),
    }
}

fn show(context: &Context, member: Option<&str>) -> Result<()> {
    let client = context.client()?;
    let view = client.stake(&whose(context, &client, member)?)?;
    context.output.show(&view, || human(&view))
}

fn whose(context: &Context, client: &Client, member: Option<&str>) -> Result<PublicKey> {
    match member {
        Some(text) => member::key_of(client, text),
        None => {
            let name = context.key_name().map_err(|_| {
                CliError::usage(
                    "whose stake? No member is named, and no one key to sign with is there",
                    "give a name or key: `twinfold stake show NAME`",
                )
            })?;
            Ok(context.keystore().load(&name)?.public)
        }
    }
}

fn human(view: &StakeView) -> String {
    let delegated: u64 = view.delegated.iter().map(|part| part.worth.0).sum();
    let unbonding: u64 = view.unbonding.iter().map(|part| part.worth.0).sum();
    let mut text = pairs(&[
        ("member", view.name.clone()),
        ("key", view.member.to_string()),
        ("free", amount(view.free)),
        ("delegated", amount(Stake(delegated))),
        ("unbonding", amount(Stake(unbonding))),
    ]);
    if !view.delegated.is_empty() {
        let row = |part: &DelegationView| [part.name.clone(), amount(part.worth)];
        let rows = view.delegated.iter().map(row);
        text += &format!("\n\n{}", table(&["delegated to", "worth now"], rows));
    }
    if !view.unbonding.is_empty() {
        let row = |part: &UnbondingView| {
            [part.name.clone(), part.epoch.to_string(), amount(part.worth), free_at(part.free_at)]
        };
        let rows = view.unbonding.iter().map(row);
        let header = ["taken back from", "in epoch", "worth now", "free at"];
        text += &format!("\n\n{}", table(&header, rows));
    }
    text
}

fn free_at(at: Option<TimeMs>) -> String {
    at.map_or_else(|| "known when its epoch has ended".into(), time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::Epoch;

    #[test]
    fn an_amount_is_a_whole_number_and_may_be_grouped() {
        assert_eq!(parse_amount("2_500"), Ok(Stake(2_500)));
        assert_eq!(parse_amount("18446744073709551615"), Ok(Stake(u64::MAX)));
        for text in ["", "_", "1_", "_1", "-1", "1.5", "1e3", "18446744073709551616"] {
            assert!(parse_amount(text).unwrap_err().contains("2_500"), "{text:?}");
        }
        assert!(parse_amount("0").unwrap_err().contains("above zero"));
    }

    #[test]
    fn what_a_member_owns_is_shown_part_by_part() {
        let key = |byte| PublicKey([byte; 32]);
        let unbonding = |epoch, free_at| UnbondingView {
            validator: key(3),
            name: "site-3".into(),
            epoch: Epoch(epoch),
            worth: Stake(1_000),
            free_at,
        };
        let view = StakeView {
            member: key(1),
            name: "ann".into(),
            free: Stake(12_345_678),
            delegated: vec![DelegationView {
                validator: key(2),
                name: "site-2".into(),
                worth: Stake(950),
            }],
            unbonding: vec![unbonding(4, Some(TimeMs(951_782_400_000))), unbonding(5, None)],
        };
        let text = human(&view);
        for part in ["12_345_678", "site-2", "950", "2_000", "2000-02-29", "has ended"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }
}
