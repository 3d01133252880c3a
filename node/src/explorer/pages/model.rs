//! A model: what it was made from, and by whom.

use super::{Answer, ModelRow, Names, ROWS, model_row, render};
use crate::{
    api::{Api, Refusal, cut, view},
    explorer::format::{bytes, time},
};
use askama::Template;
use twinfold_ledger::Reader;
use twinfold_types::{
    Digest, TxId,
    model::{ModelId, ModelSource},
    round::{Entry, Outcome, RoundState},
};

#[derive(Template)]
#[template(path = "model.html")]
struct ModelPage {
    model: ModelRow,
    digest: Digest,
    time: String,
    task: bool,
    parents: Vec<ModelRow>,
    tx: Option<TxId>,
    updates: Vec<UpdateRow>,
    updates_more: usize,
}

struct UpdateRow {
    tx: TxId,
    trainer: String,
    examples: u32,
    bytes: String,
    outcome: String,
}

pub fn model(api: &Api, text: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("model {:?}", cut(text)), "the start page lists models");
    let id = ModelId(text.parse().map_err(|_| unknown())?);
    let record = reader.model(&id)?.ok_or_else(unknown)?;
    let mut parents = Vec::new();
    for parent in &record.parents {
        if let Some(record) = reader.model(parent)? {
            parents.push(model_row(view::model(reader, *parent, record)?));
        }
    }
    let round = view::source_round(reader, &record)?;
    let (updates, total) = match &round {
        Some((round, entries)) => (update_rows(reader, &round.state, entries), entries.len()),
        None => (vec![], 0),
    };
    let tx = match record.source {
        ModelSource::Initial { tx, .. } | ModelSource::Published { tx, .. } => Some(tx),
        _ => None,
    };
    let (digest, made, task) = (record.digest, time(record.time), record.task.is_some());
    render(&ModelPage {
        model: model_row(view::model(reader, id, record)?),
        digest,
        time: made,
        task,
        parents,
        tx,
        updates_more: total.saturating_sub(updates.len()),
        updates,
    })
}

fn update_rows(reader: &Reader, state: &RoundState, entries: &[Entry]) -> Vec<UpdateRow> {
    let names = Names::new(reader);
    let outcomes: &[Outcome] = match state {
        RoundState::Aggregated { outcomes, .. } => outcomes,
        _ => &[],
    };
    let row = |(index, entry): (usize, &Entry)| UpdateRow {
        tx: entry.tx,
        trainer: names.of(&entry.trainer),
        examples: entry.weight,
        bytes: bytes(entry.blob.length),
        outcome: outcomes.get(index).map(outcome_text).unwrap_or_default(),
    };
    entries.iter().enumerate().take(ROWS).map(row).collect()
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Folded { weight } => format!("folded with weight {weight}"),
        Outcome::Refused(reason) => format!("refused: {}", reason.text()),
    }
}
