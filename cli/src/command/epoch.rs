//! `twinfold epoch`, `twinfold epochs`: whose turn it was, is, and until when.

use super::Context;
use crate::{
    client::Client,
    error::{CliError, Result},
    render::{or_dash, pairs, table, time},
};
use clap::Args;
use std::collections::BTreeMap;
use twinfold_types::{
    Epoch, Height, PublicKey, TimeMs, api::EpochView, handover::EpochEnd, quorum::Seat,
};

/// Epochs in a list.
const EPOCHS: u64 = 20;

#[derive(Debug, Args)]
pub struct EpochArgs {
    /// Number; without one, the running epoch
    pub number: Option<u64>,
}

#[derive(Debug, Args)]
pub struct EpochsArgs {
    /// First epoch of the list [default: the newest ones]
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = EPOCHS, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub limit: u64,
}

/// Names of members, for people.
struct Names(BTreeMap<PublicKey, String>);

impl Names {
    fn fetch(client: &Client) -> Result<Self> {
        let members = client.members()?.into_iter();
        Ok(Self(members.map(|member| (member.key, member.name)).collect()))
    }

    /// The name, or the first digits of the key of one who is a member no longer.
    fn of(&self, key: &PublicKey) -> String {
        self.0.get(key).cloned().unwrap_or_else(|| key.short())
    }

    fn list(&self, keys: &[PublicKey]) -> String {
        match keys {
            [] => or_dash::<u32>(None),
            keys => keys.iter().map(|key| self.of(key)).collect::<Vec<_>>().join(", "),
        }
    }
}

pub fn epoch(context: &Context, args: &EpochArgs) -> Result<()> {
    let client = context.client()?;
    let number = match args.number {
        Some(number) => number,
        None => client.status()?.epoch.0,
    };
    let found = client.epochs(Epoch(number), 1)?.into_iter().next();
    let view = found.filter(|view| view.committee.epoch.0 == number).ok_or_else(|| {
        CliError::failed(format!("there is no epoch {number} yet"), "see `twinfold epochs`")
    })?;
    if context.output.json {
        return context.output.show(&view, String::new);
    }
    let names = Names::fetch(&client)?;
    context.output.show(&view, || human(&view, &names))
}

pub fn epochs(context: &Context, args: &EpochsArgs) -> Result<()> {
    let client = context.client()?;
    let from = match args.from {
        Some(from) => from,
        None => (client.status()?.epoch.0 + 1).saturating_sub(args.limit),
    };
    let views = client.epochs(Epoch(from), args.limit as usize)?;
    if context.output.json {
        return context.output.show(&views, String::new);
    }
    let names = Names::fetch(&client)?;
    context.output.show(&views, || human_list(&views, &names))
}

fn first_height(view: &EpochView) -> Height {
    view.committee.anchor.next()
}

fn last_height(view: &EpochView) -> Option<Height> {
    view.end.as_ref().map(EpochEnd::height)
}

/// When it ended or will: the first block of this time or later is its last.
fn ends(view: &EpochView) -> String {
    match (view.end.as_ref(), view.committee.ends) {
        (Some(EpochEnd::Recovery(recovery)), _) => {
            let (height, digest) = (recovery.statement.kept.height, recovery.digest());
            format!("ended with height {height} by recovery {digest}")
        }
        (Some(end), _) => format!("ended with height {}", end.height()),
        (None, TimeMs(u64::MAX)) => "runs, without an end".into(),
        (None, at) => format!("runs until its first block at or after {}", time(at)),
    }
}

fn human_list(views: &[EpochView], names: &Names) -> String {
    let row = |view: &EpochView| {
        [
            view.committee.epoch.to_string(),
            first_height(view).to_string(),
            or_dash(last_height(view)),
            ends(view),
            view.committee.size().to_string(),
            names.list(&view.joined),
            names.list(&view.left),
            view.committee.protocol.to_string(),
        ]
    };
    let header = ["epoch", "from", "to", "state", "seats", "joined", "left", "protocol"];
    table(&header, views.iter().map(row))
}

fn human(view: &EpochView, names: &Names) -> String {
    let head = pairs(&[
        ("epoch", view.committee.epoch.to_string()),
        ("first height", first_height(view).to_string()),
        ("state", ends(view)),
        ("joined", names.list(&view.joined)),
        ("left", names.list(&view.left)),
        ("protocol", view.committee.protocol.to_string()),
    ]);
    let row = |(index, seat): (usize, &Seat)| {
        [
            index.to_string(),
            names.of(&seat.validator),
            seat.organisation.clone(),
            seat.validator.to_string(),
            if seat.key == seat.validator { "the same".into() } else { seat.key.short() },
        ]
    };
    let rows = view.committee.seats.iter().enumerate().map(row);
    format!("{head}\n\n{}", table(&["seat", "name", "organisation", "member", "signs with"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Committee, Digest,
        vote::{Checkpoint, CheckpointCertificate},
    };

    fn epoch(number: u64, ended: Option<u64>) -> EpochView {
        let seats = (1..=4).map(|byte| Seat::of(PublicKey([byte; 32]), "clinic")).collect();
        let committee = Committee { ends: TimeMs(5_000), ..Committee::new(Epoch(number), seats) };
        let checkpoint = |height| Checkpoint {
            epoch: Epoch(number),
            height: Height(height),
            block: Digest::ZERO,
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: None,
        };
        let certificate =
            |height| CheckpointCertificate { checkpoint: checkpoint(height), signatures: vec![] };
        let (joined, left) = (vec![PublicKey([4; 32])], vec![PublicKey([9; 32])]);
        EpochView { committee, joined, left, end: ended.map(certificate).map(EpochEnd::Checkpoint) }
    }

    #[test]
    fn an_epoch_says_who_came_who_left_and_how_it_stands() {
        let names = Names([(PublicKey([4; 32]), "site-5".to_string())].into());
        let text = human_list(&[epoch(0, Some(40)), epoch(1, None)], &names);
        for part in ["ended with height 40", "at or after 1970-01-01", "site-5"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        let text = human(&epoch(1, None), &names);
        assert!(text.contains("site-5") && text.contains(&PublicKey([9; 32]).short()), "{text}");
        let endless = Committee { ends: TimeMs(u64::MAX), ..epoch(0, None).committee };
        assert!(
            ends(&EpochView { committee: endless, ..epoch(0, None) }).contains("without an end")
        );
    }
}
