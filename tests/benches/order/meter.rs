//! What a node has used so far: processor, disk, network, memory.

use super::protocol::Seen;
use crate::cpu;
use color_eyre::eyre::{Result, WrapErr};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use twinfold_node::{Node, parts::Parts};

pub struct Meter {
    node: Arc<Node>,
    syncs: Arc<AtomicU64>,
}

pub struct Reading {
    at: Instant,
    cpu_s: f64,
    syncs: u64,
    messages: u64,
    sent_bytes: u64,
    height: u64,
    data_bytes: u64,
    memory_mb: f64,
}

impl Meter {
    pub fn new(parts: &Parts) -> Self {
        Self { node: parts.node.clone(), syncs: parts.driver.journal.syncs.clone() }
    }

    pub fn read(&self) -> Result<Reading> {
        let links = &self.node.links;
        Ok(Reading {
            at: Instant::now(),
            cpu_s: cpu::of_this_process()?,
            syncs: self.syncs.load(Ordering::Relaxed),
            messages: links.sent_messages.load(Ordering::Relaxed),
            sent_bytes: links.sent_bytes.load(Ordering::Relaxed) + self.node.exchange.sent_bytes(),
            height: self.node.agreement.borrow().committed.0,
            data_bytes: written_bytes()?,
            memory_mb: peak_memory_mb()?,
        })
    }
}

impl Reading {
    pub fn since(&self, before: &Self) -> Seen {
        Seen {
            seconds: (self.at - before.at).as_secs_f64(),
            cpu_s: self.cpu_s - before.cpu_s,
            heights: self.height - before.height,
            syncs: self.syncs - before.syncs,
            messages: self.messages - before.messages,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            written_bytes: self.data_bytes - before.data_bytes,
            memory_mb: self.memory_mb,
            ..Seen::default()
        }
    }
}

/// Bytes that this process gave the kernel for files: sockets are not among them.
fn written_bytes() -> Result<u64> {
    field("/proc/self/io", "write_bytes:")
}

/// The most that was resident at once, in MB.
fn peak_memory_mb() -> Result<f64> {
    Ok(field("/proc/self/status", "VmHWM:")? as f64 / 1024.0)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).wrap_err_with(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
