//! What keeps payloads, and on whose account they are.

use super::{
    Api, Refusal,
    extract::{PageQuery, Query, page_rows, parse},
    members::{cut, page},
};
use axum::{Json, extract::State};
use std::sync::Arc;
use twinfold_types::{
    api::{ErrorView, Page, StorageView},
    keeping::{Hold, HoldSubject, StorageOwner},
    state_key::{self, Prefix},
};

/// Legal holds that stand: of tasks first, then of payloads.
#[utoipa::path(get, path = "/v1/holds", tag = "learning", params(PageQuery), responses(
    (status = OK, description = "A page of holds", body = Page<Hold>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn holds(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Hold>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<HoldSubject> = query.after.map(|text| parse("after", &text)).transpose()?;
    let after = after.map(|subject| state_key::hold(&subject));
    api.read(move |api| {
        Ok(Json(page(api, Prefix::Hold, after, rows, |hold: &Hold| hold.subject.to_string())?))
    })
    .await
}

/// Accounts that have payloads: members first, then organisations.
#[utoipa::path(get, path = "/v1/storage", tag = "learning", params(PageQuery), responses(
    (status = OK, description = "A page of accounts", body = Page<StorageView>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn storage(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<StorageView>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<StorageOwner> = query.after.map(|text| parse("after", &text)).transpose()?;
    let after = after.map(|owner| state_key::stored_bytes(&owner));
    api.read(move |api| {
        let reader = &api.node.reader;
        let after = after.as_ref().map(state_key::StateKey::bytes);
        let found = reader.scan::<u64>(&Prefix::StoredBytes.scan(), after, rows + 1)?;
        let mut views = Vec::new();
        for (key, stored_bytes) in found {
            let Some(owner) = state_key::parse_stored_bytes(&key) else { continue };
            let said: Option<u64> = reader.get(&state_key::storage_quota(&owner))?;
            let quota_bytes = said.or(owner.usual_bytes());
            views.push(StorageView { owner, stored_bytes, quota_bytes });
        }
        Ok(Json(cut(views, rows, |view| view.owner.to_string())))
    })
    .await
}
