//! A validator's machine in the hands of a liar that says it holds its fragment of a payload, with the
//! true hashes, and then misbehaves in one manner after another.

use super::{Lab, liar::take_place};
use futures::{AsyncWriteExt, StreamExt};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use twinfold_node::{
    blobs::wire::{self, Answer, Request},
    network::{NetworkError, frame::greet},
};
use twinfold_types::{
    BlobId, Digest,
    blob::{Coding, Encoder, Hashes},
    limits::PIECE_BYTES,
};

/// How it answers who asks for groups of its fragment, or for its hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    FlipsAByte,
    SendsOneByteASecond,
    BreaksOffInTheMiddle,
    SendsNothing,
    SaysAnAbsurdLength,
    SendsMoreThanItSaid,
    AnswersSomethingElse,
    HoldsAFragmentThatThereIsNot,
    SaysFalseHashes,
    SaysAnotherPayload,
}

impl Manner {
    pub const ALL: [Self; 10] = [
        Self::FlipsAByte,
        Self::SendsOneByteASecond,
        Self::BreaksOffInTheMiddle,
        Self::SendsNothing,
        Self::SaysAnAbsurdLength,
        Self::SendsMoreThanItSaid,
        Self::AnswersSomethingElse,
        Self::HoldsAFragmentThatThereIsNot,
        Self::SaysFalseHashes,
        Self::SaysAnotherPayload,
    ];
}

pub struct PayloadLiar {
    _runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
}

struct Shared {
    chain: Digest,
    id: BlobId,
    fragment: u16,
    hashes: Vec<u8>,
    bytes: Vec<u8>,
    manner: Mutex<Manner>,
    asked: AtomicUsize,
}

impl PayloadLiar {
    /// In the place of a validator that does not run and holds this fragment of the content.
    pub fn start(lab: &Lab, index: usize, content: &[u8], fragment: u16) -> Self {
        let (id, hashes, bytes) = cut(content, fragment);
        let manner = Mutex::new(Manner::FlipsAByte);
        let (chain, asked) = (lab.genesis().digest(), AtomicUsize::new(0));
        let shared = Arc::new(Shared { chain, id, fragment, hashes, bytes, manner, asked });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(listen(lab, index, shared.clone()));
        Self { _runtime: runtime, shared }
    }

    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock() = manner;
        self.shared.asked.store(0, Ordering::Relaxed);
    }

    /// Requests for the payload since it behaves so.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

/// A fragment with its hashes.
fn cut(content: &[u8], fragment: u16) -> (BlobId, Vec<u8>, Vec<u8>) {
    let mut encoder = Encoder::new(Coding::fragments(4).expect("four"));
    let (mut rest, mut bytes) = (content, vec![]);
    while let Some(stripe) = encoder.push(&mut rest).expect("not too long") {
        bytes.extend_from_slice(stripe.piece(fragment).expect("a piece"));
    }
    let encoded = encoder.finish();
    bytes.extend_from_slice(encoded.last_stripe().piece(fragment).expect("a piece"));
    let hashes = Hashes::of(&encoded, fragment).expect("a fragment").encode(&encoded.id);
    (encoded.id, hashes, bytes)
}

async fn listen(lab: &Lab, index: usize, shared: Arc<Shared>) {
    let (plane, peers) = take_place(lab, index, None).await;
    let mut incoming = plane.control.clone().accept(wire::PROTOCOL).expect("nobody else takes it");
    tokio::spawn(async move {
        let _plane = plane;
        while let Some((id, mut stream)) = incoming.next().await {
            let (shared, known) = (shared.clone(), peers.by_id(&id).is_some());
            tokio::spawn(async move {
                let greeted = greet(&mut stream, &id, shared.chain).await;
                while known
                    && greeted.is_ok()
                    && let Ok(request) = wire::receive::<Request>(&mut stream, &id).await
                    && answer(&shared, &mut stream, request).await.is_ok()
                {}
            });
        }
    });
}

async fn answer(
    shared: &Shared,
    stream: &mut libp2p::Stream,
    request: Request,
) -> Result<(), NetworkError> {
    let manner = *shared.manner.lock();
    match request {
        Request::FetchHashes { blob } if blob == shared.id.digest() => {
            shared.asked.fetch_add(1, Ordering::Relaxed);
            hashes(shared, stream, manner).await
        }
        Request::FetchGroups { blob, first, count, .. } if blob == shared.id.digest() => {
            shared.asked.fetch_add(1, Ordering::Relaxed);
            let start = first as usize * PIECE_BYTES;
            let end = (start + count as usize * PIECE_BYTES).min(shared.bytes.len());
            groups(stream, shared.bytes[start..end].to_vec(), manner).await
        }
        _ => wire::send(stream, &Answer::Refused("not stored here".into())).await,
    }
}

async fn hashes(
    shared: &Shared,
    stream: &mut libp2p::Stream,
    manner: Manner,
) -> Result<(), NetworkError> {
    let (mut blob, mut fragment, mut hashes) = (shared.id, shared.fragment, shared.hashes.clone());
    match manner {
        Manner::HoldsAFragmentThatThereIsNot => fragment = 9,
        Manner::SaysFalseHashes => hashes[7] ^= 1,
        Manner::SaysAnotherPayload => blob.length = u64::MAX,
        _ => {}
    }
    wire::send(stream, &Answer::Held { blob, fragment }).await?;
    stream.write_all(&hashes).await?;
    Ok(stream.flush().await?)
}

async fn groups(
    stream: &mut libp2p::Stream,
    mut bytes: Vec<u8>,
    manner: Manner,
) -> Result<(), NetworkError> {
    let length = match manner {
        Manner::SaysAnAbsurdLength => u64::MAX,
        _ => bytes.len() as u64,
    };
    if manner == Manner::AnswersSomethingElse {
        return wire::send(stream, &Answer::Continue { group: 7 }).await;
    }
    wire::send(stream, &Answer::Content { length }).await?;
    match manner {
        Manner::FlipsAByte => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Manner::BreaksOffInTheMiddle => {
            stream.write_all(&bytes[..bytes.len() / 2]).await?;
            return Ok(stream.close().await?);
        }
        Manner::SendsNothing => tokio::time::sleep(Duration::from_secs(600)).await,
        Manner::SendsOneByteASecond => {
            for byte in &bytes {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::SendsMoreThanItSaid => bytes.extend(vec![3; 100_000]),
        _ => {}
    }
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}
