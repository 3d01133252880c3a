//! Payloads and models as plain files, written to a temporary name, synced, and
//! renamed; and their exchange between nodes on the payload plane.

mod admission;
pub mod call;
pub mod exchange;
mod hold;
pub mod models;
mod serve;
pub mod store;
pub mod wire;

pub use exchange::Exchange;
pub use models::ModelStore;
pub use store::{BlobStore, Incoming};

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
    #[error("no node has {0}")]
    NotFound(Digest),
    #[error("only {got} of {needed} validators stored the payload")]
    TooFewReceipts { got: usize, needed: usize },
    #[error("the availability certificate: {0}")]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Ledger(#[from] twinfold_ledger::LedgerError),
    #[error("{0}")]
    Network(#[from] crate::network::NetworkError),
}
