//! Bodies that do not belong to their headers, blocks beside those asked for, and states that
//! nobody computed.

use super::own_seat;
use crate::{dice::Dice, node::Node};
use twinfold_types::{
    Block, Digest, SignedTx,
    message::ConsensusMessage,
    vote::{Checkpoint, CheckpointVote},
};

/// Half of what can be corrupted is.
pub fn corrupted(node: &Node, message: &ConsensusMessage, dice: &mut Dice) -> ConsensusMessage {
    let mut message = message.clone();
    if dice.chance(50) {
        return message;
    }
    match &mut message {
        ConsensusMessage::PrePrepare { block, .. } | ConsensusMessage::Block(block) => {
            corrupt_block(block, dice);
        }
        ConsensusMessage::Committed(committed) => {
            let at = dice.index(committed.blocks.len().max(1));
            match committed.blocks.get_mut(at) {
                Some(block) if dice.chance(70) => corrupt_block(block, dice),
                _ => committed.blocks.truncate(at),
            }
        }
        ConsensusMessage::Checkpoint(vote) => *vote = other_state(node, vote),
        _ => {}
    }
    message
}

fn corrupt_block(block: &mut Block, dice: &mut Dice) {
    match dice.between(0, 3) {
        0 => block.txs.clear(),
        1 => block.txs.extend(block.txs.first().cloned()),
        2 => block.txs.iter_mut().for_each(|tx| *tx = with_another_signature(tx)),
        _ => block.header.time = block.header.time.plus(1),
    }
}

fn with_another_signature(tx: &SignedTx) -> SignedTx {
    let mut signature = tx.signature;
    signature.0[0] ^= 1;
    SignedTx::new(tx.body.clone(), signature)
}

fn other_state(node: &Node, vote: &CheckpointVote) -> CheckpointVote {
    let checkpoint = Checkpoint { state_root: Digest::ZERO, ..vote.checkpoint.clone() };
    let config = &node.setup.config;
    let statement = checkpoint.statement(&config.chain, &config.committee.digest());
    let signature = node.setup.signer.sign(&statement);
    CheckpointVote { checkpoint, seat: own_seat(node), signature }
}
