//! The usual run: seed after seed on every processor, as long as the processor time lasts.

use crate::{number, run, world::Summary};
use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Seeds at least.
const SEEDS: u64 = 100;
/// Processor time of the whole test program, the planted mistakes included.
const CPU_SECONDS: f64 = 110.0;
/// A run ends after so many failures.
const FAILURES_MAX: usize = 3;

struct Progress {
    next: u64,
    left: Option<u64>,
    done: u64,
    total: Summary,
    failures: Vec<String>,
}

impl Progress {
    /// The next seed, if there is to be one more.
    fn take(&mut self, started: Instant) -> Option<u64> {
        let more = match &mut self.left {
            Some(left) => left.checked_sub(1).map(|rest| *left = rest).is_some(),
            None => self.done < SEEDS || cpu_seconds(started) < CPU_SECONDS,
        };
        if !more || self.failures.len() >= FAILURES_MAX {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn settle(&mut self, result: Result<Summary, String>) {
        self.done += 1;
        match result {
            Ok(summary) => self.total.add(summary),
            Err(failure) => {
                println!("{failure}");
                self.failures.push(failure);
            }
        }
    }
}

pub fn run_seeds() {
    let started = Instant::now();
    let first = number("TWINFOLD_SIM_FIRST").unwrap_or(0);
    let progress = Mutex::new(Progress {
        next: first,
        left: number("TWINFOLD_SIM_SEEDS"),
        done: 0,
        total: Summary::default(),
        failures: Vec::new(),
    });
    let lock = || progress.lock().expect("a panic ends the test anyway");
    let work = || {
        while let Some(seed) = { lock().take(started) } {
            let result = run(seed);
            lock().settle(result);
        }
    };
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let Progress { done, total, failures, .. } = progress.into_inner().expect("all have ended");
    let Summary {
        height,
        view,
        sent,
        epochs,
        changes,
        slashed,
        slashed_late,
        joined,
        recovered,
        ledgers_lost,
    } = total;
    let last = first + done.max(1) - 1;
    println!("seeds {first} to {last}: {height} heights in {view} views, {sent} messages");
    println!(
        "{epochs} epochs, {changes} with another committee than the one before; {slashed} slashed, {slashed_late} after their epoch; \
         {joined} joined from a checkpoint; {recovered} recoveries; {ledgers_lost} ledgers lost"
    );
    assert!(failures.is_empty(), "{} failures in {done} seeds", failures.len());
}

/// Processor time of this process; what has passed where the system does not tell.
fn cpu_seconds(started: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Duration::from_millis(10 * (user + system)).as_secs_f64(),
        _ => started.elapsed().as_secs_f64(),
    }
}
