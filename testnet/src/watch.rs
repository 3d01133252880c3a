//! Follows a task round by round through the HTTP API and scores what comes out.

use crate::{
    faults,
    learning::Learning,
    network::{Network, same_root},
    table::{ClusterRow, Row, Score, Table},
    trainers::{Trainers, bytes_of},
};
use color_eyre::eyre::{Result, ensure};
use std::time::{Duration, Instant};
use twinfold_cli::client::Client;
use twinfold_types::{
    ClusterId, Epoch, TaskId,
    api::{RoundView, StatusView},
    model::{Level, ModelId},
    round::{Outcome, RoundState},
    task::TaskStatus,
};

/// With nothing new for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);
/// State roots are compared at one height; under load it takes a few looks to see
/// all validators there.
const ROOT_PATIENCE: Duration = Duration::from_secs(5);

pub struct Watch<'a> {
    pub network: &'a mut Network,
    pub client: &'a Client,
    pub learning: &'a Learning,
    pub trainers: &'a Trainers,
    pub task: TaskId,
    pub clusters: u16,
    pub rounds: u64,
    pub kill: usize,
    pub progress: indicatif::ProgressBar,
}

/// What the rounds added up to.
#[derive(Default)]
pub struct Totals {
    /// Rounds in which at least one cluster folded something.
    pub rounds: u64,
    pub bytes_sent: u64,
    pub bytes_dense: u64,
    pub killed: Vec<usize>,
}

impl Watch<'_> {
    pub fn follow(&mut self, table: &Table) -> Result<Totals> {
        let mut totals = Totals::default();
        table.header()?;
        let mut epoch = self.epoch();
        for round in 0..self.rounds {
            if self.kill > 0 && round == self.rounds / 2 {
                let (task, kill) = (self.task, self.kill);
                totals.killed =
                    faults::kill_in_mid_round(self.network, self.client, task, kill, PATIENCE)?;
                let nodes = self.network.nodes();
                let names: Vec<_> =
                    totals.killed.iter().map(|index| nodes[*index].name.as_str()).collect();
                self.progress.suspend(|| table.note(&format!("{} killed", names.join(" and "))))?;
            }
            let row = self.round(round)?;
            totals.rounds += u64::from(row.clusters.iter().any(|cluster| cluster.folded > 0));
            totals.bytes_sent += row.bytes_sent;
            totals.bytes_dense += row.bytes_dense;
            self.progress.suspend(|| table.row(&row))?;
            let running = self.epoch();
            if running > epoch {
                let text = format!("epoch {running} has begun");
                self.progress.suspend(|| table.note(&text))?;
                epoch = running;
            }
        }
        self.progress.set_message("the last merge");
        self.until(|watch| {
            Ok((watch.client.task(&watch.task())?.status != TaskStatus::Open).then_some(()))
        })?;
        self.progress.finish_and_clear();
        Ok(totals)
    }

    /// The newest epoch that a validator is in.
    fn epoch(&mut self) -> Epoch {
        let statuses = self.network.statuses();
        statuses.iter().map(|(_, status)| status.epoch).max().unwrap_or_default()
    }

    fn task(&self) -> String {
        self.task.to_string()
    }

    /// Waits until the round has ended in every cluster and was merged.
    fn round(&mut self, round: u64) -> Result<Row> {
        let mut clusters = Vec::new();
        let (mut bytes_sent, mut updates) = (0, 0);
        for cluster in (0..self.clusters).map(ClusterId) {
            let view = self.ended_round(cluster, round)?;
            let validators = self.network.nodes().len();
            let sent =
                view.entries.iter().map(|entry| bytes_of(entry, &view.round.key, validators));
            bytes_sent += sent.sum::<u64>();
            updates += view.entries.len() as u64;
            clusters.push(self.cluster_row(cluster, &view)?);
        }
        let global = self.merged(round)?;
        let state_roots_equal = same_root(self.network, ROOT_PATIENCE)?;
        let statuses = self.network.statuses();
        let (commit_ms_p50, commit_ms_p99) = commit_latency(&statuses);
        Ok(Row {
            round: round + 1,
            clusters,
            global,
            bytes_sent,
            bytes_dense: updates * self.learning.dense_bytes(),
            commit_ms_p50,
            commit_ms_p99,
            validators: statuses.len(),
            state_roots_equal,
        })
    }

    fn ended_round(&mut self, cluster: ClusterId, round: u64) -> Result<RoundView> {
        self.until(|watch| {
            let view = watch.client.round(&watch.task(), cluster, round)?;
            let updates = view.as_ref().map_or(0, |view| view.round.entries);
            watch.progress.set_message(format!(
                "round {} of {}, cluster {cluster}: {updates} updates",
                round + 1,
                watch.rounds
            ));
            Ok(view.filter(|view| {
                matches!(view.round.state, RoundState::Aggregated { .. } | RoundState::Void { .. })
            }))
        })
    }

    fn cluster_row(&self, cluster: ClusterId, view: &RoundView) -> Result<ClusterRow> {
        let entries = view.entries.iter();
        let mut took_part: Vec<_> =
            entries.map(|entry| self.trainers.name(&entry.trainer)).collect();
        took_part.sort_by_key(|name| (name.len(), name.clone()));
        let (score, folded) = match &view.round.state {
            RoundState::Aggregated { model, outcomes, .. } => {
                let folded = |outcome: &&Outcome| matches!(outcome, Outcome::Folded { .. });
                (Some(self.score(model)?), outcomes.iter().filter(folded).count() as u32)
            }
            _ => (None, 0),
        };
        Ok(ClusterRow { cluster: cluster.0, took_part, folded, score })
    }

    /// The global model after the merge that follows the round, or the newest one when
    /// the task has ended or merges on another schedule.
    fn merged(&mut self, round: u64) -> Result<Option<Score>> {
        let newest = self.until(|watch| {
            let view = watch.client.task(&watch.task())?;
            let passed = |round_now: u64| round_now > round;
            let merged = view.merges > round
                || view.status != TaskStatus::Open
                || view
                    .clusters
                    .iter()
                    .all(|cluster| passed(cluster.round.0) && cluster.collecting);
            Ok(merged.then_some(view.global))
        })?;
        // Later merges may have happened while this one was looked at.
        let wanted =
            self.client.models(Some(&self.task()), Some(Level::Global), (round + 2).into(), 1)?;
        let model = wanted.first().map_or(newest, |view| view.id);
        self.score(&model).map(Some)
    }

    fn score(&self, model: &ModelId) -> Result<Score> {
        self.learning.score(self.client, model)
    }

    /// Polls until there is something, looking after the processes meanwhile.
    fn until<T>(&mut self, look: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            self.network.check()?;
            self.trainers.check(self.network)?;
            ensure!(
                Instant::now() < deadline,
                "nothing new for {} s; the logs are in {}",
                PATIENCE.as_secs(),
                self.network.folder().path().display()
            );
            std::thread::sleep(POLL);
        }
    }
}

/// Over the transactions that each validator admitted: the median of their medians
/// and the worst of their 99th percentiles.
pub fn commit_latency(statuses: &[(usize, StatusView)]) -> (Option<f64>, Option<f64>) {
    let mut medians: Vec<f64> =
        statuses.iter().filter_map(|(_, status)| status.commit_ms_p50).collect();
    medians.sort_by(f64::total_cmp);
    let worst = statuses.iter().filter_map(|(_, status)| status.commit_ms_p99);
    (medians.get(medians.len() / 2).copied(), worst.reduce(f64::max))
}
