//! `twinfold-node init`: a folder with keys, a commented configuration, and the
//! public entry that goes into the genesis file.

use crate::{
    args::Init,
    config::Config,
    keys::{NodeKeys, read_passphrase},
    network::{peers::parse_address, plane::keypair},
};
use color_eyre::eyre::{WrapErr, bail};
use std::path::Path;
use twinfold_types::{genesis::GenesisValidator, key::Signer};

pub fn run(args: &Init) -> color_eyre::Result<()> {
    prepare(&args.dir)?;
    parse_address(&args.address)?;
    parse_address(&args.payload_address)?;
    let passphrase = match args.plain_keys {
        true => None,
        false => Some(read_passphrase(args.passphrase_file.as_deref()).wrap_err(
            "the node's keys are encrypted (or ask for --plain-keys: owner-only, unencrypted)",
        )?),
    };
    let keys = NodeKeys::generate();
    keys.write(&args.dir.join("keys"), passphrase.as_ref().map(|text| text.as_str()))?;
    let entry = GenesisValidator {
        name: args.name.clone(),
        organisation: args.organisation.clone(),
        key: keys.consensus.public_key(),
        audit_key: keys.audit.public_key(),
        peer: keypair(&keys.peer)?.public().to_peer_id().to_string(),
        address: args.address.clone(),
        payload_address: args.payload_address.clone(),
        stake: args.stake,
    };
    write_new(&args.dir.join("validator.json"), &(serde_json::to_string_pretty(&entry)? + "\n"))?;
    let config =
        Config::template(args.http, &args.address, &args.payload_address, &passphrase_line(args));
    write_new(&args.dir.join("config.toml"), &config)?;
    println!("node      {} of {}", entry.name, entry.organisation);
    println!("key       {}", entry.key);
    println!("peer id   {}", entry.peer);
    println!("folder    {}", args.dir.display());
    println!();
    println!("Next: give validator.json to whoever makes the genesis file");
    println!("(`twinfold-node genesis add GENESIS --validator validator.json`), put the finished");
    println!("file here as genesis.json, compare `twinfold-node genesis check` with the other");
    println!("operators, and run `twinfold-node start --config config.toml`.");
    Ok(())
}

fn passphrase_line(args: &Init) -> String {
    let file = args.passphrase_file.as_ref().and_then(|path| std::path::absolute(path).ok());
    match (args.plain_keys, file) {
        (true, _) => "# The keys are stored unencrypted, readable by the owner only.".into(),
        (false, Some(path)) => format!("passphrase_file = {:?}", path.display().to_string()),
        (false, None) => "# passphrase_file = \"/etc/twinfold/passphrase\"".into(),
    }
}

fn prepare(dir: &Path) -> color_eyre::Result<()> {
    let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        bail!("{} is not empty: a node's folder is made once; choose another", dir.display());
    }
    std::fs::create_dir_all(dir).wrap_err_with(|| format!("cannot make {}", dir.display()))
}

pub fn write_new(path: &Path, text: &str) -> color_eyre::Result<()> {
    use std::io::Write;
    std::fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}
