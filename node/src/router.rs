//! Sorts what peers send: votes to the agreement loop, transactions to the pool,
//! fold results to the folder. Transactions are checked on a task of their own, so
//! that a vote never waits for somebody's signatures.

use crate::{network::Inbound, node::Node};
use std::sync::Arc;
use tokio::sync::mpsc;
use twinfold_consensus::Event;
use twinfold_types::{SignedTx, message::PeerMessage, round::SignedFoldResult};

pub struct Router {
    pub inbound: mpsc::Receiver<Inbound>,
    pub events: mpsc::Sender<Event>,
    pub folds: mpsc::Sender<SignedFoldResult>,
    pub transactions: mpsc::Sender<Vec<SignedTx>>,
}

impl Router {
    pub async fn run(mut self) {
        while let Some(inbound) = self.inbound.recv().await {
            let event = match inbound {
                Inbound::Connected(peer) => Event::Connected { peer },
                Inbound::Message(from, message) => match *message {
                    PeerMessage::Consensus(message) => Event::Message { from, message },
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
    while let Some(txs) = incoming.recv().await {
        let node = node.clone();
        let admitted = tokio::task::spawn_blocking(move || {
            for tx in txs {
                if let Err(error) = node.submit(tx, false) {
                    tracing::debug!(%error, "a peer's transaction was not taken");
                }
            }
        });
        admitted.await.ok();
    }
}
