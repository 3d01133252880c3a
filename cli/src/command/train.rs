//! `twinfold train`.

use super::{
    Context,
    evaluate::human_measured,
    masking::stage_text,
    selection::{figure_text, reason_text},
};
use crate::{
    client::Client,
    data::{
        Dataset, LabelColumn, LoadOptions, Partition, Scaling, load, partition, split_train_test,
    },
    dataset::{DatasetLink, SCHEME, cached},
    error::{CliError, Result},
    masked::{MaskedEvent, require_masks},
    render::{bytes, pairs},
    session::{Examples, SessionEvent, SessionOptions, SessionSummary, take_part},
    update::Fate,
};
use clap::Args;
use std::{path::PathBuf, str::FromStr, time::Duration};
use twinfold_types::{ClusterId, round::Outcome, task::evaluation::Evaluators};

/// Validators that are down come back within it.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Identity or name of the task
    #[arg(long)]
    pub task: String,
    #[command(flatten)]
    pub data: DataArgs,
    /// Cluster to train in [default: by the key]
    #[arg(long, value_name = "C")]
    pub cluster: Option<u16>,
    /// Rounds to take part in [default: until the task ends]
    #[arg(long)]
    pub rounds: Option<u64>,
    /// Train on part i of M of the data (i from 0)
    #[arg(long, value_name = "i/M", value_parser = parse_part)]
    pub partition: Option<(usize, usize)>,
    /// How the parts are cut: iid or dirichlet:ALPHA
    #[arg(long, default_value = "iid", value_parser = parse_split)]
    pub split: Partition,
    /// Seed of the cut
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Share of the data to keep out of training: a task's global models are measured on it, where its
    /// trainers measure them. With 0 they are measured on the training data
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = parse_share)]
    pub holdout: f64,
    /// Send nothing unless the task masks updates, proved by its identity
    #[arg(long)]
    pub masked: bool,
    /// How long to wait for a round to open or end
    #[arg(long, default_value = "1h", value_parser = twinfold_types::text::parse_duration)]
    pub round_timeout: Duration,
}

/// Training data, and how they are read.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Training data: a .csv or .npz file, which never leaves this machine, or
    /// twinfold://dataset/NAME@VERSION, which is fetched, verified and kept in DIR/state/datasets
    #[arg(long, value_name = "FILE")]
    pub data: DataSource,
    /// Column of a CSV file with the labels: last, a number from 0, or a name
    #[arg(long, default_value = "last")]
    pub label: LabelColumn,
    /// Divide the features: max (their largest magnitude), feature (each its own),
    /// none, or by a number. All trainers of a task must scale alike
    #[arg(long, default_value = "max")]
    pub scaling: Scaling,
}

/// Where training data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    File(PathBuf),
    Dataset(DatasetLink),
}

impl FromStr for DataSource {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.starts_with(SCHEME) {
            true => text.parse().map(Self::Dataset),
            false => Ok(Self::File(text.into())),
        }
    }
}

fn parse_part(text: &str) -> Result<(usize, usize), String> {
    let fault = || format!("expected i/M with i below M, such as 0/8, got {text:?}");
    let (part, parts) = text.split_once('/').ok_or_else(fault)?;
    match (part.parse(), parts.parse()) {
        (Ok(part), Ok(parts)) if part < parts => Ok((part, parts)),
        _ => Err(fault()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| format!("expected a share from 0 to below 1, got {text:?}"))
}

fn parse_split(text: &str) -> Result<Partition, String> {
    text.parse::<Partition>().map_err(|error| error.to_string())
}

pub fn run(context: &Context, args: &TrainArgs) -> Result<()> {
    let client = context.patient_client(PATIENCE)?;
    let proved = match args.masked {
        true => Some(require_masks(&client, &client.task(&args.task)?, context.global.timeout)?),
        false => None,
    };
    let data = read_data(context, &client, &args.data)?;
    let data = part(data, args)?;
    let (data, held) = hold_out(&client, data, args)?;
    let key = context.signing_key()?;
    let options = SessionOptions {
        task: args.task.clone(),
        cluster: args.cluster.map(ClusterId),
        proved,
        rounds: args.rounds,
        state_dir: context.state_dir(),
        timeout: context.global.timeout,
        round_timeout: args.round_timeout,
    };
    let progress = context.output.progress(format!("training on {} examples", data.len()));
    let examples = Examples { train: &data, held: held.as_ref() };
    let summary = take_part(&client, &key, examples, &options, &mut |event| {
        progress.say(human(event));
        match event {
            SessionEvent::Training { .. } => Ok(()),
            event => context.output.line(event, || human(event)),
        }
    })?;
    drop(progress);
    context.output.line(&summary, || human_summary(&summary))
}

/// Training data from where they are.
pub fn read_data(context: &Context, client: &Client, args: &DataArgs) -> Result<Dataset> {
    let options = LoadOptions { label: args.label.clone(), scaling: args.scaling };
    let path = match &args.data {
        DataSource::File(path) => path.clone(),
        DataSource::Dataset(link) => {
            let progress = context.output.progress(format!("fetching {link}"));
            let folder = context.state_dir().join("datasets");
            cached(client, link, &folder, &|done, all| progress.bytes(done, all))?
        }
    };
    Ok(load(&path, &options)?)
}

fn part(data: Dataset, args: &TrainArgs) -> Result<Dataset> {
    let Some((part, parts)) = args.partition else { return Ok(data) };
    let shards = partition(&data, parts, args.split, args.seed)?;
    match shards.get(part) {
        Some(rows) => Ok(data.select(rows)),
        None => Err(CliError::usage(format!("there is no part {part}"), "see --help")),
    }
}

/// Examples to measure with, where the task's trainers do.
fn hold_out(
    client: &Client,
    data: Dataset,
    args: &TrainArgs,
) -> Result<(Dataset, Option<Dataset>)> {
    let rule = client.task(&args.task)?.spec.evaluation;
    let measures = rule.is_some_and(|rule| rule.by == Evaluators::Trainers);
    if !measures || args.holdout == 0.0 || data.len() < 2 {
        return Ok((data, None));
    }
    let (data, held) = split_train_test(&data, args.holdout, args.seed)?;
    Ok((data, Some(held)))
}

fn human(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Resumed { base_version } => {
            format!("taking up the update against version {base_version} again")
        }
        SessionEvent::Training { cluster, round, version } => {
            format!("round {round} of cluster {cluster}: training from version {version}")
        }
        SessionEvent::Ordered { cluster, place, bytes: size, loss, accuracy } => {
            let accuracy = accuracy.map(|share| format!(", accuracy {:.2} %", share * 100.0));
            format!(
                "round {} of cluster {cluster}: update {} in block {} ({}), loss {loss:.4}{}",
                place.round,
                place.index,
                place.height,
                bytes(*size),
                accuracy.unwrap_or_default()
            )
        }
        SessionEvent::NotOrdered { code, reason, .. } => {
            format!("not ordered: {reason} (code {code}); going on with the next round")
        }
        SessionEvent::Masked { round, what: MaskedEvent::Stage { stage, members } } => {
            format!("round {round}, masked: {} ({members} members)", stage_text(*stage))
        }
        SessionEvent::Masked { round, what: MaskedEvent::FalseShare { dealer } } => {
            format!("round {round}: {} dealt a false share, which is shown now", dealer.short())
        }
        SessionEvent::BudgetSpent => {
            "the privacy budget of this task is spent: no further part in it".into()
        }
        SessionEvent::Measured(measured) => human_measured(measured),
        SessionEvent::NotChosen { round, by, candidate: Some(candidate) } => {
            let figure = figure_text(*by, candidate.figure);
            let figure = figure.map(|figure| format!(" ({figure})")).unwrap_or_default();
            format!("round {round}: {}{figure}", reason_text(*by, candidate.reason))
        }
        SessionEvent::NotChosen { round, candidate: None, .. } => {
            format!("round {round}: not among those drawn; enrolled for the next")
        }
        SessionEvent::Formed { cluster } => {
            format!("the ledger put this trainer into cluster {cluster}")
        }
        SessionEvent::Late { round } => {
            format!("round {round} was sealed before the update came: it is carried over")
        }
        SessionEvent::Result { place, fate, .. } => {
            format!("round {}: {}", place.round, human_fate(fate))
        }
    }
}

pub fn human_fate(fate: &Fate) -> String {
    match fate {
        Fate::Folded { outcome: Outcome::Folded { weight }, model } => {
            format!("folded with weight {weight} into model {}", model.0.short())
        }
        Fate::Folded { outcome: Outcome::Refused(refusal), .. } => {
            format!("left out of the fold: {}", refusal.text())
        }
        Fate::Void { reason } => format!("the round is void: {reason:?}"),
    }
}

fn human_summary(summary: &SessionSummary) -> String {
    pairs(&[
        ("task", summary.task.clone()),
        ("cluster", summary.cluster.to_string()),
        ("updates", format!("{} ordered, {} counted", summary.rounds, summary.counted)),
        (
            "sent",
            format!(
                "{}, of it {} in payloads",
                bytes(summary.bytes_sent),
                bytes(summary.payload_bytes)
            ),
        ),
        ("received", bytes(summary.bytes_received)),
        ("stayed here", format!("{} of training data", bytes(summary.kept_bytes))),
        ("task ended", if summary.finished { "yes" } else { "no" }.into()),
    ])
}
