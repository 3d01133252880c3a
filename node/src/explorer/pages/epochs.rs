//! All epochs, the newest first.

use super::{Answer, Names, ROWS, render};
use crate::{
    api::{Api, stake_view},
    explorer::format::time,
};
use askama::Template;
use twinfold_types::{
    Committee, Epoch, Height, PublicKey, TimeMs, api::EpochView, handover::EpochEnd,
    vote::CheckpointCertificate,
};

#[derive(Template)]
#[template(path = "epochs.html")]
struct Epochs {
    epochs: Vec<EpochRow>,
    newer: Option<u64>,
    older: Option<u64>,
}

struct EpochRow {
    number: Epoch,
    first: Height,
    end: String,
    seats: usize,
    joined: String,
    left: String,
    protocol: u32,
}

/// From an epoch on; the newest ones when none is named.
pub fn epochs(api: &Api, from: Option<u64>) -> Answer {
    let (reader, rows) = (&api.node.reader, ROWS as u64);
    let newest = reader.committee().epoch.0;
    let from = from.unwrap_or((newest + 1).saturating_sub(rows)).min(newest);
    let names = Names::new(reader);
    let ends_at = reader.ends_at()?;
    let mut found = stake_view::epochs(reader, Epoch(from), ROWS)?;
    found.reverse();
    render(&Epochs {
        epochs: found.iter().map(|view| row(view, &names, ends_at)).collect(),
        newer: from.checked_add(rows).filter(|next| *next <= newest),
        older: (from > 0).then(|| from.saturating_sub(rows)),
    })
}

fn row(view: &EpochView, names: &Names<'_>, ends_at: Option<Height>) -> EpochRow {
    let list =
        |keys: &[PublicKey]| keys.iter().map(|key| names.of(key)).collect::<Vec<_>>().join(", ");
    EpochRow {
        number: view.committee.epoch,
        first: view.committee.anchor.next(),
        end: match &view.end {
            Some(EpochEnd::Checkpoint(CheckpointCertificate { checkpoint, signatures })) => {
                format!("height {}, signed by {} seats", checkpoint.height, signatures.len())
            }
            Some(EpochEnd::Recovery(recovery)) => {
                let (height, admins) = (recovery.statement.kept.height, recovery.signatures.len());
                format!("height {height}, by a recovery that {admins} admins signed")
            }
            None => ending(&view.committee, ends_at),
        },
        seats: view.committee.size(),
        joined: list(&view.joined),
        left: list(&view.left),
        protocol: view.committee.protocol,
    }
}

/// When a running epoch ends: at a time, or earlier, at the height that the admins brought about.
pub fn ending(committee: &Committee, ends_at: Option<Height>) -> String {
    match (ends_at, committee.ends) {
        (Some(height), _) => format!("The admins end it after height {height}."),
        (None, TimeMs(u64::MAX)) => "Runs without an end.".into(),
        (None, at) => format!("Runs until its first block at or after {}.", time(at)),
    }
}
