//! Proposals as they go out. What everyone was sent when it came is named by identity; what
//! the leader alone was told is carried whole. Who lacks something asks for all of it.

use crate::pool::Pool;
use parking_lot::Mutex;
use std::collections::VecDeque;
use twinfold_types::{
    Block, Digest, limits,
    message::{ConsensusMessage, PeerMessage, Proposal, ProposedTx},
    vote::Vote,
};

/// Own proposals that others may still ask for: as many as are ever in flight.
const KEPT: usize = 2 * limits::PIPELINE_HEIGHTS as usize;

/// The newest own proposals.
#[derive(Default)]
pub struct Proposals {
    newest: Mutex<VecDeque<(Vote, Block)>>,
}

impl Proposals {
    /// What goes to everyone, and what is kept for those who ask.
    pub fn announce(&self, vote: &Vote, block: &Block, pool: &Pool) -> PeerMessage {
        let known = pool.known_to_all(&block.txs).into_iter();
        let txs = block.txs.iter().zip(known).map(|(tx, known)| match known {
            true => ProposedTx::Known(tx.id()),
            false => ProposedTx::Whole(tx.clone()),
        });
        let (vote, header, txs) = (vote.clone(), block.header.clone(), txs.collect());
        let mut newest = self.newest.lock();
        newest.truncate(KEPT - 1);
        newest.push_front((vote.clone(), block.clone()));
        PeerMessage::Proposal(Box::new(Proposal { vote, header, txs }))
    }

    /// A proposal with its transactions.
    pub fn whole(&self, digest: &Digest) -> Option<PeerMessage> {
        let newest = self.newest.lock();
        let (vote, block) = newest.iter().find(|(vote, _)| vote.body.digest == *digest)?;
        let (vote, block) = (vote.clone(), Box::new(block.clone()));
        Some(PeerMessage::Consensus(ConsensusMessage::PrePrepare { vote, block }))
    }
}
