//! `twinfold task`.

use super::{
    Context,
    contributions::{self, RewardArgs},
    create_args::CreateArgs,
    evaluate::{self, human_best, human_rule},
    forming,
    masking::{self, MaskingArgs},
    plan::PlanArgs,
    privacy,
    recruit::{self, RecruitArgs},
    selection::{self, DrawingArgs, EnrolArgs},
};
use crate::{
    error::Result,
    render::{or_dash, pairs, table, time},
    task::create,
};
use clap::Subcommand;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use twinfold_types::{
    Action, ClusterId, Digest, TaskId, TxId,
    api::{RoundView, TaskView},
    model::ModelId,
    round::RoundState,
    task::{
        Pace, Screen, TaskSpec, TaskStatus,
        regions::{Region, RegionStage, Regions},
    },
};

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Create a task from a model file or an architecture. Updates are readable by
    /// the validators, unless --mask is given
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
    /// How many trainers are worth having: a round's time against their number, from what local work
    /// and folding take on this machine
    Plan(PlanArgs),
    /// Say how many trainers may take part (its owner, or an admin): no more than the plan's knee, for one
    Recruit(RecruitArgs),
    /// Who is in which cluster, in a task that forms them
    Clusters { task: String },
    /// Enrol in a task that chooses its trainers; `twinfold train` does it by itself
    Enrol(EnrolArgs),
    /// Not to be chosen for a task any more
    Leave { task: String },
    /// Who was chosen for a round, and why
    Drawing(DrawingArgs),
    /// Who takes part in a masked round, and how far it is
    Masking(MaskingArgs),
    /// What trainers' updates have revealed in a task with noise
    Privacy { task: String },
    /// Its measured global models, and which is the best
    Evaluations { task: String },
    /// What each trainer had in its models
    Contributions { task: String },
    /// Give stake of your own to its trainers, by what they had in its models
    Reward(RewardArgs),
    /// Close a task: it takes no more updates
    Close { task: String },
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
        TaskCommand::Plan(args) => super::plan::run(context, &args),
        TaskCommand::Recruit(args) => recruit::run(context, &args),
        TaskCommand::Clusters { task } => forming::list(context, &task),
        TaskCommand::Enrol(args) => selection::enrol(context, &args),
        TaskCommand::Leave { task } => selection::leave(context, &task),
        TaskCommand::Drawing(args) => selection::drawing(context, &args),
        TaskCommand::Masking(args) => masking::show(context, &args),
        TaskCommand::Privacy { task } => privacy::list(context, &task),
        TaskCommand::Evaluations { task } => evaluate::list(context, &task),
        TaskCommand::Contributions { task } => contributions::list(context, &task),
        TaskCommand::Reward(args) => contributions::reward(context, &args),
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
    let model = match args.model.from {
        Some(from) => super::model::stored(&context.client()?, ModelId(from), &args.model)?,
        None => args.model.load(args.seed)?,
    };
    let model = args.prepared(model)?;
    let mut options = args.options();
    options.evaluation = args.evaluation.rule(|| context.client(), args.participants_min)?;
    // Refuse what cannot be before asking for a passphrase.
    options.spec(&model)?;
    let key = context.signing_key()?;
    let progress = context.output.progress("storing the first model and creating the task");
    let timeout = context.global.timeout;
    let created = create(&context.client()?, &key, &options, &model, timeout)?;
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
            ("started from", or_dash(args.model.from)),
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
        ("trainers", trainers_text(task)),
        ("clusters formed by", or_dash(spec.forming)),
        ("chosen by", or_dash(spec.selection)),
        ("mode", format!("{:?}", spec.mode)),
        ("late updates", late_text(spec)),
        ("switches", or_dash(spec.switch)),
        ("masks", masks_text(spec)),
        ("noise", or_dash(spec.noise().map(|noise| privacy::noise_text(spec, &noise)))),
        ("rounds fold by", folding(spec)),
        (
            "who folds",
            if spec.assigned { "f+1 validators in turn" } else { "all validators" }.into(),
        ),
        ("clusters merge by", format!("{}, every {} rounds", spec.merge_rule, spec.merge_every)),
        ("regions", or_dash(spec.regions.as_ref().map(|regions| human_regions(regions, task)))),
        ("trainers send", spec.compression.to_string()),
        ("comes down", spec.down.map_or("all".into(), |down| down.to_string())),
        ("measured", or_dash(spec.evaluation.as_ref().map(human_rule))),
        ("best", or_dash(human_best(task))),
        ("contributions", if spec.contributions { "kept" } else { "-" }.into()),
    ]);
    let clusters = task.clusters.iter().map(|cluster| {
        [
            cluster.cluster.to_string(),
            cluster.version.to_string(),
            cluster.model.0.short(),
            cluster.round.to_string(),
            if cluster.collecting { "collecting" } else { "folding" }.to_string(),
            if cluster.pace == Pace::All { "all" } else { "enough" }.to_string(),
            cluster.entries.to_string(),
            or_dash(cluster.deadline.map(time)),
        ]
    });
    let header =
        ["cluster", "version", "model", "round", "state", "waits for", "updates", "deadline"];
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

/// What each region is at.
fn human_regions(regions: &Regions, task: &TaskView) -> String {
    let one = |region: &Region| {
        let clusters = regions.clusters(region.region);
        let stage = match region.stage {
            RegionStage::Rounds => "in its rounds",
            RegionStage::MergeDue => "merging",
            RegionStage::Waiting => "waiting for the others",
        };
        let (first, last) = (clusters.start, clusters.end.saturating_sub(1));
        let (number, merges) = (region.region, region.merges);
        format!("region {number}: clusters {first} to {last}, {merges} merges, {stage}")
    };
    let every =
        format!("merge into the global model every {} merges of theirs", regions.merge_every);
    std::iter::once(every).chain(task.regions.iter().map(one)).collect::<Vec<_>>().join("; ")
}

fn trainers_text(task: &TaskView) -> String {
    match task.trainers_max {
        Some(max) => format!("{} of at most {max}", task.trainers),
        None => format!("{}, whoever comes", task.trainers),
    }
}

fn masks_text(spec: &TaskSpec) -> String {
    match (spec.masks, spec.mask_word_bytes()) {
        (Some(masks), Some(bytes)) => format!(
            "only sums are readable: values in steps of 2^-{}, words of {} bits",
            masks.exponent,
            8 * bytes
        ),
        _ => "none: validators read updates".into(),
    }
}

fn late_text(spec: &TaskSpec) -> String {
    match spec.late.len() {
        0 => "-".into(),
        len => format!("carried over, {} versions behind at most", len - 1),
    }
}

/// What becomes of a round's updates, step by step.
fn folding(spec: &TaskSpec) -> String {
    let share = |ppm: f64| ppm / 1e6;
    let Screen { clip_ppm, cosine_ppm } = spec.screen;
    let clip = clip_ppm.map(|ppm| format!("norms cut to {} × median", share(ppm.into())));
    let cosine = cosine_ppm.map(|ppm| format!("cosine ≥ {}", share(ppm.into())));
    let server = (!spec.server.is_none()).then(|| spec.server.to_string());
    let steps = clip.into_iter().chain(cosine).chain([spec.rule.to_string()]).chain(server);
    steps.collect::<Vec<_>>().join(" → ")
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
