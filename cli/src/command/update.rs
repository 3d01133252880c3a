//! `twinfold update submit`: an update made by any other tool.

use super::{Context, masking::stage_text};
use crate::{
    client::Client,
    error::{CliError, Result},
    masked::{MaskedEvent, MaskedRound, require_masks},
    render::{Progress, pairs},
    tensor_file::read_delta,
    train::{Made, Pending, TrainerState, draw_seed},
    update::{
        Fate, Place, Route, Sent, base_digest, cluster_of, open_state, residual_age_max, settle,
    },
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use twinfold_fl::{
    compress::{compress, compress_masked},
    update::Binding,
};
use twinfold_types::{
    ClusterId, RoundNumber, SecretKey, TaskId,
    api::{ClusterView, TaskView},
    key::Signer,
    round::{Metrics, Outcome, RoundKey},
    task::Mode,
};

#[derive(Debug, Subcommand)]
pub enum UpdateCommand {
    /// Clip, compress, sign and send a delta
    Submit(SubmitArgs),
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Identity or name of the task
    #[arg(long)]
    pub task: String,
    /// Version of the cluster's model that the delta is against (`model get` prints it)
    #[arg(long, value_name = "VERSION")]
    pub base: u64,
    #[arg(long, value_name = "C")]
    pub cluster: u16,
    /// The delta: safetensors, F32 or F64, tensors named and shaped as the task's
    #[arg(long, value_name = "FILE")]
    pub delta: PathBuf,
    /// Training examples behind it: its weight
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub examples: u32,
    /// The round meant [default: the one that takes updates now]
    #[arg(long)]
    pub round: Option<u64>,
    /// Mean loss of the base model on the trainer's data
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub loss: f64,
    /// Share of the examples that the base model gets right
    #[arg(long, allow_negative_numbers = true)]
    pub accuracy: Option<f64>,
    /// Wait until the round has ended, and say what became of the update; in a task with masks the
    /// trainer goes through the whole round in any case
    #[arg(long)]
    pub wait: bool,
    /// Send nothing unless the task masks updates, proved by its identity
    #[arg(long)]
    pub masked: bool,
}

#[derive(Serialize)]
struct SubmittedView {
    task: TaskId,
    cluster: ClusterId,
    base_version: u64,
    bytes: usize,
    #[serde(flatten)]
    place: Place,
    /// Null until the round has ended.
    fate: Option<Fate>,
    counted: Option<bool>,
}

pub fn run(context: &Context, command: UpdateCommand) -> Result<()> {
    let UpdateCommand::Submit(args) = command;
    let client = context.client()?;
    let task = client.task(&args.task)?;
    if args.masked {
        require_masks(&client, &task, context.global.timeout)?;
    }
    let delta = read_delta(&args.delta, &task.spec)?;
    let key = context.signing_key()?;
    let progress = context.output.progress("storing and sending the update");
    let mut state = open_state(&context.state_dir(), task.id, key.public_key(), &task.spec)?;
    let timeout = context.global.timeout;
    let cluster = ClusterId(args.cluster);
    let route = Route { client: &client, key: &key, task: task.id, cluster, timeout };
    if task.spec.masks.is_some() {
        let sent = masked(context, &task, &args, &delta, route, &mut state, &progress)?;
        drop(progress);
        let Masked { bytes, place, fate } = sent;
        return show(context, &args, task.id, bytes, place, Some(fate));
    }
    if !is_resumed(&args, cluster_of(&task, cluster)?, &state) {
        conclude_earlier(&route, &mut state)?;
        let pending = prepare(&client, &key, &task, &args, &delta, &state)?;
        state.begin(pending)?;
    }
    let bytes = state.pending().map_or(0, |pending| pending.payload.len());
    let place = match route.send(&mut state)? {
        Sent::Ordered(place) => place,
        Sent::Refused { tx, code } => {
            settle(&mut state, None)?;
            return Err(CliError::Chain { tx, code });
        }
    };
    progress.say("waiting for the round to end");
    let fate = if args.wait { Some(route.await_fate(&place, timeout)?) } else { None };
    if fate.is_some() {
        settle(&mut state, fate.as_ref())?;
    }
    drop(progress);
    show(context, &args, task.id, bytes, place, fate)
}

/// What became of a masked update.
struct Masked {
    bytes: usize,
    place: Place,
    fate: Fate,
}

/// Goes through the whole of a masked round with a delta that is there already.
fn masked(
    context: &Context,
    task: &TaskView,
    args: &SubmitArgs,
    delta: &[f32],
    route: Route<'_>,
    state: &mut TrainerState,
    progress: &Progress,
) -> Result<Masked> {
    let view = cluster_of(task, route.cluster)?;
    let (round, timeout) = (view.round, route.timeout);
    if state.pending().is_some_and(|pending| pending.round != Some(round)) {
        conclude_earlier(&route, state)?;
    }
    if args.base != view.version || args.round.is_some_and(|given| given != round.0) {
        return Err(CliError::usage(
            format!("round {round} takes masked updates against version {}", view.version),
            "masks are for one round: fetch its model and train on it",
        ));
    }
    let key = RoundKey { task: task.id, cluster: route.cluster, round };
    let binding =
        Binding { task: task.id, trainer: route.key.public_key(), base: view.model_digest };
    let (spec, metrics) = (&task.spec, metrics(args)?);
    let mut make = |state: &TrainerState| {
        let seed = draw_seed(spec.training.seed, &binding, state.sequence());
        let residual = state.residual(args.base, residual_age_max(spec));
        let (integers, layout) = compress_masked(spec, binding, delta, residual, seed)
            .map_err(crate::train::TrainError::from)?;
        Ok(Made { integers, layout, examples: args.examples, metrics, control: vec![] })
    };
    let mut tell = |event: MaskedEvent| {
        if let MaskedEvent::Stage { stage, .. } = event {
            progress.say(stage_text(stage));
        }
        Ok(())
    };
    let run = MaskedRound { route, spec, key, base_version: args.base, timeout };
    let sent = run.run(&context.state_dir(), state, &mut make, &mut tell)?;
    let bytes = state.pending().map_or(0, |pending| pending.payload.len());
    let place = match sent {
        Some(Sent::Ordered(place)) => place,
        Some(Sent::Refused { tx, code }) => {
            settle(state, None)?;
            return Err(CliError::Chain { tx, code });
        }
        None => {
            return Err(CliError::failed(
                format!("masked round {round} went by without this trainer"),
                "join the next one as it begins; `twinfold task masking` says how far it is",
            ));
        }
    };
    let fate = run.route.await_fate(&place, timeout)?;
    settle(state, Some(&fate))?;
    Ok(Masked { bytes, place, fate })
}

/// The same command again after a kill: the update is on its way already. Where the
/// round went by without a new version, it is a new update against the same base.
fn is_resumed(args: &SubmitArgs, cluster: &ClusterView, state: &TrainerState) -> bool {
    let Some(pending) = state.pending() else { return false };
    let same_round = match (args.round.map(RoundNumber), pending.round) {
        (None, Some(round)) => round == cluster.round || cluster.version != args.base,
        (given, round) => given == round,
    };
    pending.base_version == args.base && pending.examples == args.examples && same_round
}

/// An earlier update must have its outcome before the residual goes into the next.
fn conclude_earlier(route: &Route<'_>, state: &mut TrainerState) -> Result<()> {
    let Some(base) = state.pending().map(|pending| pending.base_version) else { return Ok(()) };
    let fate = match route.send(state)? {
        Sent::Refused { .. } => None,
        Sent::Ordered(place) => match route.fate(&place)? {
            Some(fate) => Some(fate),
            None => {
                return Err(CliError::failed(
                    format!(
                        "the update against version {base} is in round {}, which has not ended",
                        place.round
                    ),
                    "wait for it: submit with --wait, or look at `twinfold task show`",
                ));
            }
        },
    };
    settle(state, fate.as_ref())
}

fn prepare(
    client: &Client,
    key: &SecretKey,
    task: &TaskView,
    args: &SubmitArgs,
    delta: &[f32],
    state: &TrainerState,
) -> Result<Pending> {
    let cluster = cluster_of(task, ClusterId(args.cluster))?;
    let base = base_digest(client, task, cluster, args.base)?;
    let binding = Binding { task: task.id, trainer: key.public_key(), base };
    let seed = draw_seed(task.spec.training.seed, &binding, state.sequence());
    let residual = state.residual(args.base, residual_age_max(&task.spec));
    let compressed = compress(&task.spec, binding, delta, residual, seed)
        .map_err(crate::train::TrainError::from)?;
    let round = match task.spec.mode {
        Mode::Sync => Some(args.round.map_or(cluster.round, RoundNumber)),
        Mode::Async { .. } => args.round.map(RoundNumber),
    };
    Ok(Pending {
        round,
        base_version: args.base,
        examples: args.examples,
        metrics: metrics(args)?,
        transaction: None,
        payload: compressed.update.encode(),
        carried: compressed.carried,
        rest: compressed.rest,
        control: vec![],
    })
}

fn metrics(args: &SubmitArgs) -> Result<Metrics> {
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    let is_loss = args.loss.is_finite() && args.loss >= 0.0;
    if !is_loss || args.accuracy.is_some_and(|share| !is_share(share)) {
        return Err(CliError::usage(
            "expected --loss of 0 or more and --accuracy from 0 to 1",
            "leave them out if they are not known",
        ));
    }
    Ok(Metrics::from_reals(args.loss, args.accuracy))
}

fn show(
    context: &Context,
    args: &SubmitArgs,
    task: TaskId,
    bytes: usize,
    place: Place,
    fate: Option<Fate>,
) -> Result<()> {
    let is_counted =
        |fate: &Fate| matches!(fate.outcome(), Some(Outcome::Folded { weight }) if weight > 0);
    let counted = fate.as_ref().map(is_counted);
    let cluster = ClusterId(args.cluster);
    let view =
        SubmittedView { task, cluster, base_version: args.base, bytes, place, fate, counted };
    context.output.show(&view, || {
        pairs(&[
            ("update", place.tx.to_string()),
            ("round", format!("{}, place {}", place.round, place.index)),
            ("block", place.height.to_string()),
            ("payload", crate::render::bytes(bytes as u64)),
            (
                "result",
                fate.as_ref().map_or("not yet; ask with --wait".into(), super::train::human_fate),
            ),
        ])
    })?;
    match fate.and_then(|fate| fate.outcome()) {
        Some(Outcome::Refused(refusal)) => {
            Err(CliError::LeftOut { tx: place.tx, reason: refusal.text() })
        }
        _ => Ok(()),
    }
}
