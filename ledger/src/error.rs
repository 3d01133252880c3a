//! What can go wrong with a ledger: the folder, the caller, or the world. Refused
//! transactions are no errors; they have receipts.

use std::path::PathBuf;
use twinfold_types::{Digest, Epoch, Height, genesis::GenesisError, vote::Checkpoint};

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
    #[error("the checkpoint of height {height} is beyond the newest executed height {head}")]
    NotExecuted { height: Height, head: Height },
    #[error("{0} is not known to this node")]
    Unknown(String),
    #[error("{what} is not here: this node keeps blocks from height {first} on")]
    Pruned { what: String, first: Height },
    #[error("{0} is not yet under a stable checkpoint: try again when one is reached")]
    NotCertified(String),
}
