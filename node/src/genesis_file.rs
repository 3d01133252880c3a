//! `twinfold-node genesis`: the file that all operators share.

use crate::{args::GenesisCommand, clock, init::write_new, journal::write_whole};
use color_eyre::eyre::{WrapErr, bail, eyre};
use std::{collections::BTreeSet, path::Path};
use twinfold_types::{
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    limits,
    member::{Member, Role},
    stake::StakeParams,
};

pub fn run(command: &GenesisCommand) -> color_eyre::Result<()> {
    match command {
        GenesisCommand::New { file, chain, threshold, trainer_quota, allow_unsafe_size } => {
            let genesis = Genesis {
                format: FORMAT_VERSION,
                chain: chain.clone(),
                time: clock::now(),
                params: ChainParams {
                    threshold: *threshold,
                    trainer_quota: *trainer_quota,
                    stake: StakeParams::default(),
                },
                validators: vec![],
                members: vec![],
                balances: vec![],
                unsafe_size: *allow_unsafe_size,
            };
            write_new(file, &to_json(&genesis)?)?;
            println!("{}: add validators and members with `genesis add`", file.display());
        }
        GenesisCommand::Add { file, validator, member } => {
            let mut genesis = parse(file)?;
            match (validator, member) {
                (Some(path), _) => add_validator(&mut genesis, read_validator(path)?),
                (None, Some(text)) => genesis.members.push(parse_member(text)?),
                (None, None) => bail!("nothing to add: give --validator or --member"),
            }
            write_whole(file, to_json(&genesis)?.as_bytes())
                .wrap_err_with(|| format!("cannot write {}", file.display()))?;
            let (validators, members) = (genesis.validators.len(), genesis.members.len());
            println!("{}: {validators} validators, {members} other members", file.display());
        }
        GenesisCommand::Show { file } => show(&parse(file)?),
        GenesisCommand::Check { file } => {
            let genesis = read(file)?;
            println!("{}", genesis.digest());
        }
    }
    Ok(())
}

/// Reads and checks a finished genesis file.
pub fn read(path: &Path) -> color_eyre::Result<Genesis> {
    let genesis = parse(path)?;
    genesis.check().wrap_err_with(|| format!("{} is not a usable genesis file", path.display()))?;
    Ok(genesis)
}

/// Reads a file that may still be incomplete.
fn parse(path: &Path) -> color_eyre::Result<Genesis> {
    let at = || format!("cannot read the genesis file {}", path.display());
    let size = std::fs::metadata(path).wrap_err_with(at)?.len();
    if size > limits::GENESIS_BYTES_MAX as u64 {
        bail!("{} has {size} bytes; a genesis file has at most 4 MiB", path.display());
    }
    let text = std::fs::read_to_string(path).wrap_err_with(at)?;
    serde_json::from_str(&text).wrap_err_with(at)
}

fn to_json(genesis: &Genesis) -> color_eyre::Result<String> {
    Ok(serde_json::to_string_pretty(genesis)? + "\n")
}

fn read_validator(path: &Path) -> color_eyre::Result<GenesisValidator> {
    let at = || format!("cannot read the validator's entry {}", path.display());
    serde_json::from_str(&std::fs::read_to_string(path).wrap_err_with(at)?).wrap_err_with(at)
}

/// Adds a validator, and a seat for it: elections fill as many as there are at first.
fn add_validator(genesis: &mut Genesis, validator: GenesisValidator) {
    genesis.validators.push(validator);
    let seats = &mut genesis.params.stake.seats;
    *seats = (*seats).max(genesis.validators.len().min(limits::SEATS_MAX) as u16);
}

/// NAME:ORGANISATION:ROLE[+ROLE]:PUBLIC-KEY[:PEER-ID]
fn parse_member(text: &str) -> color_eyre::Result<Member> {
    let fields: Vec<_> = text.split(':').collect();
    let (name, organisation, roles, key, peer) = match fields[..] {
        [name, organisation, roles, key] => (name, organisation, roles, key, None),
        [name, organisation, roles, key, peer] => (name, organisation, roles, key, Some(peer)),
        _ => bail!("expected NAME:ORGANISATION:ROLE[+ROLE]:PUBLIC-KEY[:PEER-ID], got {text:?}"),
    };
    let member = Member {
        key: key.parse().map_err(|error: String| eyre!("the public key: {error}"))?,
        name: name.into(),
        organisation: organisation.into(),
        roles: roles.split('+').map(parse_role).collect::<color_eyre::Result<BTreeSet<_>>>()?,
        peer: peer.map(String::from),
    };
    match member.fault() {
        Some(fault) => bail!("{name}: {fault}"),
        None => Ok(member),
    }
}

fn parse_role(text: &str) -> color_eyre::Result<Role> {
    match text {
        "admin" => Ok(Role::Admin),
        "operator" => Ok(Role::Operator),
        "trainer" => Ok(Role::Trainer),
        "auditor" => Ok(Role::Auditor),
        "validator" => bail!("validators are added with --validator and their validator.json"),
        other => bail!("expected admin, operator, trainer or auditor, got {other:?}"),
    }
}

fn show(genesis: &Genesis) {
    println!("chain        {}", genesis.chain);
    println!("fingerprint  {}", genesis.digest());
    println!("threshold    {} admin signatures a proposal", genesis.params.threshold);
    let faults = twinfold_types::quorum::faults(genesis.validators.len());
    println!("validators   {} (tolerates {faults} at fault)", genesis.validators.len());
    for (seat, validator) in genesis.validators.iter().enumerate() {
        let (name, organisation) = (&validator.name, &validator.organisation);
        println!(
            "  seat {seat}  {name} ({organisation})  {}  {}",
            validator.key, validator.address
        );
    }
    println!("members      {}", genesis.members.len());
    for member in &genesis.members {
        println!("  {} ({})  {:?}  {}", member.name, member.organisation, member.roles, member.key);
    }
    if let Err(error) = genesis.check() {
        println!("not usable yet: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{SecretKey, key::Signer};

    #[test]
    fn a_member_is_read_from_its_fields_and_faults_are_named() {
        let key = SecretKey::from_seed(&[3; 32]).public_key();
        let member = parse_member(&format!("ann:clinic:admin+operator:{key}")).unwrap();
        assert_eq!((member.name.as_str(), member.roles.len()), ("ann", 2));
        let error = parse_member(&format!("ann:clinic:boss:{key}")).unwrap_err();
        assert!(error.to_string().contains("boss"));
        assert!(parse_member("ann:clinic:admin:12").is_err());
        assert!(parse_member("ann").is_err());
    }
}
