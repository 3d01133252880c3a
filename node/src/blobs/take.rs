//! Taking a pushed fragment in: its hashes first, then its bytes group by group, each held against
//! them as it comes. One false group ends the transfer and names its sender; of a broken one
//! what was good so far waits for the rest.

use super::{
    BlobError,
    exchange::Inner,
    fragment::{Draft, Header},
    wire::{Answer, REQUEST_TIMEOUT, UploadProof, send, transfer_time},
};
use crate::network::{NetworkError, Peer};
use futures::{AsyncRead, AsyncReadExt};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use twinfold_types::{
    BlobDigest, BlobId,
    blob::{Hashes, StorageReceipt},
    limits::PIECE_BYTES,
};

/// Broken transfers that wait, and for how long.
const WAITING_MAX: usize = 64;
const WAITING_FOR: Duration = Duration::from_secs(10 * 60);
/// Less is sent again.
const WORTH_BYTES: u64 = 1 << 20;
/// What is read and thrown away after a refusal, so that the stream serves again.
const DRAINED_BYTES_MAX: u64 = 1 << 20;

/// What came of fragments whose transfers broke off.
#[derive(Default)]
pub struct Broken(Mutex<BTreeMap<(BlobDigest, u16), (Instant, Draft)>>);

impl Broken {
    fn wait(&self, key: (BlobDigest, u16), draft: Draft) {
        if draft.length() < WORTH_BYTES {
            return;
        }
        let mut waiting = self.0.lock();
        waiting.retain(|_, (since, _)| since.elapsed() < WAITING_FOR);
        if waiting.len() < WAITING_MAX {
            waiting.insert(key, (Instant::now(), draft));
        }
    }

    fn resume(&self, key: &(BlobDigest, u16)) -> Option<Draft> {
        Some(self.0.lock().remove(key)?.1)
    }
}

/// A fragment that this seat is to hold, and who signed for its payload.
pub struct Offer {
    pub blob: BlobId,
    pub fragment: u16,
    pub proof: UploadProof,
}

/// One that a peer announced.
pub struct Announced<'a> {
    pub peer: &'a Peer,
    pub offer: Offer,
}

/// A fragment that comes from the client itself: its hashes, then its bytes, and nothing behind.
pub(super) async fn take_from_client(
    inner: &Inner,
    body: &mut (impl AsyncRead + Unpin),
    offer: &Offer,
) -> Result<StorageReceipt, BlobError> {
    let Offer { blob, fragment, proof } = offer;
    if wants(inner, offer).await? {
        let hash_bytes = Hashes::bytes_of(blob).ok_or_else(unknown_form)?;
        let mut bytes = Vec::new();
        read(body, &mut bytes, hash_bytes as usize).await?;
        let hashes = Hashes::decode(blob, *fragment, &bytes).map_err(BlobError::OtherFragment)?;
        let mut draft = inner.blobs.draft()?;
        fill(body, &mut draft, &hashes).await.map_err(|fault| match fault {
            Fault::Broken(error) => error.into(),
            Fault::False(reason) => BlobError::OtherFragment(reason),
            Fault::Disk(error) => super::store::io(std::path::Path::new("incoming"), error),
        })?;
        let header = Header { blob: *blob, uploader: proof.key, fragment: *fragment };
        keep(inner, draft, header, hashes).await?;
    } else {
        // Whoever sends hears the answer when all is sent.
        let bytes = blob.layout().map_or(0, |layout| layout.fragment_bytes());
        drain(body, bytes + Hashes::bytes_of(blob).unwrap_or(0)).await?;
    }
    inner
        .own_receipt(blob, *fragment)
        .ok_or_else(|| BlobError::NotPermitted("this node does not hold that seat any more".into()))
}

async fn keep(
    inner: &Inner,
    draft: Draft,
    header: Header,
    hashes: Hashes,
) -> Result<(), BlobError> {
    let blobs = inner.blobs.clone();
    tokio::task::spawn_blocking(move || blobs.keep(draft, &header, &hashes))
        .await
        .map_err(|_| BlobError::Stopped)?
}

fn unknown_form() -> BlobError {
    BlobError::Mismatch("an identity of no known form".into())
}

/// Answers an announcement: with a receipt, when the fragment is verified and synced.
pub(super) async fn take(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    announced: &Announced<'_>,
) -> Result<(), BlobError> {
    let blob = &announced.offer.blob;
    let with_bytes = Hashes::goes_with_bytes(blob);
    let Some(hash_bytes) = Hashes::bytes_of(blob) else {
        let refused = Answer::Refused("the payload's identity is of no known form".into());
        send(stream, &refused).await?;
        return Err(unknown_form());
    };
    let bytes = blob.layout().map_or(0, |layout| layout.fragment_bytes());
    let behind = hash_bytes + if with_bytes { bytes } else { 0 };
    let wanted = match wants(inner, &announced.offer).await {
        Ok(wanted) => wanted,
        Err(error) => return refuse(stream, behind, error).await,
    };
    if !wanted {
        drain(stream, behind).await?;
        return answer(inner, stream, announced).await;
    }
    let receiving = receive(inner, stream, announced, hash_bytes, with_bytes);
    tokio::time::timeout(transfer_time(bytes), receiving)
        .await
        .map_err(|_| NetworkError::TimedOut { peer: announced.peer.name.clone() })??;
    answer(inner, stream, announced).await
}

/// Whether the uploader may store the payload here, and this fragment is not here yet.
async fn wants(inner: &Inner, offer: &Offer) -> Result<bool, BlobError> {
    let Offer { blob, fragment, proof } = offer;
    inner.check_proof(blob, proof, crate::clock::now().0)?;
    inner.check_place(blob, *fragment)?;
    let (blobs, digest) = (inner.blobs.clone(), blob.digest());
    let held = tokio::task::spawn_blocking(move || blobs.held(&digest)).await;
    let held = held.map_err(|_| BlobError::Stopped)?;
    if let Some(other) = held.filter(|held| held != fragment) {
        // It may be counted on: only this node itself takes another in its place.
        let reason = format!("fragment {other} of this payload is held here");
        return Err(BlobError::NotPermitted(reason));
    }
    let wanted = held.is_none();
    if wanted {
        inner.blobs.check_quota(&proof.key, blob)?;
    }
    Ok(wanted)
}

async fn receive(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    announced: &Announced<'_>,
    hash_bytes: u64,
    with_bytes: bool,
) -> Result<(), BlobError> {
    let (peer, Offer { blob, fragment, proof }) = (announced.peer, &announced.offer);
    let mut bytes = Vec::new();
    read(stream, &mut bytes, hash_bytes as usize).await?;
    let hashes = match Hashes::decode(blob, *fragment, &bytes) {
        Ok(hashes) => hashes,
        Err(reason) => return Err(lie(stream, peer, blob, reason).await),
    };
    let key = (blob.digest(), *fragment);
    let mut draft = match inner.broken.resume(&key).filter(|_| !with_bytes) {
        Some(draft) => draft,
        None => inner.blobs.draft()?,
    };
    if !with_bytes {
        send(stream, &Answer::Continue { group: draft.length() / PIECE_BYTES as u64 }).await?;
    }
    match fill(stream, &mut draft, &hashes).await {
        Ok(()) => {}
        Err(Fault::Broken(error)) => {
            inner.broken.wait(key, draft);
            return Err(error.into());
        }
        Err(Fault::False(reason)) => return Err(lie(stream, peer, blob, reason).await),
        Err(Fault::Disk(error)) => {
            let error = super::store::io(std::path::Path::new("incoming"), error);
            send(stream, &Answer::Refused(error.to_string())).await?;
            return Err(error);
        }
    }
    let header = Header { blob: *blob, uploader: proof.key, fragment: *fragment };
    keep(inner, draft, header, hashes).await
}

enum Fault {
    Broken(NetworkError),
    False(String),
    Disk(std::io::Error),
}

/// The groups that are missing. A draft holds whole groups only, until the last is there.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    draft: &mut Draft,
    hashes: &Hashes,
) -> Result<(), Fault> {
    let groups = &hashes.groups;
    let mut group = Vec::new();
    let mut index = draft.length() / PIECE_BYTES as u64;
    while let Some(bytes) = groups.group_bytes(index) {
        read(stream, &mut group, bytes).await.map_err(Fault::Broken)?;
        groups.check(index, &group).map_err(|error| Fault::False(error.to_string()))?;
        draft.write(&group).map_err(Fault::Disk)?;
        index += 1;
    }
    Ok(())
}

/// Says who sent what is not so. The stream is given up: more of it may follow.
async fn lie(stream: &mut libp2p::Stream, peer: &Peer, blob: &BlobId, reason: String) -> BlobError {
    let digest = blob.digest();
    tracing::warn!(peer = %peer.name, %digest, reason, "sent a false fragment");
    send(stream, &Answer::Refused(reason.clone())).await.ok();
    BlobError::Mismatch(reason)
}

async fn answer(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    announced: &Announced<'_>,
) -> Result<(), BlobError> {
    let answer = match inner.own_receipt(&announced.offer.blob, announced.offer.fragment) {
        Some(StorageReceipt { seat, signature }) => Answer::Stored { seat, signature },
        None => Answer::Refused("this node does not hold that seat any more".into()),
    };
    Ok(send(stream, &answer).await?)
}

async fn refuse(
    stream: &mut libp2p::Stream,
    behind: u64,
    error: BlobError,
) -> Result<(), BlobError> {
    if behind <= DRAINED_BYTES_MAX {
        drain(stream, behind).await?;
        return Ok(send(stream, &Answer::Refused(error.to_string())).await?);
    }
    send(stream, &Answer::Refused(error.to_string())).await?;
    Err(error)
}

async fn drain(stream: &mut (impl AsyncRead + Unpin), mut bytes: u64) -> Result<(), NetworkError> {
    let mut piece = Vec::new();
    while bytes > 0 {
        let next = bytes.min(PIECE_BYTES as u64);
        read(stream, &mut piece, next as usize).await?;
        bytes -= next;
    }
    Ok(())
}

/// Exactly so many bytes; memory grows with what really comes.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    into: &mut Vec<u8>,
    bytes: usize,
) -> Result<(), NetworkError> {
    into.clear();
    while into.len() < bytes {
        let start = into.len();
        into.resize(bytes.min(start + PIECE_BYTES), 0);
        tokio::time::timeout(REQUEST_TIMEOUT, stream.read_exact(&mut into[start..]))
            .await
            .map_err(|_| NetworkError::TimedOut { peer: "uploader".into() })??;
    }
    Ok(())
}
