//! Transactions: taken, waited for, proved.

use super::{
    Api, Refusal,
    extract::{Body, Path, Query, parse},
    guard::WAIT_MAX,
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use twinfold_types::{
    SignedTx, TxId,
    api::{ErrorView, Level, TxStatus},
    codec, limits,
    proof::Bundle,
};
use utoipa::IntoParams;

/// A transaction unknown for so long is told as such before the wait is over: the
/// node that had it may be gone, and its sender can send it again.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// Takes a signed transaction into the pool. Sending one again changes nothing.
#[utoipa::path(post, path = "/v1/txs", tag = "chain",
    request_body(
        content = Vec<u8>, content_type = "application/octet-stream",
        description = "A signed transaction in the canonical encoding"
    ),
    responses(
        (status = OK, body = TxStatus),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn submit(
    State(api): State<Arc<Api>>,
    Body(bytes): Body,
) -> Result<Json<TxStatus>, Refusal> {
    let limit = limits::TX_BYTES_MAX;
    if bytes.len() > limit {
        return Err(Refusal::too_large("a transaction", bytes.len() as u64, limit as u64));
    }
    api.read(move |api| {
        let tx = SignedTx::decode(&bytes).map_err(crate::node::SubmitError::from)?;
        let id = api.node.submit(tx, true)?;
        Ok(Json(api.node.tx_status(&id)?))
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Answer once the transaction has come so far: admitted, committed, executed or
    /// certified; or earlier, when the time is over or nothing is known of it.
    #[param(inline)]
    wait: Option<Level>,
    /// Longest wait in milliseconds, at most 60000; 10000 when not given.
    timeout_ms: Option<u64>,
}

/// How far a transaction has come.
#[utoipa::path(get, path = "/v1/txs/{id}", tag = "chain",
    params(("id" = String, Path, description = "Identity of the transaction"), WaitQuery),
    responses(
        (status = OK, body = TxStatus),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn tx(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<TxStatus>, Refusal> {
    let id: TxId = parse("transaction", &id)?;
    let wanted = query.wait.unwrap_or(Level::Unknown);
    let longest = Duration::from_millis(query.timeout_ms.unwrap_or(10_000)).min(WAIT_MAX);
    wait_for(&api, id, wanted, longest).await.map(Json)
}

async fn wait_for(
    api: &Arc<Api>,
    id: TxId,
    wanted: Level,
    longest: Duration,
) -> Result<TxStatus, Refusal> {
    let (mut heads, mut stable) = (api.node.heads.clone(), api.node.stable.clone());
    let started = Instant::now();
    loop {
        // Marked seen before the look, so that no change after it is missed.
        heads.mark_unchanged();
        stable.mark_unchanged();
        let status = api.read(move |api| Ok(api.node.tx_status(&id)?)).await?;
        let limit = match status.level {
            Level::Unknown => longest.min(UNKNOWN_WAIT),
            _ => longest,
        };
        let left = limit.saturating_sub(started.elapsed());
        if status.level >= wanted || left.is_zero() {
            return Ok(status);
        }
        // It may come into the pool, of which no channel tells: look again soon.
        let pause = match status.level {
            Level::Unknown => left.min(Duration::from_millis(50)),
            _ => left,
        };
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return Ok(status) },
            changed = stable.changed() => if changed.is_err() { return Ok(status) },
            () = tokio::time::sleep(pause) => {}
            () = api.shutdown.cancelled() => return Ok(status),
        }
    }
}

/// Proof of a transaction and its receipt under the newest stable checkpoint.
#[utoipa::path(get, path = "/v1/proofs/tx/{id}", tag = "proofs",
    params(("id" = String, Path, description = "Identity of the transaction")),
    responses(
        (status = OK, description = "A bundle in the canonical encoding",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn tx_proof(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id: TxId = parse("transaction", &id)?;
    api.read_heavy(move |api| Ok(bundle(&api.node.reader.prove_tx(&id)?))).await
}

/// A bundle as its canonical encoding.
pub fn bundle(bundle: &Bundle) -> Response {
    octets(codec::encode(bundle))
}

fn octets(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}
