//! `twinfold events`: one line an event.

use super::Context;
use crate::{error::Result, render::time};
use clap::Args;
use std::time::Duration;
use twinfold_types::{
    Event,
    api::{EventView, Notice},
    round::RoundKey,
};

/// A stream without news for so long is up to date.
const QUIET: Duration = Duration::from_secs(2);
/// A followed stream without news for so long is opened anew.
const QUIET_FOLLOWING: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Start after this cursor (the first field of each line), or `now`
    /// [default: the first block]
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Go on as events come
    #[arg(long)]
    pub follow: bool,
}

pub fn run(context: &Context, args: EventsArgs) -> Result<()> {
    let client = context.client()?;
    let newest = client.status()?.height;
    let quiet = if args.follow { QUIET_FOLLOWING } else { QUIET };
    let mut events = client.events(args.after, quiet);
    loop {
        match events.next_event()? {
            Some(event) if args.follow || event.height <= newest => {
                context.output.line(&event, || human(&event))?;
            }
            None if args.follow => {}
            _ => return Ok(()),
        }
    }
}

fn human(view: &EventView) -> String {
    let what = match &view.event {
        Notice::Block(block) => {
            format!("block {} with {} transactions", block.digest.short(), block.txs)
        }
        Notice::Receipt(receipt) => match receipt.tx {
            Some(tx) => format!("transaction {}: {}", tx.0.short(), receipt.code.text()),
            None => "deadlines".into(),
        },
        Notice::Event(event) => describe(event),
    };
    format!("{}  {}  height {}  {what}", view.cursor, time(view.time), view.height)
}

fn round(key: &RoundKey) -> String {
    format!("round {} of cluster {} of task {}", key.round, key.cluster, key.task.0.short())
}

/// An event in words.
pub fn describe(event: &Event) -> String {
    match event {
        Event::MemberAdded { key } => format!("member {} added", key.short()),
        Event::MemberRemoved { key } => format!("member {} removed", key.short()),
        Event::QuotaSet { organisation, trainers } => {
            format!("{organisation} may have {trainers} trainers")
        }
        Event::ThresholdSet { threshold } => format!("proposals need {threshold} signatures"),
        Event::ProposalOpened { id } => format!("proposal {} opened", id.0.short()),
        Event::ProposalSigned { id, by, signatures } => {
            format!("proposal {} signed by {} ({signatures} in all)", id.0.short(), by.short())
        }
        Event::ProposalPassed { id } => format!("proposal {} passed", id.0.short()),
        Event::ProposalFailed { id, code } => {
            format!("proposal {} failed: {}", id.0.short(), code.text())
        }
        Event::ProposalLapsed { id } => format!("proposal {} lapsed", id.0.short()),
        Event::TaskCreated { task } => format!("task {} created", task.0.short()),
        Event::TaskFinished { task } => format!("task {} finished", task.0.short()),
        Event::TaskClosed { task } => format!("task {} closed", task.0.short()),
        Event::RoundOpened { key } => format!("{} opened", round(key)),
        Event::RoundStarted { key, deadline } => {
            format!("{} started, until {}", round(key), time(*deadline))
        }
        Event::UpdateOrdered { key, index, trainer } => {
            format!("update {index} by {} ordered in {}", trainer.short(), round(key))
        }
        Event::RoundExtended { key, deadline, extensions } => {
            format!("{} extended ({extensions}) until {}", round(key), time(*deadline))
        }
        Event::RoundSealed { key, entries } => format!("{} sealed with {entries}", round(key)),
        Event::RoundVoid { key, reason } => format!("{} void: {reason:?}", round(key)),
        Event::RoundAggregated { key, model, folded, refused, .. } => {
            let model = model.0.short();
            format!("{} aggregated: model {model}, {folded} folded, {refused} refused", round(key))
        }
        Event::WeightCapped { task, cluster } => {
            format!("weight of cluster {cluster} of task {} is at its cap", task.0.short())
        }
        Event::MergeDue { task, number } => {
            format!("merge {number} of task {} due", task.0.short())
        }
        Event::Merged { task, number, model, .. } => {
            format!("merge {number} of task {}: model {}", task.0.short(), model.0.short())
        }
        Event::ModelVersion { model, level, version, .. } => {
            format!(
                "model {} is version {version} of {}",
                model.0.short(),
                super::model::level_text(*level)
            )
        }
        Event::ModelPublished { model, name } => {
            format!("model {} published as {name}", model.0.short())
        }
    }
}
