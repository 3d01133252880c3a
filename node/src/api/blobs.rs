//! Payloads in and out. An upload's length, uploader, quota and signature, which is over the
//! content's identity, are checked before its body is read; the content is held against that
//! identity once it has come.

use super::{
    Api, Refusal,
    extract::{Octets, Path, check_octets, parse},
    range,
    reader::ByMember,
    transfer,
};
use crate::blobs::{
    BlobError, Staging,
    gather::Place,
    take::Offer,
    wire::{UploadProof, transfer_time},
};
use axum::{
    Json,
    body::{Body, BodyDataStream},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures::{StreamExt, TryStreamExt};
use std::{pin::pin, str::FromStr, sync::Arc, time::Duration};
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, BlobId,
    api::{
        ErrorView, HEADER_BLOB, HEADER_CODING, HEADER_IDENTITY, HEADER_KEY, HEADER_SIGNATURE,
        HEADER_TIME, HolderView, HoldersView,
    },
    blob::{Coding, StorageReceipt},
    codec,
    keeping::HoldSubject,
    limits, state_key,
};

/// What is gathered before it goes to the disk.
const PIECE_BYTES: usize = limits::BLOB_CHUNK_BYTES;
const IDENTITY_BYTES_MAX: usize = 256;
/// A client that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Stores a payload with the committee.
#[utoipa::path(post, path = "/v1/blobs", tag = "learning",
    params(
        ("x-twinfold-blob" = String, Header, description = "Digest of the payload's identity"),
        ("x-twinfold-key" = String, Header, description = "Key of the uploading member"),
        ("x-twinfold-time-ms" = u64, Header, description = "Time of signing, at most 10 minutes off"),
        ("x-twinfold-signature" = String, Header,
            description = "Signature over the content's identity and the time"),
        ("x-twinfold-coding" = Option<String>, Header,
            description = "`whole`: a copy for each validator, the default; `fragments`: n of which n − 2f suffice"),
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
    let coding = coding(&headers, api.node.reader.committee().size())?;
    let length = upload_bytes(&headers, coding)?;
    let (digest, proof) = (header_value(&headers, HEADER_BLOB)?, upload_proof(&headers)?);
    let signed = proof.clone();
    api.read(move |api| {
        let now_ms = crate::clock::now().0;
        api.node.exchange.check_signed(&digest, length, &signed, now_ms)?;
        Ok(api.node.blobs.check_room(&signed.key, length / u64::from(coding.k()))?)
    })
    .await?;
    let _held = transfer::permit(&api.uploads, "uploads").await?;
    let staging = api.read(move |api| Ok(Staging::new(&api.node.blobs, coding)?)).await?;
    let receiving = receive(body.into_data_stream(), staging);
    let staging = tokio::time::timeout(transfer_time(length), receiving)
        .await
        .map_err(|_| too_slow(format!("{length} bytes did not arrive in time")))??;
    api.node.metrics.upload_bytes.inc_by(length);
    Ok(Json(api.node.accept_upload(staging, digest, proof).await?))
}

/// Stores one fragment of a payload that the client cut itself: that of this node's seat.
#[utoipa::path(post, path = "/v1/blobs/{digest}/fragments/{fragment}", tag = "learning",
    params(
        ("digest" = String, Path, description = "Digest of the payload's identity"),
        ("fragment" = u16, Path, description = "Number of the fragment: that of the seat"),
        ("x-twinfold-identity" = String, Header, description = "The identity, canonical, as hexadecimal digits"),
        ("x-twinfold-key" = String, Header, description = "Key of the uploading member"),
        ("x-twinfold-time-ms" = u64, Header, description = "Time of signing, at most 10 minutes off"),
        ("x-twinfold-signature" = String, Header,
            description = "Signature over the content's identity and the time"),
    ),
    request_body(
        content = Octets, content_type = "application/octet-stream",
        description = "The hashes that vouch for the fragment, then its bytes"
    ),
    responses(
        (status = OK, description = "It is verified and synced", body = StorageReceipt),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn upload_fragment(
    State(api): State<Arc<Api>>,
    Path((digest, fragment)): Path<(String, u16)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StorageReceipt>, Refusal> {
    check_octets(&headers)?;
    let digest: BlobDigest = parse("payload", &digest)?;
    let blob = identity(&headers, &digest)?;
    let offer = Offer { blob, fragment, proof: upload_proof(&headers)? };
    let _held = transfer::permit(&api.uploads, "uploads").await?;
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    let mut body = pin!(stream.into_async_read());
    let taking = api.node.exchange.take_fragment(&mut body, &offer);
    let receipt = tokio::time::timeout(transfer_time(blob.length), taking)
        .await
        .map_err(|_| too_slow("the fragment did not arrive in time".into()))??;
    api.node.metrics.upload_bytes.inc_by(blob.length / u64::from(blob.k.max(1)));
    Ok(Json(receipt))
}

/// The whole identity of the payload that the path names.
fn identity(headers: &HeaderMap, digest: &BlobDigest) -> Result<BlobId, Refusal> {
    let text: String = header_value(headers, HEADER_IDENTITY)?;
    let decoded = hex::decode(text.as_bytes()).ok();
    let blob: Option<BlobId> =
        decoded.and_then(|bytes| codec::decode(&bytes, IDENTITY_BYTES_MAX).ok());
    blob.filter(|blob| blob.digest() == *digest).ok_or_else(|| {
        Refusal::bad_request(
            format!("{HEADER_IDENTITY}: not the canonical identity of payload {digest}"),
            "length, content, n, k and fragment root, as docs/state.md has them",
        )
    })
}

/// Writes the body to disk as it comes, in pieces.
async fn receive(mut body: BodyDataStream, mut staging: Staging) -> Result<Staging, Refusal> {
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
            (staging, piece) = write(staging, piece).await?;
        }
        if ended {
            return Ok(staging);
        }
    }
}

/// Gives the buffer back empty.
async fn write(mut staging: Staging, mut piece: Vec<u8>) -> Result<(Staging, Vec<u8>), Refusal> {
    let written = tokio::task::spawn_blocking(move || {
        staging.write(&piece)?;
        piece.clear();
        Ok::<_, BlobError>((staging, piece))
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

/// How the content is to be cut.
fn coding(headers: &HeaderMap, seats: usize) -> Result<Coding, Refusal> {
    let wanted = headers.get(HEADER_CODING).map(|value| value.to_str().unwrap_or_default());
    let coding = match wanted {
        None | Some("whole") => Coding::whole_copies(seats),
        Some("fragments") => Coding::fragments(seats),
        Some(other) => {
            return Err(Refusal::bad_request(
                format!("expected {HEADER_CODING} to be whole or fragments, got {other:?}"),
                "leave the header out for whole copies",
            ));
        }
    };
    coding.map_err(Refusal::fault)
}

fn upload_bytes(headers: &HeaderMap, coding: Coding) -> Result<u64, Refusal> {
    let found = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let Some(length) = found.and_then(|text| text.parse().ok()) else {
        return Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "expected a Content-Length, got none",
            "say before the body how long it is: it is held against your quota",
        ));
    };
    if length > coding.bytes_max() {
        return Err(Refusal::too_large("a payload", length, coding.bytes_max()));
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

/// A payload, or a part of it: check it against its identity.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "learning",
    params(
        ("digest" = String, Path, description = "Digest of the payload's identity"),
        ("range" = Option<String>, Header, description = "`bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`"),
    ),
    responses(
        (status = OK, description = "The content", content_type = "application/octet-stream",
            body = Octets),
        (status = PARTIAL_CONTENT, description = "The part asked for",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn download(
    reader: ByMember,
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    serve(&api, &reader, &parse("payload", &digest)?, &headers).await
}

/// A payload's content as it is gathered, or the part that a range asks for.
pub async fn serve(
    api: &Arc<Api>,
    reader: &ByMember,
    digest: &BlobDigest,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    reader.may_read(api, digest).await?;
    let permit = transfer::permit(&api.downloads, "downloads").await?;
    let gather = api.node.exchange.gather(digest).await?;
    let length = gather.id.length;
    let part = range::requested(headers, length)?;
    let bytes = part.clone().unwrap_or(0..length);
    let content = transfer::from_gather(gather, bytes, permit)?;
    Ok(range::answer(content, part, length))
}

/// A payload's identity, and which of its fragments answer.
#[utoipa::path(get, path = "/v1/blobs/{digest}/holders", tag = "learning",
    params(("digest" = String, Path, description = "Digest of the payload's identity")),
    responses(
        (status = OK, description = "Who holds what", body = HoldersView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn holders(
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
) -> Result<Json<HoldersView>, Refusal> {
    let digest: BlobDigest = parse("payload", &digest)?;
    let gather = api.node.exchange.gather(&digest).await?;
    let found = gather.holders();
    let holders = found.iter().map(|holder| HolderView {
        member: match &holder.place {
            Place::Here(_) => api.node.own,
            Place::There(peer) => peer.member,
        },
        fragment: holder.fragment,
    });
    let (blob, holders) = (gather.id, holders.collect());
    let fragment_bytes = gather.layout().fragment_bytes();
    api.read(move |api| {
        let kept = api.node.reader.get(&state_key::blob_reference(&digest))?;
        let hold = api.node.reader.get(&state_key::hold(&HoldSubject::Payload(digest)))?;
        Ok(Json(HoldersView { blob, fragment_bytes, holders, kept, hold }))
    })
    .await
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

    fn whole() -> Coding {
        Coding::whole_copies(4).unwrap()
    }

    #[test]
    fn a_coding_is_chosen_by_name() {
        let named = |name| coding(&headers(&[(HEADER_CODING, name)]), 4);
        assert_eq!(coding(&headers(&[]), 4).unwrap(), whole());
        assert_eq!(named("whole").unwrap(), whole());
        assert_eq!((named("fragments").unwrap().n(), named("fragments").unwrap().k()), (4, 2));
        assert!(named("both").unwrap_err().error.contains("both"));
    }

    #[test]
    fn an_upload_says_how_long_it_is_and_is_not_too_long() {
        let status =
            |headers: &HeaderMap| upload_bytes(headers, whole()).map_err(|refusal| refusal.status);
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
        let staging = Staging::new(&store, whole()).unwrap();
        let staged = receive(body, staging).await.unwrap().finish().unwrap();
        assert_eq!(staged.id, twinfold_types::BlobId::whole_copies(&content, 4));
    }
}
