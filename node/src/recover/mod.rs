//! `twinfold-node recover`: the restart of a chain that lost more than f validators for good.
//! All of it works on the folder of a node that is stopped, and asks nobody.

mod accept;
pub mod heard;
mod log;
mod propose;

use crate::{args::RecoverCommand, config::Config, genesis_file};
use color_eyre::eyre::{WrapErr, ensure};
use std::{collections::BTreeMap, path::Path};
use twinfold_ledger::Reader;
use twinfold_types::{
    Committee, PublicKey,
    genesis::Genesis,
    limits,
    quorum::faults,
    recovery::{Recovery, RecoveryStatement},
};

pub fn run(command: &RecoverCommand) -> color_eyre::Result<()> {
    match command {
        RecoverCommand::Propose(args) => propose::run(args),
        RecoverCommand::Accept(args) => accept::run(args),
    }
}

fn read_node(config: &Path) -> color_eyre::Result<(Config, Genesis)> {
    let config = Config::read(config)?;
    let genesis = genesis_file::read(&config.genesis)?;
    Ok((config, genesis))
}

/// A statement's file, of a bounded size.
fn read_file(path: &Path) -> color_eyre::Result<Recovery> {
    use std::io::Read;
    let named = || format!("cannot read the statement {}", path.display());
    let mut text = Vec::new();
    let limit = limits::RECOVERY_FILE_BYTES_MAX as u64;
    let file = std::fs::File::open(path).wrap_err_with(named)?;
    file.take(limit + 1).read_to_end(&mut text).wrap_err_with(named)?;
    ensure!(text.len() as u64 <= limit, "{}: over {limit} bytes", path.display());
    serde_json::from_slice(&text).wrap_err_with(named)
}

/// Three seats bear no fault, so fewer than four are only for who says so.
fn check_size(committee: &Committee, genesis: &Genesis, allowed: bool) -> color_eyre::Result<()> {
    let seats = committee.size();
    ensure!(
        faults(seats) > 0 || allowed || genesis.unsafe_size,
        "a committee of {seats} bears no fault: name four validators at least, or say \
         --allow-unsafe-size"
    );
    Ok(())
}

/// Names for people, where the state knows them.
struct Names(BTreeMap<PublicKey, String>);

impl Names {
    fn of_ledger(reader: &Reader) -> color_eyre::Result<Self> {
        let members = reader.members()?.into_iter();
        Ok(Self(members.map(|member| (member.key, member.name)).collect()))
    }

    fn of_genesis(genesis: &Genesis) -> Self {
        let members = genesis.all_members().into_iter();
        Self(members.map(|member| (member.key, member.name)).collect())
    }

    fn of(&self, key: &PublicKey) -> String {
        match self.0.get(key) {
            Some(name) => format!("{name} ({})", key.short()),
            None => key.to_string(),
        }
    }

    fn list<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> String {
        let names: Vec<_> = keys.into_iter().map(|key| self.of(key)).collect();
        if names.is_empty() { "nobody".into() } else { names.join(", ") }
    }

    /// What operators compare, line by line.
    fn show(&self, statement: &RecoveryStatement, ended: Option<&Committee>) {
        let RecoveryStatement { kept, committee, .. } = statement;
        let seats = committee.seats.iter().map(|seat| &seat.validator);
        println!("statement    {}", statement.digest());
        println!("keeps        height {}, block {}", kept.height, kept.block);
        println!("state root   {}", kept.state_root);
        println!("ends         epoch {}, committee {}", kept.epoch, statement.ended);
        println!("begins       epoch {} above height {}", committee.epoch, kept.height);
        println!("in           {}", self.list(seats));
        if let Some(ended) = ended {
            let gone = ended.seats.iter().map(|seat| &seat.validator);
            println!(
                "out          {}",
                self.list(gone.filter(|key| committee.seat_of(key).is_none()))
            );
        }
        let (threshold, admins) = (statement.threshold, self.list(&statement.admins));
        println!("signed by    {threshold} of {admins}");
    }
}
