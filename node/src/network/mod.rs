//! Peer to peer: TCP, noise and yamux by libp2p; only members' peer ids get in.
//!
//! Two *planes* with a port and connections of their own: votes and blocks on one,
//! payloads on the other, so that a vote never queues behind an upload.

pub mod frame;
pub mod links;
pub mod peers;
pub mod plane;

pub use links::{Inbound, Links};
pub use peers::{Peer, Peers};
pub use plane::{Plane, PlaneConfig};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{what} {text:?} is not valid: {reason}")]
    Address { what: &'static str, text: String, reason: String },
    #[error("[[network.peers]] of the configuration: {0}")]
    Configured(Box<NetworkError>),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("the transport: {0}")]
    Transport(String),
    #[error("the connection: {0}")]
    Io(#[from] std::io::Error),
    #[error(
        "peer {peer} is of another chain: genesis {theirs}, ours is {ours}. Compare `genesis check` with its operator"
    )]
    OtherChain { peer: String, theirs: twinfold_types::Digest, ours: twinfold_types::Digest },
    #[error("peer {peer} speaks format {theirs}, this node format {ours}")]
    OtherFormat { peer: String, theirs: u32, ours: u32 },
    #[error("peer {peer} sent {bytes} bytes, the limit is {limit}")]
    TooLong { peer: String, bytes: usize, limit: usize },
    #[error("peer {peer} sent a malformed message: {reason}")]
    Malformed { peer: String, reason: String },
    #[error("peer {peer} did not answer in time")]
    TimedOut { peer: String },
}
