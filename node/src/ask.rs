//! Asking a running node over its HTTP API, for the node's own commands.

use crate::config::Config;
use color_eyre::eyre::{WrapErr, bail, eyre};
use serde::de::DeserializeOwned;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use twinfold_types::api::ErrorView;
use ureq::{
    Agent, Body,
    http::Response,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// URL of the node of a configuration, and its certificate where it has one.
pub fn of_config(config: &Config) -> (String, Option<PathBuf>) {
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    (format!("{scheme}://{}", config.http.listen), config.http.tls_certificate.clone())
}

/// One that trusts a certificate (PEM) instead of those that the world knows, where it is given.
pub fn agent(ca: Option<&Path>) -> color_eyre::Result<Agent> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = ca {
        let pem =
            std::fs::read(path).wrap_err_with(|| format!("cannot read {}", path.display()))?;
        let items = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<_> = items.collect();
        if certificates.is_empty() {
            bail!("{} holds no certificate (PEM is expected)", path.display());
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .http_status_as_error(false)
        .tls_config(tls.build());
    Ok(config.build().into())
}

/// An answer to GET.
pub fn get<T: DeserializeOwned>(agent: &Agent, node: &str, path: &str) -> color_eyre::Result<T> {
    let answer = agent.get(url(node, path)).call().wrap_err_with(|| unreachable(node))?;
    read(answer, node, path)
}

/// An answer to POST of canonically encoded bytes.
pub fn post<T: DeserializeOwned>(
    agent: &Agent,
    node: &str,
    path: &str,
    bytes: &[u8],
) -> color_eyre::Result<T> {
    let request = agent.post(url(node, path)).content_type("application/octet-stream");
    read(request.send(bytes).wrap_err_with(|| unreachable(node))?, node, path)
}

fn url(node: &str, path: &str) -> String {
    format!("{}{path}", node.trim_end_matches('/'))
}

fn unreachable(node: &str) -> String {
    format!("{node} does not answer: is it running, and is this its http.listen?")
}

fn read<T: DeserializeOwned>(
    mut answer: Response<Body>,
    node: &str,
    path: &str,
) -> color_eyre::Result<T> {
    let status = answer.status();
    let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    if status.is_success() {
        let what = || format!("the answer of {node} to {path} is not what it should be");
        return serde_json::from_slice(&bytes).wrap_err_with(what);
    }
    match serde_json::from_slice::<ErrorView>(&bytes) {
        Ok(refusal) => Err(eyre!("{node} refused: {}; {}", refusal.error, refusal.hint)),
        Err(_) => Err(eyre!("{node} answered {path} with HTTP {status}")),
    }
}
