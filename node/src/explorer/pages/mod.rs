//! What each page shows, put into its template. Templates escape every value; the
//! only markup passed through is the curve, which holds numbers and fixed words.

mod chain;
mod epochs;
mod model;
mod start;
mod task;
mod term;

pub use chain::{block, tx};
pub use epochs::epochs;
pub use model::model;
pub use start::start;
pub use task::task;

use super::format::short;
use crate::api::Refusal;
use askama::Template;
use twinfold_ledger::Reader;
use twinfold_types::{
    Height, PublicKey, Receipt,
    api::ModelView,
    member::Member,
    model::{Level, ModelId, ModelSource},
    state_key,
};

/// Updates, transactions or events in one table.
const ROWS: usize = 200;

type Answer = Result<String, Refusal>;

fn render(page: &impl Template) -> Answer {
    page.render().map_err(Refusal::fault)
}

struct ModelRow {
    id: ModelId,
    short: String,
    name: String,
    level: String,
    version: u64,
    height: Height,
    source: String,
}

fn model_row(model: ModelView) -> ModelRow {
    ModelRow {
        id: model.id,
        short: short(&model.id),
        name: model.name,
        level: level_text(model.record.level),
        version: model.record.version,
        height: model.record.height,
        source: source_text(&model.record.source),
    }
}

fn level_text(level: Level) -> String {
    match level {
        Level::Global => "global".into(),
        Level::Cluster(id) => format!("cluster {id}"),
        Level::Region(id) => format!("region {id}"),
    }
}

fn source_text(source: &ModelSource) -> String {
    match source {
        ModelSource::Initial { .. } => "first model of the task".into(),
        ModelSource::Published { about, .. } => format!("published, {}", about.version),
        ModelSource::Round { cluster, round, folded, .. } => {
            format!("round {round} of cluster {cluster}, {folded} updates folded")
        }
        ModelSource::Merge { number, .. } => format!("merge {number}"),
    }
}

fn events(receipt: &Receipt) -> Vec<String> {
    let text = |event| serde_json::to_string(event).unwrap_or_default();
    receipt.events.iter().take(ROWS).map(text).collect()
}

/// Names of members, read when needed.
struct Names<'a> {
    reader: &'a Reader,
}

impl<'a> Names<'a> {
    fn new(reader: &'a Reader) -> Self {
        Self { reader }
    }

    /// The member's name, or its key's first digits when it is none any more.
    fn of(&self, key: &PublicKey) -> String {
        let member = self.reader.get::<Member>(&state_key::member(key));
        match member {
            Ok(Some(member)) => format!("{} ({})", member.name, member.organisation),
            _ => key.short(),
        }
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    status: u16,
    error: &'a str,
    hint: &'a str,
}

pub fn refusal(refusal: &Refusal) -> String {
    let Refusal { status, error, hint, .. } = refusal;
    let page = RefusalPage { status: status.as_u16(), error, hint };
    // A template that cannot render is no reason to say nothing.
    page.render().unwrap_or_else(|_| "this page could not be made".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_is_escaped() {
        let refusal = Refusal::bad_request("<script>alert(1)</script>", "\"><img src=x>");
        let html = super::refusal(&refusal);
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("alert(1)"));
    }
}
