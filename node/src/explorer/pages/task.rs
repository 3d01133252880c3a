//! A task: its curve, its models, its clusters and their rounds.

use super::{Answer, ModelRow, Names, model_row, render};
use crate::{
    api::{Api, Refusal, cut, view},
    explorer::{
        curve::Curve,
        format::{percent, time},
    },
};
use askama::Template;
use twinfold_types::{
    ClusterId,
    api::{ModelView, RoundView},
    model::{Level, ModelId, model_values},
    round::RoundState,
    task::{Mode, Task, TaskStatus, evaluation::Best},
};

const MODELS: usize = 5;
const CLUSTERS: usize = 16;
const ROUNDS: usize = 5;

/// A task as the start page shows it.
pub struct TaskCard {
    pub name: String,
    pub description: String,
    pub status: &'static str,
    pub merges: u64,
    pub picture: Option<Picture>,
    pub models: Vec<ModelRow>,
}

pub struct Picture {
    pub what: &'static str,
    pub newest: String,
    pub svg: String,
    pub legend: Vec<(&'static str, String)>,
}

pub fn task_card(api: &Api, task: &Task) -> Result<TaskCard, Refusal> {
    let models = api.node.reader.models(Some(&task.id), Level::Global, None, MODELS)?;
    let row = |(id, record)| {
        model_row(ModelView { id, name: task.spec.name.clone(), record, deprecation: None })
    };
    Ok(TaskCard {
        name: task.spec.name.clone(),
        description: task.spec.description.clone(),
        status: status_text(task.status),
        merges: task.merges,
        picture: api.curves.of(&api.node.reader, task)?.as_ref().map(picture),
        models: models.into_iter().map(row).collect(),
    })
}

fn picture(curve: &Curve) -> Picture {
    let newest = curve.newest().unwrap_or_default();
    let newest = if curve.is_accuracy { percent(newest) } else { format!("{newest:.3}") };
    Picture { what: curve.what, newest, svg: curve.svg(), legend: curve.legend() }
}

fn status_text(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Open => "open",
        TaskStatus::Finished => "finished",
        TaskStatus::Closed => "closed",
        TaskStatus::Stopped => "stopped: no gain any more",
    }
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    task: Task,
    created: String,
    owner: String,
    status: &'static str,
    mode: String,
    values: u64,
    picture: Option<Picture>,
    clusters: Vec<ClusterCard>,
    clusters_more: usize,
    models: Vec<ModelRow>,
    best: Option<BestRow>,
}

/// The best of the versions that were measured.
struct BestRow {
    model: ModelId,
    version: u64,
    loss: String,
    accuracy: String,
    since: u32,
}

struct ClusterCard {
    id: ClusterId,
    model: ModelId,
    version: u64,
    round: u64,
    entries: u32,
    collecting: bool,
    rounds: Vec<RoundRow>,
}

struct RoundRow {
    number: u64,
    state: String,
    model: Option<ModelId>,
    updates: u32,
    accuracy: String,
    loss: String,
}

pub fn task(api: &Api, text: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("task {:?}", cut(text)), "the start page lists tasks");
    let task = view::find_task(reader, text)?.ok_or_else(unknown)?;
    let card = task_card(api, &task)?;
    let shown = view::task(reader, &task.id)?.ok_or_else(unknown)?;
    let mut clusters = Vec::new();
    for cluster in shown.clusters.into_iter().take(CLUSTERS) {
        let record = reader.cluster(&task.id, cluster.cluster)?;
        let rounds = match record {
            Some(record) => view::rounds(reader, &record, None, ROUNDS)?,
            None => vec![],
        };
        clusters.push(ClusterCard {
            id: cluster.cluster,
            model: cluster.model,
            version: cluster.version,
            round: cluster.round.0,
            entries: cluster.entries,
            collecting: cluster.collecting,
            rounds: rounds.iter().map(round_row).collect(),
        });
    }
    render(&TaskPage {
        created: time(task.created),
        owner: Names::new(reader).of(&task.owner),
        status: card.status,
        mode: mode_text(&task),
        values: model_values(&task.spec.tensors).unwrap_or_default(),
        picture: card.picture,
        clusters_more: usize::from(task.spec.clusters).saturating_sub(CLUSTERS),
        clusters,
        models: card.models,
        best: best(&task),
        task,
    })
}

fn best(task: &Task) -> Option<BestRow> {
    let Best { version, model, score } = task.progress.best?;
    Some(BestRow {
        model,
        version,
        loss: format!("{:.3}", score.loss()),
        accuracy: score.accuracy().map(percent).unwrap_or_default(),
        since: task.progress.without_gain,
    })
}

fn mode_text(task: &Task) -> String {
    let spec = &task.spec;
    match &spec.mode {
        Mode::Sync => format!(
            "synchronous, {} to {} updates a round",
            spec.participants_min, spec.participants_max
        ),
        Mode::Async { buffer, .. } => {
            format!("asynchronous, buffers of {buffer} updates")
        }
    }
}

fn round_row(view: &RoundView) -> RoundRow {
    let metrics = view.metrics.as_ref();
    RoundRow {
        number: view.round.key.round.0,
        state: state_text(&view.round.state),
        model: match view.round.state {
            RoundState::Aggregated { model, .. } => Some(model),
            _ => None,
        },
        updates: view.round.entries,
        accuracy: metrics.and_then(|metrics| metrics.accuracy()).map(percent).unwrap_or_default(),
        loss: metrics.map(|metrics| format!("{:.3}", metrics.loss())).unwrap_or_default(),
    }
}

fn state_text(state: &RoundState) -> String {
    match state {
        RoundState::Open => "open".into(),
        RoundState::Collecting { deadline, .. } => format!("collecting until {}", time(*deadline)),
        RoundState::Sealed { height } => format!("sealed at height {height}"),
        RoundState::Aggregated { height, .. } => format!("aggregated at height {height}"),
        RoundState::Void { height, .. } => format!("void at height {height}"),
    }
}
