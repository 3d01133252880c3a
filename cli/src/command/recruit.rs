//! `twinfold task recruit`: how many trainers may take part in a task.

use super::Context;
use crate::error::Result;
use clap::Args;
use twinfold_types::{Action, tx::RecruitAction};

#[derive(Debug, Args)]
pub struct RecruitArgs {
    /// Identity or name of the task
    pub task: String,
    /// So many at most; those who take part already stay
    #[arg(long, value_name = "N", required_unless_present = "all")]
    pub trainers: Option<u32>,
    /// Whoever comes
    #[arg(long, conflicts_with = "trainers")]
    pub all: bool,
}

pub fn run(context: &Context, args: &RecruitArgs) -> Result<()> {
    let task = context.client()?.task(&args.task)?;
    recruit(context, task.id, &args.task, args.trainers)
}

/// Says it to the ledger.
pub fn recruit(
    context: &Context,
    task: twinfold_types::TaskId,
    name: &str,
    trainers: Option<u32>,
) -> Result<()> {
    let done = match trainers {
        Some(trainers) => format!("task {name} takes {trainers} trainers at most"),
        None => format!("task {name} takes whoever comes"),
    };
    context.transact(Action::Recruit(RecruitAction { task, trainers }), &done)
}
