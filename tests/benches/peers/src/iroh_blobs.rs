//! `iroh-blobs` copies a file of a gibibyte to four stores on the disk over QUIC on loopback, one after
//! the other and all at once; all five ends are in this process. Prints seconds and CPU seconds.

use anyhow::{Context, Result};
use iroh::{
    Endpoint, EndpointAddr,
    endpoint::{Connection, presets},
    protocol::Router,
};
use iroh_blobs::{ALPN, BlobsProtocol, Hash, store::fs::FsStore};
use std::{fs::File, io::Write, path::Path, time::Instant};

const BYTES: usize = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
const COPIES: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("payload");
    noise(&file)?;
    let source = FsStore::load(folder.path().join("source")).await?;
    let (cpu, started) = (cpu_seconds()?, Instant::now());
    let tag = source.blobs().add_path(&file).await?;
    said("taken in by the source", started, cpu)?;
    let endpoint = bound().await?;
    let address = loopback(&endpoint);
    let blobs = BlobsProtocol::new(&source, None);
    let router = Router::builder(endpoint).accept(ALPN, blobs).spawn();
    for at_once in [false, true] {
        let (cpu, started) = (cpu_seconds()?, Instant::now());
        let copies = (0..COPIES).map(|copy| {
            let store = folder.path().join(format!("copy-{at_once}-{copy}"));
            receive(store, address.clone(), tag.hash)
        });
        if at_once {
            let copies: Vec<_> = copies.map(tokio::spawn).collect();
            for copy in copies {
                copy.await??;
            }
        } else {
            for copy in copies {
                copy.await?;
            }
        }
        let how = if at_once { "at once" } else { "one after the other" };
        said(&format!("four copies, {how}"), started, cpu)?;
    }
    router.shutdown().await?;
    Ok(())
}

async fn bound() -> Result<Endpoint> {
    let endpoint = Endpoint::builder(presets::Minimal).clear_ip_transports();
    Ok(endpoint.bind_addr("127.0.0.1:0")?.bind().await?)
}

fn loopback(endpoint: &Endpoint) -> EndpointAddr {
    let sockets = endpoint.bound_sockets();
    sockets
        .into_iter()
        .fold(EndpointAddr::new(endpoint.id()), |address, socket| address.with_ip_addr(socket))
}

async fn receive(store: std::path::PathBuf, from: EndpointAddr, hash: Hash) -> Result<()> {
    let store = FsStore::load(store).await?;
    let endpoint = bound().await?;
    let connection: Connection = endpoint.connect(from, ALPN).await?;
    store.remote().fetch(connection, hash).await?;
    store.sync_db().await?;
    endpoint.close().await;
    store.shutdown().await?;
    Ok(())
}

fn said(what: &str, started: Instant, cpu: f64) -> Result<()> {
    let (seconds, cpu_s) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    println!("1 GiB, iroh-blobs: {what}: {seconds:.2} s, {cpu_s:.2} CPU-s");
    Ok(())
}

/// User and system time of this process so far, in hundredths of a second as Linux counts them.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(") ").context("a process has a name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn noise(path: &Path) -> Result<()> {
    let (mut file, mut state) = (File::create(path)?, 88_172_645_463_325_252u64);
    let mut piece = vec![0u8; PIECE_BYTES];
    for _ in 0..BYTES / PIECE_BYTES {
        for word in piece.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        file.write_all(&piece)?;
    }
    Ok(())
}
