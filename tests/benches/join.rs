//! A new node comes to a long chain: from a checkpoint, and beside it by replaying all blocks.
//! The chain is made directly by the ledger, one small transaction a block, a block a second,
//! and given to four validators, which are then started with the new node.

use crate::{
    calibration,
    lab::{Lab, VALIDATORS},
    report::{Line, Report},
};
use color_eyre::eyre::{Result, WrapErr, bail, ensure, eyre};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use twinfold_cli::client::{Client, ClientOptions, now, read_genesis};
use twinfold_node::keys::NodeKeys;
use twinfold_testnet::{folder::Folder, network::Network, ports, programs::output_of};
use twinfold_tests::forge::Forge;
use twinfold_types::{
    Action, Height, SecretKey, TimeMs,
    api::StatusView,
    genesis::{Genesis, GenesisValidator},
    key::Signer,
    member::{AdminAction, Member, Role},
};

pub const BLOCKS: u64 = 100_000;
const BLOCK_MS: u64 = 1_000;
/// Rows of the state: each transaction sets one of so many.
const ROWS: u64 = 20_000;
const CHECKPOINT_INTERVAL: u64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(1_800);
const READY: Duration = Duration::from_secs(120);

pub fn run(report: &mut Report, lab: &mut Lab, blocks: u64) -> Result<()> {
    calibration::run(report)?;
    let path = lab.folder().path().join("long");
    let folder = Folder::prepare(Some(&path))?;
    let programs = lab.programs().clone();
    let mut network = Network::form(programs, folder, lab.processes.clone(), VALIDATORS)?;
    let node = NewNode::init(&network)?;
    let admin = SecretKey::from_seed(&[7; 32]);
    let genesis = form_genesis(&network, &node, &admin, blocks)?;
    report.note(&format!("making {blocks} blocks …"));
    let started = Instant::now();
    forge(&network, &genesis, &admin, blocks)?;
    report.note(&format!("made in {} s", started.elapsed().as_secs()));
    network.start_all()?;
    network.wait_ready(READY)?;
    let head = network.nodes()[0].client().status()?.height;
    ensure!(head.0 >= blocks, "the validators begin at height {head}");
    for (how, join) in [("from a checkpoint", true), ("by replay", false)] {
        let work = format!("{blocks} blocks, {how}");
        if report.wants(&work) {
            report.note(&format!("{work} …"));
            measure(report, &network, &node, &work, join, head)?;
        }
    }
    network.check()
}

/// From the start of the process until it stands at the validators' height with their root.
fn measure(
    report: &mut Report,
    network: &Network,
    node: &NewNode,
    work: &str,
    join: bool,
    head: Height,
) -> Result<()> {
    let mut command = Command::new(&network.programs().node);
    command.arg("start").arg("--config").arg(node.dir.join("config.toml"));
    if join {
        let file = node.dir.join("checkpoint.json");
        let text = output_of(
            Command::new(&network.programs().node)
                .args(["checkpoint", "--node", &network.nodes()[0].url, "--genesis"])
                .arg(network.genesis()),
        )?;
        std::fs::write(&file, text)?;
        command.arg("--checkpoint").arg(file);
    }
    let started = Instant::now();
    network.processes().start("new-node", &mut command, &node.dir.join("log"))?;
    let (status, bytes) = node.reaches(head)?;
    let seconds = started.elapsed().as_secs_f64();
    let theirs = network.nodes()[0].client().status()?;
    ensure!(
        status.height != theirs.height || status.state_root == theirs.state_root,
        "the new node has another state"
    );
    report.line(Line::new("join", work, "to the head with its root", seconds, "s"))?;
    if join {
        let megabytes = bytes as f64 / 1e6;
        report.line(Line::new("join", work, "received while joining", megabytes, "MB"))?;
    }
    let folder = size_of(&node.dir.join("data/ledger"))? as f64 / 1e6;
    report.line(Line::new("join", work, "its ledger's folder", folder, "MB"))?;
    network.processes().kill("new-node")?;
    std::fs::remove_dir_all(node.dir.join("data")).wrap_err("cannot empty the new node's folder")
}

struct NewNode {
    dir: PathBuf,
    member: Member,
    client: Client,
}

impl NewNode {
    fn init(network: &Network) -> Result<Self> {
        let ports = ports::free(3)?;
        let dir = network.folder().path().join("new-node");
        output_of(
            Command::new(&network.programs().node)
                .arg("init")
                .arg("--dir")
                .arg(&dir)
                .args(["--name", "new-node", "--organisation", "late", "--plain-keys"])
                .args(["--http", &format!("127.0.0.1:{}", ports[0])])
                .args(["--address", &format!("/ip4/127.0.0.1/tcp/{}", ports[1])])
                .args(["--payload-address", &format!("/ip4/127.0.0.1/tcp/{}", ports[2])]),
        )?;
        let entry = std::fs::read_to_string(dir.join("validator.json"))?;
        let entry: GenesisValidator = serde_json::from_str(&entry)?;
        let member = Member {
            key: entry.key,
            name: entry.name,
            organisation: entry.organisation,
            roles: [Role::Auditor].into(),
            peer: Some(entry.peer),
        };
        let nodes = vec![format!("http://127.0.0.1:{}", ports[0])];
        let client = Client::new(ClientOptions { nodes, ..ClientOptions::default() })?;
        Ok(Self { dir, member, client })
    }

    /// Its status at that height, and what it had received when it had joined.
    fn reaches(&self, head: Height) -> Result<(StatusView, u64)> {
        let (deadline, mut bytes) = (Instant::now() + PATIENCE, 0);
        while Instant::now() < deadline {
            if let Ok(status) = self.client.status() {
                bytes = status.join.as_ref().map_or(bytes, |join| join.bytes.max(bytes));
                if status.join.is_none() && status.height >= head {
                    return Ok((status, bytes));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the new node is not at height {head} after {} s", PATIENCE.as_secs())
    }
}

fn form_genesis(
    network: &Network,
    node: &NewNode,
    admin: &SecretKey,
    blocks: u64,
) -> Result<Genesis> {
    let admin = Member {
        key: admin.public_key(),
        name: "admin".into(),
        organisation: "bench".into(),
        roles: [Role::Admin].into(),
        peer: None,
    };
    network.write_genesis(&[admin], false)?;
    let mut genesis = read_genesis(network.genesis())?;
    genesis.members.push(node.member.clone());
    genesis.time = TimeMs(now().0 - (blocks + 3_600) * BLOCK_MS);
    // One epoch for all of it.
    genesis.params.stake.epoch_ms = 2 * (blocks + 3_600) * BLOCK_MS;
    let text = serde_json::to_string_pretty(&genesis)?;
    std::fs::write(network.genesis(), &text)?;
    let folders = network.nodes().iter().map(|node| network.folder().path().join(&node.name));
    for folder in folders.chain([node.dir.clone()]) {
        std::fs::write(folder.join("genesis.json"), &text)?;
    }
    Ok(genesis)
}

fn forge(network: &Network, genesis: &Genesis, admin: &SecretKey, blocks: u64) -> Result<()> {
    let folder = |name: &str| network.folder().path().join(name);
    let keys = network.nodes().iter().map(|node| {
        let keys = NodeKeys::read(&folder(&node.name).join("keys"), None)?;
        Ok(keys.consensus)
    });
    let mut forge = Forge::new(&folder("forged"), genesis, keys.collect::<Result<_>>()?);
    for height in 1..=blocks {
        let quota = AdminAction::SetQuota {
            organisation: format!("organisation {}", height % ROWS),
            trainers: height as u32,
        };
        let tx = forge.tx(admin, Action::Propose(quota));
        forge.block(BLOCK_MS, vec![tx]);
        if height % CHECKPOINT_INTERVAL == 0 || height == blocks {
            forge.certify();
        }
    }
    let data: Vec<_> = network.nodes().iter().map(|node| folder(&node.name).join("data")).collect();
    forge.give_to(&data);
    Ok(())
}

fn size_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).map_err(|error| eyre!("{}: {error}", dir.display()))? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
