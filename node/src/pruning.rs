//! Dropping old blocks beside execution: a step after each stable checkpoint and whenever
//! nothing else is to be done, and, on a thread of its own, giving the room back to the file
//! system when enough has come together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use twinfold_ledger::{Ledger, LedgerError, Retention};

/// Bytes of dropped blocks that are worth rewriting tables for.
const COMPACT_BYTES: usize = 64 << 20;
/// Less than that is given back when the last time was so long ago.
const COMPACT_INTERVAL: Duration = Duration::from_secs(600);

pub struct Pruning {
    retention: Retention,
    /// Dropped and not yet given back.
    heights: u64,
    bytes: usize,
    compacted: Option<Instant>,
    compacting: Arc<AtomicBool>,
}

impl Pruning {
    pub fn new(retention: Retention) -> Self {
        Self { retention, heights: 0, bytes: 0, compacted: None, compacting: Arc::default() }
    }

    /// Drops some old blocks, if any are due; says whether there may be more.
    pub fn step(&mut self, ledger: &mut Ledger) -> Result<bool, LedgerError> {
        let dropped = ledger.drop_blocks(&self.retention)?;
        self.heights += dropped.heights;
        self.bytes += dropped.bytes;
        if self.bytes >= COMPACT_BYTES || (!dropped.more && self.is_overdue()) {
            self.compact(ledger);
        }
        Ok(dropped.more)
    }

    fn is_overdue(&self) -> bool {
        let recent = |at: &Instant| at.elapsed() < COMPACT_INTERVAL;
        self.heights > 0 && !self.compacted.as_ref().is_some_and(recent)
    }

    fn compact(&mut self, ledger: &Ledger) {
        if self.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (reader, running, heights) = (ledger.reader(), self.compacting.clone(), self.heights);
        (self.heights, self.bytes, self.compacted) = (0, 0, Some(Instant::now()));
        let work = move || {
            let started = Instant::now();
            match reader.compact_dropped() {
                Ok(()) => tracing::info!(
                    heights, first = %reader.first_block(), seconds = started.elapsed().as_secs(),
                    "old blocks are dropped and their room is given back"
                ),
                Err(error) => tracing::error!(%error, "the room of old blocks is not given back"),
            }
            running.store(false, Ordering::Release);
        };
        if std::thread::Builder::new().name("compaction".into()).spawn(work).is_err() {
            self.compacting.store(false, Ordering::Release);
        }
    }
}
