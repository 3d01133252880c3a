//! What few bytes cost: the accuracy of compressed updates against dense ones, over paired seeds (the
//! same split, shards, first model and batches), with the 95 % interval of the difference.

use super::{
    data,
    federation::{Setting, Trained, train},
    on_all_cores,
};
use crate::{lab::Lab, report::Report};
use color_eyre::eyre::{Result, ensure};
use twinfold_cli::{
    data::{Dataset, Partition},
    task::TaskOptions,
};
use twinfold_types::task::{Compression, LocalWork};

const TRAINERS: usize = 8;
const HIDDEN: usize = 128;
const SEEDS: usize = 10;
/// Of Student's distribution with SEEDS − 1 degrees of freedom, both sides together 5 %.
const STUDENT: f64 = 2.262;
/// Bytes of an update's transaction, certificate included, beside its payload (four validators).
const ENVELOPE_BYTES: f64 = 450.0;
const DENSE: &str = "none";

/// What goes up, and what comes down.
#[derive(Clone, Copy)]
struct Way {
    up: &'static str,
    /// All of the change where nothing is said.
    down: Option<&'static str>,
    /// Whether what was not sent is added to the next delta.
    feedback: bool,
}

const fn up(up: &'static str) -> Way {
    Way { up, down: None, feedback: true }
}

const fn both(up: &'static str, down: &'static str) -> Way {
    Way { up, down: Some(down), feedback: true }
}

const UP: [Way; 12] = [
    up("q8"),
    up("q1"),
    up("topk:0.02:8,stochastic"),
    up("topk:0.02:4,stochastic"),
    up("topk:0.02:1"),
    up("topk:0.007:4,stochastic"),
    up("topk:0.01:1"),
    up("topk:0.012:2"),
    up("randk:0.1:8,stochastic"),
    up("randk:0.03:8,stochastic"),
    up("above:3:4,stochastic"),
    Way { up: "topk:0.007:4,stochastic", down: None, feedback: false },
];

const BOTH: [Way; 6] = [
    up("topk:0.02:8,stochastic"),
    both("topk:0.02:8,stochastic", "topk:0.1:8"),
    both("topk:0.02:8,stochastic", "topk:0.04:8"),
    both("topk:0.02:4,stochastic", "topk:0.04:4"),
    both("topk:0.02:4,stochastic", "topk:0.02:4"),
    both("q8", "q8"),
];

struct Table<'d> {
    name: &'static str,
    data: &'d Dataset,
    how: Partition,
    rounds: usize,
    epochs: u32,
    batch: u32,
    rate: f64,
    ways: &'static [Way],
}

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let (iid, uneven) = (Partition::Iid, Partition::Dirichlet(0.1));
    let digits = data::digits()?;
    let (both_even, both_uneven) =
        ("MNIST MLP-128, i.i.d., both ways", "MNIST MLP-128, Dirichlet 0.1, both ways");
    let small = |name, how, ways| Table {
        name,
        data: &digits,
        how,
        rounds: 60,
        epochs: 2,
        batch: 16,
        rate: 0.1,
        ways,
    };
    let mut tables = vec![
        small("digits MLP-128, i.i.d.", iid, &UP),
        small("digits MLP-128, Dirichlet 0.1", uneven, &UP),
        small("digits MLP-128, i.i.d., both ways", iid, &BOTH),
        small("digits MLP-128, Dirichlet 0.1, both ways", uneven, &BOTH),
    ];
    let (even, uneven_name) = ("MNIST MLP-128, i.i.d.", "MNIST MLP-128, Dirichlet 0.1");
    let names = [even, uneven_name, both_even, both_uneven];
    let mnist = match names.iter().any(|name| report.wants(name)) {
        true => Some(data::mnist(lab.folder().path())?),
        false => None,
    };
    if let Some(data) = &mnist {
        let large = |name, how, ways| Table {
            name,
            data,
            how,
            rounds: 40,
            epochs: 1,
            batch: 32,
            rate: 0.1,
            ways,
        };
        tables.extend([
            large(even, iid, UP.as_slice()),
            large(uneven_name, uneven, &UP),
            large(both_even, iid, &BOTH),
            large(both_uneven, uneven, &BOTH),
        ]);
    }
    for table in tables.iter().filter(|table| report.wants(table.name)) {
        table.print(report)?;
    }
    Ok(())
}

impl Table<'_> {
    fn setting(&self, way: Way, seed: usize) -> Setting {
        let form = |text: &str| text.parse::<Compression>().expect("a compression");
        let (compress, down, feedback) = (form(way.up), way.down.map(form), way.feedback);
        let options = TaskOptions {
            name: "few bytes".into(),
            participants_min: TRAINERS as u32,
            participants_max: TRAINERS as u32,
            compress,
            down,
            work: LocalWork::Epochs(self.epochs),
            batch: self.batch,
            learning_rate: self.rate,
            ..TaskOptions::default()
        };
        let (how, seed) = (self.how, seed as u64);
        Setting {
            options,
            hidden: HIDDEN,
            trainers: TRAINERS,
            how,
            seed,
            feedback,
            liars: 0,
            attack: None,
            scaffold: false,
        }
    }

    fn print(&self, report: &Report) -> Result<()> {
        let all: Vec<_> = std::iter::once(up(DENSE)).chain(self.ways.iter().copied()).collect();
        let jobs: Vec<_> =
            all.iter().flat_map(|way| (1..=SEEDS).map(|seed| self.setting(*way, seed))).collect();
        report.note(&format!("{}: {} runs of {} rounds …", self.name, jobs.len(), self.rounds));
        let found = on_all_cores(&jobs, |setting| train(setting, self.data, self.rounds));
        let found = found.into_iter().collect::<Result<Vec<Trained>>>()?;
        let runs: Vec<_> = found.chunks_exact(SEEDS).collect();
        ensure!(runs.len() == all.len(), "a run is missing");
        let dense = runs[0];
        println!("\n{}, {TRAINERS} trainers, {} rounds, {SEEDS} seeds\n", self.name, self.rounds);
        println!(
            "| up; down | payload, B | times fewer | with the envelope | down, B | times fewer | both ways | accuracy, % | against dense, points | rounds to dense − 1 |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for (way, runs) in all.iter().zip(runs.iter().copied()) {
            let down = mean(runs.iter().map(|run| run.down_bytes));
            let bytes = mean(runs.iter().map(|run| run.payload_bytes));
            // Four bytes for each value of the model.
            let plain = (4 * dense[0].steps.len()) as f64;
            let (fewer, enveloped) =
                (plain / bytes, (plain + ENVELOPE_BYTES) / (bytes + ENVELOPE_BYTES));
            let accuracy = mean(runs.iter().map(Trained::last));
            let apart: Vec<_> =
                runs.iter().zip(dense).map(|(run, dense)| run.last() - dense.last()).collect();
            let (apart, interval) = (mean(apart.iter().copied()), interval(&apart));
            let without = if way.feedback { "" } else { ", no error feedback" };
            let name = format!("{}; {}", way.up, way.down.unwrap_or("all"));
            let (down_fewer, both) = (plain / down, 2.0 * plain / (bytes + down));
            let reached = rounds_to(runs, dense);
            println!(
                "| {name}{without} | {bytes:.0} | {fewer:.0} | {enveloped:.0} | {down:.0} | {down_fewer:.0} | {both:.0} | {accuracy:.2} | {apart:+.2} ± {interval:.2} | {reached} |"
            );
        }
        Ok(())
    }
}

pub fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count().max(1) as f64
}

/// Half of the 95 % interval of a mean.
pub fn interval(values: &[f64]) -> f64 {
    let middle = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    STUDENT * (squares / (values.len() - 1) as f64 / values.len() as f64).sqrt()
}

/// Mean number of rounds until a run is within a point of the dense run's end, and how many never were.
fn rounds_to(runs: &[Trained], dense: &[Trained]) -> String {
    let reached: Vec<_> = runs
        .iter()
        .zip(dense)
        .filter_map(|(run, dense)| run.accuracy.iter().position(|at| *at >= dense.last() - 1.0))
        .collect();
    let never = runs.len() - reached.len();
    let rounds = mean(reached.iter().map(|round| *round as f64 + 1.0));
    match never {
        0 => format!("{rounds:.1}"),
        never if reached.is_empty() => format!("never, of {never}"),
        never => format!("{rounds:.1}, {never} never"),
    }
}
