//! Many trainers in one task, driven by this one process: what each of them costs, and whether the ten
//! thousandth costs more than the thousandth.
//!
//! Four validators as processes; clusters of 250 trainers, a merge after each round. Threads take the trainers
//! one after the other: each compresses a constant delta, uploads it, orders it and waits until it is executed.
//! Nothing is trained.

use crate::{
    calibration, cpu,
    lab::{self, Lab, Running, Setup},
    report::{Line, Report},
};
use color_eyre::eyre::{Result, bail, eyre};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use twinfold_cli::{
    client::Client,
    task::{self, Created, TaskOptions},
};
use twinfold_fl::{compress::compress, update::Binding};
use twinfold_types::{
    Action, Code, SecretKey,
    api::{ClusterView, Level},
    key::Signer,
    round::Metrics,
    task::Compression,
    tx::UpdateAction,
};

const CROWDS: [usize; 3] = [1_000, 3_000, 10_000];
const CLUSTER: usize = 250;
const VALUES: usize = 2_500;
const ROUNDS: u64 = 2;
/// Requests that wait at once.
const THREADS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(300);

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    calibration::run(report)?;
    for trainers in CROWDS {
        let work = format!("{trainers} trainers, {ROUNDS} rounds");
        if report.wants(&work) {
            report.note(&format!("{work} …"));
            measure(report, lab, &work, trainers)?;
        }
    }
    Ok(())
}

fn measure(report: &mut Report, lab: &mut Lab, work: &str, trainers: usize) -> Result<()> {
    let setup = Setup { admins: 1, trainers, requests_per_second: Some(1_000_000) };
    let running = lab.network(&setup)?;
    let created = create_task(&running, trainers)?;
    let (started, nodes, own) = (Instant::now(), running.nodes_cpu()?, cpu::of_this_process()?);
    let mut sent = 0;
    for round in 0..ROUNDS {
        sent += run_round(&running, &created)?;
        await_merge(&running, &created, round + 1)?;
    }
    let updates = (trainers as u64 * ROUNDS) as f64;
    let mut line = |metric: &str, value: f64, unit: &'static str| {
        report.line(Line::new("crowd", work, metric, value, unit))
    };
    line("a round", started.elapsed().as_secs_f64() / ROUNDS as f64, "s")?;
    line("CPU of all validators an update", (running.nodes_cpu()? - nodes) * 1e3 / updates, "ms")?;
    line("CPU of its trainer an update", (cpu::of_this_process()? - own) * 1e3 / updates, "ms")?;
    line("payload an update", sent as f64 / updates, "B")?;
    running.end()
}

fn create_task(running: &Running, trainers: usize) -> Result<Created> {
    let options = TaskOptions {
        name: "crowd".into(),
        clusters: trainers.div_ceil(CLUSTER) as u16,
        participants_min: CLUSTER as u32,
        participants_max: CLUSTER as u32,
        compress: Compression::dense(8),
        rounds: ROUNDS,
        deadline: PATIENCE,
        ..TaskOptions::default()
    };
    let model = lab::zeros(VALUES);
    let client = running.client_at(0)?;
    Ok(task::create(&client, running.admin()?, &options, &model, PATIENCE)?)
}

/// Every trainer sends its update; gives the payloads' bytes.
fn run_round(running: &Running, created: &Created) -> Result<usize> {
    let clusters = running.client_at(0)?.task(&created.task.to_string())?.clusters;
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |thread: usize| -> Result<()> {
        let client = running.client_at(thread)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = running.trainers.get(index) else { return Ok(()) };
            let cluster = clusters.get(index / CLUSTER).ok_or_else(|| eyre!("no such cluster"))?;
            bytes.fetch_add(send(&client, created, key, cluster)?, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| eyre!("a thread panicked"))?)
    })?;
    Ok(bytes.into_inner())
}

fn send(
    client: &Client,
    created: &Created,
    key: &SecretKey,
    cluster: &ClusterView,
) -> Result<usize> {
    let binding =
        Binding { task: created.task, trainer: key.public_key(), base: cluster.model_digest };
    let bytes = compress(&created.spec, binding, &[0.001; VALUES], &[], 0)?.update.encode();
    let payload = client.upload(key, &bytes)?;
    let action = Action::Update(Box::new(UpdateAction {
        task: created.task,
        cluster: cluster.cluster,
        round: Some(cluster.round),
        base_version: cluster.version,
        examples: 100,
        metrics: Metrics::default(),
        payload,
    }));
    let status = client.submit(key, action, Level::Executed, PATIENCE)?;
    match status.receipt.map(|receipt| receipt.code) {
        Some(Code::Ok) => Ok(bytes.len()),
        code => bail!("an update came to {code:?}"),
    }
}

fn await_merge(running: &Running, created: &Created, version: u64) -> Result<()> {
    let (client, started) = (running.client_at(0)?, Instant::now());
    while client.task(&created.task.to_string())?.global_version < version {
        if started.elapsed() > PATIENCE {
            bail!("the round did not come to a model within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
