//! Sorts what peers send: votes to the agreement loop, transactions to the pool,
//! fold results to the folder. Transactions are checked on a task of their own, so
//! that a vote never waits for somebody's signatures.

use crate::{metrics::Metrics, network::Inbound, node::Node};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use twinfold_consensus::Event;
use twinfold_types::{
    SignedTx,
    message::{ConsensusMessage, PeerMessage},
    round::SignedFoldResult,
};

/// Peers' transactions checked in one go.
const ADMITTED_AT_ONCE: usize = 256;
/// A client's transaction that no block took for so long is told to the peers again.
const REPEAT_AGE: Duration = Duration::from_secs(1);
const REPEAT_INTERVAL: Duration = Duration::from_millis(500);
const REPEAT_BYTES_MAX: usize = 1 << 20;

pub struct Router {
    pub inbound: mpsc::Receiver<Inbound>,
    pub events: mpsc::Sender<Event>,
    pub folds: mpsc::Sender<SignedFoldResult>,
    pub transactions: mpsc::Sender<Vec<SignedTx>>,
    pub metrics: Arc<Metrics>,
}

impl Router {
    pub async fn run(mut self) {
        while let Some(inbound) = self.inbound.recv().await {
            let event = match inbound {
                Inbound::Connected(peer) => Event::Connected { peer },
                Inbound::Message(from, message) => match *message {
                    PeerMessage::Consensus(message) => {
                        if let ConsensusMessage::Status(status) = &message {
                            self.metrics.heard_committed(from, status.committed);
                        }
                        Event::Message { from, message }
                    }
                    PeerMessage::Transactions(txs) => {
                        self.transactions.try_send(txs).ok();
                        continue;
                    }
                    PeerMessage::Fold(signed) => {
                        self.folds.try_send(*signed).ok();
                        continue;
                    }
                },
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Takes peers' transactions into the pool. What is refused here is dropped: its
/// sender hears of it from the node it asked.
pub async fn admit_transactions(node: Arc<Node>, mut incoming: mpsc::Receiver<Vec<SignedTx>>) {
    while let Some(mut txs) = incoming.recv().await {
        // One visit to a blocking thread for all that came meanwhile.
        while txs.len() < ADMITTED_AT_ONCE
            && let Ok(more) = incoming.try_recv()
        {
            txs.extend(more);
        }
        let node = node.clone();
        let admitted = tokio::task::spawn_blocking(move || {
            for answer in node.submit_all(txs, false) {
                if let Err(error) = answer {
                    tracing::debug!(%error, "a peer's transaction was not taken");
                }
            }
        });
        admitted.await.ok();
    }
}

/// Full queues drop messages, and the leader may have heard nothing of a transaction:
/// what a client brought here is repeated until a block takes it.
pub async fn repeat_transactions(node: Arc<Node>) {
    let mut interval = tokio::time::interval(REPEAT_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let txs = node.pool.overdue(REPEAT_AGE, REPEAT_BYTES_MAX);
        if !txs.is_empty() {
            node.links.broadcast(&PeerMessage::Transactions(txs));
        }
    }
}
