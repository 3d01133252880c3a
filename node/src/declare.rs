//! `twinfold-node declare`: a validator says on the chain whether it wants a seat, what it
//! keeps of rewards and where others dial it. What is not given stays as it was declared.

use crate::{
    args::Declare,
    ask, clock,
    config::{self, Config},
    genesis_file,
    keys::NodeKeys,
    network::peers::parse_address,
};
use color_eyre::eyre::{bail, ensure, eyre};
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::time::{Duration, Instant};
use twinfold_types::{
    Code, PublicKey, SecretKey, SignedTx, TimeMs,
    api::{Level, TxStatus, ValidatorView},
    codec,
    key::Signer,
    limits,
    stake::{Declaration, StakeAction},
    tx::{Action, TxBody},
};
use ureq::Agent;

/// How long the declaration may be ordered from now on.
const VALID_MS: u64 = 5 * 60_000;
/// The node waits so long for a receipt before it answers without one.
const STEP: Duration = Duration::from_secs(5);

pub fn run(args: &Declare) -> color_eyre::Result<()> {
    let config = Config::read(&args.config)?;
    let passphrase = args.passphrase_file.clone().or(config.keys.passphrase_file.clone());
    let (own_url, certificate) = ask::of_config(&config);
    let node = args.node.clone().unwrap_or(own_url);
    let agent = ask::agent(args.ca.as_deref().or(certificate.as_deref()))?;
    let keys = NodeKeys::read(&config.keys.dir, passphrase.as_deref())?;
    let chain = genesis_file::read(&config.genesis)?.digest();

    let views: Vec<ValidatorView> = ask::get(&agent, &node, "/v1/validators")?;
    let standing = standing(&views, &keys.consensus.public_key())?;
    let declaration = declaration(args, &config.network, standing)?;
    let tx = sign(&keys.consensus, chain, &declaration);
    let status = send(&agent, &node, &tx, args.timeout)?;
    match &status.receipt {
        Some(receipt) if receipt.code == Code::Ok => {}
        Some(receipt) => bail!("the chain refused it: {}", receipt.code.text()),
        None => bail!(
            "transaction {} is not carried out within {} s; it may still come: \
             `twinfold tx {} --wait`",
            status.id,
            args.timeout.as_secs(),
            status.id
        ),
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&status)?),
        false => tell(standing, &declaration, &status),
    }
    Ok(())
}

fn standing<'a>(
    views: &'a [ValidatorView],
    own: &PublicKey,
) -> color_eyre::Result<&'a ValidatorView> {
    views.iter().find(|view| view.validator == *own).ok_or_else(|| {
        eyre!(
            "{own} is no candidate: the admins register this node with \
             `twinfold proposal new add-member --role validator --member-key {own} --peer PEER-ID` \
             (both stand in its validator.json), and its stake comes after that"
        )
    })
}

fn declaration(
    args: &Declare,
    network: &config::Network,
    standing: &ValidatorView,
) -> color_eyre::Result<Declaration> {
    let ready = (standing.ready || args.ready) && !args.leave;
    let addresses = match (&args.address, &args.payload_address) {
        (Some(votes), Some(payloads)) => Some((votes.clone(), payloads.clone())),
        _ if standing.addresses.is_some() || !ready => None,
        _ => Some(listened(network)?),
    };
    for address in addresses.iter().flat_map(|(votes, payloads)| [votes, payloads]) {
        parse_address(address)?;
        ensure!(
            address.len() <= limits::ADDRESS_BYTES_MAX,
            "the address {address} has {} bytes; at most {} are allowed",
            address.len(),
            limits::ADDRESS_BYTES_MAX
        );
    }
    let commission_permille = args.commission.unwrap_or(standing.commission_next_permille);
    Ok(Declaration { ready, commission_permille, key: None, addresses })
}

/// Where the node listens, if others can dial that.
fn listened(network: &config::Network) -> color_eyre::Result<(String, String)> {
    let both = [&network.listen, &network.payload_listen];
    for text in both {
        let address: Multiaddr = parse_address(text)?;
        let anywhere = address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_unspecified(),
            Protocol::Ip6(ip) => ip.is_unspecified(),
            _ => false,
        });
        ensure!(
            !anywhere,
            "the node listens on {text}, which nobody can dial: say where others reach it with \
             --address and --payload-address"
        );
    }
    Ok((both[0].clone(), both[1].clone()))
}

fn sign(key: &SecretKey, chain: twinfold_types::Digest, said: &Declaration) -> SignedTx {
    use rand::RngExt;
    let now = clock::now();
    let body = TxBody {
        chain,
        sender: key.public_key(),
        nonce: rand::rng().random(),
        valid_from: TimeMs(now.0.saturating_sub(limits::DRIFT_MS_MAX)),
        valid_until: now.plus(VALID_MS),
        action: Action::Stake(StakeAction::Declare(said.clone())),
    };
    body.sign(key)
}

/// Sends it and waits for the receipt.
fn send(
    agent: &Agent,
    node: &str,
    tx: &SignedTx,
    patience: Duration,
) -> color_eyre::Result<TxStatus> {
    let started = Instant::now();
    let mut status: TxStatus = ask::post(agent, node, "/v1/txs", &codec::encode(tx))?;
    while status.level < Level::Executed && started.elapsed() < patience {
        let path = format!("/v1/txs/{}?wait=executed&timeout_ms={}", status.id, STEP.as_millis());
        status = ask::get(agent, node, &path)?;
    }
    Ok(status)
}

fn tell(standing: &ValidatorView, said: &Declaration, status: &TxStatus) {
    let wish = if said.ready { "ready: it wants a seat" } else { "leaving: it wants no seat" };
    println!("{} is {wish} from the next election on", standing.name);
    println!("commission   {} thousandths", said.commission_permille);
    if let Some((votes, payloads)) = &said.addresses {
        println!("addresses    {votes} {payloads}");
    }
    println!("transaction  {}", status.id);
    match (said.ready, standing.seat) {
        (true, _) => println!("`twinfold validators` shows where it stands"),
        (false, Some(_)) => println!("Keep it running until it has no seat: `twinfold validators`"),
        (false, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use twinfold_types::Stake;

    fn network(listen: &str) -> config::Network {
        config::Network {
            listen: listen.into(),
            payload_listen: "/ip4/10.0.0.7/tcp/2".into(),
            peers: vec![],
        }
    }

    fn standing() -> ValidatorView {
        ValidatorView {
            seat: None,
            rank: Some(5),
            name: "site-5".into(),
            organisation: "clinic-5".into(),
            validator: PublicKey([5; 32]),
            key: PublicKey([5; 32]),
            peer: "12D3".into(),
            connected: true,
            leader: false,
            stake: Stake(0),
            own_stake: Stake(0),
            commission_permille: 10,
            commission_next_permille: 20,
            ready: false,
            jail: None,
            checkpoints: None,
            signed: None,
            addresses: None,
        }
    }

    fn said(line: &str, listen: &str, standing: &ValidatorView) -> color_eyre::Result<Declaration> {
        let words = ["twinfold-node", "declare", "--config", "c.toml"];
        let words = words.into_iter().chain(line.split_whitespace());
        let crate::args::Command::Declare(args) = crate::args::Cli::parse_from(words).command
        else {
            panic!("another command")
        };
        declaration(&args, &network(listen), standing)
    }

    #[test]
    fn the_first_ready_tells_where_the_node_listens_and_keeps_the_commission() {
        let first = said("--ready", "/ip4/10.0.0.7/tcp/1", &standing()).unwrap();
        assert!(first.ready && first.commission_permille == 20);
        assert_eq!(first.addresses.unwrap().0, "/ip4/10.0.0.7/tcp/1");
        let error = said("--ready", "/ip4/0.0.0.0/tcp/1", &standing()).unwrap_err().to_string();
        assert!(error.contains("--address"), "{error}");
    }

    #[test]
    fn what_is_not_given_stays_as_it_was_declared() {
        let addresses = Some(("/dns4/a/tcp/1".to_string(), "/dns4/a/tcp/2".to_string()));
        let before = ValidatorView { ready: true, addresses, ..standing() };
        let said = |line| said(line, "/ip4/0.0.0.0/tcp/1", &before).unwrap();
        let kept = said("--commission 30");
        assert_eq!((kept.ready, kept.commission_permille, kept.addresses), (true, 30, None));
        assert!(!said("--leave").ready);
    }

    #[test]
    fn addresses_must_be_multiaddresses_and_short() {
        let with = |address: &str| {
            let line = format!("--ready --address {address} --payload-address /ip4/10.0.0.7/tcp/2");
            said(&line, "/ip4/10.0.0.7/tcp/1", &standing()).map(|_| ())
        };
        with("/ip4/10.0.0.8/tcp/1").unwrap();
        assert!(with("10.0.0.8:1").is_err());
        let long = format!("/dns4/{}/tcp/1", "x".repeat(130));
        assert!(with(&long).unwrap_err().to_string().contains("at most 128"));
    }

    #[test]
    fn who_is_no_candidate_is_told_what_comes_first() {
        let error = super::standing(&[], &PublicKey([5; 32])).unwrap_err().to_string();
        assert!(error.contains("add-member --role validator"), "{error}");
    }
}
