//! `twinfold model`.

use super::{
    Context,
    create_args::ModelArgs,
    model_export::{self, ExportArgs, SignArgs},
    model_store::{self, DeprecateArgs, MetricCommand, PublishArgs, SearchArgs, human_said},
};
use crate::{
    client::Client,
    error::{CliError, Result},
    files::{self, Access},
    model_export::Dossier,
    model_text::{level_text, source_text},
    publish::{fetch_original, published_file, published_tensors},
    render::{pairs, table, time},
    task::fetch_steps,
    tensor_file::{ImportedModel, export},
    verify::{VerifyOptions, VerifyReport, verify_model},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use twinfold_fl::{canonical_bytes, steps_from_canonical};
use twinfold_types::{
    ClusterId, Digest, RegionId, TaskId,
    api::{LineageView, ModelView},
    model::{Level, ModelId, TensorSpec, model_values},
};

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Models, newest first
    List {
        /// Of this task (identity or name)
        #[arg(long)]
        task: Option<String>,
        #[command(flatten)]
        level: LevelArgs,
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One model's record
    Show { id: Digest },
    /// Fetch a model into a file: safetensors, F32 and exact I32 twins
    Get(GetArgs),
    /// Publish a safetensors or ONNX file as a model
    Publish(PublishArgs),
    /// Published models by what is said of them, newest first
    Search(SearchArgs),
    /// What a file is and holds, without publishing it
    Inspect { file: PathBuf },
    /// Say that a published model should no longer be used: its publisher or an admin
    Deprecate(DeprecateArgs),
    /// Figures of models, with who measured them
    #[command(subcommand)]
    Metric(MetricCommand),
    /// A model card: Markdown
    Card(ExportArgs),
    /// A CycloneDX 1.6 ML-BOM: JSON
    Bom(ExportArgs),
    /// Sign a file as an OpenSSF model signature, which `model_signing verify key` accepts
    Sign(SignArgs),
    /// Make a key for `model sign`: FILE, and FILE.pub for those who verify
    SigningKey { file: PathBuf },
    /// Prove a model and its lineage from genesis; --recompute folds it again
    Verify {
        id: Digest,
        /// Fetch every update and compare the models bit for bit
        #[arg(long)]
        recompute: bool,
    },
    /// What a model was made from
    Lineage { id: Digest },
}

#[derive(Debug, Args)]
pub struct LevelArgs {
    /// Of this cluster
    #[arg(long, value_name = "C")]
    pub cluster: Option<u16>,
    /// Global models only
    #[arg(long, conflicts_with = "cluster")]
    pub global: bool,
    /// Of this region
    #[arg(long, value_name = "R", conflicts_with_all = ["cluster", "global"])]
    pub region: Option<u16>,
}

#[derive(Debug, Args)]
pub struct GetArgs {
    /// Identity of the model; or give --task for its newest
    #[arg(required_unless_present = "task")]
    pub id: Option<Digest>,
    /// The newest global model of this task, or of --cluster
    #[arg(long, conflicts_with = "id")]
    pub task: Option<String>,
    /// The best measured global model of this task
    #[arg(long, requires = "task", conflicts_with = "cluster")]
    pub best: bool,
    /// What the trainers of this cluster train on now
    #[arg(long, value_name = "C", requires = "task")]
    pub cluster: Option<u16>,
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write the canonical form: steps as little-endian i32, no header
    #[arg(long)]
    pub raw: bool,
    /// Write the published file as it was given, to the bit
    #[arg(long, conflicts_with_all = ["raw", "task"])]
    pub original: bool,
}

impl LevelArgs {
    fn level(&self) -> Option<Level> {
        let cluster = self.cluster.map(|id| Level::Cluster(ClusterId(id)));
        let region = self.region.map(|id| Level::Region(RegionId(id)));
        cluster.or(region).or(self.global.then_some(Level::Global))
    }
}

pub fn run(context: &Context, command: ModelCommand) -> Result<()> {
    match command {
        ModelCommand::List { task, level, limit } => {
            let client = context.client()?;
            let models = client.models(task.as_deref(), level.level(), None, limit)?;
            context.output.show(&models, || human_list(&models))
        }
        ModelCommand::Show { id } => {
            let dossier = Dossier::of(&context.client()?, &ModelId(id))?;
            context.output.show(&dossier, || {
                let said = human_said(&dossier);
                let gap = if said.is_empty() { "" } else { "\n\n" };
                format!("{}{gap}{said}", human(&dossier.view))
            })
        }
        ModelCommand::Get(args) => get(context, &args),
        ModelCommand::Publish(args) => model_store::publish_file(context, args),
        ModelCommand::Search(args) => model_store::search(context, args),
        ModelCommand::Inspect { file } => model_store::inspect_file(context, file),
        ModelCommand::Deprecate(args) => model_store::deprecate(context, args),
        ModelCommand::Metric(command) => model_store::metric(context, command),
        ModelCommand::Card(args) => model_export::write_card(context, args),
        ModelCommand::Bom(args) => model_export::write_bom(context, args),
        ModelCommand::Sign(args) => model_export::sign_model(context, args),
        ModelCommand::SigningKey { file } => model_export::new_signing_key(context, file),
        ModelCommand::Verify { id, recompute } => verify(context, ModelId(id), recompute),
        ModelCommand::Lineage { id } => {
            let lineage = context.client()?.lineage(&ModelId(id))?;
            context.output.show(&lineage, || human_lineage(&lineage))
        }
    }
}

pub fn human_list(models: &[ModelView]) -> String {
    let row = |model: &ModelView| {
        [
            model.name.clone(),
            level_text(model.record.level),
            model.record.version.to_string(),
            source_text(&model.record.source),
            model.record.height.to_string(),
            model.id.to_string(),
        ]
    };
    table(&["name", "level", "version", "from", "block", "model"], models.iter().map(row))
}

fn human(model: &ModelView) -> String {
    let record = &model.record;
    let parents: Vec<_> = record.parents.iter().map(ModelId::to_string).collect();
    pairs(&[
        ("model", model.id.to_string()),
        ("name", model.name.clone()),
        ("task", crate::render::or_dash(record.task)),
        ("level", level_text(record.level)),
        ("version", record.version.to_string()),
        ("digest", record.digest.to_string()),
        ("from", source_text(&record.source)),
        ("parents", parents.join(", ")),
        ("block", format!("{} at {}", record.height, time(record.time))),
    ])
}

fn human_lineage(lineage: &LineageView) -> String {
    let row = |model: &ModelView| {
        let parents: Vec<_> = model.record.parents.iter().map(|id| id.0.short()).collect();
        [
            model.id.0.short(),
            level_text(model.record.level),
            model.record.version.to_string(),
            source_text(&model.record.source),
            parents.join(" "),
        ]
    };
    let rows = lineage.models.iter().map(row);
    let models = table(&["model", "level", "version", "from", "parents"], rows);
    let end = if lineage.complete { "complete" } else { "cut at the node's limit" };
    format!("{models}\n{end}; prove it with `twinfold model verify ID --recompute`")
}

#[derive(Serialize)]
struct GotView {
    model: ModelId,
    digest: Digest,
    task: Option<TaskId>,
    level: Level,
    /// Version within its level; with --cluster, the cluster's version, which is
    /// the base to name in `update submit`.
    version: u64,
    file: PathBuf,
    bytes: u64,
}

struct Chosen {
    id: ModelId,
    view: ModelView,
    level: Level,
    version: u64,
}

fn get(context: &Context, args: &GetArgs) -> Result<()> {
    let client = context.client()?;
    let progress = context.output.progress("fetching the model");
    let chosen = choose(&client, args)?;
    let record = &chosen.view.record;
    if args.original {
        let (_, file) = published_file(record)?;
        let told = |done| progress.bytes(done, file.length);
        fetch_original(&client, record, &args.output, &told)?;
        return got(context, &chosen, args, file.length);
    }
    if record.file_only().is_some() {
        return Err(CliError::usage(
            "the model is a file that no task can start from",
            "fetch it as it was given: --original",
        ));
    }
    let (tensors, steps) = content(&client, &chosen.view)?;
    let bytes = if args.raw {
        canonical_bytes(&steps)
    } else {
        let mut notes = vec![
            ("twinfold.model", chosen.id.to_string()),
            ("twinfold.digest", record.digest.to_string()),
            ("twinfold.version", chosen.version.to_string()),
        ];
        notes.extend(record.task.map(|task| ("twinfold.task", task.to_string())));
        export(&tensors, &steps, notes)?
    };
    files::write(&args.output, &bytes, Access::Everyone).map_err(CliError::file(&args.output))?;
    got(context, &chosen, args, bytes.len() as u64)
}

fn got(context: &Context, chosen: &Chosen, args: &GetArgs, bytes: u64) -> Result<()> {
    let record = &chosen.view.record;
    let view = GotView {
        model: chosen.id,
        digest: record.digest,
        task: record.task,
        level: chosen.level,
        version: chosen.version,
        file: args.output.clone(),
        bytes,
    };
    context.output.show(&view, || {
        pairs(&[
            ("model", view.model.to_string()),
            ("level", level_text(view.level)),
            ("version", view.version.to_string()),
            ("digest", view.digest.to_string()),
            ("file", format!("{} ({})", view.file.display(), crate::render::bytes(bytes))),
        ])
    })
}

fn choose(client: &Client, args: &GetArgs) -> Result<Chosen> {
    let Some(name) = &args.task else {
        let id = ModelId(args.id.unwrap_or_default());
        let view = client.model(&id)?;
        let (level, version) = (view.record.level, view.record.version);
        return Ok(Chosen { id, view, level, version });
    };
    let task = client.task(name)?;
    if args.best {
        let best = task.progress.best.ok_or_else(|| {
            CliError::failed(
                format!("no global model of task {:?} is scored", task.spec.name),
                "see `twinfold task evaluations`; without --best you get the newest",
            )
        })?;
        let view = client.model(&best.model)?;
        let (id, level, version) = (best.model, Level::Global, best.version);
        return Ok(Chosen { id, view, level, version });
    }
    let Some(cluster) = args.cluster else {
        let view = client.model(&task.global)?;
        return Ok(Chosen {
            id: task.global,
            view,
            level: Level::Global,
            version: task.global_version,
        });
    };
    let found = crate::update::cluster_of(&task, ClusterId(cluster))?;
    let view = client.model(&found.model)?;
    let level = Level::Cluster(ClusterId(cluster));
    Ok(Chosen { id: found.model, view, level, version: found.version })
}

/// A model of the ledger for a task that starts from it.
pub fn stored(client: &Client, id: ModelId, args: &ModelArgs) -> Result<ImportedModel> {
    let view = client.model(&id)?;
    if view.record.file_only().is_some() {
        return Err(CliError::usage(
            format!("model {id} is a file without tensors that could be trained"),
            "publish it as safetensors",
        ));
    }
    let (mut tensors, steps) = content(client, &view)?;
    args.settings().apply(&mut tensors)?;
    Ok(ImportedModel { tensors, steps })
}

fn content(client: &Client, view: &ModelView) -> Result<(Vec<TensorSpec>, Vec<i32>)> {
    let record = &view.record;
    if let Some(task) = record.task {
        let spec = client.task(&task.to_string())?.spec;
        let steps = fetch_steps(client, &spec, &view.id, &record.digest)?;
        return Ok((spec.tensors, steps));
    }
    let tensors = published_tensors(client, record)?;
    let values = model_values(&tensors).unwrap_or(0);
    let bytes = client.model_content(&view.id, &record.digest, values.saturating_mul(4))?;
    let steps = steps_from_canonical(&bytes, &tensors).map_err(|error| {
        CliError::failed(error.to_string(), "the record does not fit its content; ask another node")
    })?;
    Ok((tensors, steps))
}

fn verify(context: &Context, id: ModelId, recompute: bool) -> Result<()> {
    let client = context.client()?;
    let chain = client.chain()?;
    let progress = context.output.progress("verifying");
    let options = VerifyOptions { recompute, timeout: context.global.timeout };
    let report =
        verify_model(&client, &chain.genesis, &id, &options, &mut |text| progress.say(text))?;
    drop(progress);
    let pinned = context.global.genesis.is_some();
    let verified = Verified { report: &report, genesis_pinned: pinned };
    context.output.show(&verified, || human_report(&report, recompute, pinned))
}

/// The report for programs.
#[derive(Serialize)]
struct Verified<'a> {
    #[serde(flatten)]
    report: &'a VerifyReport,
    /// Whether all rests on a genesis file of the caller's; else on what the node says is one.
    genesis_pinned: bool,
}

fn human_report(report: &VerifyReport, recompute: bool, pinned: bool) -> String {
    let rows = report.updates.iter().map(|update| {
        [
            update.cluster.to_string(),
            update.round.to_string(),
            update.index.to_string(),
            update.trainer.short(),
            update.height.to_string(),
            update.weight.to_string(),
            format!("{:?}", update.outcome),
            update.tx.0.short(),
        ]
    });
    let header = ["cluster", "round", "place", "trainer", "block", "weight", "outcome", "update"];
    let genesis = match pinned {
        true => "held against the genesis file given",
        false => "of the node itself: compare it with the operators, or give --genesis",
    };
    let again = match recompute {
        true => format!("{} of {} models, bit for bit the same", report.recomputed, report.models),
        false => "not done; ask for it with --recompute".into(),
    };
    let head = pairs(&[
        ("model", report.model.to_string()),
        ("digest", report.digest.to_string()),
        ("version", format!("{} of {}", report.version, level_text(report.level))),
        ("genesis", format!("{} ({genesis})", report.chain)),
        (
            "proved by",
            format!(
                "checkpoint {} with {} signatures",
                report.checkpoint, report.checkpoint_signatures
            ),
        ),
        (
            "lineage",
            format!(
                "{} models, {} rounds, {} merges, {} updates by {} trainers",
                report.models,
                report.rounds,
                report.merges,
                report.updates.len(),
                report.trainers
            ),
        ),
        ("begins with", report.origin.to_string()),
        ("recomputed", again),
    ]);
    format!("{}\n{head}", table(&header, rows))
}
