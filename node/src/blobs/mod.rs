//! Payloads beside the chain, on disk and between nodes. By step:
//!
//! - `staging`: what a client sends, cut into fragments as it comes;
//! - `push` and `take`: a fragment on its way to its holder, and there;
//! - `fragment` and `store`: fragments as files, written to a temporary name, synced, and renamed;
//! - `gather`: content from any k fragments; `rebuild`: a lost fragment from the others;
//! - `admission`: who may store what, and the receipts; `wire`, `call`, `serve`, `exchange`: requests
//!   and answers on the payload plane, also for models and for whoever joins;
//! - `models`: folded models as files, older ones as differences (`delta`).

mod admission;
pub mod call;
mod delta;
pub mod exchange;
pub mod fragment;
pub mod gather;
mod hold;
pub mod models;
mod push;
pub mod rebuild;
mod serve;
pub mod staging;
pub mod store;
pub mod take;
pub mod wire;

pub use exchange::Exchange;
pub use models::ModelStore;
pub use push::{own_fragment, place};
pub use staging::Staging;
pub use store::BlobStore;

use twinfold_types::{Digest, vote::CertificateError};

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("payload storage {path}: {error}")]
    Io { path: String, error: std::io::Error },
    #[error("the payload is over the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("{0}")]
    NotPermitted(String),
    #[error(
        "member {member} has {pending} bytes of payloads that no transaction names yet; the limit is {limit}"
    )]
    Quota { member: String, pending: u64, limit: u64 },
    #[error("the content is not what its identity says: {0}")]
    Mismatch(String),
    #[error("payload {came} came, {signed} was signed for")]
    OtherContent { came: Digest, signed: Digest },
    #[error("the fragment is not what its payload's identity says: {0}")]
    OtherFragment(String),
    #[error("no node has {0}")]
    NotFound(Digest),
    #[error("only {got} of {needed} validators stored the payload")]
    TooFewReceipts { got: usize, needed: usize },
    #[error(
        "only {got} of the {needed} fragments that payload {digest} needs can be had: try again when more validators are up"
    )]
    TooFewFragments { digest: Digest, got: usize, needed: usize },
    #[error("payload {digest} was cut by a liar and has no content: {reason}")]
    Misencoded { digest: Digest, reason: String },
    #[error("the node is stopping")]
    Stopped,
    #[error("the availability certificate: {0}")]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Ledger(#[from] twinfold_ledger::LedgerError),
    #[error("{0}")]
    Network(#[from] crate::network::NetworkError),
}
