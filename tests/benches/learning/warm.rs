//! A task that starts from a stored model against one that starts from a drawn one: rounds until each is
//! within a point of where the cold one ends, over paired seeds. The stored model comes from other
//! trainers with other examples of the same kind; then their pixels are turned a quarter, which is the kind
//! of change that a new place brings.

use super::{
    compress::{interval, mean},
    data,
    federation::{Setting, Trained, train, train_from},
    on_all_cores,
};
use crate::{lab::Lab, report::Report};
use color_eyre::eyre::Result;
use twinfold_cli::{
    data::{Dataset, Partition, split_train_test},
    task::TaskOptions,
};
use twinfold_types::task::LocalWork;

const TRAINERS: usize = 8;
const ROUNDS: usize = 40;
const SEEDS: u64 = 10;
const SIDE: usize = 8;
/// Of the examples, for those who come later.
const LATER: f64 = 0.3;

pub fn run(report: &mut Report, _: &mut Lab) -> Result<()> {
    let digits = data::digits()?;
    println!(
        "| the stored model is of | rounds, cold | rounds, warm | fewer | accuracy, cold, % | warm, % |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, turned) in
        [("the same kind of examples", false), ("the same, turned a quarter", true)]
    {
        report.note(&format!("{name} …"));
        let seeds: Vec<u64> = (1..=SEEDS).collect();
        let found = on_all_cores(&seeds, |seed| pair(&digits, *seed, turned));
        let found = found.into_iter().collect::<Result<Vec<_>>>()?;
        let of = |which: fn(&(Trained, Trained)) -> &Trained| {
            let rounds = found.iter().map(|runs| rounds_to(which(runs), runs.0.last() - 1.0));
            rounds.collect::<Vec<_>>()
        };
        let (cold, warm) = (of(|runs| &runs.0), of(|runs| &runs.1));
        let fewer: Vec<_> = cold.iter().zip(&warm).map(|(cold, warm)| cold - warm).collect();
        let accuracy = |which: fn(&(Trained, Trained)) -> &Trained| {
            mean(found.iter().map(|runs| which(runs).last()))
        };
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} ± {:.1} | {:.2} | {:.2} |",
            mean(cold.iter().copied()),
            mean(warm.iter().copied()),
            mean(fewer.iter().copied()),
            interval(&fewer),
            accuracy(|runs| &runs.0),
            accuracy(|runs| &runs.1),
        );
    }
    Ok(())
}

/// The cold run and the warm one.
fn pair(digits: &Dataset, seed: u64, turned: bool) -> Result<(Trained, Trained)> {
    let (mut before, after) = split_train_test(digits, LATER, seed)?;
    if turned {
        turn(&mut before);
    }
    let setting = Setting {
        options: TaskOptions {
            name: "warm".into(),
            participants_min: TRAINERS as u32,
            participants_max: TRAINERS as u32,
            work: LocalWork::Epochs(1),
            batch: 8,
            learning_rate: 0.1,
            ..TaskOptions::default()
        },
        hidden: 32,
        trainers: TRAINERS,
        how: Partition::Iid,
        seed,
        feedback: true,
        liars: 0,
        attack: None,
        scaffold: false,
    };
    let stored = train(&setting, &before, ROUNDS)?;
    let cold = train(&setting, &after, ROUNDS)?;
    let warm = train_from(&setting, &after, ROUNDS, Some(&stored.steps))?;
    Ok((cold, warm))
}

/// Each picture by a quarter.
fn turn(data: &mut Dataset) {
    for mut picture in data.x.rows_mut() {
        let before = picture.to_owned();
        for at in 0..SIDE * SIDE {
            picture[at] = before[(SIDE - 1 - at % SIDE) * SIDE + at / SIDE];
        }
    }
}

/// All rounds where it never was.
fn rounds_to(run: &Trained, wanted: f64) -> f64 {
    let reached = run.accuracy.iter().position(|accuracy| *accuracy >= wanted);
    reached.map_or(ROUNDS, |round| round + 1) as f64
}
