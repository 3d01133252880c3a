//! What validators send one another on the consensus connection.

use crate::{
    Block, Digest, Epoch, Header, Height, SignedTx, TxId, View,
    codec::{self, CodecError},
    limits,
    recovery::Recovery,
    round::SignedFoldResult,
    vote::{
        Certificate, CheckpointCertificate, CheckpointVote, NewView, ViewChange, ViewChangeHeader,
        Vote,
    },
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
    /// Answers `GetCommitted` where the blocks asked for are dropped: those from this height
    /// on are kept.
    KeptFrom {
        first: Height,
    },
    /// Asks for the newest that the sender's own seat was seen to sign.
    GetSigned,
    /// Answers `GetSigned`: the signatures prove it to the seat that made them.
    Signed(Box<Signed>),
}

/// The newest of each kind that one seat was seen to sign in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// In which the sender stands.
    pub epoch: Epoch,
    pub vote: Option<Vote>,
    pub view_change: Option<ViewChangeHeader>,
    pub checkpoint: Option<CheckpointVote>,
}

impl ConsensusMessage {
    /// The epoch whose committee can make sense of it, where it is of one.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote) => {
                Some(vote.body.epoch)
            }
            ConsensusMessage::ViewChange(change) => Some(change.header.body.epoch),
            ConsensusMessage::NewView(new_view) => Some(new_view.body.epoch),
            ConsensusMessage::Checkpoint(vote) => Some(vote.checkpoint.epoch),
            _ => None,
        }
    }
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
    /// To a node in an epoch that the admins ended: how the chain went on without it.
    Recovered(Box<Recovery>),
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
