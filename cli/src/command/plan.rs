//! `twinfold task plan`.

use super::{
    Context,
    train::{DataArgs, read_data},
};
use crate::{
    data::Dataset,
    error::Result,
    plan::{Costs, Plan, Point},
    render::{bytes, table},
    task::fetch_steps,
    train::{Held, prepare},
};
use clap::Args;
use std::time::{Duration, Instant};
use twinfold_fl::{Base, FoldInput, fold_round, update::Binding};
use twinfold_types::{
    ClusterId, Digest, PublicKey, TaskId,
    model::model_digest,
    task::{AggregationRule, Mode, Screen, ServerOptimiser, TaskSpec},
    text::parse_duration,
};

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Identity or name of the task
    pub task: String,
    #[command(flatten)]
    pub data: DataArgs,
    /// Most trainers that are looked at
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub trainers: u32,
    /// A trainer's line each way, in MB a second
    #[arg(long, default_value_t = 12.5, value_parser = positive)]
    pub trainer_rate: f64,
    /// A validator's line each way, in MB a second
    #[arg(long, default_value_t = 125.0, value_parser = positive)]
    pub validator_rate: f64,
    /// From a round's last update until its result is agreed: see `./tests/bench round`
    #[arg(long, default_value = "100ms", value_parser = parse_duration)]
    pub agreement: Duration,
    /// Have the task take no more trainers than the knee (its owner, or an admin)
    #[arg(long)]
    pub stop_there: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a number above 0, got {text:?}"))
}

/// Updates folded at once to see what one costs.
const FOLDED: usize = 4;

pub fn run(context: &Context, args: &PlanArgs) -> Result<()> {
    let client = context.client()?;
    let task = client.task(&args.task)?;
    let data = read_data(context, &client, &args.data)?;
    let model = client.model(&task.global)?;
    let steps = fetch_steps(&client, &task.spec, &task.global, &model.record.digest)?;
    let progress = context.output.progress(format!("training on {} examples", data.len()));
    let measured = measure(&task.spec, task.id, &steps, &data, args)?;
    drop(progress);
    let plan = measured.plan(args.trainers);
    context.output.show(&plan, || human(&plan, data.len()))?;
    match args.stop_there {
        true => super::recruit::recruit(context, task.id, &args.task, Some(plan.knee)),
        false => Ok(()),
    }
}

/// One round of local work and one fold, on this machine.
fn measure(
    spec: &TaskSpec,
    task: TaskId,
    steps: &[i32],
    data: &Dataset,
    args: &PlanArgs,
) -> Result<Costs> {
    let base = model_digest(&twinfold_fl::canonical_bytes(steps));
    let trainer = PublicKey([0; 32]);
    let binding = Binding { task, trainer, base };
    let started = Instant::now();
    let prepared = prepare(spec, binding, steps, data, Held::default(), 0, 0)?;
    let compute_s = started.elapsed().as_secs_f64();

    // The plain mean, whatever the task's rule: that may need more updates than these.
    let plain = TaskSpec {
        mode: Mode::Sync,
        screen: Screen::default(),
        rule: AggregationRule::Mean,
        server: ServerOptimiser::None,
        ..spec.clone()
    };
    let input = FoldInput {
        trainer,
        payload: Digest::ZERO,
        weight: 1,
        loss: prepared.metrics.loss,
        base_version: 0,
        base_digest: base,
    };
    let inputs = vec![input; FOLDED];
    let payloads = vec![prepared.payload.clone(); FOLDED];
    let before = Base {
        cluster: ClusterId(0),
        steps,
        version: 0,
        memory: None,
        against: None,
        masking: None,
    };
    let started = Instant::now();
    let Ok(_) = fold_round(&plain, task, before, &inputs, &mut payloads.as_slice());
    let fold_s = started.elapsed().as_secs_f64() / FOLDED as f64;
    Ok(Costs {
        compute_s,
        update_bytes: prepared.payload.len() as f64,
        model_bytes: (4 * steps.len()) as f64,
        fold_s,
        agreement_s: args.agreement.as_secs_f64(),
        trainer_rate: 1e6 * args.trainer_rate,
        validator_rate: 1e6 * args.validator_rate,
    })
}

/// Columns of the longest bar.
const BAR: f64 = 40.0;

fn human(plan: &Plan, examples: usize) -> String {
    let Costs { compute_s, update_bytes, fold_s, .. } = plan.costs;
    let most = plan.points.iter().map(|point| point.total_s).fold(0.0, f64::max);
    let row = |point: &Point| {
        let columns = |seconds: f64| (BAR * seconds / most).round() as usize;
        let bar =
            "█".repeat(columns(point.compute_s)) + &"░".repeat(columns(point.communication_s));
        let mark = if point.trainers == plan.knee { " ← knee" } else { "" };
        [
            point.trainers.to_string(),
            seconds(point.compute_s),
            seconds(point.communication_s),
            seconds(point.total_s),
            bar + mark,
        ]
    };
    let header = ["trainers", "compute", "communication", "a round", "█ compute ░ communication"];
    let points = table(&header, plan.points.iter().map(row));
    format!(
        "measured here: {} of local work on {examples} examples, an update of {}, {} to fold one\n\n{points}\n\
         With more than {} a round is shorter by less than a twentieth of the best one:\n  \
         twinfold task create --participants-max {} …",
        seconds(compute_s),
        bytes(update_bytes as u64),
        seconds(fold_s),
        plan.knee,
        plan.knee,
    )
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.0} µs", 1e6 * seconds),
        seconds if seconds < 1.0 => format!("{:.1} ms", 1e3 * seconds),
        seconds => format!("{seconds:.2} s"),
    }
}
