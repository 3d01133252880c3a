//! Transactions that reached a node and stand in no executed block.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{SignedTx, TimeMs, TxId};

#[derive(Default)]
pub struct Pool {
    arrived: u64,
    /// In the order of arrival.
    txs: BTreeMap<u64, SignedTx>,
    places: BTreeMap<TxId, u64>,
    /// When each came, executed or not.
    arrivals: BTreeMap<TxId, u64>,
    /// Those in no block that this node prepared, proposed or committed.
    waiting: BTreeSet<u64>,
}

impl Pool {
    pub fn add(&mut self, id: TxId, tx: SignedTx) {
        if self.places.contains_key(&id) {
            return;
        }
        self.arrived += 1;
        self.arrivals.insert(id, self.arrived);
        self.places.insert(id, self.arrived);
        self.txs.insert(self.arrived, tx);
        self.waiting.insert(self.arrived);
    }

    /// Whether it waits here or is in a block that is not executed.
    pub fn holds(&self, id: &TxId) -> bool {
        self.places.contains_key(id)
    }

    pub fn ordered(&mut self, id: &TxId) {
        if let Some(place) = self.places.get(id) {
            self.waiting.remove(place);
        }
    }

    /// The block that held it was dropped.
    pub fn returned(&mut self, id: &TxId) {
        if let Some(place) = self.places.get(id) {
            self.waiting.insert(*place);
        }
    }

    pub fn executed(&mut self, id: &TxId) {
        if let Some(place) = self.places.remove(id) {
            self.waiting.remove(&place);
            self.txs.remove(&place);
        }
    }

    /// After a crash nobody remembers what was in a block.
    pub fn restarted(&mut self) {
        self.waiting = self.txs.keys().copied().collect();
    }

    pub fn waiting(&self) -> impl Iterator<Item = &SignedTx> {
        self.waiting.iter().filter_map(|place| self.txs.get(place))
    }

    /// Nobody can order these any more.
    pub fn lapse(&mut self, now: TimeMs) {
        let lapsed = |place: &u64| self.txs[place].body.valid_until < now;
        let places: Vec<u64> = self.waiting.iter().copied().filter(lapsed).collect();
        for place in places {
            self.waiting.remove(&place);
            if let Some(tx) = self.txs.remove(&place) {
                self.places.remove(&tx.id());
            }
        }
    }

    pub fn arrived(&self, id: &TxId) -> u64 {
        self.arrivals.get(id).copied().unwrap_or(u64::MAX)
    }

    /// Whether everything that came is executed or has lapsed. A node that nothing wakes has
    /// not removed yet what lapsed since its last turn.
    pub fn is_done(&self, now: TimeMs) -> bool {
        let lapsed = |(place, tx): (&u64, &SignedTx)| {
            self.waiting.contains(place) && tx.body.valid_until < now
        };
        self.txs.iter().all(lapsed)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
