//! Messages between nodes on the consensus plane. To each connected peer runs one
//! stream for sending; what peers send arrives on streams of theirs. A full queue
//! drops its newest message: agreement repeats what matters.

use super::{
    NetworkError, Peer, Peers, Plane,
    frame::{framed, greet, read_frame},
};
use bytes::Bytes;
use futures::{AsyncWriteExt, StreamExt};
use libp2p::{PeerId, StreamProtocol};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use twinfold_types::{Digest, PublicKey, limits, message::PeerMessage};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/twinfold/consensus/2");
/// Messages waiting for one peer, of up to 16 MiB each; broadcasts share their bytes.
const QUEUE_MESSAGES: usize = 128;
const RETRY: Duration = Duration::from_millis(200);
/// After a refusal by chain or format, so that the log is not flooded.
const RETRY_REFUSED: Duration = Duration::from_secs(10);

/// What arrives.
pub enum Inbound {
    Connected(PublicKey),
    Message(PublicKey, Box<PeerMessage>),
}

#[derive(Clone)]
pub struct Links {
    queues: Arc<RwLock<BTreeMap<PublicKey, mpsc::Sender<Bytes>>>>,
    pub sent_bytes: Arc<AtomicU64>,
    pub sent_messages: Arc<AtomicU64>,
}

struct Shared {
    chain: Digest,
    peers: Peers,
    control: libp2p_stream::Control,
    connected: watch::Receiver<BTreeSet<PeerId>>,
    inbound: mpsc::Sender<Inbound>,
    links: Links,
}

impl Links {
    pub fn start(
        plane: &Plane,
        peers: Peers,
        chain: Digest,
        inbound: mpsc::Sender<Inbound>,
    ) -> Result<Self, NetworkError> {
        let links = Self {
            queues: Arc::default(),
            sent_bytes: Arc::default(),
            sent_messages: Arc::default(),
        };
        let shared = Arc::new(Shared {
            chain,
            peers,
            control: plane.control.clone(),
            connected: plane.connected.clone(),
            inbound,
            links: links.clone(),
        });
        let incoming = plane
            .control
            .clone()
            .accept(PROTOCOL)
            .map_err(|error| NetworkError::Transport(error.to_string()))?;
        tokio::spawn(accept(shared.clone(), incoming));
        tokio::spawn(follow_connections(shared));
        Ok(links)
    }

    /// Peers with a stream for sending.
    pub fn connected(&self) -> BTreeSet<PublicKey> {
        self.queues.read().keys().copied().collect()
    }

    pub fn send(&self, to: &PublicKey, message: &PeerMessage) {
        if let Some(queue) = self.queues.read().get(to) {
            self.enqueue(to, queue, encode(message));
        }
    }

    pub fn broadcast(&self, message: &PeerMessage) {
        let bytes = encode(message);
        for (to, queue) in self.queues.read().iter() {
            self.enqueue(to, queue, bytes.clone());
        }
    }

    fn enqueue(&self, to: &PublicKey, queue: &mpsc::Sender<Bytes>, bytes: Bytes) {
        if queue.try_send(bytes).is_err() {
            tracing::debug!(peer = %to.short(), "queue full, message dropped");
        }
    }
}

fn encode(message: &PeerMessage) -> Bytes {
    Bytes::from(framed(|frame| message.encode_into(frame)))
}

/// Starts a sender for each peer that connects.
async fn follow_connections(shared: Arc<Shared>) {
    let mut connected = shared.connected.clone();
    let mut running: BTreeMap<PeerId, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        let now = connected.borrow_and_update().clone();
        running.retain(|_, task| !task.is_finished());
        for id in now {
            if let Some(peer) = shared.peers.by_id(&id)
                && !running.contains_key(&id)
            {
                running.insert(id, tokio::spawn(keep_sending(shared.clone(), peer.id)));
            }
        }
        if connected.changed().await.is_err() {
            return;
        }
    }
}

/// Holds a stream to one peer as long as it is connected.
async fn keep_sending(shared: Arc<Shared>, id: PeerId) {
    let mut connected = shared.connected.clone();
    // Looked up each time: whom it is of may have become known.
    while let Some(peer) = shared.peers.by_id(&id) {
        if connected.wait_for(|set| set.contains(&id)).await.is_err() {
            return;
        }
        let pause = match send_until_broken(&shared, &peer).await {
            Err(error @ (NetworkError::OtherChain { .. } | NetworkError::OtherFormat { .. })) => {
                tracing::error!(peer = %peer.name, "{error}");
                RETRY_REFUSED
            }
            Err(error) => {
                tracing::debug!(peer = %peer.name, %error, "stream ended");
                RETRY
            }
            Ok(()) => RETRY,
        };
        shared.links.queues.write().remove(&peer.member);
        tokio::time::sleep(pause).await;
    }
}

async fn send_until_broken(shared: &Shared, peer: &Peer) -> Result<(), NetworkError> {
    let mut control = shared.control.clone();
    let mut stream = control
        .open_stream(peer.id, PROTOCOL)
        .await
        .map_err(|error| NetworkError::Transport(error.to_string()))?;
    greet(&mut stream, &peer.id, shared.chain).await?;
    let (sender, mut queue) = mpsc::channel::<Bytes>(QUEUE_MESSAGES);
    shared.links.queues.write().insert(peer.member, sender);
    tracing::info!(peer = %peer.name, "connected");
    shared.inbound.send(Inbound::Connected(peer.member)).await.ok();
    let mut connected = shared.connected.clone();
    loop {
        // An idle stream does not notice by itself that its connection is gone.
        let bytes = tokio::select! {
            bytes = queue.recv() => bytes,
            _ = connected.wait_for(|set| !set.contains(&peer.id)) => None,
        };
        let Some(bytes) = bytes else { return Ok(()) };
        write_counted(shared, &mut stream, &bytes).await?;
        // Whatever else waits goes out with the same flush.
        while let Ok(bytes) = queue.try_recv() {
            write_counted(shared, &mut stream, &bytes).await?;
        }
        stream.flush().await?;
    }
}

async fn write_counted(
    shared: &Shared,
    stream: &mut libp2p::Stream,
    bytes: &Bytes,
) -> Result<(), NetworkError> {
    shared.links.sent_messages.fetch_add(1, Ordering::Relaxed);
    shared.links.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(stream.write_all(bytes).await?)
}

async fn accept(shared: Arc<Shared>, mut incoming: libp2p_stream::IncomingStreams) {
    while let Some((id, stream)) = incoming.next().await {
        let Some(peer) = shared.peers.by_id(&id) else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let name = peer.name.clone();
            if let Err(error) = receive(&shared, peer, stream).await {
                match error {
                    NetworkError::Io(error) => {
                        tracing::debug!(peer = %name, %error, "stream ended")
                    }
                    other => tracing::warn!(peer = %name, "{other}"),
                }
            }
        });
    }
}

async fn receive(
    shared: &Shared,
    peer: Peer,
    mut stream: libp2p::Stream,
) -> Result<(), NetworkError> {
    greet(&mut stream, &peer.id, shared.chain).await?;
    loop {
        let bytes = read_frame(&mut stream, &peer.id, limits::MESSAGE_BYTES_MAX).await?;
        let message = PeerMessage::decode(&bytes).map_err(|error| NetworkError::Malformed {
            peer: peer.id.to_string(),
            reason: error.to_string(),
        })?;
        let inbound = Inbound::Message(peer.member, Box::new(message));
        if shared.inbound.send(inbound).await.is_err() {
            return Ok(());
        }
    }
}
