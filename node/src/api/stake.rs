//! Validators, epochs and stake.

use super::{
    Api, Refusal,
    extract::{Path, Query, page_rows, parse},
    stake_view as view,
};
use axum::{Json, extract::State};
use serde::Deserialize;
use std::sync::Arc;
use twinfold_types::{
    Epoch, PublicKey,
    api::{EpochView, ErrorView, StakeView, ValidatorView},
    stake::StakeParams,
};
use utoipa::IntoParams;

/// The seats of the running epoch, and the candidates for the next.
#[utoipa::path(get, path = "/v1/validators", tag = "chain", responses(
    (status = OK, description = "Seats in their order, then candidates by rank",
        body = Vec<ValidatorView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn validators(State(api): State<Arc<Api>>) -> Result<Json<Vec<ValidatorView>>, Refusal> {
    api.read(|api| Ok(Json(view::validators(&api.node)?))).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EpochsQuery {
    /// First epoch; 0 when not given.
    from: Option<u64>,
    /// Rows, 1 to 200; 50 when not given.
    limit: Option<usize>,
}

/// Epochs, oldest first: each with its committee and, once it has ended, the certificate that
/// names the next one. Following them from 0 on needs no trust in this node.
#[utoipa::path(get, path = "/v1/epochs", tag = "chain", params(EpochsQuery), responses(
    (status = OK, description = "Epochs; the running one is the last", body = Vec<EpochView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn epochs(
    State(api): State<Arc<Api>>,
    Query(query): Query<EpochsQuery>,
) -> Result<Json<Vec<EpochView>>, Refusal> {
    let (from, rows) = (Epoch(query.from.unwrap_or(0)), page_rows(query.limit)?);
    api.read(move |api| Ok(Json(view::epochs(&api.node.reader, from, rows)?))).await
}

/// What a member has free, delegated and unbonding.
#[utoipa::path(get, path = "/v1/stake/{member}", tag = "chain",
    params(("member" = String, Path, description = "The member's key")),
    responses(
        (status = OK, description = "The member's stake", body = StakeView),
        (status = "default", description = "A refusal", body = ErrorView),
    ))]
pub async fn of_member(
    State(api): State<Arc<Api>>,
    Path(member): Path<String>,
) -> Result<Json<StakeView>, Refusal> {
    let member: PublicKey = parse("member", &member)?;
    api.read_heavy(move |api| {
        let found = view::of_member(&api.node.reader, &member)?;
        found.map(Json).ok_or_else(|| {
            Refusal::unknown(format!("member with the key {member}"), "see /v1/members")
        })
    })
    .await
}

/// Rules of stake and election in force.
#[utoipa::path(get, path = "/v1/stake-params", tag = "chain", responses(
    (status = OK, description = "The rules", body = StakeParams),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn params(State(api): State<Arc<Api>>) -> Result<Json<StakeParams>, Refusal> {
    api.read(|api| Ok(Json(api.node.reader.stake_params()?))).await
}
