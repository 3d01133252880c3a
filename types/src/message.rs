//! What validators send one another on the consensus connection.

use crate::{
    Block, Digest, Epoch, Header, Height, SignedTx, TxId, View,
    codec::{self, CodecError},
    limits,
    round::SignedFoldResult,
    vote::{Certificate, CheckpointCertificate, CheckpointVote, NewView, ViewChange, Vote},
};
use serde::{Deserialize, Serialize};

/// Messages of the agreement itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsensusMessage {
    /// A block proposed by the leader; the vote is of kind pre-prepare.
    PrePrepare {
        vote: Vote,
        block: Box<Block>,
    },
    Vote(Vote),
    ViewChange(Box<ViewChange>),
    NewView(Box<NewView>),
    Checkpoint(CheckpointVote),
    /// Where the sender stands: peers answer with what it lacks. Unsigned; the
    /// connection names the sender, and nothing is decided by it.
    Status(Status),
    /// Asks for a block's body by digest.
    GetBlock {
        height: Height,
        digest: Digest,
    },
    Block(Box<Block>),
    /// Asks for committed blocks from this height on.
    GetCommitted {
        from: Height,
    },
    Committed(Box<CommittedBlocks>),
    /// A stable checkpoint.
    Stable(Box<CheckpointCertificate>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub epoch: Epoch,
    pub view: View,
    /// Whether `view` is installed, or only moved to.
    pub installed: bool,
    /// Newest committed height.
    pub committed: Height,
    /// Height of the newest stable checkpoint.
    pub stable: Height,
    /// Whether the sender expects no answer (it answers one itself).
    pub reply: bool,
}

/// Consecutive committed blocks, and the commit certificate of the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedBlocks {
    pub blocks: Vec<Block>,
    pub certificate: Certificate,
}

/// Everything on the consensus connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    Consensus(ConsensusMessage),
    /// Transactions for everyone's pool: everyone was sent them.
    Transactions(Vec<SignedTx>),
    Fold(Box<SignedFoldResult>),
    /// A proposal whose transactions its receiver mostly holds already.
    Proposal(Box<Proposal>),
    /// Asks for the proposal of this block with its transactions.
    GetProposal(Digest),
    /// Transactions for the leader's next block: nobody else was sent them.
    Forward(Vec<SignedTx>),
}

/// A block proposed by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub vote: Vote,
    pub header: Header,
    pub txs: Vec<ProposedTx>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposedTx {
    /// Everyone was sent it.
    Known(TxId),
    Whole(SignedTx),
}

impl PeerMessage {
    /// Appends the encoding to a buffer.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        codec::encode_into(self, buffer);
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes, limits::MESSAGE_BYTES_MAX)
    }
}

/// First frame in each direction of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub format: u32,
    pub chain: Digest,
    pub version: String,
}
