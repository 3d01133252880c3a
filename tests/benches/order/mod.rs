//! The speed of ordering: four nodes on the loopback, each a process with the product's own
//! driver, journal, links and agreement.
//!
//! Opaque work is ordered and not executed: unsigned transactions, fed inside each node's
//! process (whose CPU counts). Payloads go the payload plane's way: stored by a quorum, then
//! a small transaction with the certificate. Signed work is executed by the real ledger up to
//! its receipts. Latency counts from when a transaction was due at its node.

mod feed;
mod meter;
mod network;
pub mod node;
mod protocol;
mod tally;

use crate::{
    calibration,
    lab::Lab,
    report::{Line, Report, percentile},
};
use color_eyre::eyre::Result;
use network::Nodes;
use protocol::{Pace, Run, Seen, Work};
use std::collections::BTreeMap;

/// How this program is started as one of its own nodes.
pub const NODE: &str = "order-node";

/// One line of work, and what it is held against.
struct Case {
    name: &'static str,
    executes: bool,
    runs: &'static [(&'static str, Run)],
    reach: &'static [(&'static str, f64)],
}

const fn run(work: Work, pace: Pace, warm_up_s: f64, measured_s: f64) -> Run {
    Run { work, pace, warm_up_s, measured_s }
}

const SMALL: Work = Work::Opaque { bytes: 512 };

/// The pace is that of each of the four nodes.
const CASES: &[Case] = &[
    Case {
        name: "512 B, saturated",
        executes: false,
        runs: &[("", run(SMALL, Pace::Waiting(2_000), 3.0, 10.0))],
        reach: &[(CPU, 0.021), (P50, 200.0)],
    },
    Case {
        name: "512 B, 2,000/s",
        executes: false,
        runs: &[("", run(SMALL, Pace::PerSecond(500.0), 3.0, 20.0))],
        reach: &[(CPU, 0.37), (P50, 10.0), (P99, 40.0)],
    },
    Case {
        name: "64 KiB payloads, 160/s",
        executes: false,
        runs: &[("", run(Work::Payloads { bytes: 64 << 10 }, Pace::PerSecond(40.0), 3.0, 15.0))],
        reach: &[(CPU, 1.5)],
    },
    Case {
        name: "1 MiB payloads, 20/s",
        executes: false,
        runs: &[("", run(Work::Payloads { bytes: 1 << 20 }, Pace::PerSecond(5.0), 3.0, 15.0))],
        reach: &[(CPU, 30.0), (P50, 60.0)],
    },
    Case {
        name: "signed 200 B, executed",
        executes: true,
        runs: &[("", run(Work::Signed, Pace::Waiting(1_000), 3.0, 15.0))],
        reach: &[(RATE, 2_500.0), (CPU, 0.7)],
    },
    Case {
        name: "overload, signed 200 B",
        executes: true,
        runs: &[
            (" at 25,000/s", run(Work::Signed, Pace::PerSecond(6_250.0), 0.0, 60.0)),
            (" then 1,000/s", run(Work::Signed, Pace::PerSecond(250.0), 5.0, 10.0)),
        ],
        reach: &[],
    },
    Case {
        name: "idle, 10 minutes",
        executes: true,
        runs: &[("", run(Work::Idle, Pace::PerSecond(1.0), 5.0, 600.0))],
        reach: &[(IDLE, 0.2)],
    },
];

const RATE: &str = "rate";
const CPU: &str = "CPU for 1,000 tx, 4 nodes";
const P50: &str = "latency, p50";
const P99: &str = "latency, p99";
const IDLE: &str = "CPU of a node";

pub fn run_all(report: &mut Report, lab: &mut Lab) -> Result<()> {
    calibration::run(report)?;
    for executes in [false, true] {
        let cases = CASES.iter().filter(|case| case.executes == executes);
        let wanted: Vec<_> = cases.filter(|case| report.wants(case.name)).collect();
        for case in wanted {
            let mut nodes = Nodes::start(lab, executes)?;
            for (part, run) in case.runs {
                let work = format!("{}{part}", case.name);
                report.note(&format!("{work} …"));
                let seen = nodes.run(run)?;
                tell(report, case, &work, run, &seen)?;
            }
            nodes.end()?;
        }
    }
    Ok(())
}

fn tell(report: &mut Report, case: &Case, work: &str, run: &Run, seen: &[Seen]) -> Result<()> {
    let mut line = |metric: &str, value: f64, unit: &'static str| {
        let line = Line::new("order", work, metric, value, unit);
        let reach = case.reach.iter().find(|(name, _)| *name == metric);
        report.line(match reach {
            Some((_, reach)) => line.reaching(*reach, metric == RATE),
            None => line,
        })
    };
    let sum = |value: fn(&Seen) -> f64| seen.iter().map(value).sum::<f64>();
    let most = |value: fn(&Seen) -> f64| seen.iter().map(value).fold(0.0, f64::max);
    let seconds = sum(|seen| seen.seconds) / seen.len() as f64;
    let (cpu_s, heights) = (sum(|seen| seen.cpu_s), most(|seen| seen.heights as f64));
    if run.work == Work::Idle {
        line(IDLE, most(|seen| seen.cpu_s) / seconds * 100.0, "%")?;
        line("syncs", sum(|seen| seen.syncs as f64), "")?;
        line("heights", heights, "")?;
        line("bytes written", sum(|seen| seen.written_bytes as f64), "B")?;
        return line(
            "messages, 4 nodes, a minute",
            sum(|s| s.messages as f64) / seconds * 60.0,
            "",
        );
    }
    let count = sum(|seen| seen.own as f64);
    let latencies: Vec<f64> = seen.iter().flat_map(|seen| seen.latencies_ms.clone()).collect();
    line(RATE, count / seconds, "tx/s")?;
    line(P50, percentile(&latencies, 0.5), "ms")?;
    line(P99, percentile(&latencies, 0.99), "ms")?;
    if let Work::Payloads { .. } = run.work {
        let held = held_by_all(seen);
        line("held by all, p50", percentile(&held, 0.5), "ms")?;
        line("held by all, p99", percentile(&held, 0.99), "ms")?;
    }
    line(CPU, cpu_s * 1e3 / count, "s")?;
    line("the same, the busiest node", most(|seen| seen.cpu_s) * 1e3 / count, "s")?;
    line("transactions a height", count / heights, "")?;
    line("syncs a height, a node", sum(|seen| seen.syncs as f64) / 4.0 / heights, "")?;
    line("messages a height, 4 nodes", sum(|seen| seen.messages as f64) / heights, "")?;
    line("bytes between nodes, a tx", sum(|seen| seen.sent_bytes as f64) / count, "B")?;
    line("refused at the door", sum(|seen| seen.refused as f64), "tx")?;
    line("peak memory of a node", most(|seen| seen.memory_mb), "MB")
}

/// From when each payload was due until the last of all nodes had it.
fn held_by_all(seen: &[Seen]) -> Vec<f64> {
    let mut last = BTreeMap::<u64, (usize, u64)>::new();
    for (number, at) in seen.iter().flat_map(|seen| &seen.held) {
        let (count, latest) = last.entry(*number).or_default();
        (*count, *latest) = (*count + 1, (*latest).max(*at));
    }
    let everywhere = last.into_iter().filter(|(_, (count, _))| *count == seen.len());
    everywhere
        .map(|(number, (_, at))| at.saturating_sub(tally::due_us(number)) as f64 / 1e3)
        .collect()
}
