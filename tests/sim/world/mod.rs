//! The simulated world: virtual time, a network that fails, and the nodes in it.

mod accuse;
mod checks;
mod faults;
mod joining;
mod network;
mod recovery;
mod state;
mod turns;
mod watch;

use crate::{
    consortium::Consortium, dice::Dice, invariants::heals, node::Node, plan::Plan, setup,
    world::checks::Checks,
};
use faults::Doom;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use twinfold_types::{
    Height, PublicKey, SignedTx, View, message::ConsensusMessage, recovery::RecoveryStatement,
};

/// Milliseconds since the Unix epoch when a run starts.
pub const START_MS: u64 = 1_750_000_000_000;
/// After everything is executed: time to settle, then time in which nothing is said.
const SETTLE_MS: u64 = 40_000;
const SILENCE_MS: u64 = 5_000;

enum Action {
    Deliver { from: usize, to: usize, message: Arc<ConsensusMessage> },
    Connect { a: usize, b: usize },
    Wake { node: usize, life: u64 },
    Synced { node: usize, life: u64 },
    Execute { node: usize, life: u64 },
    Submit { node: usize, tx: usize },
    Tend { node: usize, life: u64 },
    Crash { node: usize },
    FailSync { node: usize },
    Restart { node: usize },
    Partition { groups: u64 },
    LoseLedger { node: usize },
    Lose,
    Recover,
    Accept { node: usize },
}

pub struct World {
    pub plan: Plan,
    dice: Dice,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Action>,
    queued: u64,
    nodes: Vec<Node>,
    /// Twins share a key.
    index_of: BTreeMap<PublicKey, Vec<usize>>,
    txs: Vec<SignedTx>,
    /// The side of each node: messages do not cross. Empty without a partition.
    sides: Vec<u64>,
    healed: bool,
    /// The highest when the faults stopped.
    healed_height: u64,
    /// Nodes that end in the middle of their next turn, or when its sync fails.
    doomed: BTreeMap<usize, Doom>,
    sent: u64,
    /// Transactions that are still on their way to some node.
    submitting: usize,
    trace: bool,
    checks: Checks,
    /// Stable heights for which the whole state was looked at.
    looked_at: BTreeSet<Height>,
    /// The promises that count; all if there are none.
    promises: &'static [&'static str],
    failure: Option<String>,
    /// Nodes that began at a checkpoint.
    joined: u64,
    ledgers_lost: u64,
    /// What the admins said after more seats were lost than the committee bears.
    recovery: Option<RecoveryStatement>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub height: u64,
    pub view: u64,
    pub sent: u64,
    pub epochs: u64,
    /// Elections that changed the committee.
    pub changes: u64,
    /// Seats slashed for what they did in an epoch, and how many of them after it was over.
    pub slashed: u64,
    pub slashed_late: u64,
    /// Nodes that joined from a checkpoint.
    pub joined: u64,
    /// Recoveries that the admins stated.
    pub recovered: u64,
    /// Ledgers that were lost beside a log that was not.
    pub ledgers_lost: u64,
}

impl Summary {
    pub fn add(&mut self, other: Summary) {
        self.height += other.height;
        self.view += other.view;
        self.sent += other.sent;
        self.epochs += other.epochs;
        self.changes += other.changes;
        self.slashed += other.slashed;
        self.slashed_late += other.slashed_late;
        self.joined += other.joined;
        self.recovered += other.recovered;
        self.ledgers_lost += other.ledgers_lost;
    }
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let (consortium, txs) = Consortium::new(&plan);
        let nodes = setup::nodes(&plan, &consortium);
        let mut index_of = BTreeMap::<PublicKey, Vec<usize>>::new();
        for node in &nodes {
            index_of.entry(node.key()).or_default().push(node.index);
        }
        let mut world = Self {
            dice: Dice::new(plan.seed ^ 0x7477_696e),
            plan,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            nodes,
            index_of,
            txs,
            sides: Vec::new(),
            healed: false,
            healed_height: 0,
            doomed: BTreeMap::new(),
            sent: 0,
            submitting: 0,
            trace,
            checks: Checks::default(),
            looked_at: BTreeSet::new(),
            promises: &[],
            failure: None,
            joined: 0,
            ledgers_lost: 0,
            recovery: None,
        };
        world.watch_genesis();
        world.schedule_work();
        world.schedule_faults();
        for node in 0..world.nodes.len() {
            let later = world.plan.joins_ms.filter(|_| world.nodes[node].absent);
            world.at(later.unwrap_or(0), Action::Restart { node });
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
        let (epoch, view) = (self.highest_epoch(), self.highest_view());
        let rotations_before = self.highest_height() / self.plan.view_heights;
        let healed = self.now_ms + heals::HEAL_MS_MAX;
        let advances = self.run_until(healed, |world| world.advances() || world.is_done())?;
        let blocks = self.plan.txs.div_ceil(self.plan.block_txs) as u64;
        let deadline = healed + blocks * heals::BLOCK_MS_MAX;
        if !advances || !self.run_until(deadline, World::is_done)? {
            return Err(format!("heals: {}", self.describe()));
        }
        let rotations = self.highest_height() / self.plan.view_heights - rotations_before + 1;
        // Each epoch begins with view 0.
        let from = if self.highest_epoch() == epoch { view } else { View(0) };
        heals::views_passed(self.plan.seats, from, self.highest_view(), rotations)?;
        let (height, view, sent) = (self.highest_height(), self.highest_view().0, self.sent);
        let summary = Summary { height, view, sent, ..Summary::default() };
        self.look_at_the_end()?;
        self.punishes()?;
        self.falls_silent()?;
        let (slashed, slashed_late) = self.checks.punished.counts();
        let (epochs, changes) = self.checks.one_committee.counts();
        let (joined, recovered) = (self.joined, u64::from(self.recovery.is_some()));
        let ledgers_lost = self.ledgers_lost;
        Ok(Summary {
            epochs,
            changes,
            slashed,
            slashed_late,
            joined,
            recovered,
            ledgers_lost,
            ..summary
        })
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

    fn at(&mut self, delay_ms: u64, action: Action) {
        self.queued += 1;
        self.queue.insert((self.now_ms + delay_ms, self.queued), action);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Deliver { from, to, message } => self.deliver(from, to, message),
            Action::Connect { a, b } => self.connect(a, b),
            Action::Wake { node, life }
            | Action::Execute { node, life }
            | Action::Tend { node, life }
            | Action::Synced { node, life }
                if life != self.nodes[node].life => {}
            Action::Wake { node, .. } => self.start_turn(node),
            Action::Synced { node, .. } => self.finish_turn(node),
            Action::Execute { node, .. } => self.execute(node),
            Action::Submit { node, tx } => self.submit(node, tx),
            Action::Tend { node, .. } => self.tend_docket(node),
            Action::Crash { .. }
            | Action::FailSync { .. }
            | Action::LoseLedger { .. }
            | Action::Partition { .. }
                if self.healed => {}
            Action::Crash { node } => self.crash_soon(node),
            Action::FailSync { node } => {
                self.doomed.insert(node, Doom::SyncFails);
            }
            Action::Restart { node } => self.restart(node),
            Action::LoseLedger { node } => self.lose_ledger(node),
            Action::Lose => self.lose(),
            Action::Recover => self.recover(),
            Action::Accept { node } => self.accept(node),
            Action::Partition { groups } => self.partition(groups),
        }
    }
}

/// Whether a failure breaks one of the promises that count.
pub fn is_watched(promises: &[&str], failure: &str) -> bool {
    promises.is_empty() || promises.iter().any(|promise| failure.starts_with(promise))
}
