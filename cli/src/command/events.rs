//! `twinfold events`: one line an event.

use super::{Context, event_text::describe};
use crate::{error::Result, render::time};
use clap::Args;
use std::time::Duration;
use twinfold_types::api::{EventView, Notice};

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
