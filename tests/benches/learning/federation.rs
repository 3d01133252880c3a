//! Trainers around one cluster: each round all train, send, and are folded.

use super::attack::Attack;
use color_eyre::eyre::{Result, eyre};
use twinfold_cli::{
    data::{Dataset, Partition, partition, split_train_test},
    task::TaskOptions,
    tensor_file::ImportedModel,
    train::{Network, initial_values, local_update, mlp_tensors, model_reals, model_steps},
};
use twinfold_fl::{
    Base, FoldInput, Layout, canonical_bytes, compress::compress, down, fold_round, server::Memory,
    update::Binding,
};
use twinfold_types::{
    ClusterId, Digest, PublicKey, TaskId, hash::Tag, limits, model::model_digest, round::Outcome,
    task::TaskSpec,
};

const TASK: TaskId = TaskId(Digest([6; 32]));
const TEST_SHARE: f64 = 0.2;

/// What a run is about.
#[derive(Clone)]
pub struct Setting {
    pub options: TaskOptions,
    pub hidden: usize,
    pub trainers: usize,
    pub how: Partition,
    pub seed: u64,
    /// Whether what was not sent is added to the next delta.
    pub feedback: bool,
    /// The first so many trainers lie.
    pub liars: usize,
    pub attack: Option<Attack>,
    /// Whether trainers keep control variates.
    pub scaffold: bool,
}

pub struct Federation {
    spec: TaskSpec,
    /// The same for liars, who clip to nothing but what is refused.
    loose: TaskSpec,
    network: Network,
    shards: Vec<Dataset>,
    test: Dataset,
    steps: Vec<i32>,
    memory: Option<Memory>,
    residuals: Vec<Vec<f32>>,
    controls: Vec<Vec<f32>>,
    round: u64,
    setting: Setting,
    /// What each trained in earlier rounds, for those who send it again.
    past: Vec<Vec<Vec<f32>>>,
    sent_bytes: u64,
    down_bytes: u64,
}

impl Federation {
    pub fn new(setting: &Setting, data: &Dataset) -> Result<Self> {
        let Setting { hidden, trainers, how, seed, .. } = *setting;
        let (train, test) = split_train_test(data, TEST_SHARE, seed)?;
        let rows = partition(&train, trainers, how, seed)?;
        let mut shards: Vec<_> = rows.iter().map(|rows| train.select(rows)).collect();
        if let Some(attack) = setting.attack {
            shards.iter_mut().take(setting.liars).for_each(|shard| attack.spoil(shard));
        }
        let tensors = mlp_tensors(data.features(), hidden, data.classes, limits::SCALE_DEFAULT);
        let steps = model_steps(&initial_values(&tensors, seed)?, &tensors)?;
        let model = ImportedModel { tensors, steps };
        let model = if setting.scaffold { model.with_controls()? } else { model };
        let spec = setting.options.spec(&model)?;
        let loose = TaskSpec { clip: spec.norm_bound, ..spec.clone() };
        let network = Network::infer(&spec.tensors)?;
        let residuals = vec![vec![]; trainers];
        let controls = residuals.clone();
        Ok(Self {
            spec,
            loose,
            network,
            shards,
            test,
            steps: model.steps,
            memory: None,
            residuals,
            controls,
            round: 0,
            setting: setting.clone(),
            past: vec![],
            sent_bytes: 0,
            down_bytes: 0,
        })
    }

    /// All train, the liars among them change what they send, and the round is folded.
    pub fn round(&mut self) -> Result<()> {
        let model = model_reals(&self.steps, &self.spec.tensors)?;
        let mut deltas = vec![];
        for (trainer, shard) in (0u64..).zip(&self.shards) {
            let seed = self.setting.seed * 1_000_003 + self.round * 1_009 + trainer;
            let training = &self.spec.training;
            let own = &self.controls[trainer as usize];
            deltas.push(local_update(
                &self.network,
                &model,
                shard,
                training,
                self.round,
                seed,
                own,
            )?);
        }
        let metrics: Vec<_> = deltas.iter().map(|local| local.metrics).collect();
        // All take part in every round and count: what each keeps is what it sent.
        self.controls = deltas.iter().map(|local| local.control.clone()).collect();
        let mut deltas: Vec<_> = deltas.into_iter().map(|local| local.delta).collect();
        self.past.push(deltas.clone());
        if let Some(attack) = self.setting.attack {
            attack.change(&mut deltas, self.setting.liars, &self.past, self.round);
            // Long enough for the oldest that is sent again.
            self.past.drain(..self.past.len().saturating_sub(attack.remembers()));
        } else {
            self.past.clear();
        }
        let base = model_digest(&canonical_bytes(&self.steps));
        let (mut inputs, mut payloads, mut sent) = (vec![], vec![], vec![]);
        for (trainer, delta) in deltas.iter().enumerate() {
            let key = PublicKey([trainer as u8; 32]);
            let binding = Binding { task: TASK, trainer: key, base };
            let seed = self.round << 16 | trainer as u64;
            let lies = trainer < self.setting.liars;
            let compressed = compress(
                if lies { &self.loose } else { &self.spec },
                binding,
                delta,
                &self.residuals[trainer],
                seed,
            )?;
            let payload = compressed.update.encode();
            inputs.push(FoldInput {
                trainer: key,
                payload: Digest::of_bytes(Tag::Blob, &payload),
                weight: (self.shards[trainer].len() as u32).min(self.spec.weight_max),
                loss: metrics[trainer].loss,
                base_version: self.round,
                base_digest: base,
            });
            self.sent_bytes += payload.len() as u64;
            payloads.push(payload);
            sent.push(compressed);
        }
        let before = Base {
            cluster: ClusterId(0),
            steps: &self.steps,
            version: self.round,
            memory: self.memory.as_ref(),
            against: None,
            masking: None,
        };
        let Ok(folded) = fold_round(&self.spec, TASK, before, &inputs, &mut payloads.as_slice());
        for (trainer, (compressed, outcome)) in sent.into_iter().zip(&folded.outcomes).enumerate() {
            self.residuals[trainer] = match outcome {
                _ if !self.setting.feedback => vec![],
                Outcome::Folded { .. } => compressed.rest,
                Outcome::Refused(_) => compressed.carried,
            };
        }
        if let Some(steps) = folded.steps {
            let layout = Layout::of(&self.spec.tensors)?;
            let change = down::encode(&layout, TASK, base, &self.steps, &steps);
            // Whoever cannot be told the change fetches the model.
            self.down_bytes += change.map_or(4 * steps.len(), |change| change.len()) as u64;
            (self.steps, self.memory) = (steps, folded.memory);
        }
        self.round += 1;
        Ok(())
    }

    /// What trainers have from now on, and what accuracy is of.
    pub fn look_at(&mut self, shards: Vec<Dataset>, test: Dataset) {
        (self.shards, self.test) = (shards, test);
    }

    /// Share of the test examples that the model gets right, in percent.
    pub fn accuracy(&self) -> Result<f64> {
        let model = model_reals(&self.steps, &self.spec.tensors)?;
        let found = self.network.evaluate(&model, &self.test)?;
        Ok(100.0 * found.accuracy)
    }
}

/// What a run came to.
pub struct Trained {
    /// After each round, in percent.
    pub accuracy: Vec<f64>,
    /// Payloads of one trainer in one round, on average.
    pub payload_bytes: f64,
    /// What comes down to each trainer in one round, on average.
    pub down_bytes: f64,
    /// The model.
    pub steps: Vec<i32>,
}

impl Trained {
    pub fn last(&self) -> f64 {
        self.accuracy.last().copied().unwrap_or(0.0)
    }
}

pub fn train(setting: &Setting, data: &Dataset, rounds: usize) -> Result<Trained> {
    train_from(setting, data, rounds, None)
}

/// From another run's model, where there is one.
pub fn train_from(
    setting: &Setting,
    data: &Dataset,
    rounds: usize,
    start: Option<&[i32]>,
) -> Result<Trained> {
    let mut federation = Federation::new(setting, data)?;
    if let Some(start) = start {
        federation.steps.copy_from_slice(start);
    }
    let mut accuracy = vec![];
    for round in 0..rounds {
        federation.round().map_err(|error| eyre!("round {round}: {error}"))?;
        accuracy.push(federation.accuracy()?);
    }
    let sent = (rounds * setting.trainers) as f64;
    let payload_bytes = federation.sent_bytes as f64 / sent;
    let down_bytes = federation.down_bytes as f64 / rounds as f64;
    Ok(Trained { accuracy, payload_bytes, down_bytes, steps: federation.steps })
}
