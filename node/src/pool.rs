//! Transactions that wait for a block: in order of arrival, bounded in number and
//! bytes, for all and for each member.

use crate::id_map::{IdMap, IdSet};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};
use twinfold_types::{Block, PublicKey, SeatIndex, SignedTx, TimeMs, TxId, limits};

#[derive(Default)]
pub struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Everything here: what waits, and what a block in flight carries.
    entries: IdMap<Entry>,
    /// What waits, in order of arrival.
    queue: BTreeMap<u64, SignedTx>,
    next: u64,
    bytes: usize,
    /// Of those in the queue.
    queued_bytes: usize,
    per_member: HashMap<PublicKey, usize>,
    /// Of clients of this node.
    clients: usize,
    /// When blocks were committed lately, and how many of this node's clients each carried.
    commits: VecDeque<(Instant, usize)>,
    /// Milliseconds from admission here to commit, newest last.
    latencies: VecDeque<f64>,
    /// Newest committed transactions: one may still arrive from a peer after its block
    /// was committed and before it is executed.
    committed: IdSet,
    committed_order: VecDeque<TxId>,
    /// Block time of the last look for what is too late.
    pruned: TimeMs,
}

/// Who brought a transaction here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of this node: only those count for latency.
    Client,
    /// A peer that told us alone, as the leader.
    ToldUs,
    /// A peer that told everyone.
    ToldAll,
}

struct Entry {
    tx: SignedTx,
    place: u64,
    since: Instant,
    from: Source,
    /// Everyone was sent it.
    known: bool,
    /// How often all peers were told of it again.
    repeats: u32,
    /// Leaders that committed a block without it while it was valid.
    passed_over: BTreeSet<SeatIndex>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("the pool is full ({txs} transactions, {bytes} bytes): try again in a moment")]
    Full { txs: usize, bytes: usize },
    #[error(
        "{waiting} clients' transactions wait here already, and {lately} were committed in the last two \
         seconds: try again in a moment"
    )]
    Behind { waiting: usize, lately: usize },
    #[error("member {member} has {waiting} transactions waiting: wait for some to commit")]
    MemberFull { member: PublicKey, waiting: usize },
}

/// Several blocks' worth: more than execution ever lags behind.
const COMMITTED_KEPT: usize = 20 * limits::BLOCK_TXS_MAX;

/// A transaction younger than this may simply not have reached the leader.
const PASSED_OVER_AGE: Duration = Duration::from_millis(limits::VIEW_TIMEOUT_MS_MIN / 2);

/// How many latencies the percentiles are over.
const LATENCIES_KEPT: usize = 2_000;

/// Clients' transactions taken whatever was committed lately. Above that only as many as were
/// committed of this node's clients in two seconds: more would only wait longer, and what waits at
/// all nodes together is gone so soon after a rush is over.
const CLIENTS_TXS_MIN: usize = 500;
const RECENT: Duration = Duration::from_secs(2);

/// Doublings of the time between two repetitions: what was lost in a rush comes again soon after it.
const REPEATS_MAX: u32 = 2;

/// Between two looks for what is too late, in block time.
const PRUNE_INTERVAL_MS: u64 = 1_000;

impl Pool {
    /// Adds a checked transaction. `Ok(false)` when it is already there.
    pub fn add(&self, tx: SignedTx, from: Source) -> Result<bool, PoolError> {
        let (id, bytes) = (tx.id(), tx.encoded_bytes());
        let mut inner = self.inner.lock();
        let known = from == Source::ToldAll;
        if let Some(entry) = inner.entries.get_mut(&id) {
            entry.known |= known;
            return Ok(false);
        }
        if inner.committed.contains(&id) {
            return Ok(false);
        }
        inner.check_room(&tx)?;
        *inner.per_member.entry(tx.body.sender).or_default() += 1;
        inner.clients += usize::from(from == Source::Client);
        let place = inner.next;
        inner.next += 1;
        inner.bytes += bytes;
        inner.enqueue(place, tx.clone());
        let (since, passed_over) = (Instant::now(), BTreeSet::new());
        inner.entries.insert(id, Entry { tx, place, since, from, known, repeats: 0, passed_over });
        Ok(true)
    }

    /// Whether there is room for one more of its sender, and for a client's at all.
    pub fn check_room(&self, tx: &SignedTx, from: Source) -> Result<(), PoolError> {
        let inner = self.inner.lock();
        if from == Source::Client {
            inner.check_progress()?;
        }
        inner.check_room(tx)
    }

    /// What clients of this node brought and no block carries, the oldest first.
    pub fn clients(&self, bytes_max: usize) -> Vec<SignedTx> {
        let inner = self.inner.lock();
        let mut bytes = 0;
        let entries = inner.queued_for(Duration::ZERO);
        let txs = entries.filter(|entry| entry.from == Source::Client).map(|entry| &entry.tx);
        let fits = |tx: &&SignedTx| {
            bytes += tx.encoded_bytes();
            bytes <= bytes_max
        };
        txs.take_while(fits).cloned().collect()
    }

    /// A block that carries these is in flight: no other should.
    pub fn note_ordered(&self, txs: &[SignedTx]) {
        let mut inner = self.inner.lock();
        for tx in txs {
            if let Some(place) = inner.entries.get(&tx.id()).map(|entry| entry.place) {
                inner.dequeue(place);
            }
        }
    }

    /// The block that carried it was dropped.
    pub fn give_back(&self, tx: SignedTx) {
        {
            let mut inner = self.inner.lock();
            let known = inner.entries.get(&tx.id()).map(|entry| (entry.place, entry.tx.clone()));
            if let Some((place, tx)) = known {
                inner.enqueue(place, tx);
            }
        }
        // One that waits here already is not added; one too many is dropped.
        self.add(tx, Source::ToldUs).ok();
    }

    pub fn contains(&self, id: &TxId) -> bool {
        self.inner.lock().entries.contains_key(id)
    }

    /// The transactions of these identities, each if it is here.
    pub fn find(&self, ids: &[TxId]) -> Vec<Option<SignedTx>> {
        let inner = self.inner.lock();
        ids.iter().map(|id| inner.entries.get(id).map(|entry| entry.tx.clone())).collect()
    }

    /// Everyone was sent these.
    pub fn note_known(&self, txs: &[SignedTx]) {
        let mut inner = self.inner.lock();
        for tx in txs {
            if let Some(entry) = inner.entries.get_mut(&tx.id()) {
                entry.known = true;
            }
        }
    }

    /// Of each, whether everyone was sent it.
    pub fn known_to_all(&self, txs: &[SignedTx]) -> Vec<bool> {
        let inner = self.inner.lock();
        let known = |tx: &SignedTx| inner.entries.get(&tx.id()).is_some_and(|entry| entry.known);
        txs.iter().map(known).collect()
    }

    /// Transactions and bytes here.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.entries.len(), inner.bytes)
    }

    /// Bytes that no block in flight carries.
    pub fn queued_bytes(&self) -> usize {
        self.inner.lock().queued_bytes
    }

    /// The oldest transactions that a block of this time may carry, within its limits.
    pub fn select(&self, time: TimeMs) -> Vec<SignedTx> {
        let inner = self.inner.lock();
        let (mut chosen, mut bytes, mut payload) = (Vec::new(), 16, 0u64);
        for tx in inner.queue.values().filter(|tx| tx.is_valid_at(time)) {
            bytes += tx.encoded_bytes();
            payload = payload.saturating_add(tx.payload_bytes());
            let full = bytes > limits::BLOCK_BYTES_MAX
                || payload > limits::BLOCK_PAYLOAD_BYTES_MAX
                || chosen.len() == limits::BLOCK_TXS_MAX;
            if full {
                break;
            }
            chosen.push(tx.clone());
        }
        chosen
    }

    /// What a client of this node brought and no block has taken for so long: the oldest
    /// first, up to so many bytes. Each comes again after twice the time.
    pub fn take_overdue(&self, age: Duration, bytes_max: usize) -> Vec<SignedTx> {
        let mut inner = self.inner.lock();
        let mut bytes = 0;
        let fits = |tx: &&SignedTx| {
            bytes += tx.encoded_bytes();
            bytes <= bytes_max
        };
        let due = |entry: &&Entry| {
            entry.from == Source::Client && entry.since.elapsed() >= age * (1 << entry.repeats)
        };
        let due = inner.queued_for(age).filter(due).map(|entry| &entry.tx);
        let txs: Vec<SignedTx> = due.take_while(fits).cloned().collect();
        for tx in &txs {
            if let Some(entry) = inner.entries.get_mut(&tx.id()) {
                entry.repeats = (entry.repeats + 1).min(REPEATS_MAX);
            }
        }
        txs
    }

    /// Whether something waits that a block of this time may carry.
    pub fn has_valid(&self, time: TimeMs) -> bool {
        self.inner.lock().queue.values().any(|tx| tx.is_valid_at(time))
    }

    /// Whether something valid waits that at most `faults` leaders passed over. What more
    /// leaders left out is not worth a view change: one of them was honest.
    pub fn has_undisputed(&self, time: TimeMs, faults: usize) -> bool {
        let inner = self.inner.lock();
        let disputed = |tx: &SignedTx| {
            inner.entries.get(&tx.id()).is_some_and(|entry| entry.passed_over.len() > faults)
        };
        inner.queue.values().any(|tx| tx.is_valid_at(time) && !disputed(tx))
    }

    /// Takes out what a committed block carries. The leader is known for blocks of this epoch.
    pub fn remove_committed(&self, block: &Block, leader: Option<SeatIndex>) {
        let (mut inner, now) = (self.inner.lock(), Instant::now());
        let mut of_clients = 0;
        for tx in &block.txs {
            let id = tx.id();
            let entry = inner.remove(&id);
            inner.remember(id);
            if let Some(entry) = entry.filter(|entry| entry.from == Source::Client) {
                inner.latencies.push_back((now - entry.since).as_secs_f64() * 1e3);
                of_clients += 1;
            }
        }
        inner.commits.push_back((now, of_clients));
        while inner.commits.front().is_some_and(|(at, _)| now - *at > RECENT) {
            inner.commits.pop_front();
        }
        while inner.latencies.len() > LATENCIES_KEPT {
            inner.latencies.pop_front();
        }
        if let Some(leader) = leader {
            inner.note_passed_over(block, leader);
        }
    }

    /// Drops what no later block may carry: looks for it now and then.
    pub fn prune(&self, time: TimeMs) {
        let mut inner = self.inner.lock();
        if time.0 < inner.pruned.0.saturating_add(PRUNE_INTERVAL_MS) {
            return;
        }
        inner.pruned = time;
        let entries = inner.entries.values();
        let late = entries.filter(|entry| entry.tx.body.valid_until < time);
        let late: Vec<TxId> = late.map(|entry| entry.tx.id()).collect();
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
    fn check_progress(&self) -> Result<(), PoolError> {
        let lately = self.commits.iter().filter(|(at, _)| at.elapsed() <= RECENT);
        let lately: usize = lately.map(|(_, txs)| txs).sum();
        let waiting = self.clients;
        match waiting >= lately.max(CLIENTS_TXS_MIN) {
            true => Err(PoolError::Behind { waiting, lately }),
            false => Ok(()),
        }
    }

    fn check_room(&self, tx: &SignedTx) -> Result<(), PoolError> {
        let (txs, bytes) = (self.entries.len(), self.bytes);
        if txs >= limits::POOL_TXS_MAX || bytes + tx.encoded_bytes() > limits::POOL_BYTES_MAX {
            return Err(PoolError::Full { txs, bytes });
        }
        let member = tx.body.sender;
        let waiting = self.per_member.get(&member).copied().unwrap_or(0);
        if waiting >= limits::POOL_MEMBER_TXS_MAX {
            return Err(PoolError::MemberFull { member, waiting });
        }
        Ok(())
    }

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

    fn enqueue(&mut self, place: u64, tx: SignedTx) {
        let bytes = tx.encoded_bytes();
        if self.queue.insert(place, tx).is_none() {
            self.queued_bytes += bytes;
        }
    }

    fn dequeue(&mut self, place: u64) {
        if let Some(tx) = self.queue.remove(&place) {
            self.queued_bytes -= tx.encoded_bytes();
        }
    }

    /// What waits for at least so long, the oldest first.
    fn queued_for(&self, age: Duration) -> impl Iterator<Item = &Entry> {
        let now = Instant::now();
        let entries = self.queue.values().filter_map(|tx| self.entries.get(&tx.id()));
        // Places are given in order of time.
        entries.take_while(move |entry| now - entry.since >= age)
    }

    /// Notes what a leader's committed block did not carry though it could have. What
    /// came only just now, and what a full block left behind, is no sign of anything.
    fn note_passed_over(&mut self, block: &Block, leader: SeatIndex) {
        let full = block.txs_bytes() + limits::TX_BYTES_MAX > limits::BLOCK_BYTES_MAX
            || block.txs.len() == limits::BLOCK_TXS_MAX;
        if full {
            return;
        }
        let old = self.queued_for(PASSED_OVER_AGE).map(|entry| &entry.tx);
        let left_out = old.filter(|tx| tx.is_valid_at(block.header.time));
        for id in left_out.map(SignedTx::id).collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.passed_over.insert(leader);
            }
        }
    }

    fn remove(&mut self, id: &TxId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.dequeue(entry.place);
        self.bytes -= entry.tx.encoded_bytes();
        self.clients -= usize::from(entry.from == Source::Client);
        let member = entry.tx.body.sender;
        if let Some(count) = self.per_member.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                self.per_member.remove(&member);
            }
        }
        Some(entry)
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
            protocol: limits::PROTOCOL_VERSION,
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
        pool.add(tx(1, 10), Source::Client).unwrap();
        let early = Instant::now().checked_sub(2 * PASSED_OVER_AGE).unwrap();
        pool.inner.lock().entries.values_mut().for_each(|entry| entry.since = early);
        pool.remove_committed(&block(vec![]), Some(SeatIndex(0)));
        pool.remove_committed(&block(vec![]), Some(SeatIndex(0)));
        assert!(pool.has_undisputed(TimeMs(5), 1), "one leader may lie");
        pool.remove_committed(&block(vec![]), Some(SeatIndex(1)));
        assert!(!pool.has_undisputed(TimeMs(5), 1));
        assert_eq!(pool.select(TimeMs(5)).len(), 1);
    }

    #[test]
    fn what_a_block_in_flight_carries_waits_no_more_until_that_block_is_dropped() {
        let pool = Pool::default();
        pool.add(tx(1, 10), Source::Client).unwrap();
        pool.note_ordered(&[tx(1, 10), tx(2, 10)]);
        assert!(!pool.has_valid(TimeMs(5)) && !pool.has_undisputed(TimeMs(5), 1));
        assert_eq!((pool.select(TimeMs(5)).len(), pool.size().0), (0, 1));
        pool.give_back(tx(1, 10));
        pool.give_back(tx(2, 10));
        assert_eq!(pool.select(TimeMs(5)).len(), 2, "this node had not heard of the second");
        assert!(pool.latency_ms().is_none());
    }

    #[test]
    fn what_one_peer_told_is_known_to_all_once_everyone_was_told() {
        let pool = Pool::default();
        pool.add(tx(1, 10), Source::ToldUs).unwrap();
        pool.add(tx(2, 10), Source::Client).unwrap();
        assert_eq!(pool.known_to_all(&[tx(1, 10), tx(2, 10)]), [false, false]);
        pool.add(tx(1, 10), Source::ToldAll).unwrap();
        pool.note_known(&[tx(2, 10)]);
        assert_eq!(pool.known_to_all(&[tx(1, 10), tx(2, 10), tx(3, 10)]), [true, true, false]);
    }

    #[test]
    fn order_of_arrival_is_kept_and_a_copy_is_not_added() {
        let pool = Pool::default();
        for nonce in [3, 1, 2] {
            assert_eq!(pool.add(tx(nonce, 10), Source::Client), Ok(true));
        }
        assert_eq!(pool.add(tx(1, 10), Source::Client), Ok(false));
        let nonces: Vec<_> = pool.select(TimeMs(5)).iter().map(|tx| tx.body.nonce).collect();
        assert_eq!(nonces, [3, 1, 2]);
    }

    #[test]
    fn what_is_too_late_is_neither_chosen_nor_kept() {
        let pool = Pool::default();
        pool.add(tx(1, 1_010), Source::Client).unwrap();
        pool.add(tx(2, 1_020), Source::Client).unwrap();
        assert_eq!(pool.select(TimeMs(1_015)).len(), 1);
        pool.prune(TimeMs(1_015));
        assert_eq!(pool.size().0, 1);
        assert!(!pool.has_valid(TimeMs(1_021)));
        pool.prune(TimeMs(1_021));
        assert_eq!(pool.size().0, 1, "looked for only now and then");
        pool.prune(TimeMs(1_015 + PRUNE_INTERVAL_MS));
        assert_eq!(pool.size().0, 0);
    }

    #[test]
    fn clients_bring_no_more_than_two_seconds_commit_of_theirs_or_five_hundred() {
        let pool = Pool::default();
        let next = tx(u64::MAX, 10);
        for nonce in 0..CLIENTS_TXS_MIN as u64 {
            assert_eq!(pool.check_room(&next, Source::Client), Ok(()));
            pool.add(tx(nonce, 10), Source::Client).unwrap();
        }
        let refusal = pool.check_room(&next, Source::Client);
        assert!(matches!(refusal, Err(PoolError::Behind { .. })), "{refusal:?}");
        assert_eq!(pool.check_room(&next, Source::ToldAll), Ok(()), "its own node took it");
        let others = (10_000..10_000 + CLIENTS_TXS_MIN as u64 + 1).map(|nonce| tx(nonce, 10));
        pool.remove_committed(&block(others.collect()), Some(SeatIndex(0)));
        let refusal = pool.check_room(&next, Source::Client);
        assert!(refusal.is_err(), "these were of other nodes' clients");
        let own: Vec<_> = (0..CLIENTS_TXS_MIN as u64).map(|nonce| tx(nonce, 10)).collect();
        pool.remove_committed(&block(own), Some(SeatIndex(0)));
        for nonce in 20_000..20_000 + CLIENTS_TXS_MIN as u64 {
            pool.add(tx(nonce, 10), Source::Client).unwrap();
        }
        assert!(pool.check_room(&next, Source::Client).is_err(), "so many went in two seconds");
        pool.remove_committed(&block(vec![tx(20_000, 10)]), Some(SeatIndex(0)));
        assert_eq!(pool.check_room(&next, Source::Client), Ok(()));
        assert_eq!(pool.inner.lock().clients, CLIENTS_TXS_MIN - 1);
    }

    #[test]
    fn one_member_cannot_fill_the_pool() {
        let pool = Pool::default();
        for nonce in 0..limits::POOL_MEMBER_TXS_MAX as u64 {
            pool.add(tx(nonce, 10), Source::ToldAll).unwrap();
        }
        assert!(matches!(
            pool.add(tx(u64::MAX, 10), Source::ToldAll),
            Err(PoolError::MemberFull { .. })
        ));
    }

    #[test]
    fn what_a_client_brought_and_no_block_took_is_overdue_oldest_first() {
        let pool = Pool::default();
        let (client, peer) = (Source::Client, Source::ToldAll);
        for (nonce, from) in [(3, client), (1, peer), (2, client)] {
            pool.add(tx(nonce, 10), from).unwrap();
        }
        let nonces =
            |txs: Vec<SignedTx>| -> Vec<_> { txs.iter().map(|tx| tx.body.nonce).collect() };
        let one = tx(3, 10).encoded_bytes();
        assert!(pool.take_overdue(Duration::from_secs(60), 1 << 20).is_empty());
        assert_eq!(nonces(pool.take_overdue(Duration::ZERO, one)), [3]);
        assert_eq!(nonces(pool.take_overdue(Duration::ZERO, 1 << 20)), [3, 2]);
    }

    #[test]
    fn what_was_repeated_waits_twice_as_long_for_the_next_time() {
        let pool = Pool::default();
        pool.add(tx(1, 10), Source::Client).unwrap();
        let age = Duration::from_secs(10);
        let wait = |seconds: u64| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            pool.inner.lock().entries.values_mut().for_each(|entry| entry.since = since);
            pool.take_overdue(age, 1 << 20).len()
        };
        assert_eq!([wait(9), wait(11), wait(19), wait(21), wait(39)], [0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_committed_transaction_leaves_and_is_timed() {
        let pool = Pool::default();
        pool.add(tx(1, 10), Source::Client).unwrap();
        pool.remove_committed(&block(vec![tx(1, 10)]), Some(SeatIndex(0)));
        assert_eq!(pool.size(), (0, 0));
        assert!(pool.latency_ms().is_some());
        assert_eq!(
            pool.add(tx(1, 10), Source::ToldAll),
            Ok(false),
            "a late copy does not come back"
        );
    }
}
