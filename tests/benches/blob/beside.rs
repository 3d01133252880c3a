//! Small transactions while nothing else is done, and while a gibibyte comes in.

use super::{LARGE_BYTES, payload, setup};
use crate::{
    commit::{execute, sign},
    lab::{Lab, Running},
    report::{Line, Report, percentile},
};
use color_eyre::eyre::{Result, eyre};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use twinfold_cli::client::Cut;

const PACE: Duration = Duration::from_millis(50);
const QUIET_TXS: usize = 400;
/// More than an upload takes.
const BUSY_TXS: usize = 6_000;

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let running = lab.network(&setup())?;
    let file = payload(&running, LARGE_BYTES, 7)?;
    let never = AtomicBool::new(false);
    paced(&running, 20, &never)?;
    let quiet = paced(&running, QUIET_TXS, &never)?;
    let done = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let sending = scope.spawn(|| paced(&running, BUSY_TXS, &done));
        let client = running.client_at(0)?;
        let stored = client.put_file(running.admin()?, &file, Cut::Fragments);
        done.store(true, Ordering::Relaxed);
        stored?;
        sending.join().map_err(|_| eyre!("the sender panicked"))?
    })?;
    for (work, times) in [("20 tx/s, quiet", quiet), ("20 tx/s beside 1 GiB coming in", busy)] {
        for (name, share) in [("executed, p50", 0.5), ("executed, p99", 0.99)] {
            report.line(Line::new("blob", work, name, percentile(&times, share), "ms"))?;
        }
        report.line(Line::new("blob", work, "transactions", times.len() as f64, ""))?;
    }
    running.end()
}

/// Milliseconds from when each was due until it was executed, through another node than the upload.
fn paced(running: &Running, count: usize, done: &AtomicBool) -> Result<Vec<f64>> {
    let client = running.client_at(1)?;
    let txs = sign(running, &client, 0, count)?;
    let (start, mut times) = (Instant::now(), vec![]);
    for (number, tx) in (0u32..).zip(&txs) {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let due = start + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let late = due.elapsed().as_secs_f64() * 1e3;
        times.push(late + execute(&client, tx)?);
    }
    Ok(times)
}
