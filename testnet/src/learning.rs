//! The task: its first model and settings, and how good a model is.

use crate::{args::Args, data::Data, table::Score};
use color_eyre::eyre::{Result, WrapErr, bail};
use std::time::Duration;
use twinfold_cli::{
    client::Client,
    data::Dataset,
    task::{self, Created, TaskOptions},
    tensor_file::ImportedModel,
    train::{self, central, initial_values, mlp_tensors, model_reals, model_steps},
};
use twinfold_types::{
    SecretKey, limits,
    model::ModelId,
    task::{LocalWork, TaskSpec},
};

/// Name of the task, for people.
pub const TASK: &str = "digits";
/// Units of the hidden layer.
const HIDDEN: usize = 64;
/// Settings that bring the bundled digits within a point of central training in twenty rounds.
const EPOCHS: u32 = 2;
const BATCH: u32 = 8;
const LEARNING_RATE: f64 = 0.4;

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
