//! `twinfold-node checkpoint`: a running node's newest stable checkpoint as a file for a new
//! node's operator, checked against the genesis file. The fingerprint on the other channel is
//! for comparing with what other nodes say.

use crate::{args::Checkpoint, ask, genesis_file};
use color_eyre::eyre::WrapErr;
use std::io::Write;
use twinfold_types::{key::StrictEd25519, trust::TrustedCheckpoint};

pub fn run(args: &Checkpoint) -> color_eyre::Result<()> {
    let genesis = genesis_file::read(&args.genesis)?;
    let accepted = args.accept_recovery.iter().copied().collect();
    let agent = ask::agent(args.ca.as_deref())?;
    let trusted: TrustedCheckpoint = ask::get(&agent, &args.node, "/v1/checkpoint")?;
    trusted
        .verify(&genesis.digest(), &genesis.committee(), &accepted, &StrictEd25519)
        .wrap_err("the node's checkpoint is not to be trusted")?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &trusted)?;
    writeln!(out)?;
    eprintln!("height {}, fingerprint {}", trusted.height(), trusted.fingerprint());
    Ok(())
}
