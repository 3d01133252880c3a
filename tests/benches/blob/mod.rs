//! Payloads in fragments: a large one stored, read back with all validators up and with one down,
//! and what it takes on the disks; then the same for a range of sizes. Beside it, in the same run,
//! what the bytes cost alone: BLAKE3, Reed–Solomon, a synced write of four copies. And a data set
//! that grows a little, and small transactions beside a large upload.

mod append;
mod beside;
mod picture;

use crate::{
    calibration, cpu,
    lab::{Lab, Running, Setup, VALIDATORS},
    report::{Line, Report, percentile},
};
use color_eyre::eyre::{Result, WrapErr, ensure, eyre};
use std::{
    fs::File,
    hint::black_box,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use twinfold_cli::client::Cut;
use twinfold_types::{
    BlobId,
    blob::{Coding, Encoder},
};

const LARGE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
const COPIES: usize = 4;
/// Bytes of one payload, how many of them in fragments, and how many whole.
const SIZES: [(u64, usize, usize); 6] = [
    (1_000, 100, 100),
    (10_000, 100, 100),
    (100_000, 10_000, 100),
    (1_000_000, 40, 40),
    (10_000_000, 10, 10),
    (100_000_000, 3, 3),
];
const REQUESTS_PER_SECOND: u32 = 1_000_000;

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    calibration::run(report)?;
    let mut curves = Curves::default();
    if report.wants("1 GiB") {
        alone(report, lab.folder().path())?;
        large(report, lab, &mut curves)?;
    }
    if report.wants("bytes each") {
        sizes(report, lab, &mut curves)?;
        if !lab.folder().is_temporary() {
            let path = lab.folder().path().with_extension("svg");
            std::fs::write(&path, picture::svg(&curves)?)?;
            report.note(&format!("drawn: {}", path.display()));
        }
    }
    if report.wants("data set") {
        append::run(report, lab)?;
    }
    if report.wants("20 tx/s") {
        beside::run(report, lab)?;
    }
    Ok(())
}

/// CPU of the four nodes for a payload, in ms, over its bytes.
#[derive(Default)]
struct Curves {
    fragments: Vec<(u64, f64)>,
    whole: Vec<(u64, f64)>,
}

impl Curves {
    fn add(&mut self, cut: Cut, bytes: u64, cpu_ms: f64) {
        match cut {
            Cut::Whole => self.whole.push((bytes, cpu_ms)),
            Cut::Fragments | Cut::Direct => self.fragments.push((bytes, cpu_ms)),
        }
    }
}

/// What hashing, coding and writing take of a core by themselves.
fn alone(report: &mut Report, dir: &Path) -> Result<()> {
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let pieces = LARGE_BYTES as usize / PIECE_BYTES;
    let mut line = |metric: &str, cpu: f64| {
        report.line(Line::new("blob", "1 GiB, alone, one core", metric, cpu, "CPU-s"))
    };
    let timed = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let before = cpu::of_this_process()?;
        work()?;
        Ok(cpu::of_this_process()? - before)
    };
    line(
        "BLAKE3",
        timed(&mut || {
            let mut hasher = blake3::Hasher::new();
            for _ in 0..pieces {
                hasher.update(&piece);
            }
            black_box(hasher.finalize());
            Ok(())
        })?,
    )?;
    line(
        "cut into 4 fragments and hashed",
        timed(&mut || {
            let mut encoder = Encoder::new(Coding::fragments(VALIDATORS)?);
            for _ in 0..pieces {
                let mut rest = &piece[..];
                while encoder.push(&mut rest)?.is_some() {}
            }
            black_box(encoder.finish().id);
            Ok(())
        })?,
    )?;
    line(
        "four copies written and synced",
        timed(&mut || {
            for copy in 0..COPIES {
                let path = dir.join(format!("copy-{copy}"));
                let mut file = File::create(&path)?;
                (0..pieces).try_for_each(|_| file.write_all(&piece))?;
                file.sync_all()?;
                std::fs::remove_file(path)?;
            }
            Ok(())
        })?,
    )
}

/// One payload of a gibibyte.
fn large(report: &mut Report, lab: &mut Lab, curves: &mut Curves) -> Result<()> {
    let mut running = lab.network(&setup())?;
    let idle = peak_memory(&running)?;
    let works = [
        (Cut::Fragments, "1 GiB in fragments", 0, 2.6),
        (Cut::Direct, "1 GiB cut by the client", 1, 2.1),
        (Cut::Whole, "1 GiB in whole copies", 0, 4.1),
    ];
    for (cut, work, number, sent_most) in works {
        report.note(&format!("{work} …"));
        let file = payload(&running, LARGE_BYTES, number)?;
        let (blob, put) = put(&running, &file, cut)?;
        let line = |metric: &str, value: f64, unit| Line::new("blob", work, metric, value, unit);
        report.line(line("stored, until certified", put.seconds, "s"))?;
        report.line(line("CPU, 4 nodes", put.cpu_s, "CPU-s"))?;
        let sent = line("sent, client and nodes", put.sent as f64 / LARGE_BYTES as f64, "x");
        report.line(sent.reaching(sent_most, false))?;
        if cut != Cut::Direct {
            curves.add(cut, LARGE_BYTES, put.cpu_s * 1e3);
        }
        // The last ones may still be on their way.
        std::thread::sleep(Duration::from_secs(5));
        let stored = stored_bytes(&running)? as f64 / LARGE_BYTES as f64;
        report.line(line("on the disks, in all so far", stored, "x"))?;
        if cut == Cut::Fragments {
            let grown = (peak_memory(&running)? - idle) as f64 / f64::from(1 << 20);
            report.line(line("peak memory above idle, the most of a node", grown, "MiB"))?;
        }
        if cut != Cut::Direct {
            read(report, &mut running, &blob, work)?;
        }
    }
    running.end()
}

/// Read back by a client of its own, from a node that holds one fragment.
fn read(report: &mut Report, running: &mut Running, blob: &BlobId, work: &str) -> Result<()> {
    let mut get = |running: &Running, metric: &str| -> Result<()> {
        let client = running.client_at(0)?;
        let path = running.folder().join("read");
        let (cpu, started) = (running.nodes_cpu()?, Instant::now());
        client.get_file(blob, &path, &|_| {})?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu_s = running.nodes_cpu()? - cpu;
        std::fs::remove_file(&path)?;
        let rate = blob.length as f64 / seconds / 1e6;
        report.line(Line::new("blob", work, format!("read, {metric}"), rate, "MB/s"))?;
        report.line(Line::new("blob", work, format!("read, {metric}: CPU, nodes"), cpu_s, "CPU-s"))
    };
    get(running, "all up")?;
    running.kill(1)?;
    get(running, "one down")?;
    running.start(1)
}

/// Many payloads one after the other from each of four clients.
fn sizes(report: &mut Report, lab: &mut Lab, curves: &mut Curves) -> Result<()> {
    let running = lab.network(&setup())?;
    for (bytes, cut_up, copied) in SIZES {
        let works = [(Cut::Fragments, "fragments", cut_up), (Cut::Whole, "whole", copied)];
        for (cut, name, count) in works {
            let work = format!("{bytes} bytes each, {name}");
            let (mut times, before, started) = (vec![], running.nodes_cpu()?, Instant::now());
            for number in 0..count {
                let file = payload(&running, bytes, number as u64 + 1)?;
                times.push(put(&running, &file, cut)?.1.seconds * 1e3);
            }
            let seconds = started.elapsed().as_secs_f64();
            let cpu_ms = (running.nodes_cpu()? - before) * 1e3 / count as f64;
            curves.add(cut, bytes, cpu_ms);
            let mut line = |metric: &str, value: f64, unit| {
                report.line(Line::new("blob", work.as_str(), metric, value, unit))
            };
            line("certified", count as f64 / seconds, "1/s")?;
            line("certified, p50", percentile(&times, 0.5), "ms")?;
            line("CPU each, 4 nodes", cpu_ms, "ms")?;
        }
    }
    running.end()
}

fn setup() -> Setup {
    Setup { admins: 1, trainers: 0, requests_per_second: Some(REQUESTS_PER_SECOND) }
}

struct Put {
    seconds: f64,
    cpu_s: f64,
    sent: u64,
}

fn put(running: &Running, file: &Path, cut: Cut) -> Result<(BlobId, Put)> {
    let client = running.client_at(0)?;
    let relayed = || -> Result<u64> {
        (0..VALIDATORS).map(|at| Ok(running.client_at(at)?.status()?.relayed_bytes)).sum()
    };
    let (before, cpu, started) = (relayed()?, running.nodes_cpu()?, Instant::now());
    let certificate = client.put_file(running.admin()?, file, cut)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_s = running.nodes_cpu()? - cpu;
    let sent = relayed()? - before + client.bytes_sent();
    Ok((certificate.blob, Put { seconds, cpu_s, sent }))
}

/// A file that compresses badly enough, another one for each number.
fn payload(running: &Running, bytes: u64, number: u64) -> Result<PathBuf> {
    let path = running.folder().join("payload");
    let mut file = File::create(&path)?;
    let mut state = 88_172_645_463_325_252u64.wrapping_add(number);
    let mut piece = vec![0u8; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        for word in piece.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        let next = left.min(PIECE_BYTES as u64);
        file.write_all(&piece[..next as usize])?;
        left -= next;
    }
    Ok(path)
}

fn stored_bytes(running: &Running) -> Result<u64> {
    fn of(dir: &Path) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(dir).wrap_err_with(|| dir.display().to_string())? {
            let entry = entry?;
            let data = entry.metadata()?;
            bytes += if data.is_dir() { of(&entry.path())? } else { data.len() };
        }
        Ok(bytes)
    }
    let names = running.network.nodes().iter().map(|node| node.name.clone());
    names.map(|name| of(&running.folder().join(name).join("data").join("blobs"))).sum()
}

/// The most that any node had resident so far, in bytes.
fn peak_memory(running: &Running) -> Result<u64> {
    let of = |id: &u32| -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or_else(|| eyre!("no VmHWM"))?.parse::<u64>()? * 1024)
    };
    let all = running.node_ids().iter().map(of).collect::<Result<Vec<_>>>()?;
    ensure!(!all.is_empty(), "no node runs");
    Ok(all.into_iter().max().unwrap_or(0))
}
