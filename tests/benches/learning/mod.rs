//! Learning in one process, by the very code that trainers and validators run: local training,
//! compression with error feedback, exact folding. What is measured is what is learned.

pub mod attack;
pub mod compress;
mod data;
pub mod drift;
mod federation;
pub mod stream;
pub mod warm;

use std::{sync::Mutex, thread};

/// Works through jobs on all processors; results in the order of the jobs.
fn on_all_cores<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(0..jobs.len());
    let done = Mutex::new(vec![]);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().expect("no worker panics").next() else { return };
                    let result = work(&jobs[at]);
                    done.lock().expect("no worker panics").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
