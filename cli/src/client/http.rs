//! Requests over HTTP: several nodes tried in turn, every answer bounded before
//! it is read and checked before it counts. A node that cannot be reached, is
//! busy, or answers with what fails the check is passed over for the next.

use super::error::{Attempt, ClientError};
use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use twinfold_types::api::ErrorView;
use ureq::{
    Agent, Body, SendBody,
    http::Response,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

/// An error answer longer than this is cut.
const ERROR_BYTES_MAX: u64 = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 2_000;

/// One request; `timeout` covers all of it.
pub struct Request<'a> {
    pub path: String,
    /// None is a GET.
    pub body: Option<Sent<'a>>,
    pub headers: Vec<(&'static str, String)>,
    /// Bytes of an answer.
    pub limit: u64,
    pub timeout: Duration,
    /// What the answer should be, for the error when it is not.
    pub expected: &'static str,
}

/// What a request carries.
#[derive(Clone, Copy)]
pub enum Sent<'a> {
    Bytes(&'a [u8]),
    /// A file and its length.
    File(&'a Path, u64),
}

pub struct Http {
    agent: Agent,
    nodes: Vec<String>,
    /// The node that answered last; it is asked first.
    preferred: AtomicUsize,
    /// How long to go on trying while no node helps.
    patience: Duration,
    /// Bytes of requests with a body, headers included.
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

/// How one node's answer failed.
enum Failure {
    /// Another node may do better.
    Next(Attempt, Option<Box<ClientError>>),
    /// The request itself is refused.
    Final(Box<ClientError>),
}

impl<'a> Request<'a> {
    pub fn get(path: impl Into<String>, expected: &'static str) -> Self {
        Self {
            path: path.into(),
            body: None,
            headers: vec![],
            limit: 64 << 20,
            timeout: Duration::from_secs(60),
            expected,
        }
    }

    pub fn post(path: impl Into<String>, body: &'a [u8], expected: &'static str) -> Self {
        Self::send(path, Sent::Bytes(body), expected)
    }

    pub fn send(path: impl Into<String>, body: Sent<'a>, expected: &'static str) -> Self {
        Self { body: Some(body), limit: 1 << 20, ..Self::get(path, expected) }
    }

    pub fn label(&self) -> String {
        format!("{} {}", if self.body.is_some() { "POST" } else { "GET" }, self.path)
    }
}

impl Http {
    pub fn new(
        nodes: Vec<String>,
        ca_pem: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        if nodes.is_empty() {
            return Err(ClientError::settings("--node", "at least one URL is needed"));
        }
        let nodes = nodes.into_iter().map(checked_url).collect::<Result<_, _>>()?;
        let mut tls = TlsConfig::builder();
        if let Some(pem) = ca_pem {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(pem)?)));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("twinfold/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .into();
        Ok(Self {
            agent,
            nodes,
            preferred: AtomicUsize::new(0),
            patience,
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
        })
    }

    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Of all answers' bodies that were read whole.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// The answer of the first node whose bytes `check` accepts.
    pub fn fetch<T>(
        &self,
        request: &Request<'_>,
        check: impl Fn(&str, Vec<u8>) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        self.fetch_from(request, &check).map(|(value, _)| value)
    }

    /// The same, with the index of the node that answered.
    pub fn fetch_from<T>(
        &self,
        request: &Request<'_>,
        check: &impl Fn(&str, Vec<u8>) -> Result<T, String>,
    ) -> Result<(T, usize), ClientError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(BACKOFF_MS_MIN);
        loop {
            let error = match self.try_all(request, check) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if !error.is_transient() || started.elapsed() + pause > self.patience {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(BACKOFF_MS_MAX));
        }
    }

    /// The answer of one node.
    pub fn fetch_at<T: DeserializeOwned>(
        &self,
        node: &str,
        request: &Request<'_>,
    ) -> Result<T, ClientError> {
        let check = |_: &str, bytes: Vec<u8>| {
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        };
        match self.try_one(node, request, &check) {
            Ok(value) => Ok(value),
            Err(Failure::Final(error) | Failure::Next(_, Some(error))) => Err(*error),
            Err(Failure::Next(attempt, None)) => Err(ClientError::Unreachable(vec![attempt])),
        }
    }

    fn try_all<T>(
        &self,
        request: &Request<'_>,
        check: &impl Fn(&str, Vec<u8>) -> Result<T, String>,
    ) -> Result<(T, usize), ClientError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let (mut attempts, mut refusal) = (vec![], None);
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            match self.try_one(&self.nodes[index], request, check) {
                Ok(value) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok((value, index));
                }
                Err(Failure::Final(error)) => return Err(*error),
                Err(Failure::Next(attempt, error)) => {
                    attempts.push(attempt);
                    refusal = refusal.or(error);
                }
            }
        }
        Err(refusal.map_or(ClientError::Unreachable(attempts), |error| *error))
    }

    fn try_one<T>(
        &self,
        node: &str,
        request: &Request<'_>,
        check: &impl Fn(&str, Vec<u8>) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let next = |reason: String| Failure::Next(Attempt { node: node.into(), reason }, None);
        let mut answer = self.send(node, request).map_err(|error| next(describe(&error)))?;
        let status = answer.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(refusal(node, request, status, &mut answer));
        }
        let body = answer.body_mut().with_config().limit(request.limit).read_to_vec();
        // Cut off, over the limit, or not what was asked for: the next node may do better.
        let unexpected = |reason: String| {
            let error = ClientError::Unexpected {
                node: node.into(),
                request: request.label(),
                expected: request.expected.into(),
                reason: reason.clone(),
            };
            Failure::Next(Attempt { node: node.into(), reason }, Some(Box::new(error)))
        };
        let bytes = match body {
            Ok(bytes) => bytes,
            Err(ureq::Error::BodyExceedsLimit(limit)) => {
                return Err(unexpected(format!("more than {limit} bytes")));
            }
            Err(error) => return Err(next(describe(&error))),
        };
        self.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        check(node, bytes).map_err(unexpected)
    }

    fn send(&self, node: &str, request: &Request<'_>) -> Result<Response<Body>, ureq::Error> {
        let url = format!("{node}{}", request.path);
        match request.body {
            None => {
                let call = self.agent.get(url);
                let call = request
                    .headers
                    .iter()
                    .fold(call, |call, (name, value)| call.header(*name, value));
                call.config().timeout_global(Some(request.timeout)).build().call()
            }
            Some(body) => {
                self.sent_bytes.fetch_add(request_bytes(&url, request, &body), Ordering::Relaxed);
                let call = self.agent.post(url).header("content-type", "application/octet-stream");
                let call = request
                    .headers
                    .iter()
                    .fold(call, |call, (name, value)| call.header(*name, value));
                let call = call.config().timeout_global(Some(request.timeout)).build();
                match body {
                    Sent::Bytes(bytes) => call.send(bytes),
                    Sent::File(path, length) => {
                        // A refusal is heard before the content is sent in vain.
                        let call = call.header("expect", "100-continue");
                        let call = call.header("content-length", length.to_string());
                        call.send(SendBody::from_owned_reader(File::open(path)?.take(length)))
                    }
                }
            }
        }
    }

    /// The body of the first node that has it, to be read bit by bit, at most so many bytes, and
    /// whether it is the part that was asked for (else it is the whole).
    pub fn open_body(
        &self,
        request: &Request<'_>,
        limit: u64,
    ) -> Result<(ureq::BodyReader<'static>, bool), ClientError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let (mut attempts, mut last) = (vec![], None);
        for step in 0..self.nodes.len() {
            let node = &self.nodes[(first + step) % self.nodes.len()];
            let failed = match self.send(node, request) {
                Ok(mut answer) => match answer.status().as_u16() {
                    status @ (200 | 206) => {
                        // The next download begins with another node: this one may break off or lie.
                        self.preferred
                            .store((first + step + 1) % self.nodes.len(), Ordering::Relaxed);
                        let body = answer.into_body().into_with_config().limit(limit).reader();
                        return Ok((body, status == 206));
                    }
                    status => refusal(node, request, status, &mut answer),
                },
                Err(error) => {
                    Failure::Next(Attempt { node: node.clone(), reason: describe(&error) }, None)
                }
            };
            match failed {
                Failure::Final(error) => return Err(*error),
                Failure::Next(attempt, error) => {
                    attempts.push(attempt);
                    last = error.or(last);
                }
            }
        }
        Err(last.map_or(ClientError::Unreachable(attempts), |error| *error))
    }

    /// Opens a stream that has no end: each read waits at most `quiet`.
    pub fn open_stream(
        &self,
        path: &str,
        quiet: Duration,
    ) -> Result<ureq::BodyReader<'static>, ClientError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut attempts = vec![];
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let node = &self.nodes[index];
            let call =
                self.agent.get(format!("{node}{path}")).header("accept", "text/event-stream");
            let call = call
                .config()
                .timeout_recv_response(Some(Duration::from_secs(20)))
                .timeout_per_read(Some(quiet))
                .build();
            match call.call() {
                Ok(mut answer) => {
                    let status = answer.status().as_u16();
                    if status == 200 {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer.into_body().into_with_config().limit(u64::MAX).reader());
                    }
                    let request = Request::get(path, "an event stream");
                    match refusal(node, &request, status, &mut answer) {
                        Failure::Final(error) => return Err(*error),
                        Failure::Next(attempt, _) => attempts.push(attempt),
                    }
                }
                Err(error) => {
                    attempts.push(Attempt { node: node.clone(), reason: describe(&error) });
                }
            }
            self.preferred.store((index + 1) % self.nodes.len(), Ordering::Relaxed);
        }
        Err(ClientError::Unreachable(attempts))
    }
}

/// Bytes of a request on the wire, as HTTP/1.1 writes it.
fn request_bytes(url: &str, request: &Request<'_>, body: &Sent<'_>) -> u64 {
    const FIXED: usize = "POST  HTTP/1.1\r\nhost: \r\naccept: */*\r\naccept-encoding: gzip\r\n\
        content-type: application/octet-stream\r\ncontent-length: 0000000\r\n\
        user-agent: twinfold/0.0.0\r\n\r\n"
        .len();
    let headers = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4);
    let body = match body {
        Sent::Bytes(bytes) => bytes.len() as u64,
        Sent::File(_, length) => *length,
    };
    (FIXED + url.len() + headers.sum::<usize>()) as u64 + body
}

/// Reads a refusal: 429 and 5xx are this node's trouble, the rest the request's.
fn refusal(node: &str, request: &Request<'_>, status: u16, answer: &mut Response<Body>) -> Failure {
    let bytes = answer.body_mut().with_config().limit(ERROR_BYTES_MAX).read_to_vec();
    let view = bytes.ok().and_then(|bytes| serde_json::from_slice::<ErrorView>(&bytes).ok());
    let view = view.unwrap_or_else(|| ErrorView {
        error: "the answer names no reason".into(),
        hint: "is this address a Twinfold node?".into(),
    });
    let reason = format!("HTTP {status}: {}", view.error);
    let error = ClientError::Refused {
        node: node.into(),
        request: request.label(),
        status,
        error: view.error,
        hint: view.hint,
    };
    if error.is_transient() {
        return Failure::Next(Attempt { node: node.into(), reason }, Some(Box::new(error)));
    }
    Failure::Final(Box::new(error))
}

fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(which) => format!("timed out ({which})"),
        ureq::Error::HostNotFound => "unknown host name".into(),
        other => other.to_string(),
    }
}

fn checked_url(url: String) -> Result<String, ClientError> {
    let url = url.trim().trim_end_matches('/').to_string();
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(ClientError::settings(
            "--node",
            format!("expected a URL such as http://127.0.0.1:7780, got {url:?}"),
        )),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<ureq::tls::Certificate<'static>>, ClientError> {
    let mut found = vec![];
    for item in parse_pem(pem) {
        match item.map_err(|error| ClientError::settings("--ca", error))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            _ => {
                return Err(ClientError::settings("--ca", "the file holds more than certificates"));
            }
        }
    }
    if found.is_empty() {
        return Err(ClientError::settings("--ca", "no certificate in the file (PEM is expected)"));
    }
    Ok(found)
}

/// Percent-encodes one segment of a path or one value of a query.
pub fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
