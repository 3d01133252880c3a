//! A network of real processes for one scenario: nodes formed by their own `init` and
//! `genesis` commands, people with keys, and the `twinfold` program. Whatever way a
//! scenario ends, no process and no file of it is left; when it fails, the ends of
//! the nodes' logs are printed.

pub mod cli;
pub mod files;
pub mod forged;
pub mod http;
pub mod learn;
pub mod liar;
pub mod members;
pub mod observer;
pub mod payload_liar;
pub mod python;
pub mod stage;
pub mod trainer;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};
use twinfold_cli::client::{Client, ClientOptions};
use twinfold_testnet::{
    cleanup::Cleanup,
    folder::Folder,
    network::{Network, same_root},
    processes::{Fate, Processes, tail},
    programs::Programs,
};
use twinfold_types::{
    Action, Code, Digest, Height,
    api::{Level, StatusView, TxStatus},
    genesis::Genesis,
    stake::StakeParams,
};

/// With nothing new for so long, a scenario has failed. No test asserts a time.
pub const PATIENCE: Duration = Duration::from_secs(90);
const LOG_LINES: usize = 25;

pub struct Lab {
    pub network: Network,
    _cleanup: Cleanup,
}

impl Lab {
    /// Four validators that run and are connected; proposals need one admin.
    pub fn start() -> Self {
        let mut lab = Self::form(1);
        lab.start_all();
        lab
    }

    /// Folders, keys and genesis of four validators. None runs yet.
    pub fn form(threshold: u32) -> Self {
        let folder = Folder::prepare(None).expect("a temporary folder");
        let processes = Processes::default();
        let cleanup = Cleanup::new(processes.clone(), folder.clone());
        let network = Network::form(programs(), folder, processes, 4).expect("four folders");
        let lab = Self { network, _cleanup: cleanup };
        members::store_keys(&lab.people());
        let members = members::all();
        lab.network.write_genesis(&members, false).expect("a genesis file");
        if threshold != 1 {
            lab.change_genesis(&[0, 1, 2, 3], |genesis| genesis.params.threshold = threshold);
        }
        lab
    }

    /// Changes the shared file, and the copies of these nodes.
    pub fn change_genesis(&self, nodes: &[usize], change: impl FnOnce(&mut Genesis)) {
        let text = std::fs::read_to_string(self.network.genesis()).expect("the genesis file");
        let mut genesis: Genesis = serde_json::from_str(&text).expect("the genesis file");
        change(&mut genesis);
        let text = serde_json::to_string_pretty(&genesis).expect("plain JSON");
        if nodes.len() == self.network.nodes().len() {
            std::fs::write(self.network.genesis(), &text).expect("the genesis file");
        }
        for node in nodes {
            std::fs::write(self.folder_of(*node).join("genesis.json"), &text).expect("its copy");
        }
    }

    /// Epochs of so many milliseconds of block time, and evidence for twenty of them.
    pub fn short_epochs(&self, epoch_ms: u64) {
        self.change_genesis(&[0, 1, 2, 3], |genesis| {
            genesis.params.stake = StakeParams {
                epoch_ms,
                evidence_ms: 20 * epoch_ms,
                unbonding_ms: 30 * epoch_ms,
                ..StakeParams::default()
            };
        });
    }

    pub fn start_all(&mut self) {
        self.network.start_all().expect("nodes start");
        self.network.wait_ready(PATIENCE).expect("nodes connect");
    }

    pub fn start_node(&mut self, index: usize) {
        self.network.start(index).expect("the node starts");
    }

    /// Starts a node again and waits until it is connected to all that run.
    pub fn restart(&mut self, index: usize) {
        self.start_node(index);
        self.network.wait_ready(PATIENCE).expect("the node connects");
    }

    /// As a power cut would.
    pub fn kill(&mut self, index: usize) {
        self.network.kill(index).expect("the node was running");
    }

    /// As an operator would.
    pub fn stop(&mut self, index: usize) -> ExitStatus {
        let name = self.network.nodes()[index].name.clone();
        self.signal(&name, "-TERM");
        let status = self.ended(&name);
        self.kill(index);
        status
    }

    pub fn signal(&self, name: &str, signal: &str) {
        let ids = self.network.processes().ids();
        let (_, id) = ids.into_iter().find(|(of, _)| of == name).expect("it runs");
        let sent = Command::new("kill").args([signal, &id.to_string()]).status();
        assert!(sent.expect("kill is there").success(), "no signal to {name}");
    }

    /// Waits until a process has ended.
    pub fn ended(&self, name: &str) -> ExitStatus {
        until(&format!("{name} ends"), || match self.network.processes().fate(name) {
            Ok(Fate::Ended(status)) => Some(status),
            _ => None,
        })
    }

    pub fn folder(&self) -> &Path {
        self.network.folder().path()
    }

    pub fn people(&self) -> PathBuf {
        self.folder().join("people")
    }

    pub fn folder_of(&self, index: usize) -> PathBuf {
        self.folder().join(&self.network.nodes()[index].name)
    }

    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.folder_of(index).join("log")).unwrap_or_default()
    }

    pub fn url(&self, index: usize) -> String {
        self.network.nodes()[index].url.clone()
    }

    /// A client that tries all nodes in turn and trusts the genesis file only.
    pub fn client(&self) -> Client {
        self.network.client().expect("a client").reading_as(members::secret("ann"))
    }

    pub fn client_of(&self, index: usize) -> Client {
        self.client_at(&self.url(index))
    }

    pub fn client_at(&self, url: &str) -> Client {
        Client::new(ClientOptions {
            nodes: vec![url.into()],
            ca: None,
            accepted: Default::default(),
            genesis: Some(self.network.genesis().to_path_buf()),
            patience: Duration::from_secs(20),
        })
        .expect("a client")
        .reading_as(members::secret("ann"))
    }

    /// The genesis file's digest.
    pub fn chain(&self) -> Digest {
        self.client().chain().expect("the chain").digest
    }

    pub fn status(&self, index: usize) -> StatusView {
        self.client_of(index).status().expect("the node answers")
    }

    /// Signs and sends as a member, waits for execution.
    pub fn send(&self, who: &str, action: Action) -> TxStatus {
        let client = self.client();
        client.submit(&members::secret(who), action, Level::Executed, PATIENCE).expect("executed")
    }

    /// The same, and the receipt says that it was done.
    pub fn done(&self, who: &str, action: Action) -> TxStatus {
        let status = self.send(who, action);
        assert_eq!(code(&status), Code::Ok, "{status:?}");
        status
    }

    /// The network still takes and executes transactions.
    pub fn works(&self) {
        self.network.check().expect("every node runs");
        self.done("ann", members::set_quota(50));
    }

    /// All running validators reach one height with one state root.
    pub fn same_root(&mut self) {
        let same = same_root(&mut self.network, PATIENCE).expect("the nodes answer");
        assert!(same, "state roots differ or nodes lag: {:#?}", self.network.statuses());
    }

    /// Waits until a node has executed this height.
    pub fn reaches(&self, index: usize, height: Height) -> StatusView {
        reaches(&self.client_of(index), height)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return };
        let mut logs: Vec<_> = entries.flatten().map(|entry| entry.path().join("log")).collect();
        logs.sort();
        for log in logs.iter().filter(|log| log.is_file()) {
            eprintln!("--- {} ends with:\n{}\n", log.display(), tail(log, LOG_LINES));
        }
    }
}

pub fn programs() -> Programs {
    Programs::beside_this_one().expect("the programs are built")
}

pub fn reaches(client: &Client, height: Height) -> StatusView {
    until(&format!("height {height} is executed"), || {
        client.status().ok().filter(|status| status.height >= height)
    })
}

pub fn code(status: &TxStatus) -> Code {
    status.receipt.as_ref().expect("there is a receipt").code
}

/// Looks again and again until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain until {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(40));
    }
}
