//! Networks of real processes for the benches, one after the other in one temporary
//! folder. Whichever way a bench ends, no process and no file is left.

use crate::cpu;
use color_eyre::eyre::{Result, WrapErr, eyre};
use std::{path::Path, time::Duration};
use twinfold_cli::{
    client::{Client, ClientOptions},
    tensor_file::ImportedModel,
};
use twinfold_testnet::{
    cleanup::Cleanup, folder::Folder, network::Network, processes::Processes, programs::Programs,
};
use twinfold_types::{
    SecretKey,
    key::Signer,
    limits,
    member::{Member, Role},
    model::{TensorPolicy, TensorSpec},
};

pub const VALIDATORS: usize = 4;
const READY: Duration = Duration::from_secs(60);

pub struct Lab {
    folder: Folder,
    pub processes: Processes,
    programs: Programs,
    made: usize,
    cleanup: Cleanup,
}

/// A running network and the keys of its people.
pub struct Running {
    pub network: Network,
    pub admins: Vec<SecretKey>,
    pub trainers: Vec<SecretKey>,
    folder: Folder,
    processes: Processes,
    node_ids: Vec<u32>,
}

/// Who and what a network starts with.
pub struct Setup {
    pub admins: usize,
    pub trainers: usize,
    /// Requests a second that a node takes from one address, when not the default:
    /// here all clients are one address.
    pub requests_per_second: Option<u32>,
}

impl Lab {
    /// In the folder asked for, or in a temporary one.
    pub fn open(asked: Option<&Path>) -> Result<Self> {
        let folder = Folder::prepare(asked)?;
        let processes = Processes::default();
        let cleanup = Cleanup::new(processes.clone(), folder.clone());
        cleanup.on_signals()?;
        let programs = Programs::beside_this_one()?;
        Ok(Self { folder, processes, programs, made: 0, cleanup })
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Leaves the files to whoever asked for a folder: something went wrong.
    pub fn keep_asked_folder(&self) {
        if !self.folder.is_temporary() {
            self.cleanup.keep_folder();
            eprintln!("The logs stay in {}", self.folder.path().display());
        }
    }

    /// Forms a network of four validators and so many admins, and starts nothing.
    pub fn formed(&mut self, admins: usize) -> Result<(Network, Vec<SecretKey>)> {
        let (admins, members) = people("admin", Role::Admin, admins);
        Ok((self.form(&members)?, admins))
    }

    fn form(&mut self, members: &[Member]) -> Result<Network> {
        self.made += 1;
        let path = self.folder.path().join(format!("network-{}", self.made));
        let folder = Folder::prepare(Some(&path))?;
        let network =
            Network::form(self.programs.clone(), folder, self.processes.clone(), VALIDATORS)?;
        network.write_genesis(members, false)?;
        Ok(network)
    }

    /// Forms and starts a network of four validators.
    pub fn network(&mut self, setup: &Setup) -> Result<Running> {
        let (admins, admin_members) = people("admin", Role::Admin, setup.admins);
        let (trainers, trainer_members) = people("trainer", Role::Trainer, setup.trainers);
        let members: Vec<_> = admin_members.into_iter().chain(trainer_members).collect();
        let mut network = self.form(&members)?;
        if let Some(rate) = setup.requests_per_second {
            set_rate(&network, rate)?;
        }
        network.start_all()?;
        network.wait_ready(READY)?;
        let (folder, processes) = (network.folder().clone(), self.processes.clone());
        let mut running =
            Running { network, admins, trainers, folder, processes, node_ids: vec![] };
        running.note_ids();
        Ok(running)
    }
}

impl Running {
    /// CPU seconds of all validators so far.
    pub fn nodes_cpu(&self) -> Result<f64> {
        cpu::of_all(&self.node_ids)
    }

    /// A client that asks one node first and the others only when that one fails.
    pub fn client_at(&self, first: usize) -> Result<Client> {
        let mut nodes = self.network.urls();
        let count = nodes.len();
        nodes.rotate_left(first % count);
        let client = Client::new(ClientOptions {
            nodes,
            ca: None,
            accepted: Default::default(),
            genesis: Some(self.network.genesis().to_path_buf()),
            patience: Duration::from_secs(30),
        })?;
        Ok(client.reading_as(self.admin()?.clone()))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn node_ids(&self) -> &[u32] {
        &self.node_ids
    }

    /// Kills one validator; its CPU time is not counted any more.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.network.kill(index)?;
        self.note_ids();
        Ok(())
    }

    pub fn start(&mut self, index: usize) -> Result<()> {
        self.network.start(index)?;
        self.note_ids();
        self.network.wait_ready(READY)
    }

    fn note_ids(&mut self) {
        let names: Vec<_> = self.network.nodes().iter().map(|node| node.name.clone()).collect();
        let ids = self.processes.ids().into_iter().filter(|(name, _)| names.contains(name));
        self.node_ids = ids.map(|(_, id)| id).collect();
    }

    pub fn admin(&self) -> Result<&SecretKey> {
        self.admins.first().ok_or_else(|| eyre!("this network has no admin"))
    }

    /// Kills the nodes and removes what they wrote.
    pub fn end(self) -> Result<()> {
        for node in self.network.nodes() {
            self.processes.kill(&node.name)?;
        }
        self.folder.remove().wrap_err("cannot remove a network's folder")
    }
}

/// A model of one trained tensor, all zero.
pub fn zeros(values: usize) -> ImportedModel {
    let tensor = TensorSpec {
        name: "w".into(),
        shape: vec![values as u64],
        scale: limits::SCALE_DEFAULT,
        policy: TensorPolicy::Train,
    };
    ImportedModel { tensors: vec![tensor], steps: vec![0; values] }
}

fn people(name: &str, role: Role, count: usize) -> (Vec<SecretKey>, Vec<Member>) {
    let one = |number: usize| {
        let key = SecretKey::from_seed(&rand::random());
        let member = Member {
            key: key.public_key(),
            name: format!("{name}-{number}"),
            organisation: "bench".into(),
            roles: [role].into(),
            peer: None,
        };
        (key, member)
    };
    (1..=count).map(one).unzip()
}

/// Changes the rate in each node's configuration, as an operator would.
fn set_rate(network: &Network, rate: u32) -> Result<()> {
    const KEY: &str = "requests_per_second";
    for node in network.nodes() {
        let path = network.folder().path().join(&node.name).join("config.toml");
        let text = std::fs::read_to_string(&path)
            .wrap_err_with(|| format!("cannot read {}", path.display()))?;
        let changed = text.lines().map(|line| {
            if line.starts_with(KEY) { format!("{KEY} = {rate}\n") } else { format!("{line}\n") }
        });
        std::fs::write(&path, changed.collect::<String>())
            .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
