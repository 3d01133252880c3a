//! Transactions that wait for a block: in order of arrival, bounded in number and
//! bytes, for all and for each member.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};
use twinfold_types::{Block, PublicKey, SeatIndex, SignedTx, TimeMs, TxId, limits};

#[derive(Default)]
pub struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: BTreeMap<u64, Waiting>,
    places: HashMap<TxId, u64>,
    next: u64,
    bytes: usize,
    per_member: HashMap<PublicKey, usize>,
    /// Milliseconds from admission here to commit, newest last.
    latencies: VecDeque<f64>,
    /// Newest committed transactions: one may still arrive from a peer after its block
    /// was committed and before it is executed.
    committed: HashSet<TxId>,
    committed_order: VecDeque<TxId>,
}

struct Waiting {
    id: TxId,
    tx: SignedTx,
    bytes: usize,
    since: Instant,
    /// Whether this node took it from a client: only those count for latency.
    local: bool,
    /// Leaders that committed a block without it while it was valid.
    passed_over: BTreeSet<SeatIndex>,
    /// A block in flight carries it.
    ordered: bool,
}

impl Waiting {
    /// Whether a block of this time may carry it and none in flight does.
    fn may_go(&self, time: TimeMs) -> bool {
        !self.ordered && self.tx.is_valid_at(time)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("the pool is full ({txs} transactions, {bytes} bytes): try again in a moment")]
    Full { txs: usize, bytes: usize },
    #[error("member {member} has {waiting} transactions waiting: wait for some to commit")]
    MemberFull { member: PublicKey, waiting: usize },
}

/// Several blocks' worth: more than execution ever lags behind.
const COMMITTED_KEPT: usize = 20 * limits::BLOCK_TXS_MAX;

/// A transaction younger than this may simply not have reached the leader.
const PASSED_OVER_AGE: Duration = Duration::from_millis(limits::VIEW_TIMEOUT_MS_MIN / 2);

/// How many latencies the percentiles are over.
const LATENCIES_KEPT: usize = 2_000;

impl Pool {
    /// Adds a checked transaction. `Ok(false)` when it is already there.
    pub fn add(&self, tx: SignedTx, local: bool) -> Result<bool, PoolError> {
        let (id, bytes) = (tx.id(), tx.encoded_bytes());
        let mut inner = self.inner.lock();
        if inner.places.contains_key(&id) || inner.committed.contains(&id) {
            return Ok(false);
        }
        let txs = inner.waiting.len();
        if txs >= limits::POOL_TXS_MAX || inner.bytes + bytes > limits::POOL_BYTES_MAX {
            return Err(PoolError::Full { txs, bytes: inner.bytes });
        }
        let member = tx.body.sender;
        let waiting = inner.per_member.get(&member).copied().unwrap_or(0);
        if waiting >= limits::POOL_MEMBER_TXS_MAX {
            return Err(PoolError::MemberFull { member, waiting });
        }
        let place = inner.next;
        inner.next += 1;
        inner.bytes += bytes;
        inner.per_member.insert(member, waiting + 1);
        inner.places.insert(id, place);
        inner.waiting.insert(
            place,
            Waiting {
                id,
                tx,
                bytes,
                since: Instant::now(),
                local,
                passed_over: BTreeSet::new(),
                ordered: false,
            },
        );
        Ok(true)
    }

    /// A block that carries these is in flight: no other should.
    pub fn note_ordered(&self, txs: &[SignedTx]) {
        let mut inner = self.inner.lock();
        txs.iter().for_each(|tx| inner.set_ordered(&tx.id(), true));
    }

    /// The block that carried it was dropped.
    pub fn give_back(&self, tx: SignedTx) {
        self.inner.lock().set_ordered(&tx.id(), false);
        // One that waits here already is not added; one too many is dropped.
        self.add(tx, false).ok();
    }

    pub fn contains(&self, id: &TxId) -> bool {
        self.inner.lock().places.contains_key(id)
    }

    /// Transactions and bytes waiting.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.waiting.len(), inner.bytes)
    }

    /// The oldest transactions that a block of this time may carry, within its limits.
    pub fn select(&self, time: TimeMs) -> Vec<SignedTx> {
        let inner = self.inner.lock();
        let (mut chosen, mut bytes, mut payload) = (Vec::new(), 16, 0u64);
        for waiting in inner.waiting.values() {
            if !waiting.may_go(time) {
                continue;
            }
            bytes += waiting.bytes;
            payload = payload.saturating_add(waiting.tx.payload_bytes());
            let full = bytes > limits::BLOCK_BYTES_MAX
                || payload > limits::BLOCK_PAYLOAD_BYTES_MAX
                || chosen.len() == limits::BLOCK_TXS_MAX;
            if full {
                break;
            }
            chosen.push(waiting.tx.clone());
        }
        chosen
    }

    /// What a client of this node brought and no block has taken for so long: the
    /// oldest first, up to so many bytes.
    pub fn overdue(&self, age: Duration, bytes_max: usize) -> Vec<SignedTx> {
        let inner = self.inner.lock();
        let overdue = |waiting: &&Waiting| {
            waiting.local && !waiting.ordered && waiting.since.elapsed() >= age
        };
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            bytes += waiting.bytes;
            bytes <= bytes_max
        };
        let waiting = inner.waiting.values().filter(overdue).take_while(fits);
        waiting.map(|waiting| waiting.tx.clone()).collect()
    }

    /// Whether something waits that a block of this time may carry.
    pub fn has_valid(&self, time: TimeMs) -> bool {
        self.inner.lock().waiting.values().any(|waiting| waiting.may_go(time))
    }

    /// Whether something valid waits that at most `faults` leaders passed over. What more
    /// leaders left out is not worth a view change: one of them was honest.
    pub fn has_undisputed(&self, time: TimeMs, faults: usize) -> bool {
        let inner = self.inner.lock();
        inner
            .waiting
            .values()
            .any(|waiting| waiting.passed_over.len() <= faults && waiting.may_go(time))
    }

    /// Notes what a leader's committed block did not carry though it could have. What
    /// came only just now, and what a full block left behind, is no sign of anything.
    fn note_passed_over(inner: &mut Inner, block: &Block, leader: SeatIndex) {
        let full = block.txs_bytes() + limits::TX_BYTES_MAX > limits::BLOCK_BYTES_MAX
            || block.txs.len() == limits::BLOCK_TXS_MAX;
        if full {
            return;
        }
        for waiting in inner.waiting.values_mut() {
            if waiting.since.elapsed() > PASSED_OVER_AGE && waiting.may_go(block.header.time) {
                waiting.passed_over.insert(leader);
            }
        }
    }

    /// Takes out what a committed block carries.
    pub fn remove_committed(&self, block: &Block, leader: SeatIndex) {
        let mut inner = self.inner.lock();
        let txs = &block.txs;
        for tx in txs {
            let id = tx.id();
            let waiting = inner.remove(&id);
            inner.remember(id);
            if let Some(waiting) = waiting
                && waiting.local
            {
                inner.latencies.push_back(waiting.since.elapsed().as_secs_f64() * 1e3);
            }
        }
        while inner.latencies.len() > LATENCIES_KEPT {
            inner.latencies.pop_front();
        }
        Self::note_passed_over(&mut inner, block, leader);
    }

    /// Drops what no later block may carry.
    pub fn prune(&self, time: TimeMs) {
        let mut inner = self.inner.lock();
        let late: HashSet<TxId> = inner
            .waiting
            .values()
            .filter(|waiting| waiting.tx.body.valid_until < time)
            .map(|waiting| waiting.id)
            .collect();
        late.iter().for_each(|id| drop(inner.remove(id)));
    }

    /// Median and 99th percentile of the time to commit, in milliseconds.
    pub fn latency_ms(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = self.inner.lock().latencies.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize);
        Some((*at(0.5)?, *at(0.99)?))
    }
}

impl Inner {
    fn remember(&mut self, id: TxId) {
        if self.committed.insert(id) {
            self.committed_order.push_back(id);
        }
        if self.committed_order.len() > COMMITTED_KEPT
            && let Some(oldest) = self.committed_order.pop_front()
        {
            self.committed.remove(&oldest);
        }
    }

    fn set_ordered(&mut self, id: &TxId, ordered: bool) {
        let place = self.places.get(id);
        if let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) {
            waiting.ordered = ordered;
        }
    }

    fn remove(&mut self, id: &TxId) -> Option<Waiting> {
        let place = self.places.remove(id)?;
        let waiting = self.waiting.remove(&place)?;
        self.bytes -= waiting.bytes;
        let member = waiting.tx.body.sender;
        if let Some(count) = self.per_member.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                self.per_member.remove(&member);
            }
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Action, Digest, SecretKey, TaskId, key::Signer, tx::TxBody};

    fn tx(nonce: u64, until: u64) -> SignedTx {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = TxBody {
            chain: Digest::ZERO,
            sender: key.public_key(),
            nonce,
            valid_from: TimeMs(0),
            valid_until: TimeMs(until),
            action: Action::CloseTask(TaskId(Digest::ZERO)),
        };
        body.sign(&key)
    }

    fn block(txs: Vec<SignedTx>) -> Block {
        let header = twinfold_types::Header {
            chain: Digest::ZERO,
            epoch: twinfold_types::Epoch(0),
            height: twinfold_types::Height(1),
            parent: Digest::ZERO,
            time: TimeMs(5),
            body: twinfold_types::block::body_digest(&txs),
        };
        Block { header, txs }
    }

    #[test]
    fn what_more_than_f_leaders_passed_over_drives_no_timer_but_is_still_offered() {
        let pool = Pool::default();
        pool.add(tx(1, 10), true).unwrap();
        let early = Instant::now().checked_sub(2 * PASSED_OVER_AGE).unwrap();
        pool.inner.lock().waiting.values_mut().for_each(|waiting| waiting.since = early);
        pool.remove_committed(&block(vec![]), SeatIndex(0));
        pool.remove_committed(&block(vec![]), SeatIndex(0));
        assert!(pool.has_undisputed(TimeMs(5), 1), "one leader may lie");
        pool.remove_committed(&block(vec![]), SeatIndex(1));
        assert!(!pool.has_undisputed(TimeMs(5), 1));
        assert_eq!(pool.select(TimeMs(5)).len(), 1);
    }

    #[test]
    fn what_a_block_in_flight_carries_waits_no_more_until_that_block_is_dropped() {
        let pool = Pool::default();
        pool.add(tx(1, 10), true).unwrap();
        pool.note_ordered(&[tx(1, 10), tx(2, 10)]);
        assert!(!pool.has_valid(TimeMs(5)) && !pool.has_undisputed(TimeMs(5), 1));
        assert_eq!((pool.select(TimeMs(5)).len(), pool.size().0), (0, 1));
        pool.give_back(tx(1, 10));
        pool.give_back(tx(2, 10));
        assert_eq!(pool.select(TimeMs(5)).len(), 2, "this node had not heard of the second");
        assert!(pool.latency_ms().is_none());
    }

    #[test]
    fn order_of_arrival_is_kept_and_a_copy_is_not_added() {
        let pool = Pool::default();
        for nonce in [3, 1, 2] {
            assert_eq!(pool.add(tx(nonce, 10), true), Ok(true));
        }
        assert_eq!(pool.add(tx(1, 10), true), Ok(false));
        let nonces: Vec<_> = pool.select(TimeMs(5)).iter().map(|tx| tx.body.nonce).collect();
        assert_eq!(nonces, [3, 1, 2]);
    }

    #[test]
    fn what_is_too_late_is_neither_chosen_nor_kept() {
        let pool = Pool::default();
        pool.add(tx(1, 10), true).unwrap();
        pool.add(tx(2, 20), true).unwrap();
        assert_eq!(pool.select(TimeMs(15)).len(), 1);
        pool.prune(TimeMs(15));
        assert_eq!(pool.size().0, 1);
        assert!(!pool.has_valid(TimeMs(21)));
    }

    #[test]
    fn one_member_cannot_fill_the_pool() {
        let pool = Pool::default();
        for nonce in 0..limits::POOL_MEMBER_TXS_MAX as u64 {
            pool.add(tx(nonce, 10), false).unwrap();
        }
        assert!(matches!(pool.add(tx(u64::MAX, 10), false), Err(PoolError::MemberFull { .. })));
    }

    #[test]
    fn what_a_client_brought_and_no_block_took_is_overdue_oldest_first() {
        let pool = Pool::default();
        for (nonce, local) in [(3, true), (1, false), (2, true)] {
            pool.add(tx(nonce, 10), local).unwrap();
        }
        let nonces =
            |txs: Vec<SignedTx>| -> Vec<_> { txs.iter().map(|tx| tx.body.nonce).collect() };
        assert_eq!(nonces(pool.overdue(Duration::ZERO, 1 << 20)), [3, 2]);
        let one = tx(3, 10).encoded_bytes();
        assert_eq!(nonces(pool.overdue(Duration::ZERO, one)), [3]);
        assert!(pool.overdue(Duration::from_secs(60), 1 << 20).is_empty());
    }

    #[test]
    fn a_committed_transaction_leaves_and_is_timed() {
        let pool = Pool::default();
        pool.add(tx(1, 10), true).unwrap();
        pool.remove_committed(&block(vec![tx(1, 10)]), SeatIndex(0));
        assert_eq!(pool.size(), (0, 0));
        assert!(pool.latency_ms().is_some());
        assert_eq!(pool.add(tx(1, 10), false), Ok(false), "a late copy does not come back");
    }
}
