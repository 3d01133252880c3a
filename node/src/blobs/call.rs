//! The asking side of one request: a stream of its own, a greeting, a bounded answer.

use super::{
    BlobError,
    wire::{
        Answer, PROTOCOL, Request, SILENCE_MAX, chunk_for, receive, send, transfer_time, unexpected,
    },
};
use crate::network::{NetworkError, Peer, Plane, frame::greet};
use futures::AsyncReadExt;
use std::time::Duration;
use twinfold_types::Digest;

/// A stream that is not open by then was lost.
const OPEN_WAIT: Duration = Duration::from_secs(3);
const OPEN_PAUSE_MIN: Duration = Duration::from_millis(5);
const OPEN_PAUSE_MAX: Duration = Duration::from_millis(640);

/// Asks peers on the payload plane.
#[derive(Clone)]
pub struct Caller {
    control: libp2p_stream::Control,
    chain: Digest,
}

impl Caller {
    pub fn new(plane: &Plane, chain: Digest) -> Self {
        Self { control: plane.control.clone(), chain }
    }

    /// Opens a stream and greets. The other side drops a stream that comes in a burst
    /// before anything is read from it: such a one is opened again.
    pub async fn open(&self, peer: &Peer) -> Result<libp2p::Stream, NetworkError> {
        let mut pause = OPEN_PAUSE_MIN;
        loop {
            match self.try_open(peer).await {
                Err(error @ (NetworkError::Io(_) | NetworkError::TimedOut { .. }))
                    if pause <= OPEN_PAUSE_MAX =>
                {
                    tracing::debug!(peer = %peer.name, %error, "opening a stream again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                opened => return opened,
            }
        }
    }

    async fn try_open(&self, peer: &Peer) -> Result<libp2p::Stream, NetworkError> {
        let mut control = self.control.clone();
        let open = control.open_stream(peer.id, PROTOCOL);
        let mut stream = tokio::time::timeout(OPEN_WAIT, open)
            .await
            .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })?
            .map_err(|error| NetworkError::Transport(error.to_string()))?;
        greet(&mut stream, &peer.id, self.chain).await?;
        Ok(stream)
    }

    /// Content that a peer has, of so many bytes at most.
    pub async fn fetch(
        &self,
        peer: &Peer,
        request: Request,
        limit: u64,
    ) -> Result<Vec<u8>, BlobError> {
        let work = async {
            let mut stream = self.open(peer).await?;
            send(&mut stream, &request).await?;
            match receive(&mut stream, &peer.id).await? {
                Answer::Content { length } if length <= limit => {
                    // A peer that sends a byte now and then is given up as well.
                    let content = read_content(&mut stream, peer, length);
                    let content = tokio::time::timeout(transfer_time(length), content).await;
                    let late = |_| NetworkError::TimedOut { peer: peer.name.clone() };
                    Ok(content.map_err(late)??)
                }
                Answer::Refused(reason) => Err(BlobError::NotPermitted(reason)),
                other => Err(unexpected(peer, &other).into()),
            }
        };
        work.await
    }
}

/// Reads content piece by piece: a peer that falls silent is given up soon, and
/// memory grows only with what really arrives.
async fn read_content(
    stream: &mut libp2p::Stream,
    peer: &Peer,
    length: u64,
) -> Result<Vec<u8>, NetworkError> {
    let mut content = Vec::new();
    let mut chunk = chunk_for(length);
    while (content.len() as u64) < length {
        let left = usize::try_from(length - content.len() as u64).unwrap_or(usize::MAX);
        let want = chunk.len().min(left);
        let read = tokio::time::timeout(SILENCE_MAX, stream.read(&mut chunk[..want]))
            .await
            .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })??;
        if read == 0 {
            return Err(NetworkError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        content.extend_from_slice(&chunk[..read]);
    }
    Ok(content)
}
