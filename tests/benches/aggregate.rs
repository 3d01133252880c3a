//! Aggregation rules over N updates of D values: parsed from their payloads, checked as
//! every validator checks them, folded into a model. In GB/s of N·D·4 bytes, the
//! updates' size as f32, whatever their own is.
//!
//! Beside it the speed at which one core reads memory, and Flower's strategy of the same name over
//! the same number of f32 values, from the bytes that came over the wire.

use crate::{
    calibration, cpu, flower,
    lab::{self, Lab},
    report::{Line, Report, median},
};
use color_eyre::eyre::{Result, WrapErr, ensure, eyre};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::time::{Duration, Instant};
use twinfold_cli::task::TaskOptions;
use twinfold_fl::{
    Base, FoldInput, fold_round,
    update::{Binding, Bits, TensorData, TensorUpdate, Update},
};
use twinfold_types::{
    ClusterId, Digest, PublicKey, TaskId, limits,
    task::{AggregationRule, Compression, TaskSpec},
};

const VALUES: usize = 1_000_000;
const UPDATES: [usize; 2] = [10, 100];
/// As many liars as each bears of a hundred, ten of them for Krum and Bulyan.
const RULES: [&str; 5] = ["median", "trimmed:0.2", "krum:10", "multi-krum:10:50", "bulyan:10"];
const TASK: TaskId = TaskId(Digest([1; 32]));
const BASE: Digest = Digest([2; 32]);
/// Repeated until this much time was measured, and at least so often.
const TIME: Duration = Duration::from_secs(3);
const REPETITIONS_MIN: usize = 5;
const FLOWER_REPETITIONS: usize = 3;

#[derive(Deserialize)]
struct FlowerFold {
    version: String,
    strategy: String,
    seconds: Vec<f64>,
    cpu_s: f64,
}

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    calibration::run(report)?;
    for updates in UPDATES {
        for bits in [8, 16, 32] {
            let work = format!("mean, {updates} × 1M, {bits} bits dense");
            if report.wants(&work) {
                measure(lab, report, &work, updates, Compression::dense(bits), "mean")?;
            }
        }
    }
    for rule in RULES {
        let work = format!("{rule}, 100 × 1M, 16 bits dense");
        if report.wants(&work) {
            measure(lab, report, &work, 100, Compression::dense(16), rule)?;
        }
    }
    Ok(())
}

fn measure(
    lab: &Lab,
    report: &mut Report,
    work: &str,
    updates: usize,
    compress: Compression,
    rule: &str,
) -> Result<()> {
    report.note(&format!("{work} …"));
    let arguments = [updates, VALUES, FLOWER_REPETITIONS].map(|number| number.to_string());
    let arguments = [&[rule.to_string()], &arguments[..]].concat();
    // Flower's Bulyan looks at all pairs again for each update that it takes: 80 times Krum.
    let flower: Option<FlowerFold> = match rule.starts_with("bulyan") {
        true => None,
        false => flower::run(lab, "aggregate", &arguments)
            .wrap_err_with(|| format!("Flower's {rule} could not be measured"))?,
    };
    let limit = calibration::memory_gb_s();
    let rule = rule.parse().map_err(|error: String| eyre!(error))?;
    let (seconds, cpu_s) = fold_times(updates, compress, rule)?;

    let bytes = (updates * VALUES * 4) as f64;
    let throughput = |seconds: f64| bytes / seconds / 1e9;
    let speed = throughput(median(&seconds));
    let name =
        flower.as_ref().map(|flower| format!("Flower {} {}", flower.version, flower.strategy));
    let name = name.unwrap_or_default();
    let theirs = flower.as_ref().map(|flower| throughput(median(&flower.seconds)));
    let theirs_cpu = flower.as_ref().map(|flower| flower.cpu_s);
    let line = || Line::new("aggregate", work, "throughput", speed, "GB/s");
    report.line(line().beside("memory read, one core", Some(limit)))?;
    report.line(line().beside(&name, theirs))?;
    report.line(Line::new("aggregate", work, "CPU", cpu_s, "s").beside(&name, theirs_cpu))
}

/// Seconds of each repetition, and CPU seconds of one.
fn fold_times(
    updates: usize,
    compress: Compression,
    rule: AggregationRule,
) -> Result<(Vec<f64>, f64)> {
    let spec = spec(updates, compress, rule)?;
    let bits = Bits::of(compress.bits).ok_or_else(|| eyre!("{compress}"))?;
    let (inputs, payloads): (Vec<_>, Vec<_>) = (0..updates).map(|n| update(n, bits)).unzip();
    let steps = vec![0; VALUES];
    let base = Base {
        cluster: ClusterId(0),
        steps: &steps,
        version: 0,
        memory: None,
        against: None,
        masking: None,
    };
    let (mut seconds, began) = (vec![], Instant::now());
    let spent = cpu::of_this_process()?;
    while seconds.len() < REPETITIONS_MIN || began.elapsed() < TIME {
        let started = Instant::now();
        let Ok(folded) = fold_round(&spec, TASK, base, &inputs, &mut payloads.as_slice());
        seconds.push(started.elapsed().as_secs_f64());
        ensure!(folded.steps.is_some(), "nothing was folded: {:?}", folded.outcomes.first());
    }
    let cpu_s = (cpu::of_this_process()? - spent) / seconds.len() as f64;
    Ok((seconds, cpu_s))
}

fn spec(updates: usize, compress: Compression, rule: AggregationRule) -> Result<TaskSpec> {
    let model = lab::zeros(VALUES);
    let participants = updates as u32;
    let options = TaskOptions {
        name: "aggregate".into(),
        participants_min: participants,
        participants_max: participants,
        compress,
        rule,
        ..TaskOptions::default()
    };
    Ok(options.spec(&model)?)
}

fn update(number: usize, bits: Bits) -> (FoldInput, Vec<u8>) {
    let mut random = ChaCha8Rng::seed_from_u64(number as u64);
    let trainer = PublicKey([number as u8; 32]);
    let greatest = bits.limit().min(1_000);
    let steps = (0..VALUES).map(|_| random.random_range(-greatest..=greatest)).collect();
    let tensor = TensorUpdate {
        index: 0,
        len: VALUES as u32,
        exponent: limits::SCALE_DEFAULT as i8,
        bits,
        data: TensorData::Dense(steps),
    };
    let update =
        Update { binding: Binding { task: TASK, trainer, base: BASE }, tensors: vec![tensor] };
    let input = FoldInput {
        trainer,
        payload: Digest([number as u8; 32]),
        weight: 100 + number as u32,
        loss: 1 << 16,
        base_version: 0,
        base_digest: BASE,
    };
    (input, update.encode())
}
