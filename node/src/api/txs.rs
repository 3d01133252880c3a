//! Transactions: taken, waited for, proved.

use super::{
    Api, Refusal,
    extract::{Body, Octets, Path, Query, parse},
    guard::WAIT_MAX,
};
use crate::node::SubmitError;
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
    Action, Code, SignedTx, TxId,
    api::{ErrorView, Level, TxStatus},
    codec,
    dataset::DatasetAction,
    limits,
    member::AdminAction,
    proof::Bundle,
};
use utoipa::IntoParams;

/// A transaction unknown for so long is told as such before the wait is over: the
/// node that had it may be gone, and its sender can send it again.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);

/// Takes a signed transaction into the pool. Sending one again changes nothing.
#[utoipa::path(post, path = "/v1/txs", tag = "chain",
    request_body(
        content = Octets, content_type = "application/octet-stream",
        description = "A signed transaction in the canonical encoding"
    ),
    responses(
        (status = OK, description = "How far it has come", body = TxStatus),
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
        let tx = SignedTx::decode(&bytes).map_err(SubmitError::from)?;
        let fault = fault_of(&tx.body.action);
        let id = api.node.submit(tx).map_err(|error| with_fault(error, fault))?;
        Ok(Json(api.node.tx_status(&id)?))
    })
    .await
}

/// Why settings are refused, which their code alone does not tell.
fn fault_of(action: &Action) -> Option<String> {
    match action {
        Action::CreateTask(spec) => spec.fault(),
        Action::PublishModel(publish) => publish.fault(),
        Action::DeprecateModel(action) => action.fault(),
        Action::MeasureModel(action) => action.metric.fault(),
        Action::Dataset(DatasetAction::Create(spec)) => spec.fault(),
        Action::Dataset(DatasetAction::Append(append)) => append.fault(),
        Action::AddTrainer(member) => member.fault().map(Into::into),
        Action::Propose(AdminAction::AddMember(member)) => member.fault().map(Into::into),
        _ => None,
    }
}

fn with_fault(error: SubmitError, fault: Option<String>) -> Refusal {
    let invalid = matches!(
        error,
        SubmitError::Refused(
            Code::TaskInvalid
                | Code::ModelInvalid
                | Code::InvalidMember
                | Code::DatasetInvalid
                | Code::NoteInvalid
        )
    );
    let mut refusal = Refusal::from(error);
    if let Some(fault) = fault.filter(|_| invalid) {
        refusal.error = format!("{}: {fault}", refusal.error);
    }
    refusal
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
        (status = OK, description = "How far it has come", body = TxStatus),
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
            content_type = "application/octet-stream", body = Octets),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_settings_come_with_their_reason() {
        let fault = || Some("no tensor is trained".to_string());
        let refusal = with_fault(SubmitError::Refused(Code::TaskInvalid), fault());
        assert!(refusal.error.ends_with("(code 30): no tensor is trained"), "{}", refusal.error);
        let refusal = with_fault(SubmitError::Refused(Code::NotPermitted), fault());
        assert!(!refusal.error.contains("tensor"), "another reason counts first");
    }
}
