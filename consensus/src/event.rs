//! What happens to a validator: the inputs of [`crate::Machine`].

use crate::Record;
use serde::{Deserialize, Serialize};
use twinfold_types::{
    Committee, Digest, Height, PublicKey, SignedTx, TimeMs, View,
    message::ConsensusMessage,
    vote::{Certificate, Checkpoint, CheckpointCertificate},
};

/// What never changes while a machine lives.
#[derive(Clone, Debug)]
pub struct Config {
    /// Digest of genesis: the chain's identity and the parent of height 1.
    pub chain: Digest,
    pub genesis_time: TimeMs,
    /// The epoch to begin in.
    pub committee: Committee,
    /// This node's member key; an observer's is no validator's.
    pub own: PublicKey,
}

/// A block by its place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub height: Height,
    pub digest: Digest,
    pub time: TimeMs,
}

/// What the disk gives back when a process starts.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The ledger's executed head; the genesis digest and time at height 0.
    pub head: Head,
    /// What the ledger holds with the head: its own commit certificate or a descendant's.
    pub certificate: Option<Certificate>,
    pub stable: Option<CheckpointCertificate>,
    /// Every record of the log, in the order written.
    pub records: Vec<Record>,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// From a peer, or an own broadcast looped back after the sync of its turn.
    Message { from: PublicKey, message: ConsensusMessage },
    /// The timer is due. Harmless at any other time; one is wanted at the start.
    Tick,
    /// Whether a valid transaction waits or a round deadline is due.
    Work { pending: bool },
    /// Answer to [`crate::Effect::Build`].
    Built { view: View, parent: Digest, time: TimeMs, txs: Vec<SignedTx> },
    /// The ledger executed and synced a committed height. At the start the driver
    /// repeats the one of the recovered head. The epoch ends early after `ends_at`.
    Executed { checkpoint: Checkpoint, ends_at: Option<Height> },
    /// A connection to a peer came up.
    Connected { peer: PublicKey },
}
