//! One synchronous round: from one global model in every trainer's hands to the
//! next, download included.
//!
//! Four validators as processes, one cluster, a merge after every round. Trainers
//! are threads with keys of their own that train nothing: each fetches and checks
//! the model, compresses a constant delta, uploads it and orders it, and hears of
//! the result by the event stream. They keep no file, as Flower's clients keep none.
//!
//! The reference on the same work is Flower's legacy gRPC server, its fastest:
//! trivial clients in processes of their own, dense FedAvg. It is one server; here
//! four validators each store and fold everything and agree on it.

mod trainer;

use crate::{
    calibration, cpu, flower,
    lab::{self, Lab, Running, Setup},
    report::{Line, Report, median},
};
use color_eyre::eyre::{Result, WrapErr, bail, eyre};
use serde::Deserialize;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};
use trainer::{Phases, Seen, Trainer};
use twinfold_cli::task::{self, Created, TaskOptions};
use twinfold_types::task::Compression;

/// Rounds before the first one that is measured.
const WARM_UP: usize = 2;
const CREATE: Duration = Duration::from_secs(120);
/// No round here takes longer unless something is broken.
const ROUND: Duration = Duration::from_secs(120);

/// One size of model: values, its name, and rounds measured.
#[derive(Clone, Copy)]
struct Size {
    values: usize,
    name: &'static str,
    rounds: usize,
}

const SIZES: [Size; 2] = [
    Size { values: 25_000, name: "0.1 MB", rounds: 20 },
    Size { values: 2_500_000, name: "10 MB", rounds: 7 },
];
const TRAINERS: [usize; 2] = [4, 10];
const COMPRESSIONS: [(Compression, &str); 2] =
    [(Compression::dense(32), "dense"), (Compression::dense(8), "q8")];

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    calibration::run(report)?;
    for size in SIZES {
        for trainers in TRAINERS {
            let works = COMPRESSIONS.map(|(choice, name)| {
                (choice, format!("{trainers} trainers × {}, {name}", size.name))
            });
            let wanted: Vec<_> = works.iter().filter(|(_, work)| report.wants(work)).collect();
            if wanted.is_empty() {
                continue;
            }
            report.note(&format!("Flower: {trainers} clients × {} …", size.name));
            let arguments =
                [trainers, size.values, WARM_UP, size.rounds].map(|number| number.to_string());
            let flower: Option<FlowerRound> = flower::run(lab, "round", &arguments)
                .wrap_err("Flower's rounds could not be measured")?;
            for (choice, work) in wanted {
                report.note(&format!("{work} …"));
                let measured = measure(lab, trainers, size, *choice).wrap_err(work.clone())?;
                tell(report, work, &measured, flower.as_ref())?;
            }
        }
    }
    Ok(())
}

/// Flower's rounds; CPU is of one round.
#[derive(Deserialize)]
struct FlowerRound {
    version: String,
    round_ms: Vec<f64>,
    server_cpu_s: f64,
    clients_cpu_s: f64,
}

impl FlowerRound {
    fn name(&self) -> String {
        format!("Flower {} legacy gRPC server", self.version)
    }
}

/// What the rounds of one work came to; CPU and bytes are of one round.
struct Measured {
    round_ms: Vec<f64>,
    nodes_cpu_s: f64,
    trainers_cpu_s: f64,
    relayed_mb: f64,
    sent_mb: f64,
    phases: Vec<Phases>,
}

fn measure(lab: &mut Lab, trainers: usize, size: Size, compress: Compression) -> Result<Measured> {
    let setup = Setup { admins: 1, trainers, requests_per_second: None };
    let mut running = lab.network(&setup)?;
    let created = create_task(&running, trainers, size.values, compress)?;
    let rounds = WARM_UP + size.rounds;
    let (sender, seen) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..trainers)
        .map(|index| {
            let client = running.client_at(index)?;
            let key = running.trainers[index].clone();
            let trainer = Trainer::new(index, client, key, &created, rounds, sender.clone());
            Ok(std::thread::spawn(move || trainer.run()))
        })
        .collect::<Result<_>>()?;
    drop(sender);
    let measured = watch(&mut running, &seen, trainers, rounds);
    let mut outcome = measured?;
    for thread in threads {
        let phases = thread.join().map_err(|_| eyre!("a trainer panicked"))?;
        outcome.phases.extend(phases.into_iter().skip(WARM_UP));
    }
    running.end()?;
    Ok(outcome)
}

fn create_task(
    running: &Running,
    trainers: usize,
    values: usize,
    compress: Compression,
) -> Result<Created> {
    let options = TaskOptions {
        name: "round".into(),
        participants_min: trainers as u32,
        participants_max: trainers as u32,
        compress,
        deadline: ROUND,
        ..TaskOptions::default()
    };
    let model = lab::zeros(values);
    let client = running.client_at(0)?;
    Ok(task::create(&client, running.admin()?, &options, &model, CREATE)?)
}

/// Notes when each model was in every trainer's hands, and what was spent between
/// the end of the warm-up and the last.
fn watch(
    running: &mut Running,
    seen: &Receiver<Result<Seen>>,
    trainers: usize,
    rounds: usize,
) -> Result<Measured> {
    let mut visible: Vec<Instant> = vec![];
    let (mut before, mut bytes) = (Spent::default(), 0u64);
    while visible.len() <= rounds {
        let mut last = None;
        for _ in 0..trainers {
            let next = next_seen(running, seen)?;
            bytes += if visible.len() > WARM_UP { next.sent_bytes } else { 0 };
            last = last.max(Some(next.at));
        }
        visible.extend(last);
        if visible.len() == WARM_UP + 1 {
            before = Spent::now(running)?;
        }
    }
    let (after, count) = (Spent::now(running)?, (rounds - WARM_UP) as f64);
    let measured = visible[WARM_UP..].windows(2);
    let round_ms = measured.map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect();
    Ok(Measured {
        round_ms,
        nodes_cpu_s: (after.nodes - before.nodes) / count,
        trainers_cpu_s: (after.trainers - before.trainers) / count,
        relayed_mb: (after.relayed - before.relayed) as f64 / 1e6 / count,
        sent_mb: bytes as f64 / 1e6 / count,
        phases: vec![],
    })
}

/// A trainer cannot be a whole round ahead of another: every round needs them all.
fn next_seen(running: &Running, seen: &Receiver<Result<Seen>>) -> Result<Seen> {
    match seen.recv_timeout(ROUND) {
        Ok(next) => next,
        Err(RecvTimeoutError::Timeout) => {
            running.network.check()?;
            bail!("no trainer saw a new model within {} s", ROUND.as_secs())
        }
        Err(RecvTimeoutError::Disconnected) => bail!("the trainers stopped early"),
    }
}

#[derive(Default)]
struct Spent {
    nodes: f64,
    trainers: f64,
    relayed: u64,
}

impl Spent {
    fn now(running: &mut Running) -> Result<Self> {
        running.network.statuses();
        Ok(Self {
            nodes: running.nodes_cpu()?,
            trainers: cpu::of_this_process()?,
            relayed: running.network.relayed_bytes(),
        })
    }
}

fn tell(
    report: &mut Report,
    work: &str,
    measured: &Measured,
    flower: Option<&FlowerRound>,
) -> Result<()> {
    let name = flower.map(FlowerRound::name).unwrap_or_default();
    let beside = |get: fn(&FlowerRound) -> f64| flower.map(get);
    let mut line = |metric: &str, value: f64, unit, reference: Option<f64>| {
        report.line(Line::new("round", work, metric, value, unit).beside(&name, reference))
    };
    let round_ms = median(&measured.round_ms);
    line("round", round_ms, "ms", beside(|flower| median(&flower.round_ms)))?;
    let (nodes, trainers) = (measured.nodes_cpu_s, measured.trainers_cpu_s);
    line("CPU a round, servers", nodes, "s", beside(|flower| flower.server_cpu_s))?;
    line("CPU a round, trainers", trainers, "s", beside(|flower| flower.clients_cpu_s))?;
    line("updates sent a round", measured.sent_mb, "MB", None)?;
    line("between validators a round", measured.relayed_mb, "MB", None)?;
    for (phase, get) in Phases::ALL {
        let times: Vec<f64> = measured.phases.iter().map(get).collect();
        line(&format!("trainer: {phase}"), median(&times), "ms", None)?;
    }
    Ok(())
}
