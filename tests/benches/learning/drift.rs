//! Trainers whose data differ drift apart while they train alone. What helps: rounds until each way is where
//! plain averaging ends less a point, and where it ends itself, over paired seeds.

use super::{
    compress::{interval, mean},
    data,
    federation::{Setting, Trained, train},
    on_all_cores,
};
use crate::{lab::Lab, report::Report};
use color_eyre::eyre::Result;
use twinfold_cli::{data::Partition, task::TaskOptions};
use twinfold_types::task::{Compression, LocalWork};

const TRAINERS: usize = 8;
const ROUNDS: usize = 60;
const SEEDS: u64 = 10;
/// Steps alone between two rounds, for every trainer.
const STEPS: u32 = 50;

/// What a trainer does against drifting.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    proximal: f64,
    scaffold: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "FedAvg", proximal: 0.0, scaffold: false },
    Way { name: "FedProx, μ = 0.01", proximal: 0.01, scaffold: false },
    Way { name: "FedProx, μ = 0.1", proximal: 0.1, scaffold: false },
    Way { name: "SCAFFOLD", proximal: 0.0, scaffold: true },
];

pub fn run(report: &mut Report, _: &mut Lab) -> Result<()> {
    let digits = data::digits()?;
    println!(
        "| data | way | accuracy after {ROUNDS} rounds, % | beyond FedAvg | rounds to FedAvg − 1 |"
    );
    println!("|---|---|---|---|---|");
    for (name, alpha) in [("Dirichlet 0.1", 0.1), ("Dirichlet 0.5", 0.5)] {
        report.note(&format!("{name} …"));
        let jobs: Vec<_> =
            WAYS.iter().flat_map(|way| (1..=SEEDS).map(move |seed| (*way, seed))).collect();
        let found = on_all_cores(&jobs, |(way, seed)| {
            train(&setting(*way, Partition::Dirichlet(alpha), *seed), &digits, ROUNDS)
        });
        let found = found.into_iter().collect::<Result<Vec<_>>>()?;
        let ways: Vec<_> = found.chunks(SEEDS as usize).collect();
        for (way, runs) in WAYS.iter().zip(&ways) {
            let beyond: Vec<_> =
                runs.iter().zip(ways[0]).map(|(run, plain)| run.last() - plain.last()).collect();
            let rounds =
                runs.iter().zip(ways[0]).map(|(run, plain)| rounds_to(run, plain.last() - 1.0));
            println!(
                "| {name} | {} | {:.2} | {:+.2} ± {:.2} | {:.1} |",
                way.name,
                mean(runs.iter().map(Trained::last)),
                mean(beyond.iter().copied()),
                interval(&beyond),
                mean(rounds),
            );
        }
    }
    Ok(())
}

fn setting(way: Way, how: Partition, seed: u64) -> Setting {
    Setting {
        options: TaskOptions {
            name: "drift".into(),
            participants_min: TRAINERS as u32,
            participants_max: TRAINERS as u32,
            work: LocalWork::Steps(STEPS),
            batch: 16,
            learning_rate: 0.1,
            proximal: way.proximal,
            compress: Compression::dense(16),
            ..TaskOptions::default()
        },
        hidden: 32,
        trainers: TRAINERS,
        how,
        seed,
        feedback: true,
        liars: 0,
        attack: None,
        scaffold: way.scaffold,
    }
}

/// As many as there are where it never gets there.
fn rounds_to(run: &Trained, accuracy: f64) -> f64 {
    let reached = run.accuracy.iter().position(|found| *found >= accuracy);
    reached.map_or(ROUNDS, |round| round + 1) as f64
}
