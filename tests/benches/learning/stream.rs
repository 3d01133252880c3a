//! A task without end on a series that drifts: fifty years of weather, of which each day is asked whether it
//! rained. Days come in order, dealt out among the trainers; every window is first judged by the models as they
//! are, and then trained on. Beside it the same task frozen after its first years, and frozen after more work on
//! them.

use super::{
    data,
    federation::{Federation, Setting},
};
use crate::{lab::Lab, report::Report};
use color_eyre::eyre::Result;
use twinfold_cli::{
    data::{Dataset, Partition},
    task::TaskOptions,
};
use twinfold_types::task::LocalWork;

const TRAINERS: usize = 4;
/// Days of a round.
const WINDOW: usize = 120;
/// Rounds before the others are frozen: nearly seven years.
const FIRST: usize = 20;
const PASSES: u32 = 3;
/// Passes of the one that works more on the first years.
const MORE_PASSES: u32 = 20;
/// Windows of a line of the table, about ten years.
const PERIOD: usize = 30;

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let weather = data::weather(lab.folder().path())?;
    let windows = weather.y.len() / WINDOW;
    report.note(&format!("{windows} windows of {WINDOW} days, {TRAINERS} trainers …"));
    let first: Vec<_> = (0..FIRST * WINDOW).collect();
    let first = weather.select(&first);
    let mut online = Federation::new(&setting(PASSES), &first)?;
    let mut frozen = Federation::new(&setting(PASSES), &first)?;
    let mut longer = Federation::new(&setting(MORE_PASSES), &first)?;
    let mut judged: Vec<[f64; 4]> = vec![];
    for at in 0..windows {
        let days = window(&weather, at);
        let shards: Vec<_> = (0..TRAINERS).map(|part| shard(&days, part)).collect();
        let mut accuracy = [0.0; 4];
        for (place, model) in accuracy.iter_mut().zip([&mut online, &mut frozen, &mut longer]) {
            model.look_at(shards.clone(), days.clone());
            *place = model.accuracy()?;
        }
        let dry = days.y.iter().filter(|label| **label == 0).count();
        accuracy[3] = 100.0 * dry.max(days.y.len() - dry) as f64 / days.y.len() as f64;
        if at >= FIRST {
            judged.push(accuracy);
        }
        online.round()?;
        if at < FIRST {
            frozen.round()?;
            longer.round()?;
        }
    }
    println!(
        "| windows | online, % | frozen, % | frozen, more work, % | the commoner answer, % | online beyond frozen, points | beyond more work |"
    );
    println!("|---|---|---|---|---|---|---|");
    let last = judged.len().div_ceil(PERIOD) - 1;
    for (number, period) in judged.chunks(PERIOD).enumerate() {
        let from = FIRST + number * PERIOD;
        line(&format!("{from} to {}", from + period.len() - 1), period);
        if number == last {
            line("all", &judged);
        }
    }
    Ok(())
}

fn line(name: &str, judged: &[[f64; 4]]) {
    let mean =
        |of: &dyn Fn(&[f64; 4]) -> f64| judged.iter().map(of).sum::<f64>() / judged.len() as f64;
    // 95 % of a mean of many windows: normal, at 1.96.
    let apart = |frozen: usize| {
        let middle = mean(&|row| row[0] - row[frozen]);
        let square = mean(&|row| (row[0] - row[frozen] - middle).powi(2));
        (middle, 1.96 * (square / (judged.len() - 1).max(1) as f64).sqrt())
    };
    let ((beyond, interval), (more, more_interval)) = (apart(1), apart(2));
    println!(
        "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {beyond:+.2} ± {interval:.2} | {more:+.2} ± {more_interval:.2} |",
        mean(&|row| row[0]),
        mean(&|row| row[1]),
        mean(&|row| row[2]),
        mean(&|row| row[3]),
    );
}

fn window(all: &Dataset, at: usize) -> Dataset {
    all.select(&(at * WINDOW..(at + 1) * WINDOW).collect::<Vec<_>>())
}

/// Every so manyth day.
fn shard(days: &Dataset, part: usize) -> Dataset {
    days.select(&(part..days.y.len()).step_by(TRAINERS).collect::<Vec<_>>())
}

fn setting(passes: u32) -> Setting {
    Setting {
        options: TaskOptions {
            name: "stream".into(),
            participants_min: TRAINERS as u32,
            participants_max: TRAINERS as u32,
            work: LocalWork::Epochs(passes),
            batch: 10,
            learning_rate: 0.05,
            ..TaskOptions::default()
        },
        hidden: 16,
        trainers: TRAINERS,
        how: Partition::Iid,
        seed: 1,
        feedback: true,
        liars: 0,
        attack: None,
        scaffold: false,
    }
}
