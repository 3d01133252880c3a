//! `twinfold checkpoint`: what m of n admins state together, so that a new node may begin
//! from it. The first fetches it and signs; the others hold it against nodes of their own and
//! sign the same file, or copies that are put together.

use super::Context;
use crate::{
    client::Client,
    error::{CliError, Result},
    files::{self, Access},
    render::{pairs, time},
    verify::VerifyError,
};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinfold_types::{
    Digest, Epoch, Height, TimeMs, genesis::Genesis, key::StrictEd25519, limits,
    stated::StatementError, trust::TrustedCheckpoint, vote::Checkpoint,
};

#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Fetch the newest checkpoint of an own node, sign it, and write it to a file
    State {
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Sign a file that another admin wrote, after holding it against an own node
    Sign { file: PathBuf },
    /// Put the signatures of several files of one checkpoint into one
    Combine {
        #[arg(required = true, num_args = 2..)]
        files: Vec<PathBuf>,
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Check a file against the genesis file only (--genesis), and show who signed it
    Show { file: PathBuf },
}

#[derive(Serialize)]
struct Report {
    chain: String,
    genesis: Digest,
    epoch: Epoch,
    height: Height,
    time: TimeMs,
    block: Digest,
    state_root: Digest,
    committee: Digest,
    fingerprint: Digest,
    /// Admins that state it, and how many are needed.
    admins: Vec<String>,
    needed: u32,
}

pub fn run(context: &Context, command: CheckpointCommand) -> Result<()> {
    let genesis = context.genesis_file()?;
    match command {
        CheckpointCommand::State { output } => {
            let mut trusted = context.client()?.checkpoint()?;
            trusted.statements.clear();
            verified(context, "the node's checkpoint", &trusted, &genesis)?;
            sign(context, &mut trusted, &genesis)?;
            write(&output, &trusted)?;
            show(context, &trusted, &genesis)
        }
        CheckpointCommand::Sign { file } => {
            let mut trusted = read(context, &file, &genesis)?;
            hold_against_node(&context.client()?, &trusted)?;
            sign(context, &mut trusted, &genesis)?;
            write(&file, &trusted)?;
            show(context, &trusted, &genesis)
        }
        CheckpointCommand::Combine { files, output } => {
            let trusted = combine(context, &files, &genesis)?;
            write(&output, &trusted)?;
            show(context, &trusted, &genesis)
        }
        CheckpointCommand::Show { file } => {
            show(context, &read(context, &file, &genesis)?, &genesis)
        }
    }
}

/// A file, its quorum and every signature in it verified.
fn read(context: &Context, path: &Path, genesis: &Genesis) -> Result<TrustedCheckpoint> {
    let limit = limits::CHECKPOINT_FILE_BYTES_MAX as u64;
    let bytes = files::read(path, limit).map_err(CliError::file(path))?;
    let what = path.display().to_string();
    let trusted: TrustedCheckpoint = serde_json::from_slice(&bytes).map_err(|error| {
        VerifyError::mismatch(&what, "a checkpoint written by `twinfold checkpoint state`", error)
    })?;
    verified(context, &what, &trusted, genesis)?;
    Ok(trusted)
}

fn verified(
    context: &Context,
    what: &str,
    trusted: &TrustedCheckpoint,
    genesis: &Genesis,
) -> Result<()> {
    let checked = trusted.verify(
        &genesis.digest(),
        &genesis.committee(),
        &context.accepted(),
        &StrictEd25519,
    );
    checked
        .map_err(|error| VerifyError::Checkpoint { what: what.into(), error: error.to_string() })?;
    stated_by(what, trusted, genesis).map(drop)
}

/// The admins whose signatures are in it, by name.
fn stated_by(what: &str, trusted: &TrustedCheckpoint, genesis: &Genesis) -> Result<Vec<String>> {
    let stated = trusted.stated_by(genesis, &StrictEd25519);
    let stated = stated
        .map_err(|error| VerifyError::Checkpoint { what: what.into(), error: error.to_string() })?;
    Ok(stated.iter().map(|admin| admin.name.clone()).collect())
}

/// What a quorum once signed may be another history's by now; an admin's own node tells.
fn hold_against_node(client: &Client, trusted: &TrustedCheckpoint) -> Result<()> {
    let (height, stated) = (trusted.height(), &trusted.certificate.checkpoint);
    let Some(own) = client.block(height)?.checkpoint else {
        return Err(CliError::failed(
            format!("the node does not tell what it came to at height {height}"),
            "ask a node of yours that executed that height itself, and runs this version (--node)",
        ));
    };
    compare(stated, &own)
}

/// All that the file has the admins say, not the block alone: the same block may stand beside a
/// state that nobody who executed it came to.
fn compare(stated: &Checkpoint, own: &Checkpoint) -> Result<()> {
    let committee = |of: &Checkpoint| match of.next_committee {
        Some(digest) => digest.to_string(),
        None => "none".into(),
    };
    let log = |of: &Checkpoint| format!("{} of {} entries", of.audit_root, of.audit_size);
    let parts = [
        ("block", stated.block.to_string(), own.block.to_string()),
        ("state root", stated.state_root.to_string(), own.state_root.to_string()),
        ("audit root", log(stated), log(own)),
        ("next committee", committee(stated), committee(own)),
    ];
    for (what, stated, own) in parts {
        if stated != own {
            let what = format!("{what} of the node");
            return Err(VerifyError::mismatch(what, format!("{stated}, as stated"), own).into());
        }
    }
    match stated == own {
        true => Ok(()),
        false => {
            let place = |of: &Checkpoint| format!("epoch {}, height {}", of.epoch, of.height);
            let expected = format!("{}, as stated", place(stated));
            Err(VerifyError::mismatch("checkpoint of the node", expected, place(own)).into())
        }
    }
}

fn sign(context: &Context, trusted: &mut TrustedCheckpoint, genesis: &Genesis) -> Result<()> {
    let key = context.signing_key()?;
    trusted.state(genesis, &key).map_err(|error| {
        let hint = match &error {
            StatementError::NotAdmin(_) => "only admins that the genesis file names state one: choose such a key with --key",
            _ => "give the file to another admin; `twinfold checkpoint show` says how many are needed",
        };
        CliError::failed(error.to_string(), hint)
    })
}

/// All signatures, one of each admin. The files must be of one checkpoint.
fn combine(context: &Context, files: &[PathBuf], genesis: &Genesis) -> Result<TrustedCheckpoint> {
    let mut all: Option<TrustedCheckpoint> = None;
    for path in files {
        let next = read(context, path, genesis)?;
        let Some(first) = &mut all else {
            all = Some(next);
            continue;
        };
        if next.fingerprint() != first.fingerprint() {
            return Err(CliError::failed(
                format!(
                    "{} is of height {}, {} of height {}: they are different checkpoints",
                    path.display(),
                    next.height(),
                    files[0].display(),
                    first.height()
                ),
                "have the admins sign copies of one file",
            ));
        }
        for signature in next.statements {
            if first.statements.iter().all(|found| found.admin != signature.admin) {
                first.statements.push(signature);
            }
        }
    }
    all.ok_or_else(|| CliError::usage("no file", "name the files to put together"))
}

fn write(path: &Path, trusted: &TrustedCheckpoint) -> Result<()> {
    let text = serde_json::to_vec_pretty(trusted).map_err(|error| {
        CliError::failed(format!("the checkpoint cannot be written as JSON: {error}"), "")
    })?;
    files::write(path, &text, Access::Everyone).map_err(CliError::file(path))
}

fn show(context: &Context, trusted: &TrustedCheckpoint, genesis: &Genesis) -> Result<()> {
    let checkpoint = &trusted.certificate.checkpoint;
    let report = Report {
        chain: genesis.chain.clone(),
        genesis: genesis.digest(),
        epoch: checkpoint.epoch,
        height: checkpoint.height,
        time: trusted.header.time,
        block: checkpoint.block,
        state_root: checkpoint.state_root,
        committee: trusted.trail.committee.digest(),
        fingerprint: trusted.fingerprint(),
        admins: stated_by("the checkpoint", trusted, genesis)?,
        needed: genesis.params.threshold,
    };
    context.output.show(&report, || human(&report))
}

fn human(report: &Report) -> String {
    let missing = (report.needed as usize).saturating_sub(report.admins.len());
    let state = match (report.admins.join(", "), missing) {
        (names, 0) => format!("{names}: enough for a node to begin from it"),
        (names, missing) if names.is_empty() => format!("nobody; {missing} must"),
        (names, missing) => format!("{names}; {missing} more must"),
    };
    pairs(&[
        ("chain", report.chain.clone()),
        ("genesis", report.genesis.to_string()),
        ("height", format!("{} of {}", report.height, time(report.time))),
        ("block", report.block.to_string()),
        ("state root", report.state_root.to_string()),
        ("committee", format!("{} of epoch {}", report.committee, report.epoch)),
        ("fingerprint", report.fingerprint.to_string()),
        ("signed by", state),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_signs_what_the_own_node_came_to_and_nothing_beside_it() {
        let own = Checkpoint {
            epoch: Epoch(2),
            height: Height(40),
            block: Digest([1; 32]),
            state_root: Digest([2; 32]),
            audit_size: 7,
            audit_root: Digest([3; 32]),
            next_committee: None,
        };
        let refused = |change: &dyn Fn(&mut Checkpoint)| {
            let mut stated = own.clone();
            change(&mut stated);
            compare(&stated, &own).unwrap_err().to_string()
        };
        assert!(compare(&own, &own).is_ok());
        assert!(refused(&|c| c.block = Digest([9; 32])).contains("block"));
        assert!(refused(&|c| c.state_root = Digest([9; 32])).contains("state root"));
        assert!(refused(&|c| c.audit_root = Digest([9; 32])).contains("audit root"));
        assert!(refused(&|c| c.audit_size = 8).contains("audit root"));
        assert!(refused(&|c| c.next_committee = Some(own.block)).contains("next committee"));
        assert!(refused(&|c| c.epoch = Epoch(3)).contains("epoch 3"));
    }
}
