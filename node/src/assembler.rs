//! Makes blocks of proposals. What they name by identity is in the pool, or on its way, or
//! the leader is asked for the whole; signatures of what they carry whole are checked here,
//! beside the agreement loop. What comes out is what the header commits to, or nothing:
//! agreement checks it as it checks any block.

use crate::node::Node;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use twinfold_consensus::Event;
use twinfold_types::{
    Block, Header, PublicKey, SignedTx, TxId,
    block::body_digest,
    limits,
    message::{ConsensusMessage, PeerMessage, Proposal, ProposedTx},
    vote::Vote,
};

/// What is not here by then was lost.
const PATIENCE: Duration = Duration::from_millis(30);
/// Proposals of one peer that wait for transactions.
const WAITING_MAX: usize = 2 * limits::PIPELINE_HEIGHTS as usize;

pub struct Assembler {
    node: Arc<Node>,
    waiting: BTreeMap<PublicKey, VecDeque<Waiting>>,
}

struct Waiting {
    vote: Vote,
    header: Header,
    txs: Vec<Option<SignedTx>>,
    /// Places of those that are not here yet.
    missing: Vec<(usize, TxId)>,
    since: Instant,
}

impl Assembler {
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, waiting: BTreeMap::new() }
    }

    pub async fn run(mut self, mut incoming: mpsc::Receiver<(PublicKey, Proposal)>) {
        let node = self.node.clone();
        loop {
            let due = self.due();
            tokio::select! {
                next = incoming.recv() => match next {
                    Some((from, proposal)) => self.take(from, proposal).await,
                    None => return,
                },
                () = node.arrivals.notified(), if due.is_some() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)),
                    if due.is_some() => {}
            }
            for (from, message) in self.complete() {
                if node.events.send(Event::Message { from, message }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// When the longest waiting one has waited long enough.
    fn due(&self) -> Option<Instant> {
        let oldest = self.waiting.values().filter_map(VecDeque::front);
        oldest.map(|waiting| waiting.since + PATIENCE).min()
    }

    async fn take(&mut self, from: PublicKey, proposal: Proposal) {
        if proposal.txs.len() > limits::BLOCK_TXS_MAX {
            return;
        }
        let waiting = Waiting::new(proposal);
        if self.node.leader() == Some(from) {
            waiting.check(&self.node).await;
        }
        let queue = self.waiting.entry(from).or_default();
        if queue.len() == WAITING_MAX {
            queue.pop_front();
        }
        queue.push_back(waiting);
    }

    /// Takes out what is whole by now, and asks for what will not be.
    fn complete(&mut self) -> Vec<(PublicKey, ConsensusMessage)> {
        let (node, mut whole) = (&self.node, Vec::new());
        for (from, queue) in &mut self.waiting {
            queue.retain_mut(|waiting| {
                waiting.look(node);
                if !waiting.missing.is_empty() && waiting.since.elapsed() < PATIENCE {
                    return true;
                }
                let vote = waiting.vote.clone();
                match waiting.block() {
                    Some(block) => {
                        let block = Box::new(block);
                        whole.push((*from, ConsensusMessage::PrePrepare { vote, block }));
                    }
                    None => node.links.send(from, &PeerMessage::GetProposal(vote.body.digest)),
                }
                false
            });
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        whole
    }
}

impl Waiting {
    fn new(proposal: Proposal) -> Self {
        let Proposal { vote, header, txs } = proposal;
        let mut missing = Vec::new();
        let txs = txs.into_iter().enumerate().map(|(place, tx)| match tx {
            ProposedTx::Whole(tx) => Some(tx),
            ProposedTx::Known(id) => {
                missing.push((place, id));
                None
            }
        });
        Self { vote, header, txs: txs.collect(), missing, since: Instant::now() }
    }

    /// Checks what came whole: the result stays with each transaction, so that agreement
    /// does not have to. One that is wrong is found again there.
    async fn check(&self, node: &Arc<Node>) {
        let txs: Vec<SignedTx> = self.txs.iter().flatten().cloned().collect();
        if txs.is_empty() {
            return;
        }
        let node = node.clone();
        let check = move || {
            let check = |tx: &SignedTx| tx.check(&node.chain, &*node.door.verifier).is_ok();
            txs.iter().all(check)
        };
        tokio::task::spawn_blocking(check).await.ok();
    }

    fn look(&mut self, node: &Node) {
        let ids: Vec<TxId> = self.missing.iter().map(|(_, id)| *id).collect();
        let mut found = node.pool.find(&ids).into_iter();
        let txs = &mut self.txs;
        self.missing.retain(|(place, _)| {
            txs[*place] = found.next().flatten();
            txs[*place].is_none()
        });
    }

    /// The block, if what is here makes it.
    fn block(&mut self) -> Option<Block> {
        let txs: Option<Vec<SignedTx>> = self.txs.drain(..).collect();
        let block = Block { header: self.header.clone(), txs: txs? };
        (body_digest(&block.txs) == block.header.body).then_some(block)
    }
}
