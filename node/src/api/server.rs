//! The listener: bounded connections, headers and patience, TLS where configured, and
//! an orderly end.

use super::{Api, router};
use crate::{config::Http, node::Node};
use axum::extract::Extension;
use axum::middleware::AddExtension;
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    future::{Ready, ready},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower::Layer;
use twinfold_types::limits;

/// A client that has not sent its headers by then is given up.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Requests under way have so long to end when the node stops.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
const PEM_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("http.listen: cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("{setting}: cannot read {}: {reason}", path.display())]
    Read { setting: &'static str, path: PathBuf, reason: String },
    #[error("{setting}: {} holds no usable {expected} in PEM form: {reason}", path.display())]
    Pem { setting: &'static str, path: PathBuf, expected: &'static str, reason: String },
    #[error(
        "http.tls_certificate {} and http.tls_key {} do not make a TLS identity: {reason}",
        certificate.display(), key.display()
    )]
    Identity { certificate: PathBuf, key: PathBuf, reason: String },
}

/// The running API.
pub struct Server {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Waits until it has ended, some seconds after the shutdown token at the latest.
    pub async fn wait(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the API ended badly");
        }
    }
}

/// Listens and serves until the token is cancelled.
pub async fn start(
    node: Arc<Node>,
    http: &Http,
    shutdown: CancellationToken,
) -> Result<Server, ApiError> {
    let api = Arc::new(Api::new(node, http, shutdown.clone()));
    serve(router(api), http, shutdown).await
}

/// The same for any router.
pub async fn serve(
    router: axum::Router,
    http: &Http,
    shutdown: CancellationToken,
) -> Result<Server, ApiError> {
    let tls = tls(http)?;
    let failed = |error| ApiError::Listen { address: http.listen, error };
    let listener = std::net::TcpListener::bind(http.listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "the API is served without TLS beyond this machine");
    }
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(HEADER_WAIT)
        .accept_error_handler(|client, error| tracing::debug!(?client, %error, "not accepted"));
    server
        .http_builder()
        .http1()
        .max_buf_size(limits::HTTP_HEADER_BYTES_MAX)
        .header_read_timeout(HEADER_WAIT);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(SHUTDOWN_WAIT));
    });
    let task = tokio::spawn(async move {
        let bounded = Bounded::new(limits::HTTP_CONNECTIONS_MAX);
        let served = match tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).acceptor(bounded);
                server.acceptor(acceptor).serve(service).await
            }
            None => server.acceptor(bounded).serve(service).await,
        };
        if let Err(error) = served {
            tracing::error!(%error, "the API has failed");
        }
    });
    Ok(Server { address, task })
}

/// Accepts so many connections at once; the rest are closed unanswered.
#[derive(Clone)]
struct Bounded {
    places: Arc<Semaphore>,
}

/// Held by a connection's service as long as it lives.
type Place = Arc<OwnedSemaphorePermit>;

impl Bounded {
    fn new(connections: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(connections)) }
    }

    fn place(&self) -> io::Result<Place> {
        let place = self.places.clone().try_acquire_owned();
        place.map(Arc::new).map_err(|_| io::Error::other("too many connections"))
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = TcpStream;
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(TcpStream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.place().and_then(|place| {
            // Without it the end of an answer waits for the client's delayed acknowledgement.
            stream.set_nodelay(true)?;
            Ok((stream, Extension(place).layer(service)))
        }))
    }
}

fn tls(http: &Http) -> Result<Option<RustlsConfig>, ApiError> {
    let (Some(certificate), Some(key)) = (&http.tls_certificate, &http.tls_key) else {
        return Ok(None);
    };
    let chain = certificates(certificate)?;
    let secret = private_key(key)?;
    let identity = |error: rustls::Error| ApiError::Identity {
        certificate: certificate.clone(),
        key: key.clone(),
        reason: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(identity)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(identity)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(RustlsConfig::from_config(Arc::new(config))))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ApiError> {
    const SETTING: &str = "http.tls_certificate";
    let fault = |reason: String| ApiError::Pem {
        setting: SETTING,
        path: path.into(),
        expected: "certificate",
        reason,
    };
    let pem = read_pem(SETTING, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(fault("expected -----BEGIN CERTIFICATE-----".into())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(fault(error.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ApiError> {
    const SETTING: &str = "http.tls_key";
    let pem = read_pem(SETTING, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| ApiError::Pem {
        setting: SETTING,
        path: path.into(),
        expected: "private key",
        reason: error.to_string(),
    })
}

fn read_pem(setting: &'static str, path: &Path) -> Result<Vec<u8>, ApiError> {
    let fault = |reason: String| ApiError::Read { setting, path: path.into(), reason };
    let bytes = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if bytes > PEM_BYTES_MAX {
        return Err(fault(format!("{bytes} bytes; a PEM file has at most {PEM_BYTES_MAX}")));
    }
    std::fs::read(path).map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(dir: &Path, certificate: &str, key: &str) -> Http {
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        Http {
            tls_certificate: write("certificate.pem", certificate),
            tls_key: write("key.pem", key),
            ..Http::default()
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_or_key_is_named_with_its_setting() {
        let dir = tempfile::tempdir().unwrap();
        let error = tls(&http(dir.path(), "nothing", "nothing")).err().unwrap().to_string();
        assert!(error.contains("http.tls_certificate"), "{error}");
        assert!(error.contains("certificate.pem"), "{error}");

        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = tls(&http(dir.path(), certificate, "nothing")).err().unwrap().to_string();
        assert!(error.contains("http.tls_key") && error.contains("key.pem"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = Some(PathBuf::from("/nowhere/certificate.pem"));
        let http = Http { tls_certificate: missing.clone(), tls_key: missing, ..Http::default() };
        let error = tls(&http).err().unwrap().to_string();
        assert!(error.contains("/nowhere/certificate.pem"), "{error}");
    }

    #[test]
    fn connections_beyond_the_bound_are_turned_away_until_one_ends() {
        let bounded = Bounded::new(1);
        let first = bounded.place().unwrap();
        assert!(bounded.place().is_err());
        drop(first);
        assert!(bounded.place().is_ok());
    }
}
