//! The simulated world: virtual time, a network that fails, and the nodes in it.

mod faults;
mod network;
mod turns;
mod watch;

use crate::{
    dice::Dice,
    invariants::{
        agreement::Agreement, base_first::BaseFirst, counted::Counted, durability::Durability,
        exactly_once::ExactlyOnce, heals, one_base::OneBase, single_vote::SingleVote,
        synced::Synced, unbroken::Unbroken,
    },
    node::Node,
    plan::Plan,
    setup,
};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Height, PublicKey, SignedTx, View, message::ConsensusMessage, vote::VoteBody,
};

/// Milliseconds since the Unix epoch when a run starts.
pub const START_MS: u64 = 1_750_000_000_000;
/// After everything is executed: time to settle, then time in which nothing is said.
const SETTLE_MS: u64 = 40_000;
const SILENCE_MS: u64 = 5_000;

enum Action {
    Deliver { from: usize, to: usize, message: Box<ConsensusMessage> },
    Connect { a: usize, b: usize },
    Wake { node: usize, life: u64 },
    Synced { node: usize, life: u64 },
    Execute { node: usize, life: u64 },
    Submit { node: usize, tx: usize },
    Crash { node: usize },
    Restart { node: usize },
    Partition { groups: u64 },
}

pub struct World {
    pub plan: Plan,
    dice: Dice,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Action>,
    queued: u64,
    nodes: Vec<Node>,
    index_of: BTreeMap<PublicKey, usize>,
    txs: Vec<SignedTx>,
    /// Bit i: the side of node i; messages do not cross.
    groups: u64,
    healed: bool,
    /// Nodes that crash in the middle of their next turn.
    doomed: BTreeSet<usize>,
    /// What equivocators have voted for already.
    echoed: BTreeSet<(usize, VoteBody)>,
    sent: u64,
    trace: bool,
    agreement: Agreement,
    single_vote: SingleVote,
    durability: Durability,
    exactly_once: ExactlyOnce,
    synced: Synced,
    counted: Counted,
    one_base: OneBase,
    base_first: BaseFirst,
    unbroken: Unbroken,
    /// The promises that count; all if there are none.
    promises: &'static [&'static str],
    failure: Option<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub height: u64,
    pub view: u64,
    pub sent: u64,
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let nodes = setup::nodes(&plan);
        let index_of = nodes.iter().map(|node| (node.signer.public_key(), node.index)).collect();
        let txs = setup::transactions(&plan, &nodes[0].config.chain);
        let mut world = Self {
            dice: Dice::new(plan.seed ^ 0x7477_696e),
            plan,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            nodes,
            index_of,
            txs,
            groups: 0,
            healed: false,
            doomed: BTreeSet::new(),
            echoed: BTreeSet::new(),
            sent: 0,
            trace,
            agreement: Agreement::default(),
            single_vote: SingleVote::default(),
            durability: Durability::default(),
            exactly_once: ExactlyOnce::default(),
            synced: Synced::default(),
            counted: Counted::default(),
            one_base: OneBase::default(),
            base_first: BaseFirst::default(),
            unbroken: Unbroken::default(),
            promises: &[],
            failure: None,
        };
        world.schedule_work();
        world.schedule_faults();
        for node in 0..world.nodes.len() {
            world.at(0, Action::Restart { node });
        }
        world
    }

    /// Looks at these promises only: what else breaks does not end the run.
    pub fn watching(mut self, promises: &'static [&'static str]) -> Self {
        self.promises = promises;
        self
    }

    /// The whole run: faults, then none, then everything must be executed everywhere.
    pub fn run(mut self) -> Result<Summary, String> {
        self.run_until(START_MS + self.plan.faults_ms, |_| false)?;
        self.heal();
        let view = self.highest_view();
        let rotations_before = self.highest_height() / self.plan.view_heights;
        let deadline = self.now_ms + heals::HEAL_MS_MAX;
        let done = self.run_until(deadline, World::is_done)?;
        if !done {
            return Err(format!("heals: {}", self.describe()));
        }
        let rotations = self.highest_height() / self.plan.view_heights - rotations_before + 1;
        heals::views_passed(self.plan.seats, view, self.highest_view(), rotations)?;
        let summary =
            Summary { height: self.highest_height(), view: self.highest_view().0, sent: self.sent };
        for node in self.nodes.iter().filter(|node| node.is_honest()) {
            self.durability.survives_in(node.index, node.disk.digests())?;
        }
        self.falls_silent()?;
        Ok(summary)
    }

    /// An idle network says nothing. A validator that left its view alone keeps asking.
    fn falls_silent(&mut self) -> Result<(), String> {
        self.run_until(self.now_ms + SETTLE_MS, |_| false)?;
        let sent = self.sent;
        self.run_until(self.now_ms + SILENCE_MS, |_| false)?;
        let changing = self.nodes.iter().filter_map(|node| node.machine.as_ref());
        let changing = changing.filter(|machine| machine.view() > machine.installed_view());
        if sent != self.sent && self.plan.liars.is_empty() && changing.count() == 0 {
            return Err(format!("idle: {} messages. {}", self.sent - sent, self.describe()));
        }
        Ok(())
    }

    fn run_until(&mut self, end_ms: u64, done: fn(&World) -> bool) -> Result<bool, String> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_ms {
                break;
            }
            let ((time, _), action) = entry.remove_entry();
            self.now_ms = time;
            let check = matches!(action, Action::Execute { .. });
            self.perform(action);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if check && done(self) {
                return Ok(true);
            }
        }
        self.now_ms = end_ms;
        Ok(done(self))
    }

    /// Everything is executed, and everyone is at the same height: a last block without
    /// transactions may be on its way after that.
    fn is_done(&self) -> bool {
        let top = self.highest_height();
        let mut honest = self.nodes.iter().filter(|node| node.is_honest());
        honest.all(|node| {
            node.disk.executed_txs() == self.txs.len() && node.disk.head().height.0 == top
        })
    }

    fn at(&mut self, delay_ms: u64, action: Action) {
        self.queued += 1;
        self.queue.insert((self.now_ms + delay_ms, self.queued), action);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver { from, to, message } => self.deliver(from, to, *message),
            Action::Connect { a, b } => self.connect(a, b),
            Action::Wake { node, life }
            | Action::Execute { node, life }
            | Action::Synced { node, life }
                if life != self.nodes[node].life => {}
            Action::Wake { node, .. } => self.start_turn(node),
            Action::Synced { node, .. } => self.finish_turn(node),
            Action::Execute { node, .. } => self.execute(node),
            Action::Submit { node, tx } => {
                let tx = self.txs[tx].clone();
                self.nodes[node].pool.push((tx.id(), tx));
                self.start_turn(node);
            }
            Action::Crash { .. } | Action::Partition { .. } if self.healed => {}
            Action::Crash { node } => self.crash_soon(node),
            Action::Restart { node } => self.restart(node),
            Action::Partition { groups } => self.partition(groups),
        }
    }
}

/// Whether a failure breaks one of the promises that count.
pub fn is_watched(promises: &[&str], failure: &str) -> bool {
    promises.is_empty() || promises.iter().any(|promise| failure.starts_with(promise))
}

/// Watching.
impl World {
    fn check(&mut self, result: Result<(), String>) {
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    fn fail(&mut self, failure: String) {
        if is_watched(self.promises, &failure) {
            self.failure.get_or_insert(failure);
        }
    }

    fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {}", self.now_ms - START_MS, text());
        }
    }

    fn highest_view(&self) -> View {
        let machines = self.nodes.iter().filter_map(|node| node.machine.as_ref());
        machines.map(|machine| machine.view()).max().unwrap_or_default()
    }

    fn highest_height(&self) -> u64 {
        let honest = self.nodes.iter().filter(|node| node.is_honest());
        honest.map(|node| node.disk.head().height).max().unwrap_or(Height(0)).0
    }

    fn describe(&self) -> String {
        let states = self.nodes.iter().map(|node| {
            let machine = node.machine.as_ref().map(|machine| {
                format!(
                    "view {}/{} committed {} stable {:?}",
                    machine.installed_view(),
                    machine.view(),
                    machine.committed().height,
                    machine.stable().map(|stable| stable.checkpoint.height),
                )
            });
            format!(
                "node {} {:?} {machine:?} waiting {}",
                node.index,
                node.lie,
                node.waiting().len()
            )
        });
        states.collect::<Vec<_>>().join("; ")
    }
}
