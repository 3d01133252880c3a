//! A task small enough to be trained by hand: updates are made here from chosen
//! deltas and sent the way a trainer sends them.

use super::{Lab, PATIENCE, members, until};
use twinfold_cli::{
    client::Client,
    task::{Created, TaskOptions, create},
    tensor_file::ImportedModel,
};
use twinfold_fl::{compress::compress, update::Binding};
use twinfold_types::{
    Action, AvailabilityCertificate, ClusterId, RoundNumber,
    api::{ClusterView, Level, RoundView, TxStatus},
    model::{TensorPolicy, TensorSpec},
    round::{Metrics, RoundState},
    tx::UpdateAction,
};

/// Values of the small model: a matrix of 4 × 3 and a bias of 3.
pub const VALUES: usize = 15;

pub fn small_model() -> ImportedModel {
    let tensor = |name: &str, shape: &[u64]| TensorSpec {
        name: name.into(),
        shape: shape.into(),
        scale: 20,
        policy: TensorPolicy::Train,
    };
    ImportedModel {
        tensors: vec![tensor("weight", &[4, 3]), tensor("bias", &[3])],
        steps: vec![0; VALUES],
    }
}

/// One cluster; a round closes with so many updates, or fails after long.
pub fn options(name: &str, participants: u32) -> TaskOptions {
    TaskOptions {
        name: name.into(),
        participants_min: participants,
        participants_max: participants,
        deadline: PATIENCE,
        ..TaskOptions::default()
    }
}

/// A task that the operator created.
pub struct Course {
    pub created: Created,
    client: Client,
}

impl Lab {
    pub fn course(&self, options: &TaskOptions) -> Course {
        let client = self.client();
        let owner = members::secret("olaf");
        let created = create(&client, &owner, options, &small_model(), PATIENCE).expect("a task");
        Course { created, client }
    }
}

impl Course {
    /// A task that was created another way.
    pub fn of(lab: &Lab, created: Created) -> Self {
        Self { created, client: lab.client() }
    }

    pub fn name(&self) -> String {
        self.created.task.to_string()
    }

    pub fn cluster(&self, cluster: u16) -> ClusterView {
        let view = self.client.task(&self.name()).expect("the task is there");
        view.clusters.into_iter().nth(cluster.into()).expect("the cluster is there")
    }

    /// Waits until the cluster takes updates.
    pub fn collecting(&self, cluster: u16) -> ClusterView {
        until("the cluster collects", || Some(self.cluster(cluster)).filter(|view| view.collecting))
    }

    /// The payload of an update: the same change of every value.
    pub fn payload(&self, trainer: &str, base: &ClusterView, change: f32) -> Vec<u8> {
        let trainer = members::public(trainer);
        let binding = Binding { task: self.created.task, trainer, base: base.model_digest };
        let delta = [change; VALUES];
        let sent = compress(&self.created.spec, binding, &delta, &[], 0);
        sent.expect("a small delta").update.encode()
    }

    pub fn upload(&self, trainer: &str, payload: &[u8]) -> AvailabilityCertificate {
        self.client.upload(&members::secret(trainer), payload).expect("it is stored")
    }

    /// What names a payload, against the model that the view shows.
    pub fn action(&self, base: &ClusterView, payload: AvailabilityCertificate) -> UpdateAction {
        UpdateAction {
            task: self.created.task,
            cluster: base.cluster,
            round: Some(base.round),
            base_version: base.version,
            examples: 10,
            metrics: Metrics::from_reals(1.0, Some(0.5)),
            payload,
        }
    }

    /// Sends any bytes as an update; waits for its receipt.
    pub fn send_payload(&self, trainer: &str, base: &ClusterView, payload: &[u8]) -> TxStatus {
        let action = self.action(base, self.upload(trainer, payload));
        let action = Action::Update(Box::new(action));
        let secret = members::secret(trainer);
        self.client.submit(&secret, action, Level::Executed, PATIENCE).expect("executed")
    }

    /// One update of a cluster's open round.
    pub fn update(&self, trainer: &str, cluster: u16, change: f32) -> TxStatus {
        let base = self.collecting(cluster);
        let payload = self.payload(trainer, &base, change);
        self.send_payload(trainer, &base, &payload)
    }

    /// Waits until a round has ended, one way or the other.
    pub fn ended(&self, cluster: u16, round: u64) -> RoundView {
        until(&format!("round {} ends", RoundNumber(round)), || {
            let found = self.client.round(&self.name(), ClusterId(cluster), round).ok()??;
            let over = matches!(
                found.round.state,
                RoundState::Aggregated { .. } | RoundState::Void { .. }
            );
            over.then_some(found)
        })
    }
}
