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
use twinfold_types::{BlobId, Block, Height, codec, limits};

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
            // One peer that reads nothing must not keep the others waiting.
            let Ok(_share) = own_share.acquire().await else { return };
            let Ok(_permit) = inner.serving.acquire().await else { return };
            if let Err(error) = answer(&inner, &peer, stream).await {
                tracing::debug!(peer = %peer.name, %error, "payload request failed");
            }
        });
    }
}

async fn answer(inner: &Inner, peer: &Peer, mut stream: libp2p::Stream) -> Result<(), BlobError> {
    greet(&mut stream, &peer.id, inner.chain).await?;
    match receive(&mut stream, &peer.id).await? {
        Request::Store { blob, proof } => {
            let answer = match take_in(inner, &mut stream, &blob, &proof).await {
                Ok(answer) => answer,
                Err(error) => Answer::Refused(error.to_string()),
            };
            send(&mut stream, &answer).await?;
        }
        Request::Fetch { blob } => match inner.blobs.open_blob(&blob)? {
            Some((id, _, file)) => {
                send(&mut stream, &Answer::Content { length: id.length }).await?;
                inner.send_content(&mut stream, file, id.length).await?;
            }
            None => send(&mut stream, &Answer::Refused("not stored here".into())).await?,
        },
        Request::FetchModel { digest } => match inner.models.read(&digest)? {
            Some(content) => {
                send(&mut stream, &Answer::Content { length: content.len() as u64 }).await?;
                inner.send_content(&mut stream, content.as_slice(), content.len() as u64).await?;
            }
            None => send(&mut stream, &Answer::Refused("not stored here".into())).await?,
        },
        Request::FetchState { height, nibbles } => match subtree(inner, height, nibbles).await? {
            Some(content) => {
                send(&mut stream, &Answer::Content { length: content.len() as u64 }).await?;
                inner.send_content(&mut stream, content.as_slice(), content.len() as u64).await?;
            }
            None => send(&mut stream, &Answer::Refused("no such state here".into())).await?,
        },
        Request::FetchAnchor => {
            let anchor = read(inner, |reader| reader.anchor()).await?;
            let content = anchor.map(|anchor| codec::encode(&anchor));
            send_whole(inner, &mut stream, content, "no stable checkpoint here").await?;
        }
        Request::FetchBlocks { last } => {
            let blocks = read(inner, move |reader| blocks_up_to(reader, last)).await?;
            let content = (!blocks.is_empty()).then(|| codec::encode(&blocks));
            send_whole(inner, &mut stream, content, "no such block here").await?;
        }
    }
    stream.close().await.map_err(NetworkError::Io)?;
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

/// Takes a pushed payload in and gives the receipt once it is verified and synced.
async fn take_in(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    blob: &BlobId,
    proof: &UploadProof,
) -> Result<Answer, BlobError> {
    inner.check_proof(blob, proof, crate::clock::now().0)?;
    if !is_whole(inner, blob).await? {
        inner.blobs.check_quota(&proof.key, blob.length)?;
        send(stream, &Answer::Continue).await?;
        let mut incoming = inner.blobs.begin()?;
        let mut chunk = chunk_for(blob.length);
        let mut left = blob.length;
        while left > 0 {
            let want = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = tokio::time::timeout(REQUEST_TIMEOUT, stream.read(&mut chunk[..want]))
                .await
                .map_err(|_| NetworkError::TimedOut { peer: "uploader".into() })?
                .map_err(NetworkError::Io)?;
            if read == 0 {
                return Err(NetworkError::Io(std::io::ErrorKind::UnexpectedEof.into()).into());
            }
            incoming.write(&chunk[..read])?;
            left -= read as u64;
        }
        let (blobs, id, uploader) = (inner.blobs.clone(), *blob, proof.key);
        tokio::task::spawn_blocking(move || blobs.keep(incoming, &id, uploader))
            .await
            .map_err(|error| BlobError::NotPermitted(error.to_string()))??;
    }
    match inner.own_receipt(blob) {
        Some(receipt) => Ok(Answer::Stored { seat: receipt.seat, signature: receipt.signature }),
        None => Ok(Answer::Refused("this node holds no seat".into())),
    }
}
