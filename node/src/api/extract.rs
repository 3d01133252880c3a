//! What handlers take from a request. Whatever is wrong with it becomes a
//! [`Refusal`] that says what was expected and what came.

use super::Refusal;
use axum::extract::FromRequestParts;
use serde::Deserialize;
use std::str::FromStr;
use twinfold_types::limits;
use utoipa::{
    IntoParams,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

/// Rows of a page when the request does not say.
const PAGE_ROWS_DEFAULT: usize = 50;

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refusal))]
pub struct Path<T>(pub T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refusal))]
pub struct Query<T>(pub T);

/// The whole body, bounded by the router's limit.
pub struct Body(pub bytes::Bytes);

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refusal> {
        check_octets(request.headers())?;
        Ok(Self(bytes::Bytes::from_request(request, state).await?))
    }
}

/// Raw bytes, in the API's document.
pub enum Octets {}

impl utoipa::PartialSchema for Octets {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl utoipa::ToSchema for Octets {}

/// Bodies are bytes, and say so.
pub fn check_octets(headers: &axum::http::HeaderMap) -> Result<(), Refusal> {
    const EXPECTED: &str = "application/octet-stream";
    let found = headers.get(axum::http::header::CONTENT_TYPE).map(|value| value.as_bytes());
    let essence = found.and_then(|value| value.split(|byte| *byte == b';').next());
    if essence.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(EXPECTED.as_bytes())) {
        return Ok(());
    }
    let found =
        found.map_or("none".into(), |value| format!("{:?}", String::from_utf8_lossy(value)));
    Err(Refusal::new(
        axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("expected a body of Content-Type {EXPECTED}, got {found}"),
        format!("send the bytes as they are with Content-Type: {EXPECTED}"),
    ))
}

/// Reads an identity, number or key out of a path or query.
pub fn parse<T: FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| {
        let error = cut(&error.to_string());
        Refusal::bad_request(
            format!("{what}: {:?} is none: {error}", cut(text)),
            "digests and keys are 64 hexadecimal digits, heights and versions whole numbers",
        )
    })
}

/// What came may be long; the start is enough to recognise it.
pub fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

pub fn page_rows(limit: Option<usize>) -> Result<usize, Refusal> {
    let rows = limit.unwrap_or(PAGE_ROWS_DEFAULT);
    if rows == 0 || rows > limits::PAGE_ROWS_MAX {
        return Err(Refusal::bad_request(
            format!("limit: expected 1 to {}, got {rows}", limits::PAGE_ROWS_MAX),
            "ask for fewer rows, and for the next page with the last row",
        ));
    }
    Ok(rows)
}

/// A page of a listing in the order of identities.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// `next` of the page before.
    pub after: Option<String>,
    /// Rows, 1 to 200; 50 when not given.
    pub limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
    use twinfold_types::Digest;

    #[test]
    fn a_wrong_identity_is_shown_cut_with_what_was_expected() {
        let refusal = parse::<Digest>("transaction", &"z".repeat(500)).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        assert!(refusal.error.starts_with("transaction:") && refusal.error.len() < 300);
    }

    #[test]
    fn pages_have_one_to_200_rows() {
        assert_eq!(page_rows(None), Ok(PAGE_ROWS_DEFAULT));
        assert_eq!(page_rows(Some(limits::PAGE_ROWS_MAX)), Ok(limits::PAGE_ROWS_MAX));
        assert!(page_rows(Some(0)).is_err() && page_rows(Some(201)).is_err());
    }

    #[test]
    fn a_body_of_another_type_is_refused_by_name() {
        let mut headers = HeaderMap::new();
        assert!(check_octets(&headers).unwrap_err().error.ends_with("got none"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let refusal = check_octets(&headers).unwrap_err();
        assert_eq!(refusal.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(refusal.error.contains("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("Application/Octet-Stream; x=y"));
        assert!(check_octets(&headers).is_ok());
    }
}
