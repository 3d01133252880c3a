//! What can go wrong between a client and the nodes.

use crate::error::exit;
use twinfold_types::{Digest, TxId};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no node could be reached; tried {}", tried(.0))]
    Unreachable(Vec<Attempt>),
    #[error("{node} refused {request} (HTTP {status}): {error}")]
    Refused { node: String, request: String, status: u16, error: String, hint: String },
    #[error("{node} answered {request} with something else than {expected}: {reason}")]
    Unexpected { node: String, request: String, expected: String, reason: String },
    #[error("{node} is of chain {found}, expected {expected}")]
    WrongChain { node: String, expected: Digest, found: Digest },
    #[error("transaction {tx} is {reached} after {waited_s} s; expected {wanted}")]
    TimedOut { tx: TxId, reached: String, wanted: String, waited_s: u64 },
    #[error("transaction {tx} expired before a block took it")]
    Expired { tx: TxId },
    #[error("{what}: {reason}")]
    Settings { what: String, reason: String },
}

/// Why one node did not help.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub node: String,
    pub reason: String,
}

fn tried(attempts: &[Attempt]) -> String {
    let texts: Vec<_> =
        attempts.iter().map(|attempt| format!("{} ({})", attempt.node, attempt.reason)).collect();
    texts.join(", ")
}

impl ClientError {
    pub fn settings(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Settings { what: what.into(), reason: reason.to_string() }
    }

    /// The node knows no such thing (yet).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Known, but not under a stable checkpoint yet.
    pub fn is_not_certified(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Another attempt may succeed: nothing is wrong with the request itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut { .. } => true,
            Self::Refused { status, .. } => matches!(*status, 408 | 429 | 500..),
            _ => false,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(_) => exit::UNREACHABLE,
            Self::TimedOut { .. } | Self::Expired { .. } => exit::TIMED_OUT,
            Self::WrongChain { .. } | Self::Unexpected { .. } => exit::NOT_PROVED,
            Self::Refused { request, .. } if request.starts_with("POST") => exit::REFUSED,
            Self::Refused { .. } => exit::FAILED,
            Self::Settings { .. } => exit::USAGE,
        }
    }

    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable(_) => {
                "is the node running, and is this its address (http or https)? Give it with \
                 --node URL, several to be tried in turn; a private certificate authority with --ca"
                    .into()
            }
            Self::Refused { hint, .. } => hint.clone(),
            Self::Unexpected { .. } => {
                "is this address a Twinfold node of the same version? Try another with --node"
                    .into()
            }
            Self::WrongChain { .. } => {
                "compare genesis fingerprints with the node's operator; --genesis names the \
                 file this command trusts"
                    .into()
            }
            Self::TimedOut { tx, .. } => {
                format!(
                    "it may still come: `twinfold tx {tx} --wait`, or look at `twinfold status`"
                )
            }
            Self::Expired { .. } => {
                "check this machine's clock and `twinfold status`, then send it again".into()
            }
            Self::Settings { .. } => String::new(),
        }
    }
}
