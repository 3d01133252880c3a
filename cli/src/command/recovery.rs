//! `twinfold recovery`: the admins' part in the restart of a chain that lost too many
//! validators. Everything is in the statement's file; no node is asked, since none may run.

use super::Context;
use crate::{
    error::{CliError, Result},
    files::{self, Access},
    render::{pairs, time},
};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinfold_types::{
    Digest, Epoch, Height, PublicKey,
    key::StrictEd25519,
    limits,
    recovery::{Recovery, RecoveryError},
};

#[derive(Debug, Subcommand)]
pub enum RecoveryCommand {
    /// Show what a statement says and who has signed it (--genesis)
    Show { file: PathBuf },
    /// Add an admin's signature to a statement's file (--genesis, --key)
    Sign {
        file: PathBuf,
        /// Digest of the statement, as the operators agreed on it
        #[arg(long)]
        digest: Digest,
    },
}

#[derive(Serialize)]
struct View {
    digest: Digest,
    chain: Digest,
    height: Height,
    block: Digest,
    state_root: Digest,
    ended_epoch: Epoch,
    epoch: Epoch,
    /// Members who sit in the new committee.
    seats: Vec<PublicKey>,
    threshold: u32,
    admins: Vec<PublicKey>,
    signed: Vec<PublicKey>,
}

pub fn run(context: &Context, command: RecoveryCommand) -> Result<()> {
    match command {
        RecoveryCommand::Show { file } => {
            let recovery = read(context, &file)?;
            show(context, &recovery)
        }
        RecoveryCommand::Sign { file, digest } => sign(context, &file, digest),
    }
}

fn sign(context: &Context, file: &Path, digest: Digest) -> Result<()> {
    let mut recovery = read(context, file)?;
    if recovery.digest() != digest {
        let found = recovery.digest();
        return Err(CliError::failed(
            format!("{}: its digest is {found}, not {digest}", file.display()),
            "it is another statement: see `twinfold recovery show`, and ask who made it",
        ));
    }
    recovery.sign(&context.signing_key()?).map_err(|error| refused(file, &error))?;
    let text =
        serde_json::to_vec_pretty(&recovery).map_err(|error| CliError::Output(error.into()))?;
    files::write(file, &text, Access::Everyone).map_err(CliError::file(file))?;
    show(context, &recovery)
}

/// A statement of this chain whose signatures so far are right.
fn read(context: &Context, file: &Path) -> Result<Recovery> {
    let chain = context.genesis_file()?.digest();
    let limit = limits::RECOVERY_FILE_BYTES_MAX as u64;
    let text = files::read_text(file, limit).map_err(CliError::file(file))?;
    let recovery: Recovery = serde_json::from_str(&text).map_err(|error| {
        CliError::failed(
            format!("{}: {error}", file.display()),
            "a file written by `twinfold-node recover propose` is expected",
        )
    })?;
    recovery.verify_signed(&chain, &StrictEd25519).map_err(|error| refused(file, &error))?;
    Ok(recovery)
}

fn refused(file: &Path, error: &RecoveryError) -> CliError {
    let hint = match error {
        RecoveryError::NoAdmin(_) => "choose an admin's key with --key",
        RecoveryError::Signed(_) => "pass the file on to the next admin",
        RecoveryError::OtherChain { .. } => "give the chain's own genesis file with --genesis",
        _ => "have it made anew: `twinfold-node recover propose`",
    };
    CliError::failed(format!("{}: {error}", file.display()), hint)
}

fn show(context: &Context, recovery: &Recovery) -> Result<()> {
    let statement = &recovery.statement;
    let seats = statement.committee.seats.iter();
    let view = View {
        digest: recovery.digest(),
        chain: statement.chain,
        height: statement.kept.height,
        block: statement.kept.block,
        state_root: statement.kept.state_root,
        ended_epoch: statement.kept.epoch,
        epoch: statement.committee.epoch,
        seats: seats.map(|seat| seat.validator).collect(),
        threshold: statement.threshold,
        admins: statement.admins.clone(),
        signed: recovery.signatures.iter().map(|(key, _)| *key).collect(),
    };
    context.output.show(&view, || {
        let seats = statement.committee.seats.iter();
        let seat = |seat: &twinfold_types::quorum::Seat| {
            format!("{} ({})", seat.validator, seat.organisation)
        };
        let (signed, needed) = (view.signed.len(), view.threshold);
        pairs(&[
            ("statement", view.digest.to_string()),
            ("made", time(statement.time)),
            ("keeps", format!("height {}, block {}", view.height, view.block)),
            ("state root", view.state_root.to_string()),
            ("ends", format!("epoch {}", view.ended_epoch)),
            ("begins", format!("epoch {}, {} seats", view.epoch, view.seats.len())),
            ("seats", seats.map(seat).collect::<Vec<_>>().join("\n")),
            ("admins", lines(&view.admins)),
            ("signed by", format!("{signed} of {needed} needed\n{}", lines(&view.signed))),
        ])
    })
}

fn lines(keys: &[PublicKey]) -> String {
    keys.iter().map(PublicKey::to_string).collect::<Vec<_>>().join("\n")
}
