//! The asking side: a greeted stream, a request, a bounded answer. A stream whose answer came
//! whole is kept for the next request to the same peer: opening one costs both sides more than
//! a small payload does.

use super::{
    BlobError,
    wire::{Answer, PROTOCOL, Request, SILENCE_MAX, chunk_for, receive, transfer_time, unexpected},
};
use crate::network::{
    NetworkError, Peer, Plane,
    frame::{framed, greet},
};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use twinfold_types::{Digest, codec, limits::PIECE_BYTES};

/// A stream that is not open by then was lost.
const OPEN_WAIT: Duration = Duration::from_secs(3);
const OPEN_PAUSE_MIN: Duration = Duration::from_millis(5);
const OPEN_PAUSE_MAX: Duration = Duration::from_millis(640);
/// Streams of a peer that wait for another request.
const KEPT_MAX: usize = 4;
/// For so long: less than the other side waits for one.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// Since when, and the stream.
type Kept = (Instant, Stream);

/// Asks peers on the payload plane.
#[derive(Clone)]
pub struct Caller {
    control: libp2p_stream::Control,
    chain: Digest,
    kept: Arc<Mutex<BTreeMap<PeerId, Vec<Kept>>>>,
}

impl Caller {
    pub fn new(plane: &Plane, chain: Digest) -> Self {
        Self { control: plane.control.clone(), chain, kept: Arc::default() }
    }

    /// Sends a request, with content behind it where it is small, and hears the first answer. A
    /// kept stream may have been closed meanwhile: then a new one is opened.
    pub async fn ask(
        &self,
        peer: &Peer,
        request: &Request,
        content: &[u8],
    ) -> Result<(Stream, Answer), NetworkError> {
        let mut bytes = framed(|frame| frame.extend_from_slice(&codec::encode(request)));
        bytes.extend_from_slice(content);
        if let Some(mut stream) = self.kept(peer) {
            match exchange(&mut stream, peer, &bytes).await {
                Err(NetworkError::Io(_)) => {}
                answer => return Ok((stream, answer?)),
            }
        }
        let mut stream = self.open(peer).await?;
        let answer = exchange(&mut stream, peer, &bytes).await?;
        Ok((stream, answer))
    }

    /// Gives back a stream on which nothing is under way.
    pub fn keep(&self, peer: &Peer, stream: Stream) {
        let mut kept = self.kept.lock();
        let streams = kept.entry(peer.id).or_default();
        streams.retain(|(since, _)| since.elapsed() < KEPT_FOR);
        if streams.len() < KEPT_MAX {
            streams.push((Instant::now(), stream));
        }
    }

    fn kept(&self, peer: &Peer) -> Option<Stream> {
        let (since, stream) = self.kept.lock().get_mut(&peer.id)?.pop()?;
        (since.elapsed() < KEPT_FOR).then_some(stream)
    }

    /// Opens a stream and greets. The other side drops a stream that comes in a burst
    /// before anything is read from it: such a one is opened again.
    async fn open(&self, peer: &Peer) -> Result<Stream, NetworkError> {
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

    async fn try_open(&self, peer: &Peer) -> Result<Stream, NetworkError> {
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
        let (mut stream, answer) = self.ask(peer, &request, &[]).await?;
        match answer {
            Answer::Content { length } if length <= limit => {
                // A peer that sends a byte now and then is given up as well.
                let content = read_content(&mut stream, peer, length);
                let content = tokio::time::timeout(transfer_time(length), content).await;
                let late = |_| NetworkError::TimedOut { peer: peer.name.clone() };
                let content = content.map_err(late)??;
                self.keep(peer, stream);
                Ok(content)
            }
            Answer::Refused(reason) => {
                self.keep(peer, stream);
                Err(BlobError::NotPermitted(reason))
            }
            other => Err(unexpected(peer, &other).into()),
        }
    }
}

impl Caller {
    /// Groups of a fragment, of so many bytes together, each checked as it comes.
    pub async fn fetch_groups(
        &self,
        peer: &Peer,
        request: &Request,
        bytes: u64,
        check: impl Fn(u64, &[u8]) -> Result<(), String>,
    ) -> Result<Vec<u8>, BlobError> {
        let work = async {
            let (mut stream, answer) = self.ask(peer, request, &[]).await?;
            match answer {
                Answer::Content { length } if length == bytes => {}
                Answer::Refused(reason) => {
                    self.keep(peer, stream);
                    return Err(BlobError::NotPermitted(reason));
                }
                other => return Err(unexpected(peer, &other).into()),
            }
            let mut content = Vec::with_capacity(bytes as usize);
            for group in 0..bytes.div_ceil(PIECE_BYTES as u64) {
                let start = content.len();
                content.resize((start + PIECE_BYTES).min(bytes as usize), 0);
                tokio::time::timeout(SILENCE_MAX, stream.read_exact(&mut content[start..]))
                    .await
                    .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })?
                    .map_err(NetworkError::Io)?;
                check(group, &content[start..]).map_err(|reason| NetworkError::Malformed {
                    peer: peer.name.clone(),
                    reason: format!("a false fragment: {reason}"),
                })?;
            }
            self.keep(peer, stream);
            Ok(content)
        };
        tokio::time::timeout(transfer_time(bytes), work)
            .await
            .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })?
    }
}

async fn exchange(stream: &mut Stream, peer: &Peer, bytes: &[u8]) -> Result<Answer, NetworkError> {
    let send = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    tokio::time::timeout(SILENCE_MAX, send)
        .await
        .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })??;
    receive(stream, &peer.id).await
}

/// Reads content piece by piece: a peer that falls silent is given up soon, and
/// memory grows only with what really arrives.
pub(super) async fn read_content(
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
