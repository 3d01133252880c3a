//! Members and proposals, in the order of their keys.

use super::{
    Api, Refusal,
    extract::{PageQuery, Query, page_rows, parse},
};
use axum::{Json, extract::State};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use twinfold_ledger::LedgerError;
use twinfold_types::{
    PublicKey, TxId,
    api::{ErrorView, Page},
    member::{Member, Proposal},
    state_key::{self, Prefix, StateKey},
};

/// Members, in the order of their keys.
#[utoipa::path(get, path = "/v1/members", tag = "chain", params(PageQuery), responses(
    (status = OK, description = "A page of members", body = Page<Member>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn members(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Member>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<PublicKey> = query.after.map(|key| parse("after", &key)).transpose()?;
    let after = after.map(|key| state_key::member(&key));
    api.read(move |api| {
        Ok(Json(page(api, Prefix::Member, after, rows, |member: &Member| member.key.to_string())?))
    })
    .await
}

/// Proposals, open and ended, in the order of their identities.
#[utoipa::path(get, path = "/v1/proposals", tag = "chain", params(PageQuery), responses(
    (status = OK, description = "A page of proposals", body = Page<Proposal>),
    (status = "default", description = "A refusal", body = ErrorView),
))]
pub async fn proposals(
    State(api): State<Arc<Api>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Proposal>>, Refusal> {
    let rows = page_rows(query.limit)?;
    let after: Option<TxId> = query.after.map(|id| parse("after", &id)).transpose()?;
    let after = after.map(|id| state_key::proposal(&id));
    api.read(move |api| {
        let id = |proposal: &Proposal| proposal.id.to_string();
        Ok(Json(page(api, Prefix::Proposal, after, rows, id)?))
    })
    .await
}

/// One page of the values under a prefix; `name` is what the next page starts after.
pub fn page<T: Serialize + DeserializeOwned>(
    api: &Api,
    prefix: Prefix,
    after: Option<StateKey>,
    rows: usize,
    name: impl Fn(&T) -> String,
) -> Result<Page<T>, LedgerError> {
    let after = after.as_ref().map(StateKey::bytes);
    let found = api.node.reader.scan::<T>(&prefix.scan(), after, rows + 1)?;
    Ok(cut(found.into_iter().map(|(_, value)| value).collect(), rows, name))
}

/// One row more than asked for was read, to know whether there is a next page.
pub fn cut<T>(mut found: Vec<T>, rows: usize, name: impl Fn(&T) -> String) -> Page<T> {
    let more = found.len() > rows;
    found.truncate(rows);
    let next = found.last().filter(|_| more).map(name);
    Page { rows: found, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_names_no_next_one() {
        let name = |row: &u8| row.to_string();
        let page = cut(vec![1, 2, 3], 2, name);
        assert_eq!((page.rows, page.next), (vec![1, 2], Some("2".into())));
        let page = cut(vec![1, 2], 2, name);
        assert_eq!((page.rows, page.next), (vec![1, 2], None));
        assert_eq!(cut(vec![], 2, name).next, None);
    }
}
