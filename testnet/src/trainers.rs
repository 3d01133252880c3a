//! The people and the trainers of the demonstration: their keys, their processes,
//! and what they sent.

use crate::{
    args::Args,
    network::Network,
    processes::{Fate, tail},
};
use color_eyre::eyre::{Result, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use twinfold_cli::{
    keystore::{Keystore, PassphraseSource},
    task::Created,
};
use twinfold_types::{
    Action, AvailabilityCertificate, Digest, Epoch, PublicKey, SeatIndex, SecretKey, Signature,
    SignedTx, TimeMs,
    blob::StorageReceipt,
    codec,
    member::{Member, Role},
    quorum,
    round::{Entry, RoundKey},
    tx::{TxBody, UpdateAction},
};

/// People and trainers of the demonstration, each with a key of its own.
pub struct Keys {
    pub admin: Keystore,
    pub operator: Keystore,
    pub trainers: Vec<Trainer>,
}

#[derive(Clone)]
pub struct Trainer {
    pub name: String,
    pub folder: PathBuf,
    pub key: PublicKey,
}

/// Name under which each folder holds its one key.
const KEY: &str = "key";

/// Draws the keys and gives the members that genesis lists.
pub fn make_keys(network: &Network, trainers: u32) -> Result<(Keys, Vec<Member>)> {
    let mut members = Vec::new();
    let mut person = |name: &str, role: Role| -> Result<(Keystore, PathBuf)> {
        let folder = network.folder().make(name)?;
        // The network lives as long as this run: its keys are for the owner only, unencrypted.
        let keystore = Keystore::in_dir(&folder, PassphraseSource::default());
        let key = keystore.create(KEY, true)?.public;
        let (name, organisation) = (name.into(), "demonstration".into());
        members.push(Member { key, name, organisation, roles: [role].into(), peer: None });
        Ok((keystore, folder))
    };
    let (admin, _) = person("admin", Role::Admin)?;
    let (operator, _) = person("operator", Role::Operator)?;
    let mut found = Vec::new();
    for number in 1..=trainers {
        let name = format!("trainer-{number}");
        let (keystore, folder) = person(&name, Role::Trainer)?;
        let key = keystore.load(KEY)?.public;
        found.push(Trainer { name, folder, key });
    }
    Ok((Keys { admin, operator, trainers: found }, members))
}

impl Keys {
    pub fn owner(&self) -> Result<SecretKey> {
        Ok(self.operator.open(KEY)?)
    }
}

/// The trainers' processes.
pub struct Trainers {
    trainers: Vec<Trainer>,
    names: BTreeMap<PublicKey, String>,
}

impl Trainers {
    /// Starts `twinfold train` for each: trainer i in cluster i mod C, with part i of M
    /// of the data, at nodes tried in turn from another one on.
    pub fn start(
        network: &Network,
        args: &Args,
        created: &Created,
        data: &Path,
        trainers: Vec<Trainer>,
    ) -> Result<Self> {
        let names = trainers.iter().map(|trainer| (trainer.key, trainer.name.clone())).collect();
        for (index, trainer) in trainers.iter().enumerate() {
            let mut urls = network.urls();
            let first = index % urls.len();
            urls.rotate_left(first);
            let mut command = Command::new(&network.programs().cli);
            command
                .arg("train")
                .arg("--dir")
                .arg(&trainer.folder)
                .args(["--node", &urls.join(",")])
                .arg("--genesis")
                .arg(network.genesis())
                .args(["--task", &created.task.to_string()])
                .args(["--cluster", &(index % usize::from(args.clusters)).to_string()])
                .arg("--data")
                .arg(data)
                .args(["--scaling", "none"])
                .args(["--partition", &format!("{index}/{}", trainers.len())])
                .args(["--split", &args.split_text()])
                .args(["--seed", &args.seed.to_string()])
                .arg("--json");
            network.processes().start(&trainer.name, &mut command, &trainer.log())?;
        }
        Ok(Self { trainers, names })
    }

    pub fn name(&self, key: &PublicKey) -> String {
        self.names.get(key).cloned().unwrap_or_else(|| key.short())
    }

    /// Waits until all have seen the end of the task, and adds up what they sent, as
    /// each says in its last line. None when one does not say.
    pub fn bytes_sent(&self, network: &Network, patience: Duration) -> Result<Option<u64>> {
        let deadline = Instant::now() + patience;
        let mut sum = 0;
        for trainer in &self.trainers {
            while network.processes().fate(&trainer.name)? == Fate::Running {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            match serde_json::from_str::<LastLine>(&tail(&trainer.log(), 1)) {
                Ok(last) => sum += last.bytes_sent,
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(sum))
    }

    /// A trainer that ended badly is an error, with the end of its log.
    pub fn check(&self, network: &Network) -> Result<()> {
        for trainer in &self.trainers {
            if let Fate::Ended(status) = network.processes().fate(&trainer.name)?
                && !status.success()
            {
                let said = tail(&trainer.log(), 10);
                bail!("{} ended with {status}; its log ends with:\n{said}", trainer.name);
            }
        }
        Ok(())
    }
}

/// What is read of the summary that a trainer prints when the task has ended.
#[derive(Deserialize)]
struct LastLine {
    bytes_sent: u64,
}

/// Bytes that left a trainer for an update: the payload, the transaction with its
/// certificate and signatures, and the heads of the two requests.
pub fn bytes_of(entry: &Entry, key: &RoundKey, validators: usize) -> u64 {
    /// Request lines and headers, the signature over the upload among them.
    const HEADS: u64 = 650;
    let receipt = |seat: usize| StorageReceipt {
        seat: SeatIndex(seat as u16),
        signature: Signature([0; 64]),
    };
    let payload = AvailabilityCertificate {
        epoch: Epoch(0),
        blob: entry.blob,
        receipts: (0..quorum::quorum(validators)).map(receipt).collect(),
    };
    let action = UpdateAction {
        task: key.task,
        cluster: key.cluster,
        round: Some(key.round),
        base_version: entry.base_version,
        examples: entry.weight,
        metrics: entry.metrics,
        payload,
    };
    let body = TxBody {
        chain: Digest::ZERO,
        sender: entry.trainer,
        nonce: 0,
        valid_from: TimeMs(0),
        valid_until: TimeMs(0),
        action: Action::Update(Box::new(action)),
    };
    let tx = SignedTx::new(body, Signature([0; 64]));
    entry.blob.length + codec::encode(&tx).len() as u64 + HEADS
}

impl Trainer {
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}
