//! Payloads in and out. An upload's length, uploader and quota are checked before its
//! body is read; its signature, which is over the content's identity, once it is.

use super::{
    Api, Refusal,
    extract::{Octets, Path, check_octets, parse},
    transfer,
};
use crate::blobs::{
    BlobError, Incoming,
    wire::{UploadProof, transfer_time},
};
use axum::{
    Json,
    body::{Body, BodyDataStream},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures::StreamExt;
use std::{str::FromStr, sync::Arc, time::Duration};
use twinfold_types::{
    AvailabilityCertificate, BlobDigest,
    api::{ErrorView, HEADER_KEY, HEADER_SIGNATURE, HEADER_TIME},
    limits,
    member::Member,
    state_key,
};

/// What is gathered before it goes to the disk.
const PIECE_BYTES: usize = limits::BLOB_CHUNK_BYTES;
/// A client that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Stores a payload with the committee.
#[utoipa::path(post, path = "/v1/blobs", tag = "learning",
    params(
        ("x-twinfold-key" = String, Header, description = "Key of the uploading member"),
        ("x-twinfold-time-ms" = u64, Header, description = "Time of signing, at most 10 minutes off"),
        ("x-twinfold-signature" = String, Header,
            description = "Signature over the content's identity and the time"),
    ),
    request_body(
        content = Octets, content_type = "application/octet-stream",
        description = "The content; Content-Length is needed"
    ),
    responses(
        (status = OK, description = "A quorum has stored it", body = AvailabilityCertificate),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn upload(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AvailabilityCertificate>, Refusal> {
    check_octets(&headers)?;
    let length = upload_bytes(&headers)?;
    let proof = upload_proof(&headers)?;
    let key = proof.key;
    api.read(move |api| {
        let member: Option<Member> = api.node.reader.get(&state_key::member(&key))?;
        if member.is_none() {
            let reason = format!("the uploader {key} is no member: ask an admin or your operator");
            return Err(BlobError::NotPermitted(reason).into());
        }
        Ok(api.node.blobs.check_quota(&key, length)?)
    })
    .await?;
    let _held = transfer::permit(&api.uploads, "uploads").await?;
    let incoming = api.read(|api| Ok(api.node.blobs.begin()?)).await?;
    let receiving = receive(body.into_data_stream(), incoming);
    let incoming = tokio::time::timeout(transfer_time(length), receiving)
        .await
        .map_err(|_| too_slow(format!("{length} bytes did not arrive in time")))??;
    api.node.metrics.upload_bytes.inc_by(length);
    Ok(Json(api.node.accept_upload(incoming, proof).await?))
}

/// Writes the body to disk as it comes, in pieces.
async fn receive(mut body: BodyDataStream, mut incoming: Incoming) -> Result<Incoming, Refusal> {
    let mut piece = Vec::new();
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, body.next()).await;
        let next =
            next.map_err(|_| too_slow(format!("nothing came for {} s", SILENCE_MAX.as_secs())))?;
        let ended = next.is_none();
        if let Some(bytes) = next {
            piece.extend_from_slice(&bytes.map_err(broken)?);
        }
        if piece.len() >= PIECE_BYTES || ended {
            (incoming, piece) = write(incoming, piece).await?;
        }
        if ended {
            return Ok(incoming);
        }
    }
}

/// Gives the buffer back empty.
async fn write(mut incoming: Incoming, mut piece: Vec<u8>) -> Result<(Incoming, Vec<u8>), Refusal> {
    let written = tokio::task::spawn_blocking(move || {
        incoming.write(&piece)?;
        piece.clear();
        Ok::<_, BlobError>((incoming, piece))
    });
    Ok(written.await.map_err(Refusal::fault)??)
}

fn too_slow(reason: String) -> Refusal {
    let hint = "send it again over a faster connection, or to a nearer node";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, reason, hint)
}

fn broken(error: axum::Error) -> Refusal {
    Refusal::bad_request(
        format!("the body broke off: {error}"),
        "send as many bytes as Content-Length says",
    )
}

fn upload_bytes(headers: &HeaderMap) -> Result<u64, Refusal> {
    let found = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let Some(length) = found.and_then(|text| text.parse().ok()) else {
        return Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "expected a Content-Length, got none",
            "say before the body how long it is: it is held against your quota",
        ));
    };
    if length > limits::BLOB_BYTES_MAX {
        return Err(Refusal::too_large("a payload", length, limits::BLOB_BYTES_MAX));
    }
    Ok(length)
}

fn upload_proof(headers: &HeaderMap) -> Result<UploadProof, Refusal> {
    Ok(UploadProof {
        key: header_value(headers, HEADER_KEY)?,
        time_ms: header_value(headers, HEADER_TIME)?,
        signature: header_value(headers, HEADER_SIGNATURE)?,
    })
}

fn header_value<T: FromStr<Err: std::fmt::Display>>(
    headers: &HeaderMap,
    name: &str,
) -> Result<T, Refusal> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| {
        Refusal::bad_request(
            format!("expected a header {name}, got none"),
            "an upload names its member's key, the time, and a signature over content and time",
        )
    })?;
    parse(name, value)
}

/// A payload: check it against its identity.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "learning",
    params(("digest" = String, Path, description = "Digest of the payload's identity")),
    responses(
        (status = OK, description = "The content", content_type = "application/octet-stream",
            body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn download(
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let digest: BlobDigest = parse("payload", &digest)?;
    let permit = transfer::permit(&api.downloads, "downloads").await?;
    // A local copy is streamed as it lies; whoever asks holds it against its identity.
    if let Some((id, _, file)) = api.read(move |api| Ok(api.node.blobs.open_blob(&digest)?)).await?
    {
        return Ok(transfer::from_file(file, id.length, permit));
    }
    let content = api.node.blob(&digest).await?;
    Ok(transfer::from_memory(content.into(), permit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn an_upload_says_how_long_it_is_and_is_not_too_long() {
        let status = |headers: &HeaderMap| upload_bytes(headers).map_err(|refusal| refusal.status);
        assert_eq!(status(&headers(&[])), Err(StatusCode::LENGTH_REQUIRED));
        assert_eq!(status(&headers(&[("content-length", "x")])), Err(StatusCode::LENGTH_REQUIRED));
        let long = (limits::BLOB_BYTES_MAX + 1).to_string();
        let refused = status(&headers(&[("content-length", &long)]));
        assert_eq!(refused, Err(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(status(&headers(&[("content-length", "7")])), Ok(7));
    }

    #[test]
    fn a_missing_or_malformed_header_is_named() {
        let key = "11".repeat(32);
        let refusal = upload_proof(&headers(&[(HEADER_KEY, &key)])).unwrap_err();
        assert!(refusal.error.contains(HEADER_TIME), "{}", refusal.error);
        let bad = [(HEADER_KEY, key.as_str()), (HEADER_TIME, "1"), (HEADER_SIGNATURE, "zz")];
        assert!(upload_proof(&headers(&bad)).unwrap_err().error.contains(HEADER_SIGNATURE));
        let signature = "22".repeat(64);
        let good = [(HEADER_KEY, key.as_str()), (HEADER_TIME, "1"), (HEADER_SIGNATURE, &signature)];
        assert_eq!(upload_proof(&headers(&good)).unwrap().time_ms, 1);
    }

    #[tokio::test]
    async fn a_body_reaches_the_disk_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::blobs::BlobStore::open(dir.path()).unwrap();
        let content = vec![5u8; PIECE_BYTES + 9];
        let body = Body::from(content.clone()).into_data_stream();
        let incoming = receive(body, store.begin().unwrap()).await.unwrap();
        assert_eq!(incoming.identity(4), twinfold_types::BlobId::whole_copies(&content, 4));
    }
}
