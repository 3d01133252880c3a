//! `twinfold evaluate`, and what tasks say of their measured versions.

use super::{
    Context, member,
    train::{DataArgs, PATIENCE, read_data},
};
use crate::{
    client::Client,
    error::{CliError, Result},
    evaluate::{Evaluator, Measured, waiting},
    render::{or_dash, table},
    update::Pause,
};
use clap::Args;
use twinfold_types::{
    api::TaskView,
    limits,
    round::Metrics,
    task::{
        EvaluationRule, TaskStatus,
        evaluation::{Evaluation, Evaluators, Goal, Pooling},
    },
};

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Identity or name of the task
    #[arg(long)]
    pub task: String,
    #[command(flatten)]
    pub data: DataArgs,
    /// Versions to measure, then end [default: until the task ends]
    #[arg(long, value_name = "N")]
    pub versions: Option<u64>,
}

/// How a new task's global models are measured.
#[derive(Debug, Args)]
pub struct EvaluationArgs {
    /// Have global models measured: by `trainers` (each on data of its own), or by certain members, by
    /// name or key. The best version is kept in view [default: not measured]
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub evaluate: Vec<String>,
    /// Reports by which a version is scored [default: the least number of participants for trainers,
    /// else all members named]
    #[arg(long, value_name = "N", requires = "evaluate")]
    pub reports: Option<u32>,
    /// Global versions from one that is measured to the next
    #[arg(long, value_name = "N", default_value_t = 1, requires = "evaluate")]
    pub evaluate_every: u64,
    /// What is better: loss (less of it) or accuracy (more)
    #[arg(long, default_value = "loss", requires = "evaluate")]
    pub goal: Goal,
    /// How reports come to a score: mean (by examples) or median (each alike, which bears some that
    /// lie)
    #[arg(long, default_value = "mean", requires = "evaluate")]
    pub pooling: Pooling,
    /// Stop the task after so many scored versions in a row without a gain [default: never]
    #[arg(long, value_name = "N", requires = "evaluate")]
    pub patience: Option<u32>,
    /// What a score must be better by to count as a gain
    #[arg(long, value_name = "X", default_value_t = 0.0, requires = "evaluate")]
    pub gain_min: f64,
}

const TRAINERS: &str = "trainers";

impl EvaluationArgs {
    /// `participants_min` is the task's.
    pub fn rule(
        &self,
        client: impl FnOnce() -> Result<Client>,
        participants_min: u32,
    ) -> Result<Option<EvaluationRule>> {
        let by = match self.evaluate.as_slice() {
            [] => return Ok(None),
            [who] if who == TRAINERS => Evaluators::Trainers,
            named => {
                let members = client()?.members()?;
                let keys = named.iter().map(|who| Ok(member::find(&members, who)?.key));
                let mut keys = keys.collect::<Result<Vec<_>>>()?;
                keys.sort();
                Evaluators::Members(keys)
            }
        };
        let gain = (self.gain_min * 65_536.0).round();
        if !(0.0..=f64::from(u32::MAX)).contains(&gain) {
            return Err(CliError::usage(
                format!("--gain-min {}: expected 0 or more", self.gain_min),
                "see `twinfold task create --help`",
            ));
        }
        let all = match &by {
            Evaluators::Trainers => participants_min.min(limits::REPORTS_MAX),
            Evaluators::Members(members) => members.len() as u32,
        };
        Ok(Some(EvaluationRule {
            by,
            reports: self.reports.unwrap_or(all),
            every: self.evaluate_every,
            goal: self.goal,
            pooling: self.pooling,
            gain: gain as u32,
            patience: self.patience.unwrap_or(0),
        }))
    }
}

pub fn run(context: &Context, args: &EvaluateArgs) -> Result<()> {
    let client = context.patient_client(PATIENCE)?;
    let task = client.task(&args.task)?;
    if task.spec.evaluation.is_none() {
        return Err(CliError::failed(
            format!("the models of task {:?} are not measured", task.spec.name),
            "a task says who measures when it is created: `twinfold task create --evaluate`; \
             for a figure of any model there is `twinfold model metric add`",
        ));
    }
    let data = read_data(context, &client, &args.data)?;
    let key = context.signing_key()?;
    let mut evaluator = Evaluator::new(&client, &key, &data, context.global.timeout);
    let progress = context.output.progress(format!("measuring on {} examples", data.len()));
    let (id, mut done, mut pause) = (task.id.to_string(), 0, Pause::default());
    while args.versions.is_none_or(|versions| done < versions) {
        let task = client.task(&id)?;
        match evaluator.measure(&task)? {
            Some(measured) => {
                (done, pause) = (done + 1, Pause::default());
                context.output.line(&measured, || human_measured(&measured))?;
            }
            // An ended task gets no version any more.
            None if task.status != TaskStatus::Open => break,
            None => {
                progress.say(format!("waiting for version {}", next_version(&task)));
                pause.sleep();
            }
        }
    }
    Ok(())
}

fn next_version(task: &TaskView) -> u64 {
    let every = task.spec.evaluation.as_ref().map_or(1, |rule| rule.every.max(1));
    match waiting(task) {
        Some(version) => version,
        None => task.global_version - task.global_version % every + every,
    }
}

pub fn human_measured(measured: &Measured) -> String {
    let Measured { version, loss, examples, .. } = measured;
    let accuracy = measured.accuracy.map(|share| format!(", accuracy {:.2} %", share * 100.0));
    let accuracy = accuracy.unwrap_or_default();
    let refused = measured.refused.map(|reason| format!("; not taken: {reason}"));
    format!(
        "version {version}: loss {loss:.4}{accuracy} on {examples} examples{}",
        refused.unwrap_or_default()
    )
}

/// `twinfold task evaluations`.
pub fn list(context: &Context, task: &str) -> Result<()> {
    let client = context.client()?;
    let (task, found) = (client.task(task)?, client.evaluations(task)?);
    context.output.show(&found, || {
        let best = task.progress.best.map(|best| best.version);
        let row = |evaluation: &Evaluation| row(&task, evaluation, best);
        table(&["version", "reports", "loss", "accuracy", "", "model"], found.iter().map(row))
    })
}

fn row(task: &TaskView, evaluation: &Evaluation, best: Option<u64>) -> [String; 6] {
    let needed = task.spec.evaluation.as_ref().map_or(0, |rule| rule.reports);
    let Evaluation { version, model, reports, score } = evaluation;
    let accuracy = score.and_then(|score| score.accuracy());
    [
        version.to_string(),
        format!("{} of {needed}", reports.len()),
        or_dash(score.map(|score| format!("{:.4}", score.loss()))),
        or_dash(accuracy.map(|share| format!("{:.2} %", share * 100.0))),
        if best == Some(*version) { "best" } else { "" }.into(),
        model.to_string(),
    ]
}

/// A task's best version, in words.
pub fn human_best(task: &TaskView) -> Option<String> {
    let rule = task.spec.evaluation.as_ref()?;
    let Some(best) = task.progress.best else { return Some("none is scored yet".into()) };
    let figure = match (rule.goal, best.score) {
        (Goal::Accuracy, Metrics { accuracy: Some(_), .. }) => {
            format!("accuracy {:.2} %", best.score.accuracy().unwrap_or(0.0) * 100.0)
        }
        _ => format!("loss {:.4}", best.score.loss()),
    };
    let since = match task.progress.without_gain {
        0 => String::new(),
        since => format!("; {since} scored since without a gain"),
    };
    Some(format!("version {} ({}), {figure}{since}", best.version, best.model))
}

/// The rule, in words.
pub fn human_rule(rule: &EvaluationRule) -> String {
    let EvaluationRule { reports, every, goal, pooling, .. } = rule;
    let by = match &rule.by {
        Evaluators::Trainers => "its trainers".into(),
        Evaluators::Members(members) => format!("{} members", members.len()),
    };
    let every = if *every == 1 { "each version".into() } else { format!("every {every} versions") };
    let stop = match rule.patience {
        0 => String::new(),
        patience => format!("; stops after {patience} without a gain"),
    };
    format!("{every} by {by}, {pooling} of {reports} reports, by {goal}{stop}")
}
