//! What goes over a payload stream: one request, its answers, and raw content.

use crate::network::{
    NetworkError, Peer,
    frame::{read_frame, write_frame},
};
use futures::AsyncWriteExt;
use libp2p::{PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use twinfold_types::{
    BlobDigest, BlobId, Digest, Height, PublicKey, SeatIndex, Signature, codec,
    limits::BLOB_CHUNK_BYTES,
};

pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/twinfold/payload/2");
pub const REQUEST_BYTES_MAX: usize = 4_096;
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that sends nothing for so long in the middle of content is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A payload that moves slower than this on average is given up.
pub const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// Who uploads, and that it really is them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadProof {
    pub key: PublicKey,
    pub time_ms: u64,
    pub signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A fragment for the asked: its hashes follow, and behind them its bytes, if they are few.
    Store {
        blob: BlobId,
        fragment: u16,
        proof: UploadProof,
    },
    /// Which fragment of a payload is there, and its hashes.
    FetchHashes {
        blob: BlobDigest,
    },
    /// Groups of the fragment that is there.
    FetchGroups {
        blob: BlobDigest,
        fragment: u16,
        first: u64,
        count: u64,
    },
    FetchModel {
        digest: Digest,
    },
    /// The rows of the state of a height whose places begin with these nibbles.
    FetchState {
        height: Height,
        nibbles: Vec<u8>,
    },
    /// What a ledger can begin from: the newest stable checkpoint and the audit log's edge.
    FetchAnchor,
    /// Blocks up to this height, as many as fit, the oldest first.
    FetchBlocks {
        last: Height,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Send the fragment's bytes from this group on: what was before it is here.
    Continue {
        group: u64,
    },
    Stored {
        seat: SeatIndex,
        signature: Signature,
    },
    /// This fragment is here; its hashes follow.
    Held {
        blob: BlobId,
        fragment: u16,
    },
    /// The content follows.
    Content {
        length: u64,
    },
    Refused(String),
}

pub fn transfer_time(bytes: u64) -> Duration {
    REQUEST_TIMEOUT + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

/// Room for pieces of content of this length.
pub fn chunk_for(length: u64) -> Vec<u8> {
    vec![0; usize::try_from(length).map_or(BLOB_CHUNK_BYTES, |bytes| bytes.min(BLOB_CHUNK_BYTES))]
}

pub fn unexpected(peer: &Peer, answer: &Answer) -> NetworkError {
    NetworkError::Malformed { peer: peer.name.clone(), reason: format!("unexpected {answer:?}") }
}

pub async fn send<T: Serialize>(
    stream: &mut libp2p::Stream,
    value: &T,
) -> Result<(), NetworkError> {
    write_frame(stream, &codec::encode(value)).await?;
    stream.flush().await?;
    Ok(())
}

pub async fn receive<T: Serialize + for<'de> Deserialize<'de>>(
    stream: &mut libp2p::Stream,
    peer: &PeerId,
) -> Result<T, NetworkError> {
    let bytes = tokio::time::timeout(REQUEST_TIMEOUT, read_frame(stream, peer, REQUEST_BYTES_MAX))
        .await
        .map_err(|_| NetworkError::TimedOut { peer: peer.to_string() })??;
    codec::decode(&bytes, REQUEST_BYTES_MAX).map_err(|error| NetworkError::Malformed {
        peer: peer.to_string(),
        reason: error.to_string(),
    })
}
