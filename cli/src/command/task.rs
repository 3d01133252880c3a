//! `twinfold task`.

use super::Context;
use crate::{
    args::parse_duration,
    error::{CliError, Result},
    render::{or_dash, pairs, table, time},
    task::{Architecture, CompressChoice, ModeChoice, TaskOptions, create, first_model},
    tensor_file::{ImportSettings, ImportedModel, import},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use twinfold_types::{
    Action, ClusterId, Digest, TaskId, TxId,
    api::{RoundView, TaskView},
    limits,
    model::TensorPolicy,
    round::RoundState,
    task::{LocalWork, Real, Schedule, TaskStatus},
};

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Create a task from a model file or an architecture. Updates are readable by
    /// the validators
    Create(Box<CreateArgs>),
    /// All tasks
    List,
    /// One task, by identity or name
    Show { task: String },
    /// Rounds of a task as they end
    Watch {
        task: String,
        /// Stop once the task has ended
        #[arg(long)]
        until_finished: bool,
    },
    /// Close a task: it takes no more updates
    Close { task: String },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[arg(long)]
    pub name: String,
    #[arg(long, default_value = "")]
    pub description: String,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Groups of trainers with a model each, merged every so often
    #[arg(long, default_value_t = 1)]
    pub clusters: u16,
    /// Updates that a cluster's round needs
    #[arg(long, default_value_t = 1)]
    pub participants_min: u32,
    /// Updates that a cluster's round takes; then it closes before its deadline
    #[arg(long, default_value_t = 16)]
    pub participants_max: u32,
    /// Most examples that one update counts for
    #[arg(long, default_value_t = 1 << 17)]
    pub weight_max: u32,
    /// Most examples that one cluster counts for in a merge [default: as many as fit]
    #[arg(long)]
    pub merge_weight_max: Option<u32>,
    /// Norm that trainers clip a delta to
    #[arg(long, default_value_t = 16.0)]
    pub clip: f64,
    /// Norm over which an update is refused [default: 8 × clip, room for error feedback]
    #[arg(long)]
    pub norm_bound: Option<f64>,
    /// sync, or async:K with a buffer of K updates
    #[arg(long, default_value = "sync")]
    pub mode: ModeChoice,
    /// Versions that an asynchronous update may be behind
    #[arg(long, default_value_t = 20)]
    pub staleness_max: u32,
    /// none (32-bit steps), q8, q16, or topk:F (the share F of all values, 8 bits)
    #[arg(long, default_value = "q8")]
    pub compress: CompressChoice,
    /// Cluster rounds between two merges
    #[arg(long, default_value_t = 1)]
    pub merge_every: u32,
    /// Cluster rounds in all; 0 for no end
    #[arg(long, default_value_t = 0)]
    pub rounds: u64,
    /// Time from a round's start to its deadline
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub deadline: Duration,
    /// Times that a round with too few updates is extended before it is void
    #[arg(long, default_value_t = 3)]
    pub extensions: u32,
    /// How long payloads stay after their round
    #[arg(long, default_value = "30d", value_parser = parse_duration)]
    pub retention: Duration,
    /// Passes over a trainer's data in a round [default: 1]
    #[arg(long, conflicts_with = "steps")]
    pub epochs: Option<u32>,
    /// Batches in a round, instead of passes
    #[arg(long)]
    pub steps: Option<u32>,
    #[arg(long, default_value_t = 32)]
    pub batch: u32,
    #[arg(long, default_value_t = 0.1)]
    pub learning_rate: f64,
    /// Multiply the learning rate by FACTOR after every ROUNDS: ROUNDS:FACTOR
    #[arg(long, value_name = "ROUNDS:FACTOR", value_parser = parse_schedule)]
    pub schedule: Option<Schedule>,
    /// μ of FedProx; 0 is plain SGD
    #[arg(long, default_value_t = 0.0)]
    pub proximal: f64,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Digest of the training code that is expected
    #[arg(long)]
    pub code: Option<Digest>,
}

#[derive(Debug, Args)]
pub struct ModelArgs {
    /// First model: a safetensors file
    #[arg(long, value_name = "FILE", required_unless_present = "architecture")]
    pub model: Option<PathBuf>,
    /// First model: softmax, or mlp:H with H hidden units, drawn from --seed
    #[arg(long, conflicts_with = "model", requires = "features", requires = "classes")]
    pub architecture: Option<Architecture>,
    /// Features of an example
    #[arg(long)]
    pub features: Option<usize>,
    #[arg(long)]
    pub classes: Option<usize>,
    /// S of the scale 2^−S, for all tensors or NAME=S for one; may be repeated
    #[arg(long, value_name = "[NAME=]S", value_parser = parse_scale)]
    pub scale: Vec<(Option<String>, u8)>,
    /// A tensor's policy, NAME=train or NAME=frozen; may be repeated
    #[arg(long, value_name = "NAME=POLICY", value_parser = parse_policy)]
    pub policy: Vec<(String, TensorPolicy)>,
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    let fault = || format!("expected ROUNDS:FACTOR such as 10:0.5, got {text:?}");
    let (rounds, factor) = text.split_once(':').ok_or_else(fault)?;
    let rounds = rounds.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(fault)?;
    let factor: f64 = factor.parse().map_err(|_| fault())?;
    if !(factor.is_finite() && factor > 0.0) {
        return Err(fault());
    }
    Ok(Schedule::Step { rounds, factor: Real::new(factor) })
}

pub fn parse_scale(text: &str) -> Result<(Option<String>, u8), String> {
    let (name, scale) = match text.rsplit_once('=') {
        Some((name, scale)) => (Some(name.to_string()), scale),
        None => (None, text),
    };
    match scale.parse() {
        Ok(scale) if scale <= limits::SCALE_MAX => Ok((name, scale)),
        _ => Err(format!("expected a scale from 0 to {}, got {scale:?}", limits::SCALE_MAX)),
    }
}

fn parse_policy(text: &str) -> Result<(String, TensorPolicy), String> {
    let (name, policy) = text.rsplit_once('=').unwrap_or((text, ""));
    let policy = match policy {
        "train" => TensorPolicy::Train,
        "frozen" => TensorPolicy::Frozen,
        "local" => TensorPolicy::Local,
        "buffer" => TensorPolicy::Buffer,
        _ => return Err(format!("expected NAME=train or NAME=frozen, got {text:?}")),
    };
    Ok((name.into(), policy))
}

/// Scales and policies from the command line.
pub fn import_settings(
    scales: &[(Option<String>, u8)],
    policies: &[(String, TensorPolicy)],
) -> ImportSettings {
    let mut settings = ImportSettings::default();
    for (name, scale) in scales {
        match name {
            Some(name) => _ = settings.scales.insert(name.clone(), *scale),
            None => settings.scale = *scale,
        }
    }
    settings.policies = policies.iter().cloned().collect::<BTreeMap<_, _>>();
    settings
}

impl ModelArgs {
    fn load(&self, seed: u64) -> Result<ImportedModel> {
        let settings = import_settings(&self.scale, &self.policy);
        match (&self.model, &self.architecture) {
            (Some(path), _) => Ok(import(path, &settings)?),
            (None, Some(architecture)) => {
                let (features, classes) = (self.features.unwrap_or(0), self.classes.unwrap_or(0));
                first_model(*architecture, features, classes, seed, &settings)
            }
            (None, None) => {
                Err(CliError::usage("no first model", "give --model or --architecture"))
            }
        }
    }
}

impl CreateArgs {
    fn options(&self) -> TaskOptions {
        TaskOptions {
            name: self.name.clone(),
            description: self.description.clone(),
            clusters: self.clusters,
            participants_min: self.participants_min,
            participants_max: self.participants_max,
            weight_max: self.weight_max,
            merge_weight_max: self.merge_weight_max,
            clip: self.clip,
            norm_bound: self.norm_bound,
            mode: self.mode,
            staleness_max: self.staleness_max,
            compress: self.compress,
            merge_every: self.merge_every,
            rounds: self.rounds,
            deadline: self.deadline,
            extensions: self.extensions,
            retention: self.retention,
            work: match (self.steps, self.epochs) {
                (Some(steps), _) => LocalWork::Steps(steps),
                (None, epochs) => LocalWork::Epochs(epochs.unwrap_or(1)),
            },
            batch: self.batch,
            learning_rate: self.learning_rate,
            schedule: self.schedule.unwrap_or(Schedule::Constant),
            proximal: self.proximal,
            seed: self.seed,
            code: self.code,
        }
    }
}

pub fn run(context: &Context, command: TaskCommand) -> Result<()> {
    match command {
        TaskCommand::Create(args) => create_task(context, &args),
        TaskCommand::List => list(context),
        TaskCommand::Show { task } => {
            let view = context.client()?.task(&task)?;
            context.output.show(&view, || human(&view))
        }
        TaskCommand::Watch { task, until_finished } => watch(context, &task, until_finished),
        TaskCommand::Close { task } => {
            let id = context.client()?.task(&task)?.id;
            context.transact(Action::CloseTask(id), &format!("task {task} is closed"))
        }
    }
}

#[derive(Serialize)]
struct CreatedView {
    task: TaskId,
    tx: TxId,
    name: String,
    model_digest: Digest,
    values: usize,
}

fn create_task(context: &Context, args: &CreateArgs) -> Result<()> {
    let model = args.model.load(args.seed)?;
    // Refuse what cannot be before asking for a passphrase.
    args.options().spec(&model)?;
    let key = context.signing_key()?;
    let progress = context.output.progress("storing the first model and creating the task");
    let timeout = context.global.timeout;
    let created = create(&context.client()?, &key, &args.options(), &model, timeout)?;
    drop(progress);
    let view = CreatedView {
        task: created.task,
        tx: created.status.id,
        name: args.name.clone(),
        model_digest: created.spec.initial_model,
        values: model.steps.len(),
    };
    context.output.show(&view, || {
        pairs(&[
            ("task", view.task.to_string()),
            ("name", view.name.clone()),
            ("values", view.values.to_string()),
            ("first model", view.model_digest.to_string()),
        ])
    })
}

fn status_text(status: TaskStatus) -> String {
    format!("{status:?}").to_lowercase()
}

fn list(context: &Context) -> Result<()> {
    let tasks = context.client()?.tasks()?;
    context.output.show(&tasks, || {
        let row = |task: &TaskView| {
            [
                task.spec.name.clone(),
                status_text(task.status),
                task.clusters.len().to_string(),
                format!("version {}", task.global_version),
                task.id.to_string(),
            ]
        };
        table(&["name", "status", "clusters", "global model", "task"], tasks.iter().map(row))
    })
}

fn human(task: &TaskView) -> String {
    let spec = &task.spec;
    let head = pairs(&[
        ("task", task.id.to_string()),
        ("name", spec.name.clone()),
        ("status", status_text(task.status)),
        ("owner", task.owner.to_string()),
        ("created", time(task.created)),
        ("global model", format!("version {} ({})", task.global_version, task.global)),
        ("merges", task.merges.to_string()),
        ("participants", format!("{} to {}", spec.participants_min, spec.participants_max)),
        ("mode", format!("{:?}", spec.mode)),
        ("compression", format!("{:?}", spec.compression)),
    ]);
    let clusters = task.clusters.iter().map(|cluster| {
        [
            cluster.cluster.to_string(),
            cluster.version.to_string(),
            cluster.model.0.short(),
            cluster.round.to_string(),
            if cluster.collecting { "collecting" } else { "folding" }.to_string(),
            cluster.entries.to_string(),
            or_dash(cluster.deadline.map(time)),
        ]
    });
    let header = ["cluster", "version", "model", "round", "state", "updates", "deadline"];
    let tensors = spec.tensors.iter().map(|tensor| {
        [
            tensor.name.clone(),
            format!("{:?}", tensor.shape),
            format!("2^-{}", tensor.scale),
            format!("{:?}", tensor.policy).to_lowercase(),
        ]
    });
    let tensors = table(&["tensor", "shape", "scale", "policy"], tensors);
    format!("{head}\n{}\n{tensors}", table(&header, clusters))
}

/// Prints each round of each cluster once it has ended.
fn watch(context: &Context, task: &str, until_finished: bool) -> Result<()> {
    let client = context.patient_client(Duration::from_secs(60))?;
    let mut next: BTreeMap<ClusterId, u64> = BTreeMap::new();
    let progress = context.output.progress("waiting for rounds");
    loop {
        let view = client.task(task)?;
        for cluster in &view.clusters {
            let number = next.entry(cluster.cluster).or_insert(0);
            while let Some(round) = client.round(task, cluster.cluster, *number)? {
                if !matches!(
                    round.round.state,
                    RoundState::Aggregated { .. } | RoundState::Void { .. }
                ) {
                    break;
                }
                context.output.line(&round, || human_round(&round))?;
                *number += 1;
            }
        }
        if until_finished && view.status != TaskStatus::Open {
            return Ok(());
        }
        progress.say(format!("{} is {}", view.spec.name, status_text(view.status)));
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn human_round(view: &RoundView) -> String {
    let key = &view.round.key;
    let result = match &view.round.state {
        RoundState::Aggregated { model, .. } => format!("model {}", model.0.short()),
        RoundState::Void { reason, .. } => format!("void: {reason:?}"),
        _ => "open".into(),
    };
    let loss = view.metrics.map(|metrics| format!("{:.4}", metrics.loss()));
    let accuracy = view.metrics.and_then(|metrics| metrics.accuracy());
    let accuracy = accuracy.map(|share| format!("{:.2} %", share * 100.0));
    format!(
        "cluster {} round {}: {} updates, loss {}, accuracy {}, {result}",
        key.cluster,
        key.round,
        view.entries.len(),
        or_dash(loss),
        or_dash(accuracy)
    )
}
