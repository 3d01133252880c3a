//! `twinfold proof`: what stands on its own, without any node.

use super::Context;
use crate::{
    client::ClientError,
    error::{CliError, Result},
    files::{self, Access},
    render::{pairs, table},
    verify::VerifyError,
};
use clap::Subcommand;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use twinfold_types::{
    Digest, Epoch, Height, PublicKey, TxId, codec, limits,
    model::{ModelId, ModelRecord},
    proof::Bundle,
    state_key::Prefix,
};

#[derive(Debug, Subcommand)]
pub enum ProofCommand {
    /// Fetch the proof of a transaction or a model into a file
    Get {
        /// Identity of a transaction or a model
        id: Digest,
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Check a proof offline, against the genesis file only (--genesis)
    Verify { file: PathBuf },
}

#[derive(Serialize)]
struct Report {
    chain: Digest,
    checkpoint: Height,
    /// Epoch of the checkpoint, and the hand-overs from genesis to it, each verified.
    epoch: Epoch,
    hand_overs: usize,
    state_root: Digest,
    signatures: usize,
    transactions: Vec<ProvedTx>,
    models: Vec<ProvedModel>,
    states: usize,
}

#[derive(Serialize)]
struct ProvedTx {
    id: TxId,
    sender: PublicKey,
    action: &'static str,
    height: Height,
    code: u16,
    result: &'static str,
}

#[derive(Serialize)]
struct ProvedModel {
    id: ModelId,
    digest: Digest,
    version: u64,
}

pub fn run(context: &Context, command: ProofCommand) -> Result<()> {
    match command {
        ProofCommand::Get { id, output } => get(context, id, &output),
        ProofCommand::Verify { file } => verify(context, &file),
    }
}

/// A transaction's proof, or else a model's.
fn get(context: &Context, id: Digest, output: &Path) -> Result<()> {
    let client = context.client()?;
    let progress = context.output.progress("waiting for a stable checkpoint over it");
    let bundle = once_certified(context.global.timeout, || match client.tx_proof(&TxId(id)) {
        Err(error) if error.is_not_found() => client.model_proof(&ModelId(id)),
        other => other,
    })?;
    drop(progress);
    // A proof that does not hold is not worth writing.
    let genesis = &client.chain()?.genesis;
    bundle
        .verify(genesis, client.accepted())
        .map_err(|error| VerifyError::Proof { what: format!("proof of {id}"), error })?;
    let bytes = codec::encode(&bundle);
    files::write(output, &bytes, Access::Everyone).map_err(CliError::file(output))?;
    let report = report(&bundle);
    context.output.show(&report, || {
        format!("{} ({} bytes)\n{}", output.display(), bytes.len(), human(&report))
    })
}

/// Asks again while the subject is known but not under a stable checkpoint yet.
pub fn once_certified(
    timeout: Duration,
    fetch: impl Fn() -> Result<Bundle, ClientError>,
) -> Result<Bundle, ClientError> {
    let started = Instant::now();
    loop {
        match fetch() {
            Err(error) if error.is_not_certified() && started.elapsed() < timeout => {
                std::thread::sleep(Duration::from_millis(200));
            }
            answer => return answer,
        }
    }
}

fn verify(context: &Context, file: &Path) -> Result<()> {
    let genesis = context.genesis_file()?;
    let bytes =
        files::read(file, limits::MESSAGE_BYTES_MAX as u64).map_err(CliError::file(file))?;
    let what = || format!("{}", file.display());
    let bundle: Bundle = codec::decode(&bytes, limits::MESSAGE_BYTES_MAX).map_err(|error| {
        VerifyError::mismatch(what(), "a proof written by `twinfold proof get`", error)
    })?;
    bundle
        .verify(&genesis, &context.accepted())
        .map_err(|error| VerifyError::Proof { what: what(), error })?;
    let report = report(&bundle);
    context.output.show(&report, || format!("proved\n{}", human(&report)))
}

fn report(bundle: &Bundle) -> Report {
    let transactions = bundle.transactions.iter().map(|(tx, audit)| ProvedTx {
        id: tx.id(),
        sender: tx.body.sender,
        action: super::action_name(&tx.body.action),
        height: audit.receipt.height,
        code: audit.receipt.code.number(),
        result: audit.receipt.code.text(),
    });
    let checkpoint = &bundle.checkpoint.checkpoint;
    Report {
        chain: bundle.chain,
        checkpoint: checkpoint.height,
        epoch: checkpoint.epoch,
        hand_overs: bundle.trail.ended.len(),
        state_root: checkpoint.state_root,
        signatures: bundle.checkpoint.signatures.len(),
        transactions: transactions.collect(),
        models: models(bundle),
        states: bundle.states.len(),
    }
}

/// Models among the proved values whose key is their own identity.
fn models(bundle: &Bundle) -> Vec<ProvedModel> {
    let records = bundle.states.iter().filter_map(|state| {
        if state.key.first() != Some(&(Prefix::Model as u8)) {
            return None;
        }
        let value = state.value.as_deref()?;
        let record: ModelRecord = codec::decode(value, limits::DECODE_BYTES_MAX).ok()?;
        let id = record.id();
        let is_its_own = state.key.get(1..) == Some(&id.0.0);
        is_its_own.then_some(ProvedModel { id, digest: record.digest, version: record.version })
    });
    records.collect()
}

fn human(report: &Report) -> String {
    let mut text = pairs(&[
        ("chain", report.chain.to_string()),
        ("checkpoint", format!("height {}", report.checkpoint)),
        (
            "signed by",
            format!(
                "{} seats of epoch {}, {} hand-overs from genesis",
                report.signatures, report.epoch, report.hand_overs
            ),
        ),
        ("state root", report.state_root.to_string()),
        ("state values", report.states.to_string()),
    ]);
    if !report.models.is_empty() {
        let row = |model: &ProvedModel| {
            [model.id.to_string(), model.version.to_string(), model.digest.to_string()]
        };
        let rows = report.models.iter().map(row);
        text += &format!("\n{}", table(&["model", "version", "digest"], rows));
    }
    if !report.transactions.is_empty() {
        let row = |tx: &ProvedTx| {
            let (sender, block) = (tx.sender.short(), tx.height.to_string());
            [tx.id.to_string(), tx.action.into(), sender, block, tx.result.into()]
        };
        let rows = report.transactions.iter().map(row);
        text +=
            &format!("\n{}", table(&["transaction", "action", "sender", "block", "result"], rows));
    }
    text
}
