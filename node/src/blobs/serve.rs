//! The answering side of the exchange.

use super::{
    BlobError,
    exchange::Inner,
    take::{Announced, Offer, take},
    wire::{Answer, Request, receive, send},
};
use crate::network::{NetworkError, Peer, frame::greet};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::PeerId;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Semaphore;
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{BlobDigest, Block, Height, codec, limits};

/// Requests of one peer that are answered at once.
const PEER_AT_ONCE: usize = 8;
/// Groups in one answer: those of a run that is decoded at once.
const GROUPS_AT_ONCE: u64 = (limits::DECODE_RUN_BYTES / limits::PIECE_BYTES) as u64;

pub async fn serve(inner: Arc<Inner>, mut incoming: libp2p_stream::IncomingStreams) {
    // Only members' peers come here, so there are no more of these than members.
    let mut shares: BTreeMap<PeerId, Arc<Semaphore>> = BTreeMap::new();
    while let Some((id, stream)) = incoming.next().await {
        let Some(peer) = inner.peers.by_id(&id).filter(|peer| peer.is_member) else { continue };
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
        answer(inner, peer, &mut stream, request).await?;
        stream.flush().await.map_err(NetworkError::Io)?;
    }
    stream.close().await.map_err(NetworkError::Io)?;
    Ok(())
}

async fn answer(
    inner: &Inner,
    peer: &Peer,
    stream: &mut libp2p::Stream,
    request: Request,
) -> Result<(), BlobError> {
    match request {
        Request::Store { blob, fragment, proof } => {
            let offer = Offer { blob, fragment, proof };
            take(inner, stream, &Announced { peer, offer }).await?;
        }
        Request::FetchHashes { blob } => send_hashes(inner, stream, blob).await?,
        Request::FetchGroups { blob, fragment, first, count } => {
            let groups = groups(inner, blob, fragment, first, count).await?;
            send_whole(inner, stream, groups, "not stored here").await?;
        }
        Request::FetchModel { digest } => {
            let models = inner.models.clone();
            let read = tokio::task::spawn_blocking(move || models.read(&digest)).await;
            let content = read.map_err(|_| BlobError::Stopped)??;
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
    Ok(inner.send_content(stream, &content).await?)
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

async fn send_hashes(
    inner: &Inner,
    stream: &mut libp2p::Stream,
    digest: BlobDigest,
) -> Result<(), BlobError> {
    let blobs = inner.blobs.clone();
    let stored = tokio::task::spawn_blocking(move || blobs.stored(&digest)).await;
    let Some(stored) = stored.map_err(|_| BlobError::Stopped)? else {
        return Ok(send(stream, &Answer::Refused("not stored here".into())).await?);
    };
    let (blob, fragment) = (stored.header.blob, stored.header.fragment);
    send(stream, &Answer::Held { blob, fragment }).await?;
    let hashes = stored.body.hashes.encode(&blob);
    Ok(inner.send_content(stream, &hashes).await?)
}

/// Some groups of a fragment, if they are here undamaged and not too many at once.
async fn groups(
    inner: &Inner,
    digest: BlobDigest,
    fragment: u16,
    first: u64,
    count: u64,
) -> Result<Option<Vec<u8>>, BlobError> {
    let blobs = inner.blobs.clone();
    let read = move || {
        let stored = blobs.stored(&digest).filter(|stored| stored.header.fragment == fragment)?;
        let end = first.checked_add(count).filter(|end| *end <= stored.body.groups());
        let end = end.filter(|_| (1..=GROUPS_AT_ONCE).contains(&count))?;
        match stored.body.read(first..end) {
            Ok(groups) => Some(groups),
            Err(error) => {
                blobs.note_damage(&digest, &error);
                None
            }
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| BlobError::Stopped)
}
