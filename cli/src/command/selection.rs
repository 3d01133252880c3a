//! `twinfold task enrol`, `leave` and `drawing`: who is chosen for a round, and why.

use super::{Context, member};
use crate::{
    error::{CliError, Result},
    render::{or_dash, table},
};
use clap::Args;
use serde::Serialize;
use twinfold_types::{
    Action, ClusterId, RoundNumber,
    api::TaskView,
    member::Member,
    round::RoundKey,
    task::{
        Selection,
        selection::{Candidate, Criterion, Drawing, EnrolAction, Reason},
    },
};

#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// Identity or name of the task
    pub task: String,
    /// Cluster to train in
    #[arg(long, value_name = "C", default_value_t = 0)]
    pub cluster: u16,
}

#[derive(Debug, Args)]
pub struct DrawingArgs {
    /// Identity or name of the task
    pub task: String,
    #[arg(long, value_name = "C", default_value_t = 0)]
    pub cluster: u16,
    /// [default: the one that collects now]
    #[arg(long, value_name = "R")]
    pub round: Option<u64>,
    /// Only this trainer, by name or key
    #[arg(long, value_name = "WHO")]
    pub trainer: Option<String>,
}

#[derive(Debug, Serialize)]
struct DrawingView {
    round: RoundNumber,
    #[serde(flatten)]
    drawing: Drawing,
    /// Whether the same seed and figures give the same choice.
    drawn_again_alike: bool,
}

pub fn enrol(context: &Context, args: &EnrolArgs) -> Result<()> {
    let task = context.client()?.task(&args.task)?.id;
    let action = EnrolAction { task, cluster: ClusterId(args.cluster) };
    context.transact(Action::Enrol(action), &format!("enrolled in {}", args.task))
}

pub fn leave(context: &Context, task: &str) -> Result<()> {
    let id = context.client()?.task(task)?.id;
    context.transact(Action::Leave(id), &format!("left {task}"))
}

pub fn drawing(context: &Context, args: &DrawingArgs) -> Result<()> {
    let client = context.client()?;
    let task = client.task(&args.task)?;
    let Some(rule) = task.spec.selection else {
        return Err(CliError::failed(
            format!("task {:?} chooses nobody: whoever wants sends an update", task.spec.name),
            "a task chooses where it is created with `--select`",
        ));
    };
    let cluster = crate::update::cluster_of(&task, ClusterId(args.cluster))?;
    let round = args.round.map_or(cluster.round, RoundNumber);
    let mut drawing = client.drawing(&args.task, cluster.cluster, round)?;
    let key = RoundKey { task: task.id, cluster: cluster.cluster, round };
    let drawn_again_alike = drawing.again(&rule, &key) == drawing;
    if !drawn_again_alike {
        return Err(CliError::failed(
            format!("the drawing of round {round} is not what its seed and figures give"),
            "the node tells something false: ask another one",
        ));
    }
    let members = client.members()?;
    if let Some(who) = &args.trainer {
        let trainer = member::find(&members, who)?.key;
        drawing.candidates.retain(|candidate| candidate.trainer == trainer);
        if drawing.candidates.is_empty() {
            return Err(CliError::failed(
                format!("{who} was not enrolled when the round's enrolment closed"),
                format!("it closed with block {}; see `twinfold task enrol`", drawing.closed),
            ));
        }
    }
    let view = DrawingView { round, drawing, drawn_again_alike };
    context.output.show(&view, || human(&task, &rule, &view, &members))
}

fn human(task: &TaskView, rule: &Selection, view: &DrawingView, members: &[Member]) -> String {
    let DrawingView { round, drawing, .. } = view;
    let row = |candidate: &Candidate| {
        [
            member::name_of(members, &candidate.trainer),
            or_dash(figure_text(rule.by, candidate.figure)),
            reason_text(rule.by, candidate.reason).into(),
        ]
    };
    let rows = table(&["trainer", "figure", "why"], drawing.candidates.iter().map(row));
    format!(
        "round {round} of {}: {rule}; enrolment closed with block {}, seed {}\n{rows}",
        task.spec.name,
        drawing.closed,
        drawing.seed.short()
    )
}

pub fn figure_text(by: Criterion, figure: u64) -> Option<String> {
    match by {
        Criterion::Random => None,
        Criterion::Availability => Some(format!("{:.3} delivered", figure as f64 / 65_536.0)),
        Criterion::Utility if figure == u64::MAX => Some("never tried".into()),
        Criterion::Utility => Some(format!("{:.1} loss × examples", figure as f64 / 65_536.0)),
    }
}

pub fn reason_text(by: Criterion, reason: Reason) -> &'static str {
    match (reason, by) {
        (Reason::Figure, _) => "chosen by its figure",
        (Reason::Chance, _) => "chosen by lot",
        (Reason::NotChosen, Criterion::Random) => "not chosen: the lot fell on others",
        (Reason::NotChosen, _) => "not chosen: others have higher figures, or the lot",
    }
}
