//! Large bodies. Each holds a permit until it is sent, and is cut off when its reader
//! stops reading, so that slow readers cannot keep others away.

use super::Refusal;
use crate::blobs::{BlobError, gather::Gather};
use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use std::{io, ops::Range, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use twinfold_types::limits;

const PIECE_BYTES: usize = 256 << 10;
/// How long a request waits for its turn.
const PERMIT_WAIT: Duration = Duration::from_secs(30);
/// How long a reader may take for one piece.
const PIECE_WAIT: Duration = Duration::from_secs(30);

pub async fn permit(
    semaphore: &Arc<Semaphore>,
    what: &str,
) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = || {
        let error = format!("{} {what} are being served", limits::HTTP_UPLOADS_MAX);
        Refusal::busy(error, "try again in a moment, or at another node")
    };
    let waiting = tokio::time::timeout(PERMIT_WAIT, semaphore.clone().acquire_owned());
    waiting.await.map_err(|_| busy())?.map_err(Refusal::fault)
}

pub fn from_memory(content: Bytes, permit: OwnedSemaphorePermit) -> Response {
    let length = content.len();
    let starts = (0..length).step_by(PIECE_BYTES);
    let pieces = starts.map(move |start| Ok(content.slice(start..length.min(start + PIECE_BYTES))));
    respond(futures::stream::iter(pieces), length as u64, permit, PIECE_WAIT)
}

/// A payload's content, as its fragments come. Of a whole payload the end is sent only when all of
/// it is what its identity names.
pub fn from_gather(
    gather: Arc<Gather>,
    bytes: Range<u64>,
    permit: OwnedSemaphorePermit,
) -> Result<Response, BlobError> {
    let length = bytes.end - bytes.start;
    let content = match bytes == (0..gather.id.length) {
        true => gather.checked_content()?.boxed(),
        false => gather.content(bytes).boxed(),
    };
    Ok(respond(content.map_err(io::Error::other), length, permit, PIECE_WAIT))
}

fn respond(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    length: u64,
    permit: OwnedSemaphorePermit,
    piece_wait: Duration,
) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _held = permit;
        tokio::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            // Too slow or gone: the connection ends short of its Content-Length.
            if sender.send_timeout(piece, piece_wait).await.is_err() {
                return;
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_string()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn content_comes_whole_from_memory_and_gives_its_permit_back() {
        let semaphore = Arc::new(Semaphore::new(1));
        let content: Vec<u8> = (0..PIECE_BYTES * 2 + 7).map(|i| i as u8).collect();
        let held = permit(&semaphore, "downloads").await.unwrap();
        assert_eq!(read(from_memory(content.clone().into(), held)).await, content);
    }

    #[tokio::test]
    async fn a_reader_that_stops_loses_its_place() {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = permit(&semaphore, "downloads").await.unwrap();
        let pieces = futures::stream::repeat_with(|| Ok(Bytes::from_static(b"piece")));
        let unread = respond(pieces, u64::MAX, held, Duration::from_millis(20));
        assert!(semaphore.clone().try_acquire_owned().is_err());
        // Nobody reads: the place is free once a piece has waited long enough.
        assert!(permit(&semaphore, "downloads").await.is_ok());
        drop(unread);
    }
}
