//! Sealed payloads: who owns one and for whom there are wraps, and proofs of encryption keys.

use super::{
    Api, Refusal,
    extract::{Octets, Path, parse},
    reader::ByMember,
    txs,
};
use axum::{Json, extract::State, response::Response};
use std::sync::Arc;
use twinfold_types::{
    BlobDigest, PublicKey,
    api::{ErrorView, SealedView},
};

/// A sealed payload: its record, and the content key wrapped for each of its readers.
#[utoipa::path(get, path = "/v1/sealed/{digest}", tag = "learning",
    params(("digest" = String, Path, description = "Digest of the payload's identity")),
    responses(
        (status = OK, description = "The record and the wraps", body = SealedView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn sealed(
    _: ByMember,
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
) -> Result<Json<SealedView>, Refusal> {
    let blob: BlobDigest = parse("payload", &digest)?;
    api.read(move |api| {
        let found = api.node.reader.sealed(&blob)?;
        let view = found.map(|(record, wraps)| Json(SealedView { record, wraps }));
        view.ok_or_else(|| {
            Refusal::unknown(
                format!("sealed payload {blob}"),
                "a payload that is not sealed is read as it is: GET /v1/blobs/{digest}",
            )
        })
    })
    .await
}

/// Proof of a member and of its encryption key, or that it has none, under the newest stable
/// checkpoint.
#[utoipa::path(get, path = "/v1/proofs/encryption-key/{member}", tag = "proofs",
    params(("member" = String, Path, description = "The member's key")),
    responses(
        (status = OK, description = "A bundle in the canonical encoding",
            content_type = "application/octet-stream", body = Octets),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn encryption_key_proof(
    State(api): State<Arc<Api>>,
    Path(member): Path<String>,
) -> Result<Response, Refusal> {
    let member: PublicKey = parse("member", &member)?;
    api.read_heavy(move |api| Ok(txs::bundle(&api.node.reader.prove_encryption_key(&member)?)))
        .await
}
