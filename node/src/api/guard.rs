//! What every request passes: the client's rate, the node's concurrency, the size it
//! announces, a time limit; and what every answer gets: headers, counters, a log line.

use super::{Api, Refusal};
use crate::blobs::wire::BYTES_PER_SECOND_MIN;
use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::OwnedSemaphorePermit;
use twinfold_types::limits;

/// Longest wait that a request may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
const READ_LIMIT: Duration = Duration::from_secs(30);
/// The largest payload at the slowest speed that is put up with, and some minutes.
const TRANSFER_LIMIT: Duration =
    Duration::from_secs(limits::CODED_BLOB_BYTES_MAX / BYTES_PER_SECOND_MIN + 300);
const DISCARDED_BYTES_MAX: u64 = 8 << 20;
const DISCARD_WAIT: Duration = Duration::from_secs(5);
const UNMATCHED: &str = "other";

pub const UPLOAD_ROUTE: &str = "/v1/blobs";
const FRAGMENT_ROUTE: &str = "/v1/blobs/{digest}/fragments/{fragment}";
const TRANSFER_ROUTES: [&str; 5] = [
    UPLOAD_ROUTE,
    FRAGMENT_ROUTE,
    "/v1/blobs/{digest}",
    "/v1/models/{id}/content",
    "/v1/models/{id}/file",
];
const WAIT_ROUTE: &str = "/v1/txs/{id}";
/// Served however busy the node is: operators look at these when it is.
const HEALTH_ROUTES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

pub async fn guard(
    State(api): State<Arc<Api>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_string());
    let route = matched.unwrap_or_else(|| UNMATCHED.into());
    let method = method_name(request.method());
    let mut response = match admit(&api, client, &route, request.headers()) {
        Ok(permit) => {
            let answer = tokio::time::timeout(time_limit(&route), next.run(request)).await;
            drop(permit);
            answer.unwrap_or_else(|_| timed_out(&route).into_response())
        }
        Err(refusal) => {
            api.node.metrics.http_shed.inc();
            discard_body(request).await;
            refusal.into_response()
        }
    };
    let (status, took) = (response.status().as_u16(), started.elapsed());
    api.node.metrics.answered(method, &route, status, took);
    tracing::debug!(%client, method, route, status, ms = took.as_millis() as u64, "request");
    add_headers(response.headers_mut());
    response
}

/// Reads a refused body of moderate size: a client that is still writing would see a
/// broken connection instead of the reason.
async fn discard_body(request: Request) {
    if announced_bytes(request.headers()) > DISCARDED_BYTES_MAX {
        return;
    }
    let mut body = request.into_body().into_data_stream();
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(piece)) = body.next().await {
            bytes += piece.len() as u64;
            if bytes > DISCARDED_BYTES_MAX {
                return;
            }
        }
    };
    tokio::time::timeout(DISCARD_WAIT, all).await.ok();
}

fn admit(
    api: &Api,
    client: SocketAddr,
    route: &str,
    headers: &HeaderMap,
) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
    api.rates.take(client.ip(), Instant::now()).map_err(|wait| {
        let error = "this address makes more requests a second than this node serves";
        Refusal::too_fast(error, "wait as long as Retry-After says, and ask less often", wait)
    })?;
    let bytes = header_bytes(headers);
    if bytes > limits::HTTP_HEADER_BYTES_MAX {
        return Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!(
                "headers of {bytes} bytes; at most {} are taken",
                limits::HTTP_HEADER_BYTES_MAX
            ),
            "send fewer and shorter headers",
        ));
    }
    let bytes = announced_bytes(headers);
    let uploads = [UPLOAD_ROUTE, FRAGMENT_ROUTE].contains(&route);
    if !uploads && bytes > limits::HTTP_BODY_BYTES_MAX as u64 {
        return Err(Refusal::too_large("a body", bytes, limits::HTTP_BODY_BYTES_MAX as u64));
    }
    if HEALTH_ROUTES.contains(&route) {
        return Ok(None);
    }
    api.requests.clone().try_acquire_owned().map(Some).map_err(|_| {
        let error = format!("{} requests are being served", limits::HTTP_CONCURRENCY_MAX);
        Refusal::busy(error, "try again in a moment, or at another node")
    })
}

/// The parser's own bound is a little loose: it stops only when its buffer is full.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The body's length as announced; 0 when nothing readable is: then reading it is bounded.
pub fn announced_bytes(headers: &HeaderMap) -> u64 {
    let text = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn time_limit(route: &str) -> Duration {
    if TRANSFER_ROUTES.contains(&route) {
        TRANSFER_LIMIT
    } else if route == WAIT_ROUTE {
        WAIT_MAX + READ_LIMIT
    } else {
        READ_LIMIT
    }
}

fn timed_out(route: &str) -> Refusal {
    let error = format!("not answered within {} s", time_limit(route).as_secs());
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        error,
        "ask for less at once, or try again at another node",
    )
}

/// A label of few values, whatever came.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => UNMATCHED,
    }
}

/// Nothing served here may be taken for something else or run anything.
fn add_headers(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'";
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_and_waits_have_longer_limits_than_reads() {
        assert_eq!(time_limit("/v1/status"), READ_LIMIT);
        assert_eq!(time_limit(UNMATCHED), READ_LIMIT);
        assert!(time_limit(WAIT_ROUTE) > WAIT_MAX);
        assert!(time_limit(UPLOAD_ROUTE) > time_limit(WAIT_ROUTE));
    }

    #[test]
    fn a_length_that_is_no_number_counts_as_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(announced_bytes(&headers), 0);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("12"));
        assert_eq!(announced_bytes(&headers), 12);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("-1"));
        assert_eq!(announced_bytes(&headers), 0);
    }
}
