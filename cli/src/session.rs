//! A trainer at work: gets its cluster's model, trains, sends, learns what became of
//! it, and again, until the task ends or its rounds are done.

mod choice;
mod masked;

use crate::{
    client::Client,
    data::Dataset,
    error::{CliError, Result},
    evaluate::{Evaluator, Measured},
    held::HeldModel,
    masked::MaskedEvent,
    train::{Held, Pending, TrainerState, prepare},
    update::{Fate, Pause, Place, Route, Sent, cluster_of, open_state, residual_age_max, settle},
};
use serde::Serialize;
use std::{path::PathBuf, time::Duration};
use twinfold_fl::update::Binding;
use twinfold_types::{
    Action, ClusterId, Code, PublicKey, RoundNumber, SecretKey, SignedTx, TxId,
    api::{ClusterView, TaskView},
    key::Signer,
    round::{Metrics, Outcome},
    task::{
        Mode, TaskSpec, TaskStatus,
        selection::{Candidate, Criterion},
    },
};

#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Identity or name of the task.
    pub task: String,
    /// None: chosen by the trainer's key.
    pub cluster: Option<ClusterId>,
    /// The task's settings, proved: nothing is sent where a node tells of others.
    pub proved: Option<TaskSpec>,
    /// Rounds to take part in; None: until the task ends.
    pub rounds: Option<u64>,
    pub state_dir: PathBuf,
    /// For one transaction.
    pub timeout: Duration,
    /// For a round to end, and for one to open.
    pub round_timeout: Duration,
}

/// What a trainer has.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    pub train: &'a Dataset,
    /// Kept out of training, to measure models with; those to train on where there are none.
    pub held: Option<&'a Dataset>,
}

/// What a session tells while it works.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum SessionEvent {
    /// An update from before a restart is taken up again.
    Resumed {
        base_version: u64,
    },
    Training {
        cluster: ClusterId,
        round: RoundNumber,
        version: u64,
    },
    Ordered {
        cluster: ClusterId,
        place: Place,
        bytes: u64,
        loss: f64,
        accuracy: Option<f64>,
    },
    /// The ledger did not take it: another round is on, for example.
    NotOrdered {
        tx: TxId,
        code: u16,
        reason: &'static str,
    },
    /// Others take part in this round; why is told where this trainer was enrolled in time.
    NotChosen {
        round: RoundNumber,
        by: Criterion,
        candidate: Option<Candidate>,
    },
    /// The ledger put this trainer into a cluster.
    Formed {
        cluster: ClusterId,
    },
    /// The update goes into a later round than the one it was made for.
    Late {
        round: RoundNumber,
    },
    /// Something happened in a masked round.
    Masked {
        round: RoundNumber,
        what: MaskedEvent,
    },
    /// What this trainer may reveal in the task is spent: it takes no further part.
    BudgetSpent,
    /// A global version was measured on this trainer's examples.
    Measured(Measured),
    Result {
        place: Place,
        fate: Fate,
        counted: bool,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct SessionSummary {
    pub task: String,
    pub trainer: PublicKey,
    pub cluster: ClusterId,
    /// Updates ordered, and those among them that counted.
    pub rounds: u64,
    pub counted: u64,
    /// Payload bytes ordered, and all bytes sent in requests with a body.
    pub payload_bytes: u64,
    pub bytes_sent: u64,
    /// Bytes of all answers: models, and what was asked for beside them.
    pub bytes_received: u64,
    /// Global versions measured.
    pub measured: u64,
    /// Training data, in memory, that stayed on this machine.
    pub kept_bytes: u64,
    pub finished: bool,
}

struct Session<'a> {
    client: &'a Client,
    key: &'a SecretKey,
    data: &'a Dataset,
    options: &'a SessionOptions,
    state: TrainerState,
    cluster: ClusterId,
    /// The round and base of the last update: it is not sent again for both. One
    /// against another model of the same round was refused, and the round still waits.
    last: Option<(RoundNumber, u64)>,
    summary: SessionSummary,
    evaluator: Evaluator<'a>,
    held: HeldModel,
    /// In a task that chooses: the round for which it is known whether this trainer is, and that.
    drawn: Option<(RoundNumber, bool)>,
    /// The round for which it enrolled last.
    enrolled: Option<RoundNumber>,
    /// In a task that forms clusters: the merges after which it found out its own.
    formed: Option<u64>,
}

/// Takes part in a task.
pub fn take_part(
    client: &Client,
    key: &SecretKey,
    examples: Examples<'_>,
    options: &SessionOptions,
    report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
) -> Result<SessionSummary> {
    let data = examples.train;
    let task = client.task(&options.task)?;
    let trainer = key.public_key();
    let state = open_state(&options.state_dir, task.id, trainer, &task.spec)?;
    let cluster = match pending_cluster(&state).or(options.cluster) {
        Some(cluster) => cluster_of(&task, cluster)?.cluster,
        None => ClusterId(u16::from_le_bytes([trainer.0[0], trainer.0[1]]) % task.spec.clusters),
    };
    let summary = SessionSummary {
        task: task.id.to_string(),
        trainer,
        cluster,
        rounds: 0,
        counted: 0,
        payload_bytes: 0,
        bytes_sent: 0,
        bytes_received: 0,
        measured: 0,
        kept_bytes: 4 * (data.x.len() + data.y.len()) as u64,
        finished: false,
    };
    let held = examples.held.unwrap_or(data);
    let evaluator = Evaluator::new(client, key, held, options.timeout);
    let last = None;
    let session = Session {
        client,
        key,
        data,
        options,
        state,
        cluster,
        last,
        summary,
        evaluator,
        held: HeldModel::default(),
        drawn: None,
        enrolled: None,
        formed: None,
    };
    session.run(&task, report)
}

/// The cluster that an update from before a restart was signed for.
fn pending_cluster(state: &TrainerState) -> Option<ClusterId> {
    let tx = SignedTx::decode(state.pending()?.transaction.as_ref()?).ok()?;
    match &tx.body.action {
        Action::Update(update) => Some(update.cluster),
        _ => None,
    }
}

impl<'a> Session<'a> {
    fn run(
        mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<SessionSummary> {
        if let Some(pending) = self.state.pending().cloned() {
            report(&SessionEvent::Resumed { base_version: pending.base_version })?;
            let current = cluster_of(task, self.cluster)?.round;
            match task.spec.masks.is_some() && pending.round == Some(current) {
                true => self.masked_round(task, report)?,
                false => self.conclude(task, report)?,
            }
        }
        while self.options.rounds.is_none_or(|rounds| self.summary.rounds < rounds) {
            let Some(task) = self.next_round(report)? else {
                self.summary.finished = true;
                break;
            };
            if task.spec.masks.is_some() {
                match self.masked_round(&task, report) {
                    Err(CliError::Chain { code: Code::PrivacySpent, .. }) => {
                        report(&SessionEvent::BudgetSpent)?;
                        break;
                    }
                    done => done?,
                }
                continue;
            }
            self.train(&task, report)?;
            self.conclude(&task, report)?;
        }
        let task = self.client.task(&self.summary.task)?;
        self.measure(&task, report)?;
        let joined = self.enrolled.is_some() || self.formed.is_some();
        if joined && task.status == TaskStatus::Open {
            self.say(Action::Leave(task.id), &[Code::EnrolmentUnknown, Code::TaskEnded])?;
        }
        self.summary.bytes_sent = self.client.bytes_sent();
        self.summary.bytes_received = self.client.bytes_received();
        Ok(self.summary)
    }

    /// Waits until the cluster takes updates this trainer has not sent; `None` once
    /// the task has ended.
    fn next_round(
        &mut self,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<Option<TaskView>> {
        let (mut started, mut pause) = (std::time::Instant::now(), Pause::default());
        let mut seen = None;
        loop {
            let task = self.client.task(&self.summary.task)?;
            if task.status != TaskStatus::Open {
                return Ok(None);
            }
            if self.options.proved.as_ref().is_some_and(|proved| *proved != task.spec) {
                return Err(CliError::failed(
                    "a node tells of other settings of the task than those that are proved",
                    "ask another node: nothing was sent by these",
                ));
            }
            self.find_cluster(&task, report)?;
            // Rounds that others were chosen for are no standstill.
            let round = Some(cluster_of(&task, self.cluster)?.round);
            if std::mem::replace(&mut seen, round) != round {
                (started, pause) = (std::time::Instant::now(), Pause::default());
            }
            self.measure(&task, report)?;
            if is_ready(&task.spec.mode, self.last, cluster_of(&task, self.cluster)?)
                && self.is_chosen(&task, report)?
            {
                return Ok(Some(task));
            }
            if started.elapsed() > self.options.round_timeout {
                return Err(CliError::TimedOut(format!(
                    "no round of cluster {} opened within {} s; expected the next one",
                    self.cluster,
                    self.options.round_timeout.as_secs()
                )));
            }
            pause.sleep();
        }
    }

    /// Trains and makes the update durable.
    fn train(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        let cluster = cluster_of(task, self.cluster)?;
        let (round, version) = (cluster.round, cluster.version);
        report(&SessionEvent::Training { cluster: self.cluster, round, version })?;
        let steps = self.held.fetch(self.client, task, &cluster.model, &cluster.model_digest)?;
        let trainer = self.key.public_key();
        let binding = Binding { task: task.id, trainer, base: cluster.model_digest };
        let residual = self.state.residual(version, residual_age_max(&task.spec));
        let held = Held { residual, control: self.state.control() };
        let sequence = self.state.sequence();
        let prepared = prepare(&task.spec, binding, &steps, self.data, held, round.0, sequence)?;
        self.last = Some((round, version));
        self.state.begin(Pending {
            round: (task.spec.mode == Mode::Sync).then_some(round),
            base_version: version,
            examples: prepared.examples,
            metrics: prepared.metrics,
            transaction: None,
            payload: prepared.payload,
            carried: prepared.carried,
            rest: prepared.rest,
            control: prepared.control,
        })?;
        Ok(())
    }

    /// Sends the pending update; one that came too late waits for a round that takes it, where the task
    /// carries such over.
    fn send(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<Sent> {
        let (started, mut told) = (std::time::Instant::now(), false);
        loop {
            let route = self.route(task);
            let sent = route.send(&mut self.state)?;
            let sealed = matches!(sent, Sent::Refused { code: Code::RoundSealed, .. });
            let round = self.state.pending().and_then(|pending| pending.round);
            let Some(round) = round.filter(|_| sealed && !task.spec.late.is_empty()) else {
                return Ok(sent);
            };
            if !std::mem::replace(&mut told, true) {
                report(&SessionEvent::Late { round })?;
            }
            let mut pause = Pause::default();
            loop {
                let task = self.client.task(&self.summary.task)?;
                let over = task.status != TaskStatus::Open;
                if over || started.elapsed() > self.options.round_timeout {
                    return Ok(sent);
                }
                if cluster_of(&task, self.cluster)?.collecting {
                    break;
                }
                pause.sleep();
            }
            self.state.forget_transaction()?;
        }
    }

    fn route(&self, task: &TaskView) -> Route<'a> {
        Route {
            client: self.client,
            key: self.key,
            task: task.id,
            cluster: self.cluster,
            timeout: self.options.timeout,
        }
    }

    /// Sends the pending update and settles it by what becomes of it.
    fn conclude(
        &mut self,
        task: &TaskView,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        let sent = self.send(task, report)?;
        self.settle(task, sent, report)
    }

    /// Settles the pending update by what the ledger said to it, and by what becomes of it.
    fn settle(
        &mut self,
        task: &TaskView,
        sent: Sent,
        report: &mut dyn FnMut(&SessionEvent) -> Result<()>,
    ) -> Result<()> {
        let (metrics, bytes) = match self.state.pending() {
            Some(pending) => (pending.metrics, pending.payload.len() as u64),
            None => (Metrics::default(), 0),
        };
        let place = match sent {
            Sent::Ordered(place) => place,
            Sent::Refused { tx, code } => {
                settle(&mut self.state, None)?;
                let (number, reason) = (code.number(), code.text());
                report(&SessionEvent::NotOrdered { tx, code: number, reason })?;
                return if comes_too_late(code) {
                    Ok(())
                } else {
                    Err(CliError::Chain { tx, code })
                };
            }
        };
        self.summary.rounds += 1;
        self.summary.payload_bytes += bytes;
        report(&SessionEvent::Ordered {
            cluster: self.cluster,
            place,
            bytes,
            loss: metrics.loss(),
            accuracy: metrics.accuracy(),
        })?;
        let fate = self.route(task).await_fate(&place, self.options.round_timeout)?;
        settle(&mut self.state, Some(&fate))?;
        if matches!(fate, Fate::Void { .. }) {
            // The model has not moved: its version may be trained on again.
            self.last = None;
        }
        let counted = matches!(fate.outcome(), Some(Outcome::Folded { weight }) if weight > 0);
        self.summary.counted += u64::from(counted);
        report(&SessionEvent::Result { place, fate, counted })
    }
}

/// Whether the cluster takes an update other than the last.
fn is_ready(mode: &Mode, last: Option<(RoundNumber, u64)>, cluster: &ClusterView) -> bool {
    let is_new = match (mode, last) {
        (_, None) => true,
        (Mode::Sync, Some(last)) => (cluster.round, cluster.version) != last,
        (Mode::Async { .. }, Some((_, base))) => cluster.version > base,
    };
    cluster.collecting && is_new
}

/// Refusals that the next round makes good.
fn comes_too_late(code: Code) -> bool {
    matches!(
        code,
        Code::RoundOther
            | Code::RoundSealed
            | Code::BaseOther
            | Code::BaseStale
            | Code::UpdateExists
            | Code::Replayed
            | Code::NotValidNow
            | Code::TaskEnded
            | Code::NotChosen
            | Code::MaskStageOther
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Digest,
        model::ModelId,
        task::{Pace, selection::Draw},
    };

    #[test]
    fn a_round_is_sent_for_once_but_again_when_the_first_try_knew_an_older_model() {
        let at = |round, version| ClusterView {
            cluster: ClusterId(0),
            model: ModelId(Digest::ZERO),
            model_digest: Digest::ZERO,
            version,
            round: RoundNumber(round),
            collecting: true,
            entries: 0,
            deadline: None,
            draw: Draw::Unused,
            pace: Pace::All,
        };
        let last = Some((RoundNumber(4), 7));
        assert!(!is_ready(&Mode::Sync, last, &at(4, 7)));
        assert!(is_ready(&Mode::Sync, last, &at(4, 8)), "refused as against version 7");
        assert!(is_ready(&Mode::Sync, last, &at(5, 8)));
        assert!(!is_ready(&Mode::Sync, last, &ClusterView { collecting: false, ..at(5, 8) }));
        let buffered = Mode::Async { buffer: 2, staleness: vec![1 << 16], mix: None };
        assert!(!is_ready(&buffered, last, &at(5, 7)), "its base was used");
        assert!(is_ready(&buffered, last, &at(4, 8)));
    }
}
