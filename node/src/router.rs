//! Sorts what peers send: votes to the agreement loop, transactions to the pool,
//! fold results to the folder. Transactions are checked on a task of their own, so
//! that a vote never waits for somebody's signatures.

use crate::{network::Inbound, node::Node, pool::Source, recover::heard};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use twinfold_consensus::Event;
use twinfold_types::{
    PublicKey, SignedTx, limits,
    message::{ConsensusMessage, PeerMessage, Proposal},
    round::SignedFoldResult,
};

/// Peers' transactions checked in one go.
const ADMITTED_AT_ONCE: usize = 256;
/// A client's transaction that no block took for so long is told to all peers, and again.
/// Then everyone waits for it, and suspects a leader that leaves it out.
const REPEAT_AGE: Duration = Duration::from_millis(limits::VIEW_TIMEOUT_MS_MIN / 2);
const REPEAT_INTERVAL: Duration = Duration::from_millis(limits::VIEW_TIMEOUT_MS_MIN / 4);
const REPEAT_BYTES_MAX: usize = 64 << 10;
/// What a new leader is told at once.
const NEW_LEADER_BYTES_MAX: usize = 1 << 20;

pub struct Router {
    pub inbound: mpsc::Receiver<Inbound>,
    pub events: mpsc::Sender<Event>,
    pub folds: mpsc::Sender<SignedFoldResult>,
    pub transactions: mpsc::Sender<(Vec<SignedTx>, Source)>,
    pub assembler: mpsc::Sender<(PublicKey, Proposal)>,
    pub node: Arc<Node>,
}

impl Router {
    pub async fn run(mut self) {
        while let Some(inbound) = self.inbound.recv().await {
            let event = match inbound {
                Inbound::Connected(peer) => Event::Connected { peer },
                Inbound::Message(from, message) => match *message {
                    PeerMessage::Consensus(message) => {
                        if let ConsensusMessage::Status(status) = &message {
                            self.node.metrics.heard_committed(from, status.committed);
                        }
                        if let ConsensusMessage::KeptFrom { first } = &message {
                            tracing::debug!(peer = %from.short(), %first, "this peer has dropped the blocks asked for");
                        }
                        Event::Message { from, message }
                    }
                    PeerMessage::Transactions(txs) => {
                        self.transactions.try_send((txs, Source::ToldAll)).ok();
                        continue;
                    }
                    PeerMessage::Forward(txs) => {
                        self.transactions.try_send((txs, Source::ToldUs)).ok();
                        continue;
                    }
                    PeerMessage::Fold(signed) => {
                        self.folds.try_send(*signed).ok();
                        continue;
                    }
                    PeerMessage::Proposal(proposal) => {
                        self.assembler.try_send((from, *proposal)).ok();
                        continue;
                    }
                    PeerMessage::Recovered(recovery) => {
                        heard::note(&self.node, *recovery);
                        continue;
                    }
                    PeerMessage::GetProposal(digest) => {
                        if let Some(whole) = self.node.proposals.whole(&digest) {
                            self.node.links.send(&from, &whole);
                        }
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
pub async fn admit_transactions(
    node: Arc<Node>,
    mut incoming: mpsc::Receiver<(Vec<SignedTx>, Source)>,
) {
    while let Some(first) = incoming.recv().await {
        // One visit to a blocking thread for all that came meanwhile.
        let (mut count, mut all) = (first.0.len(), vec![first]);
        while count < ADMITTED_AT_ONCE
            && let Ok(more) = incoming.try_recv()
        {
            count += more.0.len();
            all.push(more);
        }
        let node = node.clone();
        let admitted = tokio::task::spawn_blocking(move || {
            let answers = all.into_iter().flat_map(|(txs, from)| node.submit_all(txs, from));
            for error in answers.filter_map(Result::err) {
                tracing::debug!(%error, "a peer's transaction was not taken");
            }
        });
        admitted.await.ok();
    }
}

/// Full queues drop messages, and the leader may have heard nothing of a transaction:
/// what a client brought here is repeated until a block takes it, less and less often: a
/// network that is slow because it has much to do is not given more.
pub async fn repeat_transactions(node: Arc<Node>) {
    let mut leader = node.leader();
    loop {
        // What comes to an empty pool is overdue no sooner.
        let idle = node.pool.size().0 == 0;
        tokio::time::sleep(if idle { REPEAT_AGE } else { REPEAT_INTERVAL }).await;
        let now = node.leader();
        if let Some(new) = now.filter(|_| now != leader) {
            node.forward(&new, node.pool.clients(NEW_LEADER_BYTES_MAX));
        }
        leader = now;
        let txs = node.pool.take_overdue(REPEAT_AGE, REPEAT_BYTES_MAX);
        if !txs.is_empty() {
            node.tell_all(txs);
        }
    }
}
