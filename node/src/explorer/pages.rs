//! What each page shows, put into its template. Templates escape every value; the
//! only markup passed through is the curve, which holds numbers and fixed words.

use super::{
    curve::Curve,
    format::{bytes, percent, short, time},
};
use crate::api::{Api, Refusal, cut, view};
use askama::Template;
use twinfold_ledger::Reader;
use twinfold_types::{
    ClusterId, Digest, Height, PublicKey, Receipt, TxId,
    api::{BlockSummary, BlockView, ModelView, RoundView, StatusView, TxView, ValidatorView},
    model::{Level, ModelId, ModelSource},
    round::{Entry, Outcome, RoundState},
    state_key,
    task::{Task, TaskStatus},
};

const BLOCKS: usize = 10;
const TASKS: usize = 10;
const MODELS: usize = 5;
const CLUSTERS: usize = 16;
const ROUNDS: usize = 5;
/// Updates and transactions in one table.
const ROWS: usize = 200;

type Answer = Result<String, Refusal>;

fn render(page: &impl Template) -> Answer {
    page.render().map_err(Refusal::fault)
}

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    status: StatusView,
    height_time: String,
    validators: Vec<ValidatorView>,
    blocks: Vec<BlockRow>,
    tasks: Vec<TaskCard>,
    tasks_more: usize,
    published: Vec<ModelRow>,
}

struct BlockRow {
    height: Height,
    digest: Digest,
    time: String,
    txs: u32,
    bytes: String,
}

struct TaskCard {
    name: String,
    description: String,
    status: &'static str,
    merges: u64,
    picture: Option<Picture>,
    models: Vec<ModelRow>,
}

struct Picture {
    what: &'static str,
    newest: String,
    svg: String,
    legend: Vec<(&'static str, String)>,
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

pub fn start(api: &Api) -> Answer {
    let reader = &api.node.reader;
    let mut tasks = reader.tasks()?;
    tasks.sort_by_key(|task| std::cmp::Reverse(task.created));
    let tasks_more = tasks.len().saturating_sub(TASKS);
    let cards: Result<Vec<_>, Refusal> =
        tasks.iter().take(TASKS).map(|task| task_card(api, task)).collect();
    let published = reader.models(None, Level::Global, None, MODELS)?;
    let published: Result<Vec<_>, _> =
        published.into_iter().map(|(id, record)| view::model(reader, id, record)).collect();
    let status = view::status(&api.node);
    render(&Start {
        height_time: time(status.time),
        validators: view::validators(&api.node),
        blocks: view::blocks(reader, None, BLOCKS)?.into_iter().map(block_row).collect(),
        tasks: cards?,
        tasks_more,
        published: published?.into_iter().map(model_row).collect(),
        status,
    })
}

fn block_row(block: BlockSummary) -> BlockRow {
    let BlockSummary { height, digest, txs, .. } = block;
    BlockRow { height, digest, time: time(block.time), txs, bytes: bytes(block.bytes) }
}

fn task_card(api: &Api, task: &Task) -> Result<TaskCard, Refusal> {
    let models = api.node.reader.models(Some(&task.id), Level::Global, None, MODELS)?;
    let row = |(id, record)| model_row(ModelView { id, name: task.spec.name.clone(), record });
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

fn status_text(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Open => "open",
        TaskStatus::Finished => "finished",
        TaskStatus::Closed => "closed",
    }
}

fn level_text(level: Level) -> String {
    match level {
        Level::Global => "global".into(),
        Level::Cluster(id) => format!("cluster {id}"),
    }
}

fn source_text(source: &ModelSource) -> String {
    match source {
        ModelSource::Initial { .. } => "first model of the task".into(),
        ModelSource::Published { .. } => "published".into(),
        ModelSource::Round { cluster, round, folded, .. } => {
            format!("round {round} of cluster {cluster}, {folded} updates folded")
        }
        ModelSource::Merge { number, .. } => format!("merge {number} of the clusters"),
    }
}

#[derive(Template)]
#[template(path = "block.html")]
struct BlockPage {
    block: BlockView,
    time: String,
    bytes: String,
    previous: Option<Height>,
    next: Option<Height>,
    txs: Vec<TxRow>,
    txs_more: usize,
    events: Vec<String>,
}

struct TxRow {
    id: TxId,
    short: String,
    sender: String,
    action: String,
    result: &'static str,
}

pub fn block(api: &Api, height: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("block {:?}", cut(height)), "heights are whole numbers from 1");
    let number = Height(height.parse().map_err(|_| unknown())?);
    let block = view::block(reader, number)?.ok_or_else(unknown)?;
    let names = Names::new(reader);
    let txs = block.txs.iter().take(ROWS).map(|tx| tx_row(&names, tx)).collect();
    render(&BlockPage {
        time: time(block.time),
        bytes: bytes(block.bytes),
        previous: number.prev().filter(|height| height.0 > 0),
        next: Some(number.next()).filter(|next| *next <= reader.head().height),
        txs,
        txs_more: block.txs.len().saturating_sub(ROWS),
        events: block.receipt.as_ref().map(events).unwrap_or_default(),
        block,
    })
}

fn tx_row(names: &Names, tx: &TxView) -> TxRow {
    TxRow {
        id: tx.id,
        short: short(&tx.id),
        sender: names.of(&tx.sender),
        action: tx.action.clone(),
        result: tx.receipt.as_ref().map_or("", |receipt| receipt.code.text()),
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
        let member = self.reader.get::<twinfold_types::member::Member>(&state_key::member(key));
        match member {
            Ok(Some(member)) => format!("{} ({})", member.name, member.organisation),
            _ => key.short(),
        }
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
    let task = view::find_task(reader, text)?.ok_or_else(|| {
        Refusal::unknown(format!("task {:?}", cut(text)), "the start page lists tasks")
    })?;
    let card = task_card(api, &task)?;
    let shown = view::task(reader, task.clone())?;
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
        values: twinfold_types::model::model_values(&task.spec.tensors).unwrap_or_default(),
        picture: card.picture,
        clusters_more: usize::from(task.spec.clusters).saturating_sub(CLUSTERS),
        clusters,
        models: card.models,
        task,
    })
}

fn mode_text(task: &Task) -> String {
    let spec = &task.spec;
    match &spec.mode {
        twinfold_types::task::Mode::Sync => format!(
            "synchronous, {} to {} updates a round",
            spec.participants_min, spec.participants_max
        ),
        twinfold_types::task::Mode::Async { buffer, .. } => {
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
        Some(round) => update_rows(reader, &round.key, &round.state)?,
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

fn update_rows(
    reader: &Reader,
    key: &twinfold_types::round::RoundKey,
    state: &RoundState,
) -> Result<(Vec<UpdateRow>, usize), Refusal> {
    let (entries, names) = (reader.round_entries(key)?, Names::new(reader));
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
    Ok((entries.iter().enumerate().take(ROWS).map(row).collect(), entries.len()))
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Folded { weight } => format!("folded with weight {weight}"),
        Outcome::Refused(reason) => format!("refused: {}", reason.text()),
    }
}

#[derive(Template)]
#[template(path = "tx.html")]
struct TxPage {
    id: TxId,
    found: Option<TxFound>,
}

struct TxFound {
    height: Height,
    certified: bool,
    sender: String,
    key: PublicKey,
    action: &'static str,
    code: u16,
    result: &'static str,
    events: Vec<String>,
}

pub fn tx(api: &Api, text: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("transaction {:?}", cut(text)), "it may not be executed yet");
    let id: TxId = text.parse().map_err(|_| unknown())?;
    let found = reader.tx(&id)?;
    if found.is_none() && !api.node.pool.contains(&id) {
        return Err(unknown());
    }
    let found = found.map(|(tx, height, receipt)| TxFound {
        height,
        certified: *api.node.stable.borrow() >= height,
        sender: Names::new(reader).of(&tx.body.sender),
        key: tx.body.sender,
        action: view::action_name(&tx.body.action),
        code: receipt.code.number(),
        result: receipt.code.text(),
        events: events(&receipt),
    });
    render(&TxPage { id, found })
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

    fn page_with(tasks: Vec<TaskCard>) -> Start {
        let status = StatusView {
            chain: "test".into(),
            genesis: Digest::ZERO,
            version: "0".into(),
            node: PublicKey([1; 32]),
            seat: None,
            epoch: Default::default(),
            view: Default::default(),
            leader: Default::default(),
            committed: Height(3),
            height: Height(3),
            time: Default::default(),
            state_root: Digest::ZERO,
            checkpoint: None,
            peers: vec![],
            pool_txs: 0,
            pool_bytes: 0,
            relayed_bytes: 0,
            commit_ms_p50: Some(41.7),
            commit_ms_p99: None,
            halted: None,
        };
        let (height_time, tasks_more) = (time(status.time), 0);
        let (validators, blocks, published) = (vec![], vec![], vec![]);
        Start { status, height_time, validators, blocks, tasks, tasks_more, published }
    }

    fn card(text: &str, picture: Option<Picture>) -> TaskCard {
        let (name, description) = (text.to_string(), text.to_string());
        TaskCard { name, description, status: "open", merges: 0, picture, models: vec![] }
    }

    #[test]
    fn a_tasks_name_cannot_break_out_of_its_page() {
        let evil = "\"><script>x</script>/../a b";
        let html = page_with(vec![card(evil, None)]).render().unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("href=\"/task/%22%3E%3Cscript%3Ex%3C%2Fscript%3E"), "{html}");
    }

    #[test]
    fn the_start_page_shows_curves_and_says_whose_figures_they_are() {
        let picture = Picture {
            what: "accuracy",
            newest: "91.0 %".into(),
            svg: "<svg></svg>".into(),
            legend: vec![("blue", "all clusters".into())],
        };
        let html = page_with(vec![card("digits", Some(picture))]).render().unwrap();
        assert!(html.contains("<svg></svg>") && html.contains("as trainers report it"), "{html}");
        assert!(html.contains("42 ms median"), "{html}");
        // The policy allows no scripts and no inline styles.
        assert!(!html.contains("<script") && !html.contains("style="), "{html}");
    }
}
