//! Small transactions through four validators: an admin's proposal that one signature
//! carries out, under 200 bytes each, signed and verified, sent over HTTP one by one.
//!
//! Saturation: clients send as fast as nodes take. Low load: a paced stream, and the
//! time from the first byte sent to the answer that it is executed. CPU is of all
//! four nodes together, for 1,000 transactions.

use crate::{
    calibration,
    lab::{Lab, Running, Setup, VALIDATORS},
    report::{Line, Report, percentile},
};
use color_eyre::eyre::{Result, ensure, eyre};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use twinfold_cli::client::Client;
use twinfold_types::{Action, Code, SignedTx, api::Level, member::AdminAction};

/// Connections in all, and transactions that each sends.
const CLIENTS: usize = 32;
const TXS_EACH: usize = 400;
const WARM_UP_TXS: usize = 20;
/// Low load: so many a second, for so long.
const PACED_PER_SECOND: usize = 50;
const PACED_SECONDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);
const REQUESTS_PER_SECOND: u32 = 1_000_000;

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let ground = calibration::run(report)?;
    let setup =
        Setup { admins: CLIENTS, trainers: 0, requests_per_second: Some(REQUESTS_PER_SECOND) };
    let running = Arc::new(lab.network(&setup)?);
    let low = format!("{PACED_PER_SECOND} tx/s over HTTP");
    if report.wants(&low) {
        report.note(&format!("{low} …"));
        low_load(report, &running, &low, ground.sync_ms_p50)?;
    }
    let saturated = format!("saturated over HTTP, {CLIENTS} clients");
    if report.wants(&saturated) {
        report.note(&format!("{saturated} …"));
        saturation(report, &running, &saturated, ground.verifications_per_second)?;
    }
    running.network.check()?;
    match Arc::into_inner(running) {
        Some(running) => running.end(),
        None => Err(eyre!("a client still holds the network")),
    }
}

/// Signed ahead of time, so that signing is not measured.
pub fn sign(
    running: &Running,
    client: &Client,
    sender: usize,
    count: usize,
) -> Result<Vec<SignedTx>> {
    let key = &running.admins[sender];
    let action = |number: usize| {
        let trainers = number as u32;
        Action::Propose(AdminAction::SetQuota { organisation: "bench".into(), trainers })
    };
    (0..count).map(|number| Ok(client.sign(key, action(number))?)).collect()
}

/// Waits for execution and gives the milliseconds since before it was sent.
pub fn execute(client: &Client, tx: &SignedTx) -> Result<f64> {
    let started = Instant::now();
    let status = client.send_tx(tx, Level::Executed, PATIENCE)?;
    let code = status.receipt.map(|receipt| receipt.code);
    ensure!(code == Some(Code::Ok), "a transaction came to {code:?}");
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Each validator has a paced client; they start a part of the pace apart.
fn low_load(report: &mut Report, running: &Arc<Running>, work: &str, sync_ms: f64) -> Result<()> {
    let each = PACED_PER_SECOND * PACED_SECONDS / VALIDATORS;
    let pace = Duration::from_secs(VALIDATORS as u64) / PACED_PER_SECOND as u32;
    let paced = |index: usize| {
        let running = running.clone();
        move || -> Result<Vec<f64>> {
            let client = running.client_at(index)?;
            let txs = sign(&running, &client, index, each + WARM_UP_TXS)?;
            let (warm_up, paced) = txs.split_at(WARM_UP_TXS);
            warm_up.iter().try_for_each(|tx| execute(&client, tx).map(drop))?;
            let start = Instant::now() + pace * index as u32 / VALIDATORS as u32;
            let mut times = Vec::with_capacity(each);
            for (number, tx) in (0u32..).zip(paced) {
                let due = start + pace * number;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // From when it was due: a slow one makes the next ones late.
                let late = due.elapsed().as_secs_f64() * 1e3;
                times.push(late + execute(&client, tx)?);
            }
            Ok(times)
        }
    };
    let (times, cpu_s, _) = together(running, (0..VALIDATORS).map(paced))?;
    let times: Vec<f64> = times.into_iter().flatten().collect();
    let count = times.len() + VALIDATORS * WARM_UP_TXS;
    for (name, share) in [("executed, p50", 0.5), ("executed, p99", 0.99)] {
        let line = Line::new("commit", work, name, percentile(&times, share), "ms");
        report.line(line.beside("4 KiB fdatasync, p50", Some(sync_ms)))?;
    }
    let cpu = cpu_s * 1e3 / count as f64;
    report.line(Line::new("commit", work, "CPU for 1,000 tx, 4 nodes", cpu, "s"))
}

fn saturation(
    report: &mut Report,
    running: &Arc<Running>,
    work: &str,
    verifications: f64,
) -> Result<()> {
    let mut batches = vec![];
    for sender in 0..CLIENTS {
        let client = running.client_at(sender)?;
        let txs = sign(running, &client, sender, TXS_EACH)?;
        batches.push((client, txs));
    }
    let send = |(client, txs): (Client, Vec<SignedTx>)| {
        move || -> Result<()> {
            // A node whose pool is full says so; the client tries again, or elsewhere.
            txs.iter().try_for_each(|tx| client.post_tx(tx).map(drop))?;
            // The last ones may be in no block yet.
            txs.iter().rev().take(5).try_for_each(|tx| execute(&client, tx).map(drop))
        }
    };
    let (_, cpu_s, seconds) = together(running, batches.into_iter().map(send))?;
    let count = (CLIENTS * TXS_EACH) as f64;
    let line = Line::new("commit", work, "rate", count / seconds, "tx/s");
    report.line(line.beside("Ed25519 verifications, one core", Some(verifications)))?;
    report.line(Line::new("commit", work, "CPU for 1,000 tx, 4 nodes", cpu_s * 1e3 / count, "s"))
}

/// Runs all at once: their results, the nodes' CPU seconds, and the seconds it took.
fn together<T: Send + 'static, F: FnOnce() -> Result<T> + Send + 'static>(
    running: &Running,
    jobs: impl Iterator<Item = F>,
) -> Result<(Vec<T>, f64, f64)> {
    let (cpu, started) = (running.nodes_cpu()?, Instant::now());
    let threads: Vec<_> = jobs.map(std::thread::spawn).collect();
    let join = |thread: std::thread::JoinHandle<Result<T>>| {
        thread.join().map_err(|_| eyre!("a client panicked"))?
    };
    let results = threads.into_iter().map(join).collect::<Result<_>>()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((results, running.nodes_cpu()? - cpu, seconds))
}
