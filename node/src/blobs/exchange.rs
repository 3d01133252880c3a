//! Payloads, models and state between nodes: what the rest of the node asks for. One stream
//! a request, on the payload plane.

use super::{
    BlobError, BlobStore, ModelStore,
    call::Caller,
    fragment::Header,
    gather::Gather,
    hold::Hold,
    push::own_fragment,
    rebuild::rebuild,
    serve,
    staging::Staged,
    take::{Broken, Offer, take_from_client},
    wire::{PROTOCOL, Request, SILENCE_MAX},
};
use crate::{
    network::{NetworkError, Peer, Peers, Plane},
    seat_keys::SeatKeys,
};
use futures::{AsyncRead, AsyncWriteExt, TryStreamExt};
use libp2p::PeerId;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Semaphore, mpsc, watch};
use twinfold_ledger::Reader;
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, BlobId, Digest, Height, PublicKey, blob::StorageReceipt,
    key::Verifier, limits, model::model_digest, subtree::Subtree,
};

pub use super::wire::UploadProof;

const SERVED_AT_ONCE: usize = 64;

/// Both sides of the exchange.
#[derive(Clone)]
pub struct Exchange {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) chain: Digest,
    pub(super) keys: Arc<SeatKeys>,
    pub(super) verifier: Arc<dyn Verifier>,
    pub(super) peers: Peers,
    pub(super) caller: Caller,
    connected: watch::Receiver<BTreeSet<PeerId>>,
    pub(super) reader: Reader,
    pub(super) blobs: Arc<BlobStore>,
    pub(super) models: Arc<ModelStore>,
    pub(super) broken: Broken,
    pub(super) sent_bytes: AtomicU64,
    /// Requests made: they begin with one peer after the other.
    asked: AtomicUsize,
    pub(super) serving: Semaphore,
    pub(super) hold: Hold,
    /// Where it is heard which payloads were cut by a liar.
    pub(super) lies: mpsc::Sender<BlobDigest>,
}

pub struct ExchangeConfig {
    pub chain: Digest,
    pub keys: Arc<SeatKeys>,
    pub verifier: Arc<dyn Verifier>,
    pub peers: Peers,
    pub reader: Reader,
    pub blobs: Arc<BlobStore>,
    pub models: Arc<ModelStore>,
    pub lies: mpsc::Sender<BlobDigest>,
}

impl Exchange {
    pub fn start(plane: &Plane, config: ExchangeConfig) -> Result<Self, NetworkError> {
        let ExchangeConfig { chain, keys, verifier, peers, reader, blobs, models, lies } = config;
        let incoming = plane
            .control
            .clone()
            .accept(PROTOCOL)
            .map_err(|error| NetworkError::Transport(error.to_string()))?;
        let inner = Arc::new(Inner {
            chain,
            keys,
            verifier,
            peers,
            caller: Caller::new(plane, chain),
            connected: plane.connected.clone(),
            reader,
            blobs,
            models,
            broken: Broken::default(),
            sent_bytes: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            serving: Semaphore::new(SERVED_AT_ONCE),
            hold: Hold::default(),
            lies,
        });
        tokio::spawn(serve::serve(inner.clone(), incoming));
        Ok(Self { inner })
    }

    pub fn sent_bytes(&self) -> u64 {
        self.inner.sent_bytes.load(Ordering::Relaxed)
    }

    /// Whether a member who may upload signed for a payload of this identity, not long ago.
    pub fn check_signed(
        &self,
        digest: &BlobDigest,
        length: u64,
        proof: &UploadProof,
        now_ms: u64,
    ) -> Result<(), BlobError> {
        self.inner.check_signed(digest, length, proof, now_ms)
    }

    /// What came: its signature was checked before it did.
    pub fn check_upload(&self, blob: &BlobId, proof: &UploadProof) -> Result<(), BlobError> {
        self.inner.check_cut(blob)?;
        self.inner.blobs.check_quota(&proof.key, blob)
    }

    /// Stores this seat's fragment of a payload that a client cut itself.
    pub async fn take_fragment(
        &self,
        body: &mut (impl AsyncRead + Unpin),
        offer: &Offer,
    ) -> Result<StorageReceipt, BlobError> {
        take_from_client(&self.inner, body, offer).await
    }

    /// Gives every seat its fragment, and gathers storage receipts from a quorum.
    pub async fn disperse(
        &self,
        staged: Staged,
        proof: &UploadProof,
    ) -> Result<AvailabilityCertificate, BlobError> {
        self.inner.disperse(staged, proof).await
    }

    /// A payload, from whoever holds enough of it.
    pub async fn gather(&self, digest: &BlobDigest) -> Result<Arc<Gather>, BlobError> {
        Ok(Arc::new(Gather::open(self.inner.clone(), digest).await?))
    }

    /// A payload's content in memory.
    pub async fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>, BlobError> {
        let (blobs, here) = (self.inner.blobs.clone(), *digest);
        let whole = tokio::task::spawn_blocking(move || blobs.read_whole(&here)).await;
        if let Some(content) = whole.map_err(|_| BlobError::Stopped)? {
            return Ok(content);
        }
        let gather = self.gather(digest).await?;
        if gather.id.length > limits::BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { limit: limits::BLOB_BYTES_MAX });
        }
        let mut content = Vec::new();
        let mut parts = Box::pin(gather.checked_content()?);
        while let Some(part) = parts.try_next().await? {
            content.extend_from_slice(&part);
        }
        Ok(content)
    }

    /// Makes sure that this seat's fragment of a payload that the ledger names is here.
    pub async fn ensure(&self, blob: &BlobId, uploader: PublicKey) -> Result<(), BlobError> {
        let inner = &self.inner;
        let seat = inner.keys.of_seat(&inner.reader.committee()).map(|(seat, _)| seat);
        let Some(fragment) = own_fragment(blob, seat) else { return Ok(()) };
        let (blobs, digest) = (inner.blobs.clone(), blob.digest());
        let stored = tokio::task::spawn_blocking(move || blobs.stored(&digest)).await;
        let stored = stored.map_err(|_| BlobError::Stopped)?;
        if stored.is_some_and(|stored| stored.header.fragment == fragment) {
            return Ok(());
        }
        let header = Header { blob: *blob, uploader, fragment };
        rebuild(self.gather(&digest).await?, inner.blobs.clone(), header).await
    }

    /// The state of a height under some nibbles, from whoever has it: checked against the
    /// hash that the tree gives it.
    pub async fn state(
        &self,
        height: Height,
        nibbles: &[u8],
        expected: &Digest,
    ) -> Result<Subtree, BlobError> {
        for peer in self.inner.validators() {
            let request = Request::FetchState { height, nibbles: nibbles.to_vec() };
            let limit = limits::SUBTREE_ANSWER_BYTES_MAX as u64;
            match self.inner.fetch(&peer, request, limit).await {
                Ok(content) => match Subtree::decode(&content, nibbles, expected) {
                    Ok(subtree) => return Ok(subtree),
                    Err(error) => tracing::warn!(peer = %peer.name, %error, "sent a false state"),
                },
                Err(error) => tracing::debug!(peer = %peer.name, %error, "cannot fetch the state"),
            }
        }
        Err(BlobError::NotFound(*expected))
    }

    /// A model's canonical form: from here, or from whoever has it (and then kept).
    pub async fn model(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        if let Some(content) = self.inner.models.read(digest)? {
            return Ok(content);
        }
        for peer in self.inner.validators() {
            match self
                .inner
                .fetch(&peer, Request::FetchModel { digest: *digest }, limits::BLOB_BYTES_MAX)
                .await
            {
                Ok(content) if model_digest(&content) == *digest => {
                    self.inner.models.put(digest, &content)?;
                    return Ok(content);
                }
                Ok(_) => {
                    tracing::warn!(peer = %peer.name, %digest, "sent another model than asked for")
                }
                Err(error) => tracing::debug!(peer = %peer.name, %error, "cannot fetch a model"),
            }
        }
        Err(BlobError::NotFound(*digest))
    }
}

impl Inner {
    /// All members' nodes that are connected: a fragment may lie with one that has no seat now.
    pub(super) fn members(&self) -> Vec<Peer> {
        let connected = self.connected.borrow().clone();
        let mut peers = self.peers.all();
        peers.retain(|peer| connected.contains(&peer.id));
        peers
    }

    pub(super) fn validators(&self) -> Vec<Peer> {
        let committee = self.reader.committee();
        let connected = self.connected.borrow().clone();
        let mut peers = self.peers.all();
        peers.retain(|peer| {
            committee.seat_of(&peer.member).is_some() && connected.contains(&peer.id)
        });
        // Another one first each time: whoever withholds is not always asked before the rest.
        let first = self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(first) = first.checked_rem(peers.len()) {
            peers.rotate_left(first);
        }
        peers
    }

    pub(super) async fn send_content(
        &self,
        stream: &mut libp2p::Stream,
        content: &[u8],
    ) -> Result<(), NetworkError> {
        for piece in content.chunks(limits::BLOB_CHUNK_BYTES) {
            tokio::time::timeout(SILENCE_MAX, stream.write_all(piece))
                .await
                .map_err(|_| NetworkError::TimedOut { peer: "a reader".into() })??;
            self.sent_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(stream.flush().await?)
    }

    async fn fetch(&self, peer: &Peer, request: Request, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.caller.fetch(peer, request, limit).await
    }
}
