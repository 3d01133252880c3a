//! `twinfold model`: what is published and said of models.

use super::{
    Context, accepted,
    create_args::{import_settings, parse_scale},
    model::human_list,
};
use crate::{
    client::Search,
    error::{CliError, Result},
    model_export::Dossier,
    model_file::{Inspected, inspect},
    model_text::form_text,
    publish::{Draft, publish},
    render::{bytes, or_dash, pairs, table, time},
    tensor_file::{TensorFileError, import},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use twinfold_types::{
    Action, Digest, Event,
    api::{Level, TxStatus},
    model::{ModelId, ModelSource},
    store::{
        DeprecateAction, FileForm, MeasureAction, Metric, MetricValue, ModelAbout, OnnxForm, Port,
    },
};

#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct PublishArgs {
    /// safetensors or ONNX; what it is, its content tells
    file: PathBuf,
    #[arg(long)]
    name: String,
    /// Semantic version: each stands once under a name
    #[arg(long, value_name = "X.Y.Z", default_value = "1.0.0")]
    version: String,
    #[arg(long, default_value = "")]
    description: String,
    /// SPDX licence expression, such as Apache-2.0
    #[arg(long, value_name = "SPDX", default_value = "")]
    licence: String,
    /// May be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// What the model is for
    #[arg(long, default_value = "")]
    scenario: String,
    /// Model that it was made from; may be repeated
    #[arg(long, value_name = "MODEL")]
    parent: Vec<Digest>,
    /// Data set that it was trained on; may be repeated
    #[arg(long, value_name = "NAME@VERSION")]
    dataset: Vec<String>,
    /// S of the scale 2^−S, for all tensors or NAME=S for one; may be repeated
    #[arg(long, value_name = "[NAME=]S", value_parser = parse_scale)]
    scale: Vec<(Option<String>, u8)>,
    /// Store the file only: no task can start from the model, its tensors may be of any type
    #[arg(long, conflicts_with = "scale")]
    file_only: bool,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Words in the name, description, scenario or tags
    text: Vec<String>,
    #[arg(long)]
    tag: Option<String>,
    #[arg(long)]
    scenario: Option<String>,
    /// SPDX licence expression, whole
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// safetensors or onnx
    #[arg(long)]
    kind: Option<String>,
    /// Deprecated models too
    #[arg(long)]
    deprecated: bool,
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct DeprecateArgs {
    id: Digest,
    #[arg(long)]
    reason: String,
    /// Model to use instead
    #[arg(long, value_name = "MODEL")]
    successor: Option<Digest>,
}

#[derive(Debug, Subcommand)]
pub enum MetricCommand {
    /// State what you measured of a model; it stands with your key for good
    Add {
        id: Digest,
        /// Such as accuracy
        #[arg(long)]
        name: String,
        /// Decimal, with at most six places after the point
        #[arg(long, allow_negative_numbers = true)]
        value: MetricValue,
        /// Data set that it was measured on
        #[arg(long, value_name = "NAME@VERSION", default_value = "")]
        dataset: String,
    },
}

#[derive(Serialize)]
struct PublishedView<'a> {
    model: Option<ModelId>,
    #[serde(flatten)]
    status: &'a TxStatus,
    file: &'a Inspected,
}

pub fn publish_file(context: &Context, args: PublishArgs) -> Result<()> {
    let inspected = inspect(&args.file)?;
    let startable = matches!(inspected.form, FileForm::Safetensors { .. }) && !args.file_only;
    if !startable && !args.scale.is_empty() {
        return Err(CliError::usage("an ONNX file has no scales", "leave --scale out"));
    }
    let steps = startable.then(|| import(&args.file, &import_settings(&args.scale, &[])));
    let steps = steps.transpose().map_err(|error| match error {
        TensorFileError::Type { .. } => CliError::failed(
            format!("{}: {error}", args.file.display()),
            "convert it, or publish it with --file-only: no task can start from it then",
        ),
        error => error.into(),
    })?;
    let about = ModelAbout {
        name: args.name,
        version: args.version,
        description: args.description,
        licence: args.licence,
        tags: args.tag,
        scenario: args.scenario,
        datasets: args.dataset,
        sha256: inspected.sha256,
        form: inspected.form.clone(),
    };
    if let Some(fault) = about.fault() {
        return Err(CliError::usage(fault, "see `twinfold model publish --help`"));
    }
    let parents = args.parent.into_iter().map(ModelId).collect();
    let key = context.signing_key()?;
    let progress = context.output.progress("storing and publishing the model");
    let client = context.client()?;
    let (path, steps) = (args.file.as_path(), steps.as_ref());
    let draft = Draft { path, inspected: &inspected, about, parents, steps };
    let status = accepted(publish(&client, &key, draft, context.global.timeout)?)?;
    drop(progress);
    let events = status.receipt.iter().flat_map(|receipt| &receipt.events);
    let model = events.into_iter().find_map(|event| match event {
        Event::ModelPublished { model, .. } => Some(*model),
        _ => None,
    });
    let view = PublishedView { model, status: &status, file: &inspected };
    context.output.show(&view, || {
        let rows = [("model", or_dash(model)), ("transaction", status.id.to_string())];
        format!("{}\n{}", pairs(&rows), human_file(&inspected, false))
    })
}

pub fn inspect_file(context: &Context, file: PathBuf) -> Result<()> {
    let inspected = inspect(&file)?;
    context.output.show(&inspected, || human_file(&inspected, true))
}

pub fn search(context: &Context, args: SearchArgs) -> Result<()> {
    let search = Search {
        text: args.text.join(" "),
        tag: args.tag,
        scenario: args.scenario,
        licence: args.licence,
        kind: args.kind,
        deprecated: args.deprecated,
    };
    let models = context.client()?.search_models(&search, args.limit)?;
    context.output.show(&models, || human_list(&models))
}

pub fn deprecate(context: &Context, args: DeprecateArgs) -> Result<()> {
    let (model, successor) = (ModelId(args.id), args.successor.map(ModelId));
    let action = DeprecateAction { model, reason: args.reason, successor };
    if let Some(fault) = action.fault() {
        return Err(CliError::usage(fault, "see `twinfold model deprecate --help`"));
    }
    send(context, Action::DeprecateModel(Box::new(action)), "deprecated")
}

pub fn metric(context: &Context, command: MetricCommand) -> Result<()> {
    let MetricCommand::Add { id, name, value, dataset } = command;
    let action = MeasureAction { model: ModelId(id), metric: Metric { name, value, dataset } };
    if let Some(fault) = action.metric.fault() {
        return Err(CliError::usage(fault, "see `twinfold model metric add --help`"));
    }
    send(context, Action::MeasureModel(Box::new(action)), "stated")
}

fn send(context: &Context, action: Action, done: &str) -> Result<()> {
    let key = context.signing_key()?;
    let client = context.client()?;
    let status = client.submit(&key, action, Level::Executed, context.global.timeout)?;
    let status = accepted(status)?;
    context.output.show(&status, || format!("{done} by transaction {}", status.id))
}

fn human_file(file: &Inspected, all: bool) -> String {
    let head = pairs(&[
        ("kind", file.form.kind().into()),
        ("bytes", bytes(file.bytes)),
        ("sha256", file.sha256.to_string()),
        ("holds", form_text(&file.form)),
    ]);
    let mut parts = vec![head];
    if let FileForm::Onnx(onnx) = &file.form {
        parts.push(human_graph(onnx));
    }
    if all {
        let row = |tensor: &crate::model_file::FileTensor| {
            [tensor.name.clone(), tensor.element.clone(), format!("{:?}", tensor.shape)]
        };
        parts.push(table(&["tensor", "element", "shape"], file.tensors.iter().map(row)));
    }
    parts.join("\n\n")
}

fn human_graph(onnx: &OnnxForm) -> String {
    let port = |way: &'static str| {
        move |port: &Port| {
            [way.into(), port.name.clone(), port.element.clone(), port.shape.join(" × ")]
        }
    };
    let ports = onnx.inputs.iter().map(port("input"));
    let ports = ports.chain(onnx.outputs.iter().map(port("output")));
    let operators = onnx.operators.iter().map(|(name, count)| [name.clone(), count.to_string()]);
    format!(
        "{}\n\n{}",
        table(&["", "name", "element", "shape"], ports),
        table(&["operator", "times"], operators)
    )
}

/// All that is said of a model, below its record.
pub fn human_said(dossier: &Dossier) -> String {
    let mut parts = vec![];
    if let ModelSource::Published { tx, by, about, file } = &dossier.view.record.source {
        parts.push(pairs(&[
            ("release", about.version.clone()),
            ("description", about.description.clone()),
            ("licence", about.licence.clone()),
            ("tags", about.tags.join(", ")),
            ("scenario", about.scenario.clone()),
            ("data sets", about.datasets.join(", ")),
            ("publisher", by.to_string()),
            ("transaction", tx.to_string()),
            ("holds", form_text(&about.form)),
            ("file", format!("{}, payload {}", bytes(file.length), file.digest())),
            ("sha256", about.sha256.to_string()),
        ]));
        if let FileForm::Onnx(onnx) = &about.form {
            parts.push(human_graph(onnx));
        }
    }
    if let Some(deprecation) = &dossier.view.deprecation {
        parts.push(pairs(&[
            ("deprecated", deprecation.reason.clone()),
            ("by", format!("{} at {}", deprecation.by, time(deprecation.time))),
            ("use instead", or_dash(deprecation.successor)),
        ]));
    }
    if !dossier.metrics.is_empty() {
        let row = |record: &twinfold_types::store::MetricRecord| {
            let metric = &record.metric;
            [
                metric.name.clone(),
                metric.value.to_string(),
                metric.dataset.clone(),
                format!("{} ({})", record.by.short(), record.organisation),
                time(record.time),
            ]
        };
        let header = ["metric", "value", "data set", "measured by", "at"];
        parts.push(table(&header, dossier.metrics.iter().map(row)));
    }
    parts.join("\n\n")
}
