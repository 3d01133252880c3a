//! Forms a network the way operators do, with the node's own commands: `init` for
//! each, one genesis file that all of them share, `start`.

use crate::{
    folder::{Folder, PIDS},
    ports,
    processes::{Fate, Processes, tail},
    programs::{Programs, output_of},
};
use color_eyre::eyre::{Result, WrapErr, bail, ensure, eyre};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use twinfold_cli::client::{Client, ClientOptions};
use twinfold_types::{api::StatusView, member::Member, member::Role};

/// Name of the configuration that `init` writes.
const CONFIG: &str = "config.toml";

/// What the genesis file says beside who is in it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Length of an epoch; as usual when none is given.
    pub epoch: Option<Duration>,
    /// Free stake of each admin and operator.
    pub member_stake: u64,
}

pub struct Network {
    pub rules: Rules,
    programs: Programs,
    folder: Folder,
    processes: Processes,
    genesis: PathBuf,
    nodes: Vec<Node>,
}

pub struct Node {
    pub name: String,
    pub url: String,
    folder: PathBuf,
    client: Client,
    running: bool,
    relayed: Counter,
}

/// A counter of a process that starts from zero again when the process does.
#[derive(Default)]
struct Counter {
    settled: u64,
    latest: u64,
}

/// A command line has room for so many.
const MEMBERS_AT_ONCE: usize = 500;

impl Network {
    /// Makes the folders and keys of the nodes. None runs yet.
    pub fn form(
        programs: Programs,
        folder: Folder,
        processes: Processes,
        size: usize,
    ) -> Result<Self> {
        let ports = ports::free(3 * size).wrap_err("no free ports")?;
        let genesis = folder.path().join("genesis.json");
        let mut nodes = Vec::with_capacity(size);
        for (index, ports) in ports.chunks_exact(3).enumerate() {
            nodes.push(init_node(&programs, &folder, index + 1, ports)?);
        }
        Ok(Self { rules: Rules::default(), programs, folder, processes, genesis, nodes })
    }

    /// Writes the genesis file, gives each node its copy, and returns the fingerprint.
    pub fn write_genesis(&self, members: &[Member], unsafe_size: bool) -> Result<String> {
        let mut new = self.genesis_command("new");
        new.arg(&self.genesis).args(["--chain", "testnet"]);
        if unsafe_size {
            new.arg("--allow-unsafe-size");
        }
        if let Some(epoch) = self.rules.epoch {
            new.args(["--epoch", &format!("{}ms", epoch.as_millis())]);
        }
        output_of(&mut new)?;
        for node in &self.nodes {
            let mut add = self.genesis_command("add");
            add.arg(&self.genesis).arg("--validator").arg(node.folder.join("validator.json"));
            output_of(&mut add)?;
        }
        let has_stake = |member: &&Member| member.has(Role::Admin) || member.has(Role::Operator);
        let (staked, others): (Vec<_>, Vec<_>) = members.iter().partition(has_stake);
        for (members, stake) in [(staked, self.rules.member_stake), (others, 0)] {
            for some in members.chunks(MEMBERS_AT_ONCE) {
                let mut add = self.genesis_command("add");
                add.arg(&self.genesis).args(["--stake", &stake.to_string()]);
                for member in some {
                    add.arg("--member").arg(member_text(member));
                }
                output_of(&mut add)?;
            }
        }
        output_of(self.genesis_command("check").arg(&self.genesis))?;
        for node in &self.nodes {
            std::fs::copy(&self.genesis, node.folder.join("genesis.json"))
                .wrap_err("cannot give a node its genesis file")?;
        }
        Ok(twinfold_cli::client::read_genesis(&self.genesis)?.digest().to_string())
    }

    fn genesis_command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.programs.node);
        command.args(["genesis", what]);
        command
    }

    pub fn start_all(&mut self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|index| self.start(index))
    }

    pub fn start(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let mut command = Command::new(&self.programs.node);
        command.arg("start").arg("--config").arg(node.folder.join(CONFIG));
        self.processes.start(&node.name, &mut command, &node.folder.join("log"))?;
        node.running = true;
        Ok(())
    }

    /// Kills a validator as a power cut would.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        self.processes.kill(&node.name)?;
        node.running = false;
        node.relayed.restart();
        Ok(())
    }

    /// Waits until every running node answers and is connected to every other.
    pub fn wait_ready(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let running = self.running().count();
        for node in self.nodes.iter().filter(|node| node.running) {
            let connected = |status: &StatusView| {
                status.peers.iter().filter(|peer| peer.connected).count() + 1 >= running
            };
            while !node.client.status().is_ok_and(|status| connected(&status)) {
                self.check_alive(node)?;
                ensure!(
                    Instant::now() < deadline,
                    "{} was not ready within {} s; its log ends with:\n{}",
                    node.name,
                    patience.as_secs(),
                    tail(&node.folder.join("log"), 10)
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// A node that should run and does not is an error, with the end of its log.
    pub fn check(&self) -> Result<()> {
        self.nodes.iter().filter(|node| node.running).try_for_each(|node| self.check_alive(node))
    }

    fn check_alive(&self, node: &Node) -> Result<()> {
        let Fate::Ended(status) = self.processes.fate(&node.name)? else { return Ok(()) };
        bail!(
            "{} ended with {status}; its log ends with:\n{}",
            node.name,
            tail(&node.folder.join("log"), 20)
        )
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn genesis(&self) -> &Path {
        &self.genesis
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.running).map(|(index, _)| index)
    }

    /// A client that holds the genesis file and tries all nodes in turn.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(ClientOptions {
            nodes: self.urls(),
            ca: None,
            accepted: Default::default(),
            genesis: Some(self.genesis.clone()),
            patience: Duration::from_secs(20),
        })?)
    }

    /// Status of every node that runs and answers, by index.
    pub fn statuses(&mut self) -> Vec<(usize, StatusView)> {
        let mut found = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.running
                && let Ok(status) = node.client.status()
            {
                node.relayed.latest = status.relayed_bytes;
                found.push((index, status));
            }
        }
        found
    }

    /// Bytes between validators so far, those of killed ones up to their last answer.
    pub fn relayed_bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.relayed.total()).sum()
    }

    /// Lets the processes outlive the launcher, and writes down for `down` which they are.
    pub fn write_pids(&self) -> Result<()> {
        let lines = self.processes.ids().into_iter().map(|(name, id)| format!("{name} {id}\n"));
        let path = self.folder.path().join(PIDS);
        std::fs::write(&path, lines.collect::<String>())
            .wrap_err_with(|| format!("cannot write {}", path.display()))
    }
}

impl Counter {
    fn restart(&mut self) {
        self.settled = self.total();
        self.latest = 0;
    }

    fn total(&self) -> u64 {
        self.settled + self.latest
    }
}

fn init_node(programs: &Programs, folder: &Folder, number: usize, ports: &[u16]) -> Result<Node> {
    let [http, votes, payloads] = ports else { bail!("a node takes three ports") };
    let name = format!("node-{number}");
    let path = folder.path().join(&name);
    output_of(
        Command::new(&programs.node)
            .arg("init")
            .arg("--dir")
            .arg(&path)
            .args(["--name", &name, "--organisation", &format!("org-{number}"), "--plain-keys"])
            .args(["--http", &format!("127.0.0.1:{http}")])
            .args(["--address", &format!("/ip4/127.0.0.1/tcp/{votes}")])
            .args(["--payload-address", &format!("/ip4/127.0.0.1/tcp/{payloads}")]),
    )?;
    let url = format!("http://127.0.0.1:{http}");
    let options = ClientOptions { nodes: vec![url.clone()], ..ClientOptions::default() };
    let client = Client::new(options)?;
    Ok(Node { name, url, folder: path, client, running: false, relayed: Counter::default() })
}

/// As `genesis add --member` takes it.
fn member_text(member: &Member) -> String {
    let role = |role: &Role| match role {
        Role::Admin => "admin",
        Role::Validator => "validator",
        Role::Trainer => "trainer",
        Role::Operator => "operator",
        Role::Auditor => "auditor",
    };
    let roles: Vec<_> = member.roles.iter().map(role).collect();
    format!("{}:{}:{}:{}", member.name, member.organisation, roles.join("+"), member.key)
}

impl Node {
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn is_running(&self) -> bool {
        self.running
    }
}

/// Waits until all nodes stand at the same height, and tells whether they hold the
/// same state root there.
pub fn same_root(network: &mut Network, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let wanted = network.running().count();
    loop {
        network.check()?;
        let statuses = network.statuses();
        if let Some((_, halted)) = statuses.iter().find(|(_, status)| status.halted.is_some()) {
            let reason = halted.halted.clone().unwrap_or_default();
            return Err(eyre!("a validator has stopped taking part: {reason}"));
        }
        let mut heights = statuses.iter().map(|(_, status)| status.height);
        let first = heights.next();
        if statuses.len() == wanted && heights.all(|height| Some(height) == first) {
            let mut roots = statuses.iter().map(|(_, status)| status.state_root);
            let first = roots.next();
            return Ok(roots.all(|root| Some(root) == first));
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}
