//! An update's way to the chain and back: stored with the committee, ordered into a
//! round, folded or left out. Everything is durable before it is sent, so a trainer
//! killed at any instant goes on where it was, and sends the same bytes.

use crate::{
    client::{Client, ClientError, now},
    error::{CliError, Result},
    files,
    train::{Pending, Settlement, StateError, TrainerState},
};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use twinfold_types::{
    Action, BlobId, ClusterId, Code, Digest, Event, Height, PublicKey, Receipt, RoundNumber,
    SecretKey, SignedTx, TaskId, TxId,
    api::{ClusterView, Level, RoundView, TaskView},
    codec,
    key::Signer,
    model::{self, ModelId, model_values},
    round::{Outcome, RoundState, VoidReason},
    task::{Mode, TaskSpec},
    tx::UpdateAction,
};

/// Rounds looked through for an update that was ordered before.
const ROUNDS_SEARCHED: usize = 16;
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const POLL_MS_MIN: u64 = 10;
const POLL_MS_MAX: u64 = 400;

/// Who sends where.
pub struct Route<'a> {
    pub client: &'a Client,
    pub key: &'a SecretKey,
    pub task: TaskId,
    pub cluster: ClusterId,
    /// For one transaction, and for each wait.
    pub timeout: Duration,
}

/// Where the ledger put an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub tx: TxId,
    pub round: RoundNumber,
    pub index: u32,
    pub height: Height,
}

/// What the ledger said to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Ordered(Place),
    Refused { tx: TxId, code: Code },
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// By the fold: counted or left out; and the model it came to.
    Folded {
        outcome: Outcome,
        model: ModelId,
    },
    Void {
        reason: VoidReason,
    },
}

impl Fate {
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Fate::Folded { outcome, .. } => Some(*outcome),
            Fate::Void { .. } => None,
        }
    }
}

/// A cluster of a task.
pub fn cluster_of(task: &TaskView, cluster: ClusterId) -> Result<&ClusterView> {
    task.clusters.iter().find(|view| view.cluster == cluster).ok_or_else(|| {
        CliError::usage(
            format!("task {:?} has no cluster {cluster}", task.spec.name),
            format!("its clusters are 0 to {}", task.spec.clusters.saturating_sub(1)),
        )
    })
}

/// Opens a trainer's state for a task, one file for each (task, key).
pub fn open_state(
    dir: &Path,
    task: TaskId,
    trainer: PublicKey,
    spec: &TaskSpec,
) -> Result<TrainerState> {
    files::create_private_folder(dir).map_err(CliError::file(dir))?;
    let name = format!("{}-{}.trainer", &task.to_string()[..16], &trainer.to_string()[..16]);
    let values = model_values(&spec.tensors).and_then(|values| usize::try_from(values).ok());
    let values = values.ok_or_else(|| CliError::failed("the task's model is too large", ""))?;
    let (path, started) = (dir.join(name), Instant::now());
    loop {
        match TrainerState::open(&path, task, trainer, values) {
            // A killed predecessor may take a moment to be gone.
            Err(StateError::Locked(_)) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return Ok(opened?),
        }
    }
}

/// Versions that a residual outlives.
pub fn residual_age_max(spec: &TaskSpec) -> Option<u64> {
    match &spec.mode {
        Mode::Sync => None,
        Mode::Async { staleness, .. } => Some(staleness.len().saturating_sub(1) as u64),
    }
}

/// Digest of the model that was a cluster's version: what a delta binds to.
pub fn base_digest(
    client: &Client,
    task: &TaskView,
    cluster: &ClusterView,
    version: u64,
) -> Result<Digest> {
    if version == cluster.version {
        return Ok(cluster.model_digest);
    }
    // A merge is a version of the cluster without a record of its own: it is the
    // parent of the cluster's next.
    let level = model::Level::Cluster(cluster.cluster);
    let name = task.id.to_string();
    let near = client.models(Some(&name), Some(level), version.checked_add(2), 2)?;
    for view in &near {
        if view.record.version == version {
            return Ok(view.record.digest);
        }
        if let ([parent], true) =
            (view.record.parents.as_slice(), view.record.version.checked_sub(1) == Some(version))
        {
            return Ok(client.model(parent)?.record.digest);
        }
    }
    Err(CliError::usage(
        format!("cluster {} has no version {version}", cluster.cluster),
        format!("its newest is {}; see `twinfold task show`", cluster.version),
    ))
}

impl Route<'_> {
    /// Sends the state's pending update, or sends it again, until the ledger has
    /// answered.
    pub fn send(&self, state: &mut TrainerState) -> Result<Sent> {
        let Some(pending) = state.pending() else {
            return Err(CliError::failed("there is no update to send", ""));
        };
        let pending = pending.clone();
        let tx = match pending.transaction.as_deref().map(SignedTx::decode) {
            Some(Ok(tx)) if !self.is_lost(&tx)? => tx,
            _ => {
                let tx = self.sign(&pending)?;
                state.set_transaction(codec::encode(&tx))?;
                tx
            }
        };
        let receipt = match self.client.send_tx(&tx, Level::Executed, self.timeout) {
            Ok(status) => status.receipt,
            Err(error) => match refused_code(&error) {
                Some(code) => return self.refused(&pending, tx.id(), code),
                None => return Err(error.into()),
            },
        };
        let receipt = receipt.ok_or_else(|| {
            CliError::failed("the node says executed but shows no receipt", "ask another node")
        })?;
        if receipt.code != Code::Ok {
            return self.refused(&pending, tx.id(), receipt.code);
        }
        match place(&tx.id(), &receipt) {
            Some(place) => Ok(Sent::Ordered(place)),
            None => Err(CliError::failed("the receipt orders no update", "ask another node")),
        }
    }

    /// A transaction that expired and that no block took.
    fn is_lost(&self, tx: &SignedTx) -> Result<bool> {
        if now() <= tx.body.valid_until {
            return Ok(false);
        }
        match self.client.tx(&tx.id()) {
            Ok(status) => Ok(status.level < Level::Committed),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores the payload and signs the transaction that names it.
    fn sign(&self, pending: &Pending) -> Result<SignedTx> {
        let payload = self.client.upload(self.key, &pending.payload)?;
        let action = UpdateAction {
            task: self.task,
            cluster: self.cluster,
            round: pending.round,
            base_version: pending.base_version,
            examples: pending.examples,
            metrics: pending.metrics,
            payload,
        };
        Ok(self.client.sign(self.key, Action::Update(Box::new(action)))?)
    }

    /// A refusal, unless it only says that the same update is ordered already.
    fn refused(&self, pending: &Pending, tx: TxId, code: Code) -> Result<Sent> {
        if matches!(code, Code::UpdateExists | Code::Replayed)
            && let Some(place) = self.find(pending)?
        {
            return Ok(Sent::Ordered(place));
        }
        Ok(Sent::Refused { tx, code })
    }

    fn find(&self, pending: &Pending) -> Result<Option<Place>> {
        let trainer = self.key.public_key();
        // A blob keeps the number of seats that it was stored for.
        let is_ours =
            |blob: &BlobId| BlobId::whole_copies(&pending.payload, usize::from(blob.n)) == *blob;
        let name = self.task.to_string();
        for view in self.client.rounds(&name, self.cluster, None, ROUNDS_SEARCHED)? {
            let entries = (0u32..).zip(&view.entries);
            let mine = entries
                .into_iter()
                .find(|(_, entry)| entry.trainer == trainer && is_ours(&entry.blob));
            if let Some((index, entry)) = mine {
                let round = view.round.key.round;
                return Ok(Some(Place { tx: entry.tx, round, index, height: entry.height }));
            }
        }
        Ok(None)
    }

    /// What became of an ordered update, once its round has ended.
    pub fn fate(&self, place: &Place) -> Result<Option<Fate>> {
        let name = self.task.to_string();
        let view = self.client.round(&name, self.cluster, place.round.0)?;
        Ok(view.and_then(|view| fate_in(&view, place)))
    }

    /// Waits for the round's end, as long as it takes within `timeout`.
    pub fn await_fate(&self, place: &Place, timeout: Duration) -> Result<Fate> {
        let (started, mut pause) = (Instant::now(), Pause::default());
        loop {
            if let Some(fate) = self.fate(place)? {
                return Ok(fate);
            }
            if started.elapsed() > timeout {
                return Err(CliError::TimedOut(format!(
                    "round {} of cluster {} has not ended after {} s; expected a result of update {}",
                    place.round,
                    self.cluster,
                    started.elapsed().as_secs(),
                    place.tx
                )));
            }
            pause.sleep();
        }
    }
}

/// Settles the state's pending update by its fate.
pub fn settle(state: &mut TrainerState, fate: Option<&Fate>) -> Result<()> {
    Ok(state.settle(Settlement::of(fate.and_then(Fate::outcome)))?)
}

fn place(tx: &TxId, receipt: &Receipt) -> Option<Place> {
    receipt.events.iter().find_map(|event| match event {
        Event::UpdateOrdered { key, index, .. } => {
            Some(Place { tx: *tx, round: key.round, index: *index, height: receipt.height })
        }
        _ => None,
    })
}

fn fate_in(view: &RoundView, place: &Place) -> Option<Fate> {
    match &view.round.state {
        RoundState::Aggregated { model, outcomes, .. } => {
            let outcome = outcomes.get(place.index as usize).copied()?;
            Some(Fate::Folded { outcome, model: *model })
        }
        RoundState::Void { reason, .. } => Some(Fate::Void { reason: *reason }),
        _ => None,
    }
}

/// Signs and sends an action; what the ledger, or a node that judges by its rules, says to it.
pub fn say(
    client: &Client,
    key: &SecretKey,
    action: Action,
    timeout: Duration,
) -> Result<(TxId, Code)> {
    let tx = client.sign(key, action)?;
    let code = match client.send_tx(&tx, Level::Executed, timeout) {
        Ok(status) => status.receipt.map_or(Code::Ok, |receipt| receipt.code),
        Err(error) => refused_code(&error).ok_or(error)?,
    };
    Ok((tx.id(), code))
}

/// The code that a node's refusal names: nodes judge by the ledger's own rules
/// before they admit a transaction.
pub fn refused_code(error: &ClientError) -> Option<Code> {
    let ClientError::Refused { error, status, .. } = error else { return None };
    if *status >= 500 {
        return None;
    }
    let (_, rest) = error.rsplit_once("(code ")?;
    let number: u16 = rest.split_once(')')?.0.parse().ok()?;
    Code::ALL.iter().copied().find(|code| code.number() == number && *code != Code::Ok)
}

/// Short pauses first, longer ones while nothing happens.
pub struct Pause(u64);

impl Default for Pause {
    fn default() -> Self {
        Self(POLL_MS_MIN)
    }
}

impl Pause {
    pub fn sleep(&mut self) {
        std::thread::sleep(Duration::from_millis(self.0));
        self.0 = (self.0 * 3 / 2).min(POLL_MS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_at_the_door_names_its_code() {
        let refusal = |error: &str, status| ClientError::Refused {
            node: "n".into(),
            request: "POST /v1/txs".into(),
            status,
            error: error.into(),
            hint: String::new(),
        };
        let code = refused_code(&refusal("refused: the round is sealed (code 45)", 409));
        assert_eq!(code, Some(Code::RoundSealed));
        assert_eq!(refused_code(&refusal("busy (code 45)", 503)), None);
        assert_eq!(refused_code(&refusal("malformed", 400)), None);
        assert_eq!(refused_code(&refusal("odd (code 0)", 400)), None);
    }
}
