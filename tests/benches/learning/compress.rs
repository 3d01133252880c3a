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

/// Each with error feedback, and one of the smallest also without.
const COMPRESSIONS: [(&str, bool); 12] = [
    ("q8", true),
    ("q1", true),
    ("topk:0.02:8,stochastic", true),
    ("topk:0.02:4,stochastic", true),
    ("topk:0.02:1", true),
    ("topk:0.007:4,stochastic", true),
    ("topk:0.01:1", true),
    ("topk:0.012:2", true),
    ("randk:0.1:8,stochastic", true),
    ("randk:0.03:8,stochastic", true),
    ("above:3:4,stochastic", true),
    ("topk:0.007:4,stochastic", false),
];

struct Table<'d> {
    name: &'static str,
    data: &'d Dataset,
    how: Partition,
    rounds: usize,
    epochs: u32,
    batch: u32,
    rate: f64,
}

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let (iid, uneven) = (Partition::Iid, Partition::Dirichlet(0.1));
    let digits = data::digits()?;
    let small =
        |name, how| Table { name, data: &digits, how, rounds: 60, epochs: 2, batch: 16, rate: 0.1 };
    let mut tables =
        vec![small("digits MLP-128, i.i.d.", iid), small("digits MLP-128, Dirichlet 0.1", uneven)];
    let (even, uneven_name) = ("MNIST MLP-128, i.i.d.", "MNIST MLP-128, Dirichlet 0.1");
    let mnist = match report.wants(even) || report.wants(uneven_name) {
        true => Some(data::mnist(lab.folder().path())?),
        false => None,
    };
    if let Some(data) = &mnist {
        let large =
            |name, how| Table { name, data, how, rounds: 40, epochs: 1, batch: 32, rate: 0.1 };
        tables.extend([large(even, iid), large(uneven_name, uneven)]);
    }
    for table in tables.iter().filter(|table| report.wants(table.name)) {
        table.print(report)?;
    }
    Ok(())
}

impl Table<'_> {
    fn setting(&self, compress: &str, feedback: bool, seed: usize) -> Setting {
        let compress: Compression = compress.parse().expect("a compression");
        let options = TaskOptions {
            name: "few bytes".into(),
            participants_min: TRAINERS as u32,
            participants_max: TRAINERS as u32,
            compress,
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
        let all = std::iter::once((DENSE, true)).chain(COMPRESSIONS);
        let jobs: Vec<_> = all
            .clone()
            .flat_map(|(compress, feedback)| {
                (1..=SEEDS).map(move |seed| (compress, feedback, seed))
            })
            .map(|(compress, feedback, seed)| self.setting(compress, feedback, seed))
            .collect();
        report.note(&format!("{}: {} runs of {} rounds …", self.name, jobs.len(), self.rounds));
        let found = on_all_cores(&jobs, |setting| train(setting, self.data, self.rounds));
        let found = found.into_iter().collect::<Result<Vec<Trained>>>()?;
        let runs: Vec<_> = found.chunks_exact(SEEDS).collect();
        ensure!(runs.len() == 1 + COMPRESSIONS.len(), "a run is missing");
        let dense = runs[0];
        println!("\n{}, {TRAINERS} trainers, {} rounds, {SEEDS} seeds\n", self.name, self.rounds);
        println!(
            "| sent | payload, B | times fewer | with the envelope | accuracy, % | against dense, points | rounds to dense − 1 |"
        );
        println!("|---|---|---|---|---|---|---|");
        for ((compress, feedback), runs) in all.zip(runs.iter().copied()) {
            let bytes = mean(runs.iter().map(|run| run.payload_bytes));
            // Four bytes for each value of the model.
            let plain = (4 * dense[0].steps.len()) as f64;
            let (fewer, enveloped) =
                (plain / bytes, (plain + ENVELOPE_BYTES) / (bytes + ENVELOPE_BYTES));
            let accuracy = mean(runs.iter().map(Trained::last));
            let apart: Vec<_> =
                runs.iter().zip(dense).map(|(run, dense)| run.last() - dense.last()).collect();
            let (apart, interval) = (mean(apart.iter().copied()), interval(&apart));
            let without = if feedback { "" } else { ", no error feedback" };
            let reached = rounds_to(runs, dense);
            println!(
                "| {compress}{without} | {bytes:.0} | {fewer:.0} | {enveloped:.0} | {accuracy:.2} | {apart:+.2} ± {interval:.2} | {reached} |"
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
