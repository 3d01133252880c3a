//! The typed client of the HTTP API. It trusts nodes for nothing that can be
//! checked: payloads and models against their digests, certificates against the
//! committee, the chain against a genesis file where one is given.

mod blob;
mod committee;
mod dataset;
mod direct;
mod error;
mod events;
mod http;
mod model_store;
mod read;
mod sealed;
mod submit;

#[cfg(test)]
mod tests;

pub use blob::{Cut, identify};
pub use error::{Attempt, ClientError};
pub use events::Events;
pub use http::segment;
pub use model_store::Search;
pub use read::level_name;

use crate::files;
use http::{Http, Request};
use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use twinfold_types::{
    Committee, Digest, SecretKey, TimeMs,
    genesis::Genesis,
    limits,
    recovery::Accepted,
    signed_read::{self, HEADER_INPUT, HEADER_SIGNATURE, Target},
};

/// What is read or written of a file at once.
const PIECE_BYTES: usize = 1 << 20;
const CA_BYTES_MAX: u64 = 1 << 20;

/// How to reach a chain.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// URLs of nodes, tried in turn.
    pub nodes: Vec<String>,
    /// Certificates (PEM) that may sign the nodes' TLS certificates, instead of
    /// the public ones.
    pub ca: Option<PathBuf>,
    /// The genesis file to hold every node against.
    pub genesis: Option<PathBuf>,
    /// Recoveries of the chain to follow.
    pub accepted: Accepted,
    /// How long to go on trying while no node can be reached.
    pub patience: Duration,
}

/// Gives the key of whoever reads, if there is one.
type ReadKey = Box<dyn Fn() -> Result<Option<SecretKey>, String> + Send + Sync>;

pub struct Client {
    http: Http,
    /// Whose key signs requests for content, and the key once one was needed.
    read_key: Option<ReadKey>,
    reader: OnceLock<Result<Option<SecretKey>, String>>,
    pinned: Option<Genesis>,
    accepted: Accepted,
    chain: OnceLock<Chain>,
    /// The newest committee that was followed from genesis.
    committee: Mutex<Option<Committee>>,
}

/// What a client knows of the chain it speaks to.
#[derive(Clone, Debug)]
pub struct Chain {
    pub genesis: Genesis,
    pub digest: Digest,
}

impl Client {
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let ca = match &options.ca {
            Some(path) => Some(files::read(path, CA_BYTES_MAX).map_err(|error| {
                ClientError::settings(format!("--ca {}", path.display()), error)
            })?),
            None => None,
        };
        let pinned = match &options.genesis {
            Some(path) => Some(read_genesis(path)?),
            None => None,
        };
        let http = Http::new(options.nodes, ca.as_deref(), options.patience)?;
        let (accepted, chain) = (options.accepted, OnceLock::new());
        let (read_key, reader) = (None, OnceLock::new());
        Ok(Self { http, read_key, reader, pinned, accepted, chain, committee: Mutex::default() })
    }

    /// Signs requests for payloads and models, which nodes give to members alone. The key is asked
    /// for when the first such request is made.
    #[must_use]
    pub fn reading_with(
        mut self,
        key: impl Fn() -> Result<Option<SecretKey>, String> + Send + Sync + 'static,
    ) -> Self {
        self.read_key = Some(Box::new(key));
        self
    }

    /// The same with a key at hand.
    #[must_use]
    pub fn reading_as(self, key: SecretKey) -> Self {
        self.reading_with(move || Ok(Some(key.clone())))
    }

    /// A request for content, signed where there is a key.
    fn get_content(
        &self,
        path: String,
        expected: &'static str,
    ) -> Result<Request<'_>, ClientError> {
        let mut request = Request::get(path, expected);
        let Some(read_key) = &self.read_key else { return Ok(request) };
        let key = self.reader.get_or_init(read_key);
        let key = key.as_ref().map_err(|error| ClientError::settings("--key", error))?;
        if let Some(key) = key {
            let (chain, created) = (self.chain()?.digest, now().0 / 1_000);
            let (input, signature) =
                signed_read::sign(key, &chain, Target::get(&request.path), created);
            request.headers = vec![(HEADER_INPUT, input), (HEADER_SIGNATURE, signature)];
        }
        Ok(request)
    }

    pub fn nodes(&self) -> &[String] {
        self.http.nodes()
    }

    /// The recoveries that whoever uses this client accepts.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// Bytes of all requests with a body so far, headers included.
    pub fn bytes_sent(&self) -> u64 {
        self.http.sent_bytes()
    }

    /// Bytes of the bodies of all answers so far.
    pub fn bytes_received(&self) -> u64 {
        self.http.received_bytes()
    }

    /// The chain: the pinned genesis, or else the nodes' own. Every node asked
    /// later must be of this chain where its answer is signed or digested.
    pub fn chain(&self) -> Result<&Chain, ClientError> {
        if let Some(chain) = self.chain.get() {
            return Ok(chain);
        }
        let genesis = match &self.pinned {
            Some(genesis) => {
                self.check_chain(genesis.digest())?;
                genesis.clone()
            }
            None => self.fetch_genesis()?,
        };
        let digest = genesis.digest();
        Ok(self.chain.get_or_init(|| Chain { genesis, digest }))
    }

    fn fetch_genesis(&self) -> Result<Genesis, ClientError> {
        let mut request = Request::get("/v1/genesis", "a genesis file");
        request.limit = limits::GENESIS_BYTES_MAX as u64;
        self.http.fetch(&request, |_, bytes| {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            parse_genesis(&text)
        })
    }

    /// The node that answers must be of the expected chain.
    fn check_chain(&self, expected: Digest) -> Result<(), ClientError> {
        let request = Request::get("/v1/status", "the node's status");
        let (status, index) = self.http.fetch_from(&request, &|_, bytes| {
            serde_json::from_slice::<twinfold_types::api::StatusView>(&bytes)
                .map_err(|error| error.to_string())
        })?;
        if status.genesis != expected {
            let node = self.nodes()[index].clone();
            return Err(ClientError::WrongChain { node, expected, found: status.genesis });
        }
        Ok(())
    }
}

/// Reads and checks a genesis file.
pub fn read_genesis(path: &std::path::Path) -> Result<Genesis, ClientError> {
    let fault = |error: String| ClientError::settings(path.display().to_string(), error);
    let text = files::read_text(path, limits::GENESIS_BYTES_MAX as u64)
        .map_err(|error| fault(error.to_string()))?;
    parse_genesis(&text).map_err(fault)
}

fn parse_genesis(text: &str) -> Result<Genesis, String> {
    let genesis = Genesis::from_json(text)?;
    genesis.check().map_err(|error| format!("not an acceptable genesis: {error}"))?;
    Ok(genesis)
}

/// This machine's clock.
pub fn now() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(since.as_millis() as u64)
}
