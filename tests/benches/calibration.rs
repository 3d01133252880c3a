//! How fast the machine is right now: the ground under every other figure.

use crate::report::{Line, Report, percentile};
use color_eyre::eyre::{Result, WrapErr, eyre};
use std::{
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};
use twinfold_types::{
    Digest, SecretKey,
    key::{Purpose, Signer, statement},
};

const SYNCS: usize = 300;
const VERIFY_TIME: Duration = Duration::from_millis(500);
const MEMORY_BYTES: usize = 512 << 20;
const LOOPBACK_BYTES: usize = 1 << 30;

/// What other benches use as limits.
pub struct Calibration {
    pub sync_ms_p50: f64,
    pub verifications_per_second: f64,
}

pub fn run(report: &mut Report) -> Result<Calibration> {
    let syncs = syncs_ms()?;
    let (p50, p99) = (percentile(&syncs, 0.5), percentile(&syncs, 0.99));
    let verifications = verifications_per_second()?;
    let memory = memory_gb_s();
    let loopback = loopback_gb_s()?;
    let mut line = |work: &str, metric: &str, value: f64, unit: &'static str| {
        report.line(Line::new("calibration", work, metric, value, unit))
    };
    line("4 KiB write + fdatasync", "p50", p50, "ms")?;
    line("4 KiB write + fdatasync", "p99", p99, "ms")?;
    line("strict Ed25519, one core", "verifications", verifications, "1/s")?;
    line("memory read, one core", "throughput", memory, "GB/s")?;
    line("loopback TCP, one stream", "throughput", loopback, "GB/s")?;
    Ok(Calibration { sync_ms_p50: p50, verifications_per_second: verifications })
}

/// In the folder for temporary files, where the networks of the benches live too.
fn syncs_ms() -> Result<Vec<f64>> {
    let mut file = tempfile::tempfile().wrap_err("cannot make a temporary file")?;
    let mut once = || -> std::io::Result<f64> {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    Ok((0..SYNCS).map(|_| once()).collect::<std::io::Result<_>>()?)
}

fn verifications_per_second() -> Result<f64> {
    let key = SecretKey::from_seed(&[5; 32]);
    let statement = statement(Purpose::Vote, &Digest::ZERO, &1u64);
    let (public, signature) = (key.public_key(), key.sign(&statement));
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < VERIFY_TIME {
        if !black_box(public).verify(&statement, &signature) {
            return Err(eyre!("a good signature does not verify"));
        }
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// The best of a few passes over more than the caches hold.
pub fn memory_gb_s() -> f64 {
    let words = vec![3u64; MEMORY_BYTES / 8];
    let pass = || {
        let started = Instant::now();
        // Eight sums side by side, so that additions do not wait for each other.
        let mut sums = [0u64; 8];
        for eight in words.as_chunks::<8>().0 {
            for (sum, word) in sums.iter_mut().zip(eight) {
                *sum = sum.wrapping_add(*word);
            }
        }
        black_box(sums);
        MEMORY_BYTES as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}

fn loopback_gb_s() -> Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let piece = vec![9; 1 << 20];
        (0..LOOPBACK_BYTES / piece.len()).try_for_each(|_| stream.write_all(&piece))
    });
    let (mut stream, _) = listener.accept()?;
    let (started, mut left) = (Instant::now(), LOOPBACK_BYTES);
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(eyre!("the loopback stream ended {left} bytes early"));
        }
        left -= read;
    }
    let seconds = started.elapsed().as_secs_f64();
    writer.join().map_err(|_| eyre!("the loopback writer panicked"))??;
    Ok(LOOPBACK_BYTES as f64 / seconds / 1e9)
}
