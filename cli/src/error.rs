//! One error type for the program. Each error says what was expected, what came
//! and what to do, and maps to one exit code.

use crate::{
    client::ClientError,
    data::DataError,
    keystore::KeystoreError,
    model_export::SignatureError,
    model_file::ModelFileError,
    tensor_file::TensorFileError,
    train::{StateError, TrainError},
    verify::VerifyError,
};
use std::path::{Path, PathBuf};
use twinfold_types::{Code, TxId, handover::TrailError, proof::ProofError};

pub type Result<T, E = CliError> = std::result::Result<T, E>;

/// Exit codes, as `--help` documents them.
pub mod exit {
    pub const OK: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const REFUSED: u8 = 3;
    pub const UNREACHABLE: u8 = 4;
    pub const NOT_PROVED: u8 = 5;
    pub const TIMED_OUT: u8 = 6;
}

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    /// A combination of arguments that clap cannot refuse.
    #[error("{message}")]
    Usage { message: String, hint: String },
    #[error("{message}")]
    Failed { message: String, hint: String },
    /// The chain executed the transaction and said no.
    #[error("transaction {tx} was refused with code {number}: {text}", number = code.number(), text = code.text())]
    Chain { tx: TxId, code: Code },
    /// The fold left the update out.
    #[error("update {tx} was ordered, but left out of the fold: {reason}")]
    LeftOut { tx: TxId, reason: &'static str },
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("{0}")]
    TimedOut(String),
}

impl CliError {
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: hint.into() }
    }

    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_path_buf(), source }
    }

    /// Whether the reader of our output went away (`twinfold … | head`).
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Verify(VerifyError::Client(error)) => error.exit_code(),
            Self::Verify(_) => exit::NOT_PROVED,
            Self::Usage { .. } => exit::USAGE,
            Self::Chain { .. } | Self::LeftOut { .. } => exit::REFUSED,
            Self::TimedOut(_) => exit::TIMED_OUT,
            Self::Keystore(_)
            | Self::Tensors(_)
            | Self::ModelFile(_)
            | Self::Signature(_)
            | Self::File { .. }
            | Self::Output(_)
            | Self::Train(_)
            | Self::State(_)
            | Self::Data(_)
            | Self::Failed { .. } => exit::FAILED,
        }
    }

    /// What to do about it; empty when the message says it all.
    pub fn hint(&self) -> String {
        match self {
            Self::Client(error) | Self::Verify(VerifyError::Client(error)) => {
                // Nodes judge by the ledger's rules before they admit: same code, same hint.
                let hint = crate::update::refused_code(error).map(chain_hint).unwrap_or_default();
                if hint.is_empty() { error.hint() } else { hint.into() }
            }
            Self::Usage { hint, .. } | Self::Failed { hint, .. } => hint.clone(),
            Self::Chain { code, .. } => chain_hint(*code).into(),
            // It says itself what to compare.
            Self::Verify(VerifyError::Proof {
                error: ProofError::Trail(TrailError::NotAccepted { .. }),
                ..
            }) => String::new(),
            Self::Verify(_) => {
                "do not rely on this model or node; ask another node, or compare genesis \
                 fingerprints with the operators"
                    .into()
            }
            Self::TimedOut(_) => "look at `twinfold status`, then ask again".into(),
            _ => String::new(),
        }
    }
}

fn chain_hint(code: Code) -> &'static str {
    match code {
        Code::UnknownSender => {
            "have an operator (`twinfold member add`) or the admins (`twinfold proposal new`) \
             register this key, or choose another with --key"
        }
        Code::NotPermitted => "use a key whose member has the role; see `twinfold member list`",
        Code::NotValidNow => "check this machine's clock and send again",
        Code::TaskUnknown => "see `twinfold task list`",
        Code::TaskNameTaken => "choose another --name",
        Code::RoundOther | Code::RoundSealed | Code::BaseOther | Code::BaseStale => {
            "fetch the cluster's newest model (`twinfold task show`) and train on that"
        }
        Code::ClusterUnknown | Code::ClusterOther => {
            "see the task's clusters: `twinfold task show`"
        }
        Code::QuotaReached => {
            "ask the admins for a larger quota: `twinfold proposal new set-quota`"
        }
        Code::StorageFull => {
            "see `twinfold storage`; the admins can allow more: `twinfold proposal new \
             set-storage-quota`"
        }
        Code::Held | Code::HoldExists | Code::HoldUnknown => {
            "see `twinfold holds`; the admins release one: `twinfold proposal new release-hold`"
        }
        Code::StakeTooLittle => "see what is free and what is delegated: `twinfold stake show`",
        Code::StakeTooMuch => "grant less, or take stake back elsewhere first",
        Code::CandidateUnknown => {
            "see `twinfold validators`; the admins register one with `twinfold proposal new \
             add-member --role validator`"
        }
        Code::HoldsSeat => {
            "let it leave first: `twinfold-node declare --leave`, or the admins expel it"
        }
        Code::NotJailed => "see `twinfold validators`: nothing keeps it from being elected",
        Code::JailedStill => {
            "see `twinfold validators` for the epoch from which it may ask, or have the admins \
             `twinfold proposal new readmit`"
        }
        Code::StakeParamsInvalid => "see `twinfold proposal new stake-params --help`",
        Code::EpochEnding => "see `twinfold epoch`: the election comes within 64 heights",
        Code::ProtocolInvalid => "see the running version: `twinfold epoch`",
        Code::EncryptionKeyInvalid => "draw another: `twinfold key encryption new --rotate`",
        Code::EncryptionKeyOther => "the reader has a new encryption key: send it again",
        Code::SealedExists => "seal it again: each sealing is a payload of its own",
        Code::SealedUnknown => "see what it is: `twinfold blob stat`",
        Code::SealedDestroyed => "it cannot be granted again: seal the file anew",
        Code::SealedNotOwner => "only its owner can; see who that is: `twinfold blob stat`",
        Code::WrapsInvalid => "a sealed payload has at most 256 readers; revoke some first",
        Code::WrapUnknown => "see who can read it: `twinfold blob stat`",
        Code::DatasetNameTaken => "choose another name, or append to it: `twinfold dataset append`",
        Code::DatasetUnknown => "see `twinfold dataset list`",
        Code::AppendNotPermitted => {
            "see `twinfold dataset show NAME` for its rule; under `listed` its owner lets others in with \
             `twinfold dataset grant`"
        }
        Code::DatasetParentUnknown | Code::GrantUnknown | Code::GrantsNotUsed => {
            "see `twinfold dataset show NAME`"
        }
        Code::DatasetFull => "create another data set",
        Code::EvidenceOld | Code::EvidenceKnown => "see `twinfold validators`",
        _ => "",
    }
}
