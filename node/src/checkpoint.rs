//! `twinfold-node checkpoint`: a running node's newest stable checkpoint as a file for a new
//! node's operator, checked against the genesis file. The fingerprint on the other channel is
//! for comparing with what other nodes say.

use crate::{args::Checkpoint, doctor, genesis_file};
use color_eyre::eyre::WrapErr;
use std::io::Write;
use twinfold_types::{key::StrictEd25519, limits, trust::TrustedCheckpoint};

pub fn run(args: &Checkpoint) -> color_eyre::Result<()> {
    let genesis = genesis_file::read(&args.genesis)?;
    let agent = doctor::agent(args.ca.as_deref())?;
    let url = format!("{}/v1/checkpoint", args.node.trim_end_matches('/'));
    let mut answer = agent.get(url).call()?;
    let limit = limits::CHECKPOINT_FILE_BYTES_MAX as u64;
    let bytes = answer.body_mut().with_config().limit(limit).read_to_vec()?;
    let trusted: TrustedCheckpoint =
        serde_json::from_slice(&bytes).wrap_err("the answer is no checkpoint")?;
    trusted
        .verify(&genesis.digest(), &genesis.committee(), &StrictEd25519)
        .wrap_err("the node's checkpoint is not to be trusted")?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &trusted)?;
    writeln!(out)?;
    eprintln!("height {}, fingerprint {}", trusted.height(), trusted.fingerprint());
    Ok(())
}
