//! The answering side of the exchange.

use super::{
    BlobError,
    exchange::Inner,
    wire::{Answer, REQUEST_TIMEOUT, Request, UploadProof, chunk_for, receive, send},
};
use crate::network::{NetworkError, Peer, frame::greet};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::PeerId;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Semaphore;
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{BlobId, Block, Height, blob::StorageReceipt, codec, limits};

/// Requests of one peer that are answered at once.
const PEER_AT_ONCE: usize = 8;

pub async fn serve(inner: Arc<Inner>, mut incoming: libp2p_stream::IncomingStreams) {
    // Only members' peers come here, so there are no more of these than members.
    let mut shares: BTreeMap<PeerId, Arc<Semaphore>> = BTreeMap::new();
    while let Some((id, stream)) = incoming.next().await {
        let Some(peer) = inner.peers.by_id(&id) else { continue };
        let inner = inner.clone();
        let own_share = shares.entry(id).or_insert_with(|| Arc::new(Semaphore::new(PEER_AT_ONCE)));
        let own_share = own_share.clone();
        tokio::spawn(async move {
            if let Err(error) = answer_all(&inner, &peer, stream, &own_share).await {
                tracing::debug!(peer = %peer.name, %error, "payload request failed");
            }
        });
    }
}

/// Answers one request after the other, until the peer closes the stream or asks nothing more.
async fn answer_all(
    inner: &Inner,
    peer: &Peer,
    mut stream: libp2p::Stream,
    own_share: &Semaphore,
) -> Result<(), BlobError> {
    greet(&mut stream, &peer.id, inner.chain).await?;
    loop {
        let request = match receive(&mut stream, &peer.id).await {
            Err(NetworkError::Io(_) | NetworkError::TimedOut { .. }) => break,
            request => request?,
        };
        // One peer that reads nothing must not keep the others waiting.
        let (Ok(_share), Ok(_permit)) = (own_share.acquire().await, inner.serving.acquire().await)
        else {
            break;
        };
        answer(inner, &mut stream, request).await?;
        stream.flush().await.map_err(NetworkError::Io)?;
    }
    stream.close().await.map_err(NetworkError::Io)?;
    Ok(())
}

async fn answer(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    request: Request,
) -> Result<(), BlobError> {
    match request {
        Request::Store { blob, proof } => store(inner, stream, &blob, &proof).await?,
        Request::Fetch { blob } => match inner.blobs.open_blob(&blob)? {
            Some((id, _, file)) => {
                send(stream, &Answer::Content { length: id.length }).await?;
                inner.send_content(stream, file, id.length).await?;
            }
            None => send(stream, &Answer::Refused("not stored here".into())).await?,
        },
        Request::FetchModel { digest } => {
            let content = inner.models.read(&digest)?;
            send_whole(inner, stream, content, "not stored here").await?;
        }
        Request::FetchState { height, nibbles } => {
            let content = subtree(inner, height, nibbles).await?;
            send_whole(inner, stream, content, "no such state here").await?;
        }
        Request::FetchAnchor => {
            let anchor = read(inner, |reader| reader.anchor()).await?;
            let content = anchor.map(|anchor| codec::encode(&anchor));
            send_whole(inner, stream, content, "no stable checkpoint here").await?;
        }
        Request::FetchBlocks { last } => {
            let blocks = read(inner, move |reader| blocks_up_to(reader, last)).await?;
            let content = (!blocks.is_empty()).then(|| codec::encode(&blocks));
            send_whole(inner, stream, content, "no such block here").await?;
        }
    }
    Ok(())
}

async fn send_whole(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    content: Option<Vec<u8>>,
    refusal: &str,
) -> Result<(), BlobError> {
    let Some(content) = content else {
        return Ok(send(stream, &Answer::Refused(refusal.into())).await?);
    };
    send(stream, &Answer::Content { length: content.len() as u64 }).await?;
    Ok(inner.send_content(stream, content.as_slice(), content.len() as u64).await?)
}

/// Reads the ledger where blocking is allowed.
async fn read<T: Send + 'static>(
    inner: &Inner,
    work: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, BlobError> {
    let reader = inner.reader.clone();
    let read = tokio::task::spawn_blocking(move || work(&reader)).await;
    Ok(read.map_err(|error| BlobError::NotPermitted(error.to_string()))??)
}

/// Blocks that end at a height, the oldest first: as many as an answer takes, one at least.
fn blocks_up_to(reader: &Reader, last: Height) -> Result<Vec<Block>, LedgerError> {
    let (mut blocks, mut bytes, mut next) = (Vec::new(), 0, Some(last));
    while let Some(height) = next.filter(|height| height.0 > 0)
        && blocks.len() < limits::JOIN_BLOCKS_MAX
        && let Some(block) = reader.block(height)?
    {
        bytes += codec::encode(&block).len();
        if bytes > limits::SYNC_BYTES_MAX && !blocks.is_empty() {
            break;
        }
        blocks.push(block);
        next = height.prev();
    }
    blocks.reverse();
    Ok(blocks)
}

async fn subtree(
    inner: &Inner,
    height: Height,
    nibbles: Vec<u8>,
) -> Result<Option<Vec<u8>>, BlobError> {
    let part = read(inner, move |reader| reader.subtree(height, &nibbles)).await?;
    if part.is_some() {
        inner.hold.touch(&inner.reader, height);
    }
    Ok(part.map(|part| codec::encode(&part)))
}

/// Whether the payload is stored here, undamaged.
async fn is_whole(inner: &Inner, blob: &BlobId) -> Result<bool, BlobError> {
    let (blobs, digest) = (inner.blobs.clone(), blob.digest());
    tokio::task::spawn_blocking(move || Ok(blobs.read_whole(&digest)?.is_some()))
        .await
        .map_err(|error| BlobError::NotPermitted(error.to_string()))?
}

/// Takes a pushed payload in and gives the receipt once it is verified and synced. A small one
/// comes behind its announcement, wanted or not; a larger one when it is asked for.
async fn store(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    blob: &BlobId,
    proof: &UploadProof,
) -> Result<(), BlobError> {
    let unasked = blob.length <= limits::BLOB_SMALL_BYTES_MAX;
    let wanted = match wants(inner, blob, proof).await {
        Ok(wanted) => wanted,
        Err(error) => {
            if unasked {
                read_content(stream, blob.length, |_| Ok(())).await?;
            }
            return Ok(send(stream, &Answer::Refused(error.to_string())).await?);
        }
    };
    if wanted && !unasked {
        send(stream, &Answer::Continue).await?;
    }
    let taken = match (wanted, unasked) {
        (true, _) => take_in(inner, stream, blob, proof).await,
        (false, true) => read_content(stream, blob.length, |_| Ok(())).await,
        (false, false) => Ok(()),
    };
    let answer = match (taken, inner.own_receipt(blob)) {
        (Ok(()), Some(StorageReceipt { seat, signature })) => Answer::Stored { seat, signature },
        (Ok(()), None) => Answer::Refused("this node holds no seat".into()),
        (Err(error), _) => {
            // The rest of the content may still come: nothing more is read from this stream.
            send(stream, &Answer::Refused(error.to_string())).await?;
            return Err(error);
        }
    };
    Ok(send(stream, &answer).await?)
}

/// Whether the uploader may store the payload here, and it is not here yet.
async fn wants(inner: &Inner, blob: &BlobId, proof: &UploadProof) -> Result<bool, BlobError> {
    inner.check_proof(blob, proof, crate::clock::now().0)?;
    let wanted = !is_whole(inner, blob).await?;
    if wanted {
        inner.blobs.check_quota(&proof.key, blob.length)?;
    }
    Ok(wanted)
}

async fn take_in(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    blob: &BlobId,
    proof: &UploadProof,
) -> Result<(), BlobError> {
    let mut incoming = inner.blobs.begin()?;
    read_content(stream, blob.length, |piece| incoming.write(piece)).await?;
    let (blobs, id, uploader) = (inner.blobs.clone(), *blob, proof.key);
    tokio::task::spawn_blocking(move || blobs.keep(incoming, &id, uploader))
        .await
        .map_err(|error| BlobError::NotPermitted(error.to_string()))?
}

/// Reads so many bytes, piece by piece.
async fn read_content(
    stream: &mut libp2p::Stream,
    length: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let mut chunk = chunk_for(length);
    let mut left = length;
    while left > 0 {
        let want = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = tokio::time::timeout(REQUEST_TIMEOUT, stream.read(&mut chunk[..want]))
            .await
            .map_err(|_| NetworkError::TimedOut { peer: "uploader".into() })?
            .map_err(NetworkError::Io)?;
        if read == 0 {
            return Err(NetworkError::Io(std::io::ErrorKind::UnexpectedEof.into()).into());
        }
        take(&chunk[..read])?;
        left -= read as u64;
    }
    Ok(())
}
