//! What a node sees committed. A transaction's number tells who fed it and when it was due,
//! so that nothing needs to be remembered for it.

use super::protocol::Seen;
use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use twinfold_node::Node;
use twinfold_types::{Action, BlobDigest, Block};

/// The lowest bits of a number: node and count, so that equal times differ.
const NODE_BITS: u32 = 4;
const COUNT_BITS: u32 = 8;
/// How long a payload may still be on its way after its transaction was ordered.
const HELD_PATIENCE: Duration = Duration::from_secs(20);
const HELD_PAUSE: Duration = Duration::from_millis(1);

/// Microseconds of the day's clock, which all nodes of one machine share.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// A number for the `count`th transaction of a node, due then.
pub fn number(due_us: u64, node: usize, count: u64) -> u64 {
    let low = (node as u64) << COUNT_BITS | (count % (1 << COUNT_BITS));
    due_us << (NODE_BITS + COUNT_BITS) | low
}

pub fn due_us(number: u64) -> u64 {
    number >> (NODE_BITS + COUNT_BITS)
}

fn node_of(number: u64) -> usize {
    (number >> COUNT_BITS & ((1 << NODE_BITS) - 1)) as usize
}

pub struct Tally {
    node: Arc<Node>,
    index: usize,
    /// Own transactions that are not committed yet.
    pub waiting: AtomicUsize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    measuring: bool,
    own: usize,
    all: usize,
    latencies_ms: Vec<f64>,
    held: Vec<(u64, u64)>,
    /// Named by a committed transaction and not seen here yet.
    expected: Vec<(u64, BlobDigest)>,
}

impl Tally {
    pub fn new(node: Arc<Node>) -> Self {
        let index = node.seat().map_or(0, |seat| seat.index());
        Self { node, index, waiting: AtomicUsize::new(0), counts: Mutex::default() }
    }

    pub fn index(&self) -> usize {
        self.index
    }

    /// A block is committed (and executed, where the node executes).
    pub fn note(&self, block: &Block) {
        let (now, mut counts) = (now_us(), self.lock());
        let mut own = 0;
        for tx in &block.txs {
            let number = tx.body.nonce;
            let mine = node_of(number) == self.index;
            own += usize::from(mine);
            if !counts.measuring {
                continue;
            }
            counts.all += 1;
            if mine {
                counts.own += 1;
                counts.latencies_ms.push(now.saturating_sub(due_us(number)) as f64 / 1e3);
            }
            if let Action::PublishModel(publish) = &tx.body.action {
                counts.expected.push((number, publish.file.blob.digest()));
            }
        }
        self.waiting.fetch_sub(own.min(self.waiting.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    pub fn begin(&self) {
        *self.lock() = Counts { measuring: true, ..Counts::default() };
    }

    pub fn end(&self, seen: &mut Seen) {
        let mut counts = self.lock();
        counts.measuring = false;
        (seen.own, seen.all) = (counts.own, counts.all);
        seen.latencies_ms = mem::take(&mut counts.latencies_ms);
    }

    /// Notes which expected payloads are here by now.
    pub fn look_for_payloads(&self) {
        let mut counts = self.lock();
        let here = |(_, digest): &mut (u64, BlobDigest)| self.node.blobs.existing(digest).is_some();
        let found: Vec<_> = counts.expected.extract_if(.., here).collect();
        let now = now_us();
        counts.held.extend(found.into_iter().map(|(number, _)| (number, now)));
    }

    /// Waits for the payloads that are still on their way.
    pub fn settle(&self, seen: &mut Seen) {
        let started = Instant::now();
        while !self.lock().expected.is_empty() && started.elapsed() < HELD_PATIENCE {
            self.look_for_payloads();
            std::thread::sleep(HELD_PAUSE);
        }
        seen.held = mem::take(&mut self.lock().held);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_who_fed_it_and_when_it_was_due() {
        let now = now_us();
        let number = number(now, 3, 777);
        assert_eq!((due_us(number), node_of(number)), (now, 3));
    }
}
