//! A trainer that trains nothing.

use color_eyre::eyre::{Result, bail, eyre};
use std::{
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};
use twinfold_cli::{
    client::{Client, Events},
    task::Created,
    train::model_reals,
};
use twinfold_fl::{compress::compress, steps_from_canonical, update::Binding};
use twinfold_types::{
    Action, ClusterId, Event, SecretKey,
    api::{ClusterView, Level, Notice, TaskView},
    key::Signer,
    round::Metrics,
    task::TaskSpec,
    tx::UpdateAction,
};

/// The change that every value makes in every round.
const DELTA: f32 = 0.001;
const EXAMPLES: u32 = 100;
const SUBMIT: Duration = Duration::from_secs(60);
/// With no event for so long, the task is looked at anyway: the events may have come
/// from a node that is ahead of the one that answers. Shorter than the pause between
/// a stream's signs of life, which would count as events here.
const QUIET: Duration = Duration::from_secs(1);

/// A model is in a trainer's hands; the update sent before had so many bytes.
pub struct Seen {
    pub at: Instant,
    pub sent_bytes: u64,
}

/// Where a trainer's time of one round went, in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Phases {
    download: f64,
    compress: f64,
    upload: f64,
    order: f64,
    wait: f64,
}

/// A phase's name, and how to read it.
pub type Phase = (&'static str, fn(&Phases) -> f64);

impl Phases {
    /// Every phase, in the order they come.
    pub const ALL: [Phase; 5] = [
        ("download, check, convert", |phases| phases.download),
        ("compress", |phases| phases.compress),
        ("upload to certificate", |phases| phases.upload),
        ("order the update", |phases| phases.order),
        ("wait for the next model", |phases| phases.wait),
    ];
}

pub struct Trainer {
    index: usize,
    client: Client,
    key: SecretKey,
    task: String,
    created: Created,
    delta: Arc<[f32]>,
    rounds: usize,
    seen: Sender<Result<Seen>>,
}

impl Trainer {
    pub fn new(
        index: usize,
        client: Client,
        key: SecretKey,
        created: &Created,
        rounds: usize,
        seen: Sender<Result<Seen>>,
    ) -> Self {
        let values = created.spec.tensors.iter().filter_map(|tensor| tensor.values()).sum::<u64>();
        let delta = vec![DELTA; values as usize].into();
        let (task, created) = (created.task.to_string(), created.clone());
        Self { index, client, key, task, created, delta, rounds, seen }
    }

    /// Takes part in the rounds; an error goes to whoever watches them.
    pub fn run(self) -> Vec<Phases> {
        self.take_part().unwrap_or_else(|error| {
            let error = error.wrap_err(format!("trainer {}", self.index));
            self.seen.send(Err(error)).ok();
            vec![]
        })
    }

    /// Every round, then the last model.
    fn take_part(&self) -> Result<Vec<Phases>> {
        let (mut phases, mut sent_bytes) = (vec![], 0);
        let start = self.client.status()?.height;
        let mut events = self.client.events(Some(format!("{start}-0-0")), QUIET);
        for round in 0..=self.rounds {
            let mut now = Phases::default();
            let mut clock = Clock(Instant::now());
            let view = self.next_model(round as u64, &mut events)?;
            now.wait = clock.lap();
            let cluster = self.cluster(&view)?;
            self.fetch(&view.spec, cluster)?;
            now.download = clock.lap();
            // Whoever listens is gone only when the bench is over.
            self.seen.send(Ok(Seen { at: Instant::now(), sent_bytes })).ok();
            if round < self.rounds {
                sent_bytes = self.send(cluster, &mut now, &mut clock)?;
            }
            phases.push(now);
        }
        Ok(phases)
    }

    /// Waits until the global model that came of so many rounds takes updates.
    fn next_model(&self, version: u64, events: &mut Events<'_>) -> Result<TaskView> {
        loop {
            let view = self.client.task(&self.task)?;
            if view.global_version >= version && self.cluster(&view)?.collecting {
                return Ok(view);
            }
            while let Some(event) = events.next_event()? {
                if is_news(&event.event, &self.created) {
                    break;
                }
            }
        }
    }

    fn cluster<'a>(&self, view: &'a TaskView) -> Result<&'a ClusterView> {
        let mut clusters = view.clusters.iter();
        let found = clusters.find(|cluster| cluster.cluster == ClusterId(0));
        found.ok_or_else(|| eyre!("the task has no cluster 0"))
    }

    /// The model as a trainer needs it: checked against its digest, as f32.
    fn fetch(&self, spec: &TaskSpec, cluster: &ClusterView) -> Result<Vec<f32>> {
        let bytes = 4 * self.delta.len() as u64;
        let content = self.client.model_content(&cluster.model, &cluster.model_digest, bytes)?;
        let steps = steps_from_canonical(&content, &spec.tensors)?;
        Ok(model_reals(&steps, &spec.tensors)?)
    }

    /// Compresses, uploads and orders; gives the payload's bytes.
    fn send(&self, cluster: &ClusterView, now: &mut Phases, clock: &mut Clock) -> Result<u64> {
        let spec = &self.created.spec;
        let trainer = self.key.public_key();
        let binding = Binding { task: self.created.task, trainer, base: cluster.model_digest };
        let update = compress(spec, binding, &self.delta, &[], 0)?.update;
        let bytes = update.encode();
        now.compress = clock.lap();
        let payload = self.client.upload(&self.key, &bytes)?;
        now.upload = clock.lap();
        let action = Action::Update(Box::new(UpdateAction {
            task: self.created.task,
            cluster: cluster.cluster,
            round: Some(cluster.round),
            base_version: cluster.version,
            examples: EXAMPLES,
            metrics: Metrics::default(),
            payload,
        }));
        let status = self.client.submit(&self.key, action, Level::Executed, SUBMIT)?;
        now.order = clock.lap();
        match status.receipt.map(|receipt| receipt.code) {
            Some(twinfold_types::Code::Ok) => Ok(bytes.len() as u64),
            code => bail!("the update came to {code:?}"),
        }
    }
}

/// Times one phase after the other.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now - std::mem::replace(&mut self.0, now);
        lap.as_secs_f64() * 1e3
    }
}

/// A merge makes the model that the next round starts from.
fn is_news(notice: &Notice, created: &Created) -> bool {
    matches!(notice, Notice::Event(Event::Merged { task, .. }) if *task == created.task)
}
