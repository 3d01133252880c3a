//! What can go wrong with a ledger: the folder, the caller, or the world. Refused
//! transactions are no errors; they have receipts.

use std::path::PathBuf;
use twinfold_types::{
    Digest, Epoch, Height, PublicKey, genesis::GenesisError, recovery::RecoveryError,
    vote::Checkpoint,
};

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the genesis file is not acceptable: {0}")]
    Genesis(#[from] GenesisError),
    #[error(
        "{dir}: holds the chain of genesis {folder}, the genesis file given is {given}: start with the chain's own genesis file or another folder",
        dir = dir.display()
    )]
    OtherGenesis { dir: PathBuf, folder: Digest, given: Digest },
    #[error(
        "{dir}: written in format {found}, this program reads format {expected}: use the program that wrote it, or an empty folder to fetch the chain again",
        dir = dir.display()
    )]
    OtherFormat { dir: PathBuf, found: String, expected: u32 },
    #[error(
        "{dir}: in use by another process ({reason}): stop that one first",
        dir = dir.display()
    )]
    Locked { dir: PathBuf, reason: String },
    #[error(
        "{dir}: the stored chain is damaged ({reason}): keep a copy for inspection, check the disk, then move the folder away and start again to fetch the chain from the other nodes",
        dir = dir.display()
    )]
    Damaged { dir: PathBuf, reason: String },
    #[error(
        "{dir}: cannot read or write ({reason}): check space, permissions and the disk, then start again",
        dir = dir.display()
    )]
    Storage { dir: PathBuf, reason: String },
    #[error("the block of height {height} does not follow height {head}: {reason}")]
    WrongBlock { height: Height, head: Height, reason: String },
    #[error(
        "at height {height} the committee's stable checkpoint has state root {} and audit root {}, this node has {} and {}: it stops and keeps its data for inspection",
        theirs.state_root, theirs.audit_root, ours.state_root, ours.audit_root
    )]
    Diverged { height: Height, ours: Box<Checkpoint>, theirs: Box<Checkpoint> },
    #[error(
        "epoch {epoch} follows version {found} of the rules, this program knows {known}: start a newer program on this folder"
    )]
    Protocol { epoch: Epoch, found: u32, known: u32 },
    #[error(
        "the recovery {digest} that was accepted for height {height} does not fit what this node executed: \
         {reason}; it goes no further. Compare with the other operators, and accept another statement"
    )]
    Recovery { height: Height, digest: Digest, reason: String },
    #[error(
        "a quorum of the committee that the recovery {digest} replaced has ordered a block above height \
         {height}, which the recovery keeps as the last: validators that were said to be lost are back. \
         This node follows the recovery and stops; keep its data, and settle it among the operators"
    )]
    BeyondRecovery { height: Height, digest: Digest },
    #[error("the checkpoint of height {height} is beyond the newest executed height {head}")]
    NotExecuted { height: Height, head: Height },
    #[error("{0} is not known to this node")]
    Unknown(String),
    #[error("{what} is not here: this node keeps blocks from height {first} on")]
    Pruned { what: String, first: Height },
    #[error("{0} is not yet under a stable checkpoint: try again when one is reached")]
    NotCertified(String),
}

/// Why a recovery cannot be made or accepted here.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the statement is not acceptable: {0}")]
    Statement(#[from] RecoveryError),
    #[error(
        "{validator} is no validator in the state of height {height}: only members whom the admins admitted \
         as validators and who declared themselves can take a seat"
    )]
    NoValidator { validator: PublicKey, height: Height },
    #[error("{validator} is jailed for an offence or expelled: it cannot take a seat")]
    Barred { validator: PublicKey },
    #[error(
        "{left} seats of the running committee stay and {quorum} are a quorum: it can go on by itself. Start \
         those validators; let the admins expel the others"
    )]
    QuorumLeft { left: usize, quorum: usize },
    #[error("epoch {epoch} is not above the running epoch {running}")]
    Epoch { epoch: Epoch, running: Epoch },
    #[error(
        "this node has executed height {head}, and the statement keeps only what is up to {kept}: what is \
         committed must not be thrown away. Make the statement from this node's folder"
    )]
    Ahead { head: Height, kept: Height },
    #[error("at height {height} this node's {what} is {ours}, the statement's {theirs}")]
    Differs { height: Height, what: &'static str, ours: String, theirs: String },
    #[error(
        "another statement is accepted here, {digest}, for epoch {epoch}. If that one is given up by all, make \
         the new one for a later epoch (`recover propose --epoch {}`)", epoch.next()
    )]
    Other { digest: Digest, epoch: Epoch },
}
