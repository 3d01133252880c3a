//! Liars among trainers, against each rule: accuracy at the end of training, on two real data sets.
//! Liars know everything: what honest ones send, the rule, each other. They stay within the norm bound,
//! since nothing else would be folded, and claim the examples that they have.

use super::{
    data,
    federation::{Setting, train},
    on_all_cores,
};
use crate::{lab::Lab, report::Report};
use color_eyre::eyre::{Result, eyre};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use twinfold_cli::{
    data::{Dataset, Partition},
    task::TaskOptions,
};
use twinfold_types::task::Compression;
use twinfold_types::task::LocalWork;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Trains honestly on labels turned round, y → 9 − y (Tolpegin et al., ESORICS 2020).
    LabelFlip,
    /// Sends −3 times what it learned.
    SignFlip,
    /// Sends noise of ten times the norm of an honest update.
    Gaussian,
    /// All send the honest mean less z standard deviations (A Little Is Enough, Baruch et al. 2019).
    LittleIsEnough,
    /// All send half of the honest mean, turned round (inner-product manipulation, Xie et al. 2019).
    InnerProduct,
    /// Sends nothing but zeros.
    FreeRider,
    /// Members of one organisation that all send what one learned from turned labels.
    Sybils,
    /// Signs anew and sends what it learned five rounds ago.
    Replay,
}

const ATTACKS: [(Attack, &str); 8] = [
    (Attack::LabelFlip, "label flip"),
    (Attack::SignFlip, "sign flip, 3 ×"),
    (Attack::Gaussian, "noise, 10 ×"),
    (Attack::LittleIsEnough, "a little is enough"),
    (Attack::InnerProduct, "inner product, ½"),
    (Attack::FreeRider, "free riders"),
    (Attack::Sybils, "sybils, labels flipped"),
    (Attack::Replay, "replay, 5 rounds old"),
];
const REPLAYED: usize = 5;

impl Attack {
    /// What it does to a liar's data.
    pub fn spoil(self, shard: &mut Dataset) {
        if matches!(self, Attack::LabelFlip | Attack::Sybils) {
            let last = shard.classes as u32 - 1;
            shard.y.iter_mut().for_each(|label| *label = last - *label);
        }
    }

    /// Rounds that it looks back on.
    pub fn remembers(self) -> usize {
        if self == Attack::Replay { REPLAYED + 1 } else { 0 }
    }

    /// What the liars send instead of what they learned.
    pub fn change(self, deltas: &mut [Vec<f32>], liars: usize, past: &[Vec<Vec<f32>>], round: u64) {
        let (lying, honest) = deltas.split_at_mut(liars);
        match self {
            Attack::LabelFlip => {}
            Attack::SignFlip => {
                lying.iter_mut().flatten().for_each(|value| *value *= -3.0);
            }
            Attack::Gaussian => {
                let norm =
                    honest.iter().map(|delta| norm(delta)).sum::<f64>() / honest.len() as f64;
                for (at, delta) in lying.iter_mut().enumerate() {
                    *delta = noise(delta.len(), 10.0 * norm, round << 8 | at as u64);
                }
            }
            Attack::LittleIsEnough => {
                let z = little(honest.len() + liars, liars);
                let sent = by_value(honest, |mean, deviation| mean - z * deviation);
                lying.fill(sent);
            }
            Attack::InnerProduct => lying.fill(by_value(honest, |mean, _| -0.5 * mean)),
            Attack::FreeRider => lying.iter_mut().for_each(|delta| delta.fill(0.0)),
            Attack::Sybils => {
                let one = lying.first().cloned().unwrap_or_default();
                lying.fill(one);
            }
            Attack::Replay => {
                let old = &past[past.len().saturating_sub(REPLAYED + 1)];
                lying.clone_from_slice(&old[..liars]);
            }
        }
    }
}

fn norm(delta: &[f32]) -> f64 {
    delta.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// Uniform noise of a norm: its direction is what matters.
fn noise(values: usize, of_norm: f64, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<f32> = (0..values).map(|_| gaussian(&mut random)).collect();
    let factor = of_norm / norm(&drawn);
    drawn.iter().map(|value| (f64::from(*value) * factor) as f32).collect()
}

/// By Box and Muller.
fn gaussian(random: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

/// Of mean and standard deviation of each value.
fn by_value(honest: &[Vec<f32>], of: impl Fn(f64, f64) -> f64) -> Vec<f32> {
    let n = honest.len() as f64;
    let values = 0..honest.first().map_or(0, Vec::len);
    let each = |at: usize| {
        let column = honest.iter().map(|delta| f64::from(delta[at]));
        let mean = column.clone().sum::<f64>() / n;
        let variance = column.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        of(mean, variance.sqrt()) as f32
    };
    values.map(each).collect()
}

/// z with Φ(z) = (n − m − s) / (n − m), s = ⌊n/2 + 1⌋ − m, by halving.
fn little(trainers: usize, liars: usize) -> f64 {
    let (n, m) = (trainers as f64, liars as f64);
    let s = (n / 2.0 + 1.0).floor() - m;
    let wanted = ((n - m - s) / (n - m)).clamp(0.5, 0.999);
    let (mut low, mut high) = (0.0, 4.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if normal(middle) < wanted { low = middle } else { high = middle }
    }
    low
}

/// Φ(z) for z ≥ 0, to 7.5·10⁻⁸ (Abramowitz and Stegun 26.2.17).
fn normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = series.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    1.0 - (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * sum
}

/// Trainers, of whom so many lie.
const TRAINERS: usize = 23;
const LIARS: [usize; 4] = [2, 5, 7, 10];

/// Each with what it needs for the most that it bears of 23.
fn defences() -> Vec<(&'static str, TaskOptions)> {
    let rule = |rule: &str| TaskOptions { rule: rule.parse().expect("a rule"), ..base() };
    let cut = TaskOptions { clip_to_median: Some(1.0), ..base() };
    let both = TaskOptions { cosine_min: Some(0.0), ..cut.clone() };
    vec![
        ("mean", base()),
        ("cut", cut),
        ("cut, cosine", both),
        ("median", rule("median")),
        ("trimmed 0.45", rule("trimmed:0.45")),
        ("geometric", rule("geometric-median:16")),
        ("Krum 10", rule("krum:10")),
        ("Multi-Krum 10, 11", rule("multi-krum:10:11")),
        ("Bulyan 5", rule("bulyan:5")),
    ]
}

fn base() -> TaskOptions {
    TaskOptions {
        name: "attacked".into(),
        participants_min: TRAINERS as u32,
        participants_max: TRAINERS as u32,
        compress: Compression::dense(16),
        clip: 4.0,
        work: LocalWork::Epochs(2),
        batch: 8,
        learning_rate: 0.1,
        ..TaskOptions::default()
    }
}

/// A table: a data set, how it is shared out, how many lie, and how long it is trained.
struct Table<'d> {
    name: &'static str,
    data: &'d Dataset,
    hidden: usize,
    how: Partition,
    rounds: usize,
    seeds: u64,
    liars: &'static [usize],
}

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let digits = data::digits()?;
    let mnist = match report.wants("MNIST") {
        true => Some(data::mnist(lab.folder().path())?),
        false => None,
    };
    let alike = |name, how| Table {
        name,
        data: &digits,
        hidden: 32,
        how,
        rounds: 25,
        seeds: 3,
        liars: &LIARS,
    };
    let mut tables = vec![
        alike("digits, i.i.d.", Partition::Iid),
        alike("digits, Dirichlet 0.5", Partition::Dirichlet(0.5)),
    ];
    if let Some(data) = &mnist {
        let (how, liars) = (Partition::Iid, &LIARS[1..]);
        tables.push(Table {
            name: "MNIST, i.i.d.",
            data,
            hidden: 32,
            how,
            rounds: 12,
            seeds: 1,
            liars,
        });
    }
    for table in tables.iter().filter(|table| report.wants(table.name)) {
        table.print(report)?;
    }
    Ok(())
}

impl Table<'_> {
    fn print(&self, report: &Report) -> Result<()> {
        let defences = defences();
        let attacks = ATTACKS.iter().map(|(attack, _)| Some(*attack));
        let lines: Vec<(usize, Option<Attack>)> = std::iter::once((0, None))
            .chain(
                self.liars.iter().flat_map(|liars| attacks.clone().map(|attack| (*liars, attack))),
            )
            .collect();
        let (mut jobs, seeds) = (vec![], self.seeds);
        for (liars, attack) in &lines {
            for (_, options) in &defences {
                jobs.extend((1..=seeds).map(|seed| Setting {
                    options: options.clone(),
                    hidden: self.hidden,
                    trainers: TRAINERS,
                    how: self.how,
                    seed,
                    liars: *liars,
                    attack: *attack,
                    feedback: true,
                    scaffold: false,
                }));
            }
        }
        report.note(&format!("{}: {} runs of {} rounds …", self.name, jobs.len(), self.rounds));
        let found = on_all_cores(&jobs, |setting| train(setting, self.data, self.rounds));
        let found = found.into_iter().map(|run| run.map(|run| run.last()));
        let found = found.collect::<Result<Vec<f64>>>()?;
        println!("\n{}, {} rounds, {seeds} seeds, accuracy in %\n", self.name, self.rounds);
        let names = defences.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        println!("| of {TRAINERS} lie | attack | {} |", names.join(" | "));
        println!("|---|---|{}", "---|".repeat(names.len()));
        let mut runs = found.chunks_exact(seeds as usize);
        for (liars, attack) in lines {
            let cells = defences.iter().map(|_| {
                let runs = runs.next().ok_or_else(|| eyre!("a run is missing"))?;
                Ok(format!("{:.1}", runs.iter().sum::<f64>() / seeds as f64))
            });
            let cells = cells.collect::<Result<Vec<_>>>()?;
            let known = ATTACKS.iter().find(|(known, _)| Some(*known) == attack);
            let name = known.map_or("none", |(_, name)| name);
            println!("| {liars} | {name} | {} |", cells.join(" | "));
        }
        Ok(())
    }
}
