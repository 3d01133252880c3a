//! What a validator does: the outputs of [`crate::Machine`].

use serde::{Deserialize, Serialize};
use twinfold_types::{
    Block, Digest, Epoch, Evidence, Height, PublicKey, SignedTx, TimeMs, View,
    message::ConsensusMessage,
    vote::{
        Certificate, Checkpoint, CheckpointCertificate, CheckpointVote, NewView, ViewChange, Vote,
    },
};

/// The driver performs a turn's effects in this order: every `Persist`, one sync,
/// then the rest as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Persist(Record),
    /// To every connected peer, observers too; and back to this machine as an
    /// [`crate::Event::Message`] from its own key.
    Broadcast(ConsensusMessage),
    Send {
        to: PublicKey,
        message: ConsensusMessage,
    },
    /// The leader may propose: the driver answers with `Built` when it has something.
    /// A later `Build` replaces an earlier one.
    Build {
        view: View,
        height: Height,
        parent: Digest,
        parent_time: TimeMs,
    },
    /// In height order, each once. The certificate is the block's own, or that of the
    /// descendant with which it was committed.
    Commit {
        block: Block,
        certificate: Certificate,
    },
    Stable(CheckpointCertificate),
    /// The driver answers from the ledger with `Committed`, or not at all.
    ServeCommitted {
        to: PublicKey,
        from: Height,
    },
    /// The driver answers from the ledger with `Block`, or not at all.
    ServeBlock {
        to: PublicKey,
        height: Height,
        digest: Digest,
    },
    /// The driver answers from the ledger with the checkpoint that ended an epoch, or not at all.
    ServeEpochEnd {
        to: PublicKey,
        epoch: Epoch,
    },
    /// Next tick wanted; replaces an earlier one.
    Timer(TimeMs),
    /// Transactions of blocks that a view change dropped: back to the pool.
    Returned(Vec<SignedTx>),
    Evidence(Box<Evidence>),
    /// The machine takes part no longer. The data stay.
    Halt(HaltReason),
}

/// What must outlive the process. Replayed in order by [`crate::Machine::new`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Body of a block that an own vote names.
    Block(Box<Block>),
    /// An own vote.
    Vote(Vote),
    /// The highest certificate known: what the next view change claims.
    Certificate(Certificate),
    /// An own view change: the view moved to.
    ViewChange(Box<ViewChange>),
    /// The installed view and its base.
    NewView(Box<NewView>),
    /// An own checkpoint vote.
    Checkpoint(CheckpointVote),
    /// The log lacks what was signed: nothing is until a stable checkpoint beyond the height, nor in
    /// a view below.
    Silence { epoch: Epoch, view: View, height: Height },
    /// Of heights up to this one the log holds nothing any more: the ledger has them.
    Settled { epoch: Epoch, height: Height },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    #[error(
        "executing height {} gave state root {}, a quorum certified {}: this node's data or \
         program differs from the others'",
        ours.height, ours.state_root, stable.checkpoint.state_root
    )]
    Diverged { ours: Box<Checkpoint>, stable: Box<CheckpointCertificate> },
    #[error(
        "at height {height} block {ours} is committed here, a quorum certified {theirs}: more \
         seats lie than the committee bears, or this node's data are not its own"
    )]
    Forked { height: Height, ours: Digest, theirs: Digest },
    #[error(
        "epoch {epoch} follows version {wanted} of the rules, this program knows versions up to \
         {ours}: install a newer one; nothing is lost meanwhile"
    )]
    Protocol { epoch: Epoch, wanted: u32, ours: u32 },
}

/// Why a machine cannot continue from what the disk gave back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    #[error("the committee is empty")]
    NoCommittee,
    #[error("the log holds a record of seat {found}, this node sits on {expected}")]
    ForeignRecord { found: twinfold_types::SeatIndex, expected: String },
    #[error(
        "the log holds a vote of view {vote_view} while view {installed} is the newest installed"
    )]
    UnknownView { vote_view: View, installed: View },
    #[error("the log holds two different own votes at view {view}, height {height}")]
    TwoVotes { view: View, height: Height },
    #[error(
        "epoch {epoch} follows version {wanted} of the rules, this program knows versions up to \
         {ours}: install a newer one"
    )]
    Protocol { epoch: Epoch, wanted: u32, ours: u32 },
}
