//! Agreement against the number of nodes, in virtual time: how long a block takes on links of
//! different length, and what a commit costs a committee against everyone voting.

mod picture;
mod world;

use crate::{
    calibration, cpu,
    report::{Line, Report, median},
};
use color_eyre::eyre::Result;
use std::path::Path;
use world::{Outcome, Shape, World, chain, transactions};

const SIZES: [usize; 6] = [4, 7, 16, 31, 64, 100];
const LINKS_MS: [u64; 3] = [5, 50, 150];
/// 1 Gb/s.
const BYTES_PER_US: u64 = 125;
const BLOCK_BYTES: usize = 100_000;
const HEIGHTS: u64 = 12;
/// Validators that stand for election where committees are compared.
const CANDIDATES: usize = 100;
const COMMITTEES: [usize; 5] = [4, 7, 16, 31, CANDIDATES];

/// One line of the picture: a link's delay, and for each size the measured and the least time, in
/// milliseconds.
pub struct Curve {
    pub link_ms: u64,
    pub measured: Vec<(usize, f64)>,
    pub least: Vec<(usize, f64)>,
}

pub fn run(report: &mut Report, folder: Option<&Path>) -> Result<()> {
    calibration::run(report)?;
    let mut curves = Vec::new();
    for link_ms in LINKS_MS {
        curves.push(latency(report, link_ms)?);
    }
    for seats in COMMITTEES {
        committee(report, seats)?;
    }
    match folder.filter(|_| curves.iter().all(|curve| !curve.measured.is_empty())) {
        Some(folder) => picture(report, &curves, folder),
        None => Ok(()),
    }
}

fn latency(report: &mut Report, link_ms: u64) -> Result<Curve> {
    let mut curve = Curve { link_ms, measured: vec![], least: vec![] };
    for seats in SIZES {
        let work = format!("{seats} nodes, {link_ms} ms links, 0.1 MB");
        if !report.wants(&work) {
            continue;
        }
        report.note(&format!("{work} …"));
        let shape = Shape {
            seats,
            nodes: seats,
            link_us: link_ms * 1_000,
            bytes_per_us: BYTES_PER_US,
            heights: HEIGHTS,
            one_by_one: true,
        };
        let outcome = World::new(shape, chain(), transactions(BLOCK_BYTES)).run();
        let least_ms = least_ms(seats, link_ms);
        let (half, all) = (median(&outcome.half_us) / 1e3, median(&outcome.all_us) / 1e3);
        let line = |metric: &str, value| {
            Line::new("scale", &work, metric, value, "ms")
                .beside("3 delays + the leader's bytes / 1 Gb/s", Some(least_ms))
        };
        report.line(line("committed by half, median", half))?;
        report.line(line("committed by all, median", all))?;
        report.line(Line::new("scale", &work, "views left", outcome.views as f64, ""))?;
        curve.measured.push((seats, all));
        curve.least.push((seats, least_ms));
        pipelined(report, &work, shape)?;
    }
    Ok(curve)
}

/// Blocks a second when the leader always has something to order.
fn pipelined(report: &mut Report, work: &str, shape: Shape) -> Result<()> {
    let shape = Shape { one_by_one: false, ..shape };
    let outcome = World::new(shape, chain(), transactions(BLOCK_BYTES)).run();
    let rate = HEIGHTS as f64 / (outcome.took_us as f64 / 1e6);
    report.line(Line::new("scale", work, "blocks while there is work", rate, "1/s"))
}

/// Proposal, prepares, commits; the leader sends its block to one after the other.
fn least_ms(seats: usize, link_ms: u64) -> f64 {
    let bytes = (seats - 1) as f64 * BLOCK_BYTES as f64;
    3.0 * link_ms as f64 + bytes / BYTES_PER_US as f64 / 1e3
}

/// What a commit costs all hundred nodes together when so many of them vote.
fn committee(report: &mut Report, seats: usize) -> Result<()> {
    let work = format!("{seats} of {CANDIDATES} vote");
    if !report.wants(&work) {
        return Ok(());
    }
    report.note(&format!("{work} …"));
    let shape = Shape {
        seats,
        nodes: CANDIDATES,
        link_us: 5_000,
        bytes_per_us: BYTES_PER_US,
        heights: HEIGHTS,
        one_by_one: true,
    };
    let before = cpu::of_this_process()?;
    let Outcome { messages, bytes, .. } = World::new(shape, chain(), transactions(1_000)).run();
    let spent = cpu::of_this_process()? - before;
    let each = |value: f64| value / HEIGHTS as f64;
    let line = |metric: &str, value, unit| Line::new("scale", &work, metric, value, unit);
    report.line(line("messages a commit", each(messages as f64), ""))?;
    report.line(line("bytes a commit", each(bytes as f64) / 1e6, "MB"))?;
    report.line(line("CPU a commit, all nodes", each(spent), "s"))
}

fn picture(report: &mut Report, curves: &[Curve], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("scale.svg");
    std::fs::write(&path, picture::svg(curves)?)?;
    report.note(&format!("drawn: {}", path.display()));
    Ok(())
}
