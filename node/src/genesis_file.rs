//! `twinfold-node genesis`: the file that all operators share.

use crate::{
    args::GenesisCommand, clock, init::write_new, journal::write_whole,
    stake_rules::VALIDATOR_STAKE_DEFAULT,
};
use color_eyre::eyre::{WrapErr, bail, eyre};
use std::{collections::BTreeSet, path::Path};
use twinfold_types::{
    Stake,
    genesis::{ChainParams, FORMAT_VERSION, Genesis, GenesisValidator},
    limits,
    member::{Member, Role},
};

pub fn run(command: &GenesisCommand) -> color_eyre::Result<()> {
    match command {
        GenesisCommand::New { file, chain, threshold, trainer_quota, allow_unsafe_size, rules } => {
            let genesis = Genesis {
                format: FORMAT_VERSION,
                chain: chain.clone(),
                time: clock::now(),
                params: ChainParams {
                    threshold: *threshold,
                    trainer_quota: *trainer_quota,
                    stake: rules.params()?,
                },
                validators: vec![],
                members: vec![],
                balances: vec![],
                unsafe_size: *allow_unsafe_size,
            };
            write_new(file, &to_json(&genesis)?)?;
            println!("{}: add validators and members with `genesis add`", file.display());
        }
        GenesisCommand::Add { file, validator, members, stake } => {
            let mut genesis = parse(file)?;
            match validator {
                Some(entry) => add_validator(&mut genesis, read_validator(entry)?, *stake),
                // One of both is required.
                None => {
                    for text in members {
                        add_member(&mut genesis, parse_member(text)?, *stake);
                    }
                }
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

/// A first committee that is larger than elections make it would shrink at once.
fn add_validator(genesis: &mut Genesis, mut validator: GenesisValidator, stake: Option<Stake>) {
    validator.stake = stake.unwrap_or(validator.stake);
    genesis.validators.push(validator);
    let seats = genesis.validators.len().min(limits::SEATS_MAX) as u16;
    if seats > genesis.params.stake.seats {
        genesis.params.stake.seats = seats;
        println!("elections fill {seats} seats from now on, as many as there are validators");
    }
}

fn add_member(genesis: &mut Genesis, member: Member, stake: Option<Stake>) {
    if let Some(stake) = stake.filter(|stake| *stake > Stake(0)) {
        genesis.balances.push((member.key, stake));
        genesis.balances.sort_unstable_by_key(|(key, _)| *key);
    }
    genesis.members.push(member);
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
    Genesis::from_json(&text).map_err(|error| eyre!(error)).wrap_err_with(at)
}

fn to_json(genesis: &Genesis) -> color_eyre::Result<String> {
    Ok(serde_json::to_string_pretty(genesis)? + "\n")
}

fn read_validator(path: &Path) -> color_eyre::Result<GenesisValidator> {
    let at = || format!("cannot read the validator's entry {}", path.display());
    let text = std::fs::read_to_string(path).wrap_err_with(at)?;
    let mut entry: serde_json::Value = serde_json::from_str(&text).wrap_err_with(at)?;
    // Entries that an earlier `init` wrote say nothing of stake.
    if let Some(fields) = entry.as_object_mut() {
        let usual = || VALIDATOR_STAKE_DEFAULT.0.into();
        fields.entry("stake").or_insert_with(usual);
    }
    serde_json::from_value(entry).wrap_err_with(at)
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
            "  seat {seat}  {name} ({organisation})  {}  {}  stake {}",
            validator.key, validator.address, validator.stake
        );
    }
    let rules = &genesis.params.stake;
    println!(
        "elections    {} seats, every {} ms, for candidates with {} stake or more",
        rules.seats, rules.epoch_ms, rules.stake_min
    );
    println!(
        "stake        {} ms unbonding, evidence taken for {} ms, {} reward an epoch, slashes of \
         {} and {} thousandths, jail for {} epochs",
        rules.unbonding_ms,
        rules.evidence_ms,
        rules.reward,
        rules.slash_equivocation_permille,
        rules.slash_result_permille,
        rules.jail_epochs
    );
    println!("members      {}", genesis.members.len());
    for member in &genesis.members {
        let free = genesis.balances.iter().find(|(key, _)| *key == member.key);
        let free = free.map(|(_, stake)| format!("  stake {stake}")).unwrap_or_default();
        let Member { name, organisation, roles, key, .. } = member;
        println!("  {name} ({organisation})  {roles:?}  {key}{free}");
    }
    if let Err(error) = genesis.check() {
        println!("not usable yet: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stake_rules::StakeRules;
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

    fn genesis(rules: &StakeRules) -> Genesis {
        let stake = rules.params().unwrap();
        Genesis {
            format: FORMAT_VERSION,
            chain: "clinics".into(),
            time: twinfold_types::TimeMs(1),
            params: ChainParams { threshold: 1, trainer_quota: 1, stake },
            validators: vec![],
            members: vec![],
            balances: vec![],
            unsafe_size: false,
        }
    }

    fn entry(seed: u8) -> GenesisValidator {
        let key = |seed| SecretKey::from_seed(&[seed; 32]).public_key();
        GenesisValidator {
            name: format!("site-{seed}"),
            organisation: format!("clinic-{seed}"),
            key: key(seed),
            audit_key: key(seed + 100),
            peer: format!("peer-{seed}"),
            address: "/ip4/127.0.0.1/tcp/1".into(),
            payload_address: "/ip4/127.0.0.1/tcp/2".into(),
            stake: VALIDATOR_STAKE_DEFAULT,
        }
    }

    #[test]
    fn seats_follow_the_validators_and_each_brings_its_stake() {
        let mut genesis = genesis(&StakeRules::default());
        for seed in 1..=5 {
            add_validator(&mut genesis, entry(seed), (seed == 5).then_some(Stake(7)));
        }
        let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public_key().to_string();
        for (seed, stake) in [(30, Some(Stake(9))), (20, Some(Stake(8))), (40, None)] {
            let text = format!("m{seed}:clinic:admin:{}", key(seed));
            add_member(&mut genesis, parse_member(&text).unwrap(), stake);
        }
        genesis.check().unwrap();
        assert_eq!(genesis.params.stake.seats, 5);
        assert_eq!(genesis.validators[0].stake, VALIDATOR_STAKE_DEFAULT);
        assert_eq!(genesis.validators[4].stake, Stake(7));
        assert_eq!(genesis.balances.len(), 2);
    }

    #[test]
    fn an_entry_without_stake_gets_the_usual_and_a_genesis_of_another_format_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("validator.json");
        let mut value = serde_json::to_value(entry(1)).unwrap();
        value.as_object_mut().unwrap().remove("stake");
        std::fs::write(&path, value.to_string()).unwrap();
        assert_eq!(read_validator(&path).unwrap(), entry(1));

        let path = dir.path().join("genesis.json");
        std::fs::write(&path, r#"{"format": 1, "chain": "old"}"#).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("format 1") && error.contains("reads format 3"), "{error}");
        assert!(error.contains("genesis new"), "{error}");
    }
}
