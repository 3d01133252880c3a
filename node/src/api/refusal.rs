//! How the API says no: a status, what is wrong (what was expected, what came), and
//! what to do next, always as JSON.

use crate::{blobs::BlobError, node::SubmitError, pool::PoolError};
use axum::{
    Json,
    extract::rejection::{BytesRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::time::Duration;
use twinfold_ledger::LedgerError;
use twinfold_types::{Code, Height, api::ErrorView, limits};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: String,
    pub hint: String,
    pub retry_after: Option<Duration>,
}

const PRUNED_HINT: &str =
    "ask a node that keeps everything ([retention] archive = true), such as an auditor's";
const DOCUMENT_HINT: &str = "GET /openapi.json lists every path, parameter and answer";

impl Refusal {
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, error: error.into(), hint: hint.into(), retry_after: None }
    }

    /// The request itself is wrong.
    pub fn bad_request(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, hint)
    }

    /// Nothing has this identity or name here.
    pub fn unknown(what: impl std::fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} is not known to this node"), hint)
    }

    /// This node had it once.
    pub fn gone(what: String, first: Height) -> Self {
        LedgerError::Pruned { what, first }.into()
    }

    /// A limit of this node is reached; later is better.
    pub fn busy(error: impl Into<String>, hint: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, error, hint);
        refusal.retry_after = Some(Duration::from_secs(1));
        refusal
    }

    pub fn too_fast(error: impl Into<String>, hint: impl Into<String>, wait: Duration) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, error, hint);
        refusal.retry_after = Some(wait);
        refusal
    }

    /// A fault of this node, told to its operator in the log.
    pub fn fault(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request could not be served");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("this node failed: {error}"),
            "ask another node, and tell this one's operator to look at its log",
        )
    }

    pub fn no_such_path(method: &str, path: &str) -> Self {
        let error = format!("there is no {method} {path}");
        Self::new(StatusCode::NOT_FOUND, error, DOCUMENT_HINT)
    }

    pub fn wrong_method(method: &str, path: &str) -> Self {
        let error = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, error, DOCUMENT_HINT)
    }

    pub fn too_large(what: &str, bytes: u64, limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("{what} of {bytes} bytes; at most {limit} are taken"),
            "send less in one request",
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let view = ErrorView { error: self.error, hint: self.hint };
        let mut response = (self.status, Json(view)).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, never 0, as the header has it.
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unknown(_) => Self::new(
                StatusCode::NOT_FOUND,
                error.to_string(),
                "check the identity; a node that lags may learn of it in a moment",
            ),
            LedgerError::NotCertified(_) => Self::new(
                StatusCode::CONFLICT,
                error.to_string(),
                "wait for level certified (GET /v1/txs/{id}?wait=certified), then ask again",
            ),
            LedgerError::Pruned { .. } => {
                Self::new(StatusCode::GONE, error.to_string(), PRUNED_HINT)
            }
            other => Self::fault(other),
        }
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        let text = error.to_string();
        match error {
            SubmitError::Malformed(_) => Self::bad_request(
                text,
                "expected a signed transaction of this chain in the canonical encoding: \
                 compare the genesis digest, and sign it anew",
            ),
            SubmitError::NotNow { .. } => Self::bad_request(
                text,
                "check the clocks, and sign a new transaction valid from a little before now",
            ),
            SubmitError::Refused(code) => Self::new(
                refused_status(code),
                format!("{text} (code {})", code.number()),
                "executing it now would give this result: change what it names and sign anew",
            ),
            SubmitError::Pool(PoolError::MemberFull { .. }) => {
                Self::too_fast(text, "send more slowly", Duration::from_secs(1))
            }
            SubmitError::Pool(PoolError::Full { .. } | PoolError::Behind { .. }) => {
                Self::busy(text, "send it again in a moment, or to another node")
            }
            SubmitError::Halted(_) => Self::busy(text, "send it to another node"),
            SubmitError::Ledger(error) => error.into(),
        }
    }
}

fn refused_status(code: Code) -> StatusCode {
    match code {
        Code::UnknownSender | Code::NotPermitted => StatusCode::FORBIDDEN,
        Code::TaskUnknown | Code::ProposalUnknown | Code::MemberUnknown => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        let text = error.to_string();
        match error {
            BlobError::TooLarge { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                text,
                format!("at most {limit} bytes: compress more, or split the model"),
            ),
            BlobError::NotPermitted(_) => Self::new(
                StatusCode::FORBIDDEN,
                text,
                "uploads need a member with role trainer, operator or admin and its signature",
            ),
            BlobError::Quota { .. } => Self::new(
                StatusCode::FORBIDDEN,
                text,
                "name the payloads uploaded before in transactions first",
            ),
            BlobError::OtherFragment(_) => Self::bad_request(
                text,
                "send the fragment's hashes and then its bytes, as docs/state.md has them",
            ),
            BlobError::OtherContent { .. } => Self::bad_request(
                text,
                "cut and hash the content as x-twinfold-coding says, and sign its identity",
            ),
            BlobError::Mismatch(_) => Self::fault(text),
            BlobError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                text,
                "check the digest; its retention may have ended",
            ),
            BlobError::Misencoded { .. } => Self::new(
                StatusCode::GONE,
                text,
                "nobody can have it: whoever uploaded it signed for fragments of no content",
            ),
            BlobError::TooFewFragments { .. } => {
                Self::busy(text, "`twinfold blob stat` says who holds what")
            }
            BlobError::Stopped => Self::busy(text, "ask another node"),
            BlobError::TooFewReceipts { .. } => Self::busy(
                text,
                "send the payload again when more validators are connected: nothing is stored twice",
            ),
            BlobError::Network(_) => Self::busy(text, "try again in a moment, or at another node"),
            BlobError::Io { .. } | BlobError::Certificate(_) | BlobError::Ledger(_) => {
                Self::fault(text)
            }
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(format!("the path: {}", rejection.body_text()), DOCUMENT_HINT)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!("the query: {}", rejection.body_text()), DOCUMENT_HINT)
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = limits::HTTP_BODY_BYTES_MAX;
            return Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is over {limit} bytes"),
                "payloads go to POST /v1/blobs; a transaction only names them",
            );
        }
        Self::bad_request(
            format!("the body could not be read: {}", rejection.body_text()),
            "send the whole body, as long as its Content-Length says",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(refusal: Refusal) -> (StatusCode, Option<String>, ErrorView) {
        let response = refusal.into_response();
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.map(|value| value.to_str().unwrap().to_string());
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, after, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_refusal_is_json_with_what_is_wrong_and_what_to_do() {
        let (status, after, view) = shown(Refusal::no_such_path("GET", "/v2")).await;
        assert_eq!((status, after), (StatusCode::NOT_FOUND, None));
        assert_eq!(view.error, "there is no GET /v2");
        assert!(view.hint.contains("/openapi.json"));
    }

    #[tokio::test]
    async fn a_limit_says_when_to_come_back_in_whole_seconds() {
        let refusal = Refusal::too_fast("slow down", "later", Duration::from_millis(1_200));
        let (status, after, _) = shown(refusal).await;
        assert_eq!((status, after.as_deref()), (StatusCode::TOO_MANY_REQUESTS, Some("2")));
    }

    #[test]
    fn what_was_dropped_says_from_where_on_blocks_are_kept_and_who_has_the_rest() {
        let refusal = Refusal::gone("block 7".into(), Height(90));
        assert_eq!(refusal.status, StatusCode::GONE);
        assert!(refusal.error.contains("block 7") && refusal.error.contains("90"));
        assert!(refusal.hint.contains("archive = true"));
    }

    #[test]
    fn who_may_not_is_told_apart_from_what_does_not_fit() {
        let status = |code| Refusal::from(SubmitError::Refused(code)).status;
        assert_eq!(status(Code::UnknownSender), StatusCode::FORBIDDEN);
        assert_eq!(status(Code::UpdateExists), StatusCode::CONFLICT);
        assert_eq!(status(Code::TaskUnknown), StatusCode::NOT_FOUND);
    }
}
