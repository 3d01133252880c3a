//! What the bench and its nodes say to each other over pipes: one JSON object a line.

use serde::{Deserialize, Serialize};

/// First line to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Its configuration, as `init` wrote it.
    pub config: std::path::PathBuf,
    /// Whether committed blocks are executed; otherwise they are only counted, and
    /// unsigned transactions come in.
    pub executes: bool,
    /// Seeds of the members that sign what this node is fed with.
    pub senders: Vec<[u8; 32]>,
}

/// What a node is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Unsigned transactions of so many encoded bytes.
    Opaque { bytes: usize },
    /// Signed transactions that succeed, a little under 200 bytes.
    Signed,
    /// Payloads stored by a quorum, each named by a small unsigned transaction.
    Payloads { bytes: usize },
    /// Nothing.
    Idle,
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pace {
    /// So many a second, whatever becomes of them.
    PerSecond(f64),
    /// As many as keep so many waiting for their commit.
    Waiting(usize),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Run {
    pub work: Work,
    pub pace: Pace,
    /// Fed, but not measured.
    pub warm_up_s: f64,
    pub measured_s: f64,
}

/// What one node saw in the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub seconds: f64,
    pub cpu_s: f64,
    /// Transactions committed (executed, where the node executes), its own and in all.
    pub own: usize,
    pub all: usize,
    /// From when an own transaction was due to its commit (its receipt).
    pub latencies_ms: Vec<f64>,
    /// Own or not: (number, microseconds of the day's clock when its payload was here).
    pub held: Vec<(u64, u64)>,
    pub refused: usize,
    pub heights: u64,
    pub syncs: u64,
    pub messages: u64,
    pub sent_bytes: u64,
    pub written_bytes: u64,
    pub memory_mb: f64,
}
