//! The task: its first model and settings, the trainers that work on it, and the
//! scores of what comes out.

use crate::{
    args::Args,
    data::Data,
    network::Network,
    processes::{Fate, tail},
    table::Score,
};
use color_eyre::eyre::{Result, WrapErr, bail};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    time::Duration,
};
use twinfold_cli::{
    client::Client,
    data::Dataset,
    keystore::{Keystore, PassphraseSource},
    task::{self, Created, TaskOptions},
    tensor_file::ImportedModel,
    train::{self, central, initial_values, mlp_tensors, model_reals, model_steps},
};
use twinfold_types::{
    PublicKey, SecretKey,
    member::{Member, Role},
    model::ModelId,
    task::{LocalWork, TaskSpec},
    limits,
};

/// Name of the task, for people.
pub const TASK: &str = "digits";
/// Units of the hidden layer.
const HIDDEN: usize = 64;
/// Settings that bring the bundled digits within a point of central training in ten rounds.
const EPOCHS: u32 = 5;
const BATCH: u32 = 8;
const LEARNING_RATE: f64 = 0.3;

/// The first model, before anyone trained.
pub fn first_model(data: &Data, seed: u64) -> Result<ImportedModel> {
    let scale = limits::SCALE_DEFAULT;
    let tensors = mlp_tensors(data.train.features(), HIDDEN, data.train.classes, scale);
    let steps = model_steps(&initial_values(&tensors, seed)?, &tensors)?;
    Ok(ImportedModel { tensors, steps })
}

/// Creates the task as its owner.
pub fn create_task(
    client: &Client,
    owner: &SecretKey,
    args: &Args,
    model: &ImportedModel,
) -> Result<Created> {
    let participants = args.participants();
    let options = TaskOptions {
        name: TASK.into(),
        description: format!("one hidden layer of {HIDDEN} units, on {} trainers", args.trainers),
        clusters: args.clusters,
        participants_min: participants,
        participants_max: participants,
        mode: args.mode_choice(),
        compress: args.compress,
        rounds: args.rounds,
        deadline: Duration::from_secs(60),
        work: LocalWork::Epochs(EPOCHS),
        batch: BATCH,
        learning_rate: LEARNING_RATE,
        seed: args.seed,
        ..TaskOptions::default()
    };
    task::create(client, owner, &options, model, Duration::from_secs(60))
        .wrap_err("cannot create the task")
}

/// What is needed to say how good a model is.
pub struct Learning {
    network: train::Network,
    spec: TaskSpec,
    first: Vec<i32>,
    train: Dataset,
    test: Dataset,
}

impl Learning {
    pub fn new(spec: TaskSpec, first: ImportedModel, data: Data) -> Result<Self> {
        let network = train::Network::infer(&spec.tensors)?;
        Ok(Self { network, spec, first: first.steps, train: data.train, test: data.test })
    }

    /// Bytes of a delta as f32.
    pub fn dense_bytes(&self) -> u64 {
        4 * self.first.len() as u64
    }

    /// Fetches a model and evaluates it on the held-out data.
    pub fn score(&self, client: &Client, model: &ModelId) -> Result<Score> {
        let digest = client.model(model)?.record.digest;
        let steps = task::fetch_steps(client, &self.spec, model, &digest)?;
        self.score_steps(&steps)
    }

    fn score_steps(&self, steps: &[i32]) -> Result<Score> {
        let values = model_reals(steps, &self.spec.tensors)?;
        let found = self.network.evaluate(&values, &self.test)?;
        Ok(Score { loss: found.loss, accuracy: found.accuracy })
    }

    /// As many rounds of the same work on all the training data in one place.
    pub fn central_accuracy(&self, rounds: u64) -> Result<f64> {
        let first = model_reals(&self.first, &self.spec.tensors)?;
        let training = &self.spec.training;
        let scores = central(&self.network, &first, &self.train, &self.test, training, rounds)?;
        let Some(last) = scores.last() else { bail!("no round was run") };
        Ok(last.accuracy)
    }
}

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
        data: &std::path::Path,
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
                .args(["--scale", "none"])
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

impl Trainer {
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}
