//! `twinfold task contributions` and `twinfold task reward`: what trainers had in a task's models, and
//! stake for it.

use super::Context;
use crate::{
    error::{CliError, Result},
    render::{amount, or_dash, table},
};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use twinfold_types::{
    Action, PublicKey, Stake,
    api::{ContributionView, TaskView},
    stake::StakeAction,
};

#[derive(Debug, Args)]
pub struct RewardArgs {
    /// Identity or name of the task
    pub task: String,
    /// Stake to give away in all, by shares; who pulled the models the other way gets none
    #[arg(long)]
    pub amount: u64,
    /// Give it; without this what everyone would get is shown
    #[arg(long)]
    pub yes: bool,
}

/// What a trainer gets, and by which transaction once it is given.
#[derive(Clone, Debug, Serialize)]
struct Reward {
    trainer: PublicKey,
    name: String,
    amount: Stake,
    tx: Option<twinfold_types::TxId>,
}

pub fn list(context: &Context, task: &str) -> Result<()> {
    let (found, names) = read(context, task)?;
    context.output.show(&found, || {
        let rounds = found.iter().map(|view| view.total.share_ppm).sum::<i64>().max(1);
        let row = |view: &ContributionView| row(view, &names, rounds);
        let header = ["trainer", "updates", "examples", "cosine", "share", "", "its loss"];
        table(&header, found.iter().map(row))
    })
}

type Names = BTreeMap<PublicKey, String>;

/// The largest share first.
fn read(context: &Context, text: &str) -> Result<(Vec<ContributionView>, Names)> {
    let client = context.client()?;
    let task: TaskView = client.task(text)?;
    if !task.spec.contributions {
        return Err(CliError::failed(
            format!("task {:?} keeps no contributions", task.spec.name),
            "a task keeps them where it is created with `--contributions`",
        ));
    }
    let mut found = client.contributions(text)?;
    found.sort_by_key(|view| (std::cmp::Reverse(view.total.share_ppm), view.trainer));
    let members = client.members()?.into_iter();
    Ok((found, members.map(|member| (member.key, member.name)).collect()))
}

fn name(names: &Names, trainer: &PublicKey) -> String {
    names.get(trainer).cloned().unwrap_or_else(|| trainer.short())
}

fn row(view: &ContributionView, names: &Names, all: i64) -> [String; 7] {
    let total = &view.total;
    let cosine = total.cosine_ppm as f64 / 1e6 / total.updates.max(1) as f64;
    let share = total.share_ppm as f64 / all as f64;
    [
        name(names, &view.trainer),
        total.updates.to_string(),
        total.weight.to_string(),
        format!("{cosine:.3}"),
        format!("{:.1} %", share * 100.0),
        bar(share),
        or_dash(Some(format!("{:.4}", total.metrics.loss()))),
    ]
}

/// Twenty cells to a whole.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * 160.0).round() as usize;
    let rest = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8)).trim_end().into()
}

pub fn reward(context: &Context, args: &RewardArgs) -> Result<()> {
    let (found, names) = read(context, &args.task)?;
    let mut rewards: Vec<_> = share_out(args.amount, &found)
        .into_iter()
        .map(|(trainer, amount)| {
            let name = name(&names, &trainer);
            Reward { trainer, name, amount, tx: None }
        })
        .collect();
    if rewards.is_empty() {
        return Err(CliError::failed(
            "nobody has a share that comes to one stake",
            "see `twinfold task contributions`, or give more",
        ));
    }
    if args.yes {
        let progress = context.output.progress("giving");
        for reward in &mut rewards {
            progress.say(format!("{} to {}", amount(reward.amount), reward.name));
            let (to, amount) = (reward.trainer, reward.amount);
            reward.tx =
                Some(context.execute(Action::Stake(StakeAction::Transfer { to, amount }))?.id);
        }
    }
    context.output.show(&rewards, || {
        let row = |reward: &Reward| {
            [
                reward.name.clone(),
                amount(reward.amount),
                or_dash(reward.tx.map(|tx| tx.to_string())),
            ]
        };
        let rows = table(&["trainer", "stake", "transaction"], rewards.iter().map(row));
        let given = if args.yes { "" } else { "\nnothing is given yet: say --yes" };
        format!("{rows}{given}")
    })
}

/// By positive shares, rounded down; who would get nothing is left out.
fn share_out(amount: u64, found: &[ContributionView]) -> Vec<(PublicKey, Stake)> {
    let share = |view: &ContributionView| u128::from(view.total.share_ppm.max(0).unsigned_abs());
    let all: u128 = found.iter().map(share).sum();
    let part = |view: &ContributionView| {
        // Below 2^64 · 2^63: it fits, and the quotient is at most the amount.
        let part = (u128::from(amount) * share(view)).checked_div(all).unwrap_or(0) as u64;
        (part > 0).then_some((view.trainer, Stake(part)))
    };
    found.iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::round::ContributionTotal;

    fn of(trainer: u8, share_ppm: i64) -> ContributionView {
        let total = ContributionTotal { share_ppm, ..ContributionTotal::default() };
        ContributionView { trainer: PublicKey([trainer; 32]), total }
    }

    #[test]
    fn stake_goes_by_shares_and_never_above_what_is_given() {
        let found = [of(1, 700_000), of(2, 300_000), of(3, -50_000), of(4, 1)];
        let given = share_out(1_000, &found);
        assert_eq!(given, [(PublicKey([1; 32]), Stake(699)), (PublicKey([2; 32]), Stake(299))]);
        assert_eq!(share_out(1_000, &[of(1, 0), of(2, -5)]), []);
        assert_eq!(
            share_out(u64::MAX, &[of(1, i64::MAX)]),
            [(PublicKey([1; 32]), Stake(u64::MAX))]
        );
    }

    #[test]
    fn bars_are_as_long_as_shares() {
        assert_eq!((bar(0.0), bar(-1.0)), (String::new(), String::new()));
        assert_eq!((bar(1.0), bar(2.0)), ("█".repeat(20), "█".repeat(20)));
        assert_eq!(bar(0.025), "▌");
    }
}
