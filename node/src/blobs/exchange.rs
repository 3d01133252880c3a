//! Payloads between nodes: `Store` pushes one to a validator, which answers with its
//! storage receipt once the file is verified and synced; `Fetch` and `FetchModel`
//! bring one here. One stream a request, on the payload plane.

use super::{
    BlobError, BlobStore, ModelStore,
    call::Caller,
    hold::Hold,
    serve,
    wire::{Answer, PROTOCOL, Request, SILENCE_MAX, chunk_for, receive, transfer_time, unexpected},
};
use crate::{
    network::{NetworkError, Peer, Peers, Plane},
    seat_keys::SeatKeys,
};
use futures::AsyncWriteExt;
use libp2p::PeerId;
use std::{
    collections::BTreeSet,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
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
    caller: Caller,
    connected: watch::Receiver<BTreeSet<PeerId>>,
    pub(super) reader: Reader,
    pub(super) blobs: Arc<BlobStore>,
    pub(super) models: Arc<ModelStore>,
    sent_bytes: AtomicU64,
    /// Requests made: they begin with one peer after the other.
    asked: AtomicUsize,
    pub(super) serving: Semaphore,
    pub(super) hold: Hold,
}

pub struct ExchangeConfig {
    pub chain: Digest,
    pub keys: Arc<SeatKeys>,
    pub verifier: Arc<dyn Verifier>,
    pub peers: Peers,
    pub reader: Reader,
    pub blobs: Arc<BlobStore>,
    pub models: Arc<ModelStore>,
}

impl Exchange {
    pub fn start(plane: &Plane, config: ExchangeConfig) -> Result<Self, NetworkError> {
        let ExchangeConfig { chain, keys, verifier, peers, reader, blobs, models } = config;
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
            sent_bytes: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            serving: Semaphore::new(SERVED_AT_ONCE),
            hold: Hold::default(),
        });
        tokio::spawn(serve::serve(inner.clone(), incoming));
        Ok(Self { inner })
    }

    pub fn sent_bytes(&self) -> u64 {
        self.inner.sent_bytes.load(Ordering::Relaxed)
    }

    /// Whether a member may upload so much now, and really signed for it.
    pub fn check_upload(
        &self,
        blob: &BlobId,
        proof: &UploadProof,
        now_ms: u64,
    ) -> Result<(), BlobError> {
        self.inner.check_upload(blob, proof, now_ms)
    }

    /// Gathers storage receipts for a payload that is stored here, from a quorum.
    pub async fn certify(
        &self,
        blob: &BlobId,
        proof: &UploadProof,
    ) -> Result<AvailabilityCertificate, BlobError> {
        let inner = &self.inner;
        let committee = inner.reader.committee();
        let mut receipts: Vec<StorageReceipt> = inner.own_receipt(blob).into_iter().collect();
        let mut pushes = JoinSet::new();
        let small = Arc::new(inner.small_content(blob)?);
        for peer in inner.validators() {
            let (inner, blob, proof, small) = (inner.clone(), *blob, proof.clone(), small.clone());
            pushes.spawn(async move {
                let receipt = inner.push(&peer, &blob, &proof, &small).await;
                receipt.map_err(|error| (peer.name, error))
            });
        }
        while receipts.len() < committee.quorum() {
            match pushes.join_next().await {
                Some(Ok(Ok(receipt))) => receipts.push(receipt),
                Some(Ok(Err((peer, error)))) => tracing::warn!(%peer, %error, "no storage receipt"),
                Some(Err(error)) => tracing::error!(%error, "a push ended badly"),
                None => {
                    let (got, needed) = (receipts.len(), committee.quorum());
                    return Err(BlobError::TooFewReceipts { got, needed });
                }
            }
        }
        // The rest still get their copy, without anyone waiting for it.
        pushes.detach_all();
        receipts.sort_by_key(|receipt| receipt.seat);
        let certificate = AvailabilityCertificate { epoch: committee.epoch, blob: *blob, receipts };
        certificate.verify(&inner.chain, &committee, &*inner.verifier)?;
        Ok(certificate)
    }

    /// A payload's content: from here, or from whoever has it.
    pub async fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>, BlobError> {
        if let Some(content) = self.inner.blobs.read_whole(digest)? {
            return Ok(content);
        }
        self.fetch_blob(digest, limits::BLOB_BYTES_MAX).await
    }

    /// Brings a payload here that the ledger names: certified means that others have it.
    pub async fn ensure(&self, blob: &BlobId, uploader: PublicKey) -> Result<(), BlobError> {
        let digest = blob.digest();
        if self.inner.blobs.has(&digest) {
            return Ok(());
        }
        let content = self.fetch_blob(&digest, blob.length).await?;
        let (blobs, blob) = (self.inner.blobs.clone(), *blob);
        tokio::task::spawn_blocking(move || {
            let mut incoming = blobs.begin()?;
            incoming.write(&content)?;
            blobs.keep_named(incoming, &blob, uploader)
        })
        .await
        .map_err(|error| BlobError::NotPermitted(error.to_string()))?
    }

    async fn fetch_blob(&self, digest: &BlobDigest, limit: u64) -> Result<Vec<u8>, BlobError> {
        for peer in self.inner.validators() {
            match self.inner.fetch(&peer, Request::Fetch { blob: *digest }, limit).await {
                Ok(content) => {
                    if BlobId::is_whole_copy(&content, digest) {
                        return Ok(content);
                    }
                    tracing::warn!(peer = %peer.name, %digest, "sent another payload than asked for");
                }
                Err(error) => tracing::debug!(peer = %peer.name, %error, "cannot fetch a payload"),
            }
        }
        Err(BlobError::NotFound(*digest))
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
    fn validators(&self) -> Vec<Peer> {
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

    async fn push(
        &self,
        peer: &Peer,
        blob: &BlobId,
        proof: &UploadProof,
        small: &[u8],
    ) -> Result<StorageReceipt, BlobError> {
        let work = async {
            let request = Request::Store { blob: *blob, proof: proof.clone() };
            let (mut stream, mut answer) = self.caller.ask(peer, &request, small).await?;
            if answer == Answer::Continue {
                self.send_blob(&mut stream, blob).await?;
                answer = receive(&mut stream, &peer.id).await?;
            }
            match answer {
                Answer::Stored { seat, signature } => {
                    self.caller.keep(peer, stream);
                    self.checked_receipt(peer, blob, seat, signature)
                }
                Answer::Refused(reason) => Err(BlobError::NotPermitted(reason)),
                other => Err(unexpected(peer, &other).into()),
            }
        };
        tokio::time::timeout(transfer_time(blob.length), work)
            .await
            .map_err(|_| NetworkError::TimedOut { peer: peer.name.clone() })?
    }

    /// What goes right behind the request: nothing where the content waits to be asked for.
    fn small_content(&self, blob: &BlobId) -> Result<Vec<u8>, BlobError> {
        if blob.length > limits::BLOB_SMALL_BYTES_MAX {
            return Ok(Vec::new());
        }
        let (_, _, mut file) =
            self.blobs.open_blob(&blob.digest())?.ok_or(BlobError::NotFound(blob.digest()))?;
        let mut content = Vec::with_capacity(blob.length as usize);
        file.read_to_end(&mut content).map_err(NetworkError::Io)?;
        self.sent_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        Ok(content)
    }

    async fn send_blob(&self, stream: &mut libp2p::Stream, blob: &BlobId) -> Result<(), BlobError> {
        let (_, _, file) =
            self.blobs.open_blob(&blob.digest())?.ok_or(BlobError::NotFound(blob.digest()))?;
        self.send_content(stream, file, blob.length).await?;
        Ok(())
    }

    pub(super) async fn send_content(
        &self,
        stream: &mut libp2p::Stream,
        mut content: impl Read,
        length: u64,
    ) -> Result<(), NetworkError> {
        let mut chunk = chunk_for(length);
        loop {
            let read = content.read(&mut chunk)?;
            if read == 0 {
                stream.flush().await?;
                return Ok(());
            }
            tokio::time::timeout(SILENCE_MAX, stream.write_all(&chunk[..read]))
                .await
                .map_err(|_| NetworkError::TimedOut { peer: "a reader".into() })??;
            self.sent_bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
    }

    async fn fetch(&self, peer: &Peer, request: Request, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.caller.fetch(peer, request, limit).await
    }
}
