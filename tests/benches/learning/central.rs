//! One machine with all the data against trainers with a part each: processor time until both are as good, and
//! what the trainers' network adds. The critical path of distributed training is, round by round, the slowest
//! trainer's processor time and a round of the same size in which nobody trains, measured on real processes.

use super::{
    data,
    federation::{Federation, Setting},
};
use crate::{cpu, lab::Lab, report::Report, round};
use color_eyre::eyre::{Result, ensure};
use twinfold_cli::{
    data::{Partition, split_train_test},
    task::TaskOptions,
    train::{Network, central, initial_values, mlp_tensors},
};
use twinfold_types::{
    limits,
    task::{Compression, LocalWork, Real, Schedule, Training},
};

const HIDDEN: usize = 2_048;
const SEED: u64 = 1;
const BATCH: u32 = 32;
const RATE: f64 = 0.1;
/// Passes of one machine over all the data: its loss then is what the trainers have to reach.
const PASSES: u64 = 30;
const TRAINERS: [usize; 3] = [2, 4, 8];
const ROUNDS_MAX: usize = 200;
const COMPRESS: &str = "topk:0.02:8,stochastic";

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let mnist = data::mnist(lab.folder().path())?;
    let (train, test) = split_train_test(&mnist, 0.2, SEED)?;
    let tensors = mlp_tensors(mnist.features(), HIDDEN, mnist.classes, limits::SCALE_DEFAULT);
    let network = Network::infer(&tensors)?;
    let first = initial_values(&tensors, SEED)?;
    report.note("one machine with all the data …");
    let before = cpu::of_this_process()?;
    let losses = central(&network, &first, &train, &test, &training(), PASSES)?;
    // Judging is not training: once more without it.
    let judged = cpu::of_this_process()? - before;
    let before = cpu::of_this_process()?;
    for _ in 0..PASSES {
        network.evaluate(&first, &test)?;
    }
    let alone_s = judged - (cpu::of_this_process()? - before);
    let best = losses.iter().map(|found| found.loss).fold(f64::INFINITY, f64::min);
    let values = first.len();
    println!(
        "MNIST, a hidden layer of {HIDDEN}: {values} values, test loss {best:.4} after {PASSES} passes of one machine in {alone_s:.1} CPU-s\n"
    );
    println!(
        "| trainers | rounds | slowest trainers, CPU-s | rounds without training, s | critical path, s | against one machine |"
    );
    println!("|---|---|---|---|---|---|");
    for trainers in TRAINERS {
        report.note(&format!("{trainers} trainers …"));
        let (rounds, slowest_s) = reach(&mnist, trainers, best)?;
        let compress: Compression = COMPRESS.parse().expect("a compression");
        let idle_s = round::without_training_s(lab, trainers, values, compress)?;
        let network_s = idle_s * rounds as f64;
        let path_s = slowest_s + network_s;
        println!(
            "| {trainers} | {rounds} | {slowest_s:.1} | {network_s:.1} | {path_s:.1} | {:.2} |",
            path_s / alone_s
        );
    }
    Ok(())
}

/// Rounds until the loss is reached, and the sum of each one's slowest trainer.
fn reach(mnist: &twinfold_cli::data::Dataset, trainers: usize, loss: f64) -> Result<(usize, f64)> {
    let mut federation = Federation::new(&setting(trainers), mnist)?;
    let mut slowest_s = 0.0;
    for round in 1..=ROUNDS_MAX {
        federation.round()?;
        slowest_s += federation.slowest_s();
        if federation.loss()? <= loss {
            return Ok((round, slowest_s));
        }
    }
    ensure!(false, "{trainers} trainers are not as good after {ROUNDS_MAX} rounds");
    Ok((ROUNDS_MAX, slowest_s))
}

fn training() -> Training {
    Training {
        work: LocalWork::Epochs(1),
        batch: BATCH,
        learning_rate: Real::new(RATE),
        schedule: Schedule::Constant,
        proximal: Real::new(0.0),
        seed: SEED,
        code: None,
    }
}

fn setting(trainers: usize) -> Setting {
    Setting {
        options: TaskOptions {
            name: "distributed".into(),
            participants_min: trainers as u32,
            participants_max: trainers as u32,
            compress: COMPRESS.parse().expect("a compression"),
            work: LocalWork::Epochs(2),
            batch: BATCH,
            learning_rate: RATE,
            ..TaskOptions::default()
        },
        hidden: HIDDEN,
        trainers,
        how: Partition::Iid,
        seed: SEED,
        feedback: true,
        liars: 0,
        attack: None,
        scaffold: false,
    }
}
