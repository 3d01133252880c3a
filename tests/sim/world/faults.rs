//! What goes wrong, and when it stops.

use super::{Action, World};
use crate::{lie::Lie, node::Node, setup};
use twinfold_consensus_planted::Event;

const HEALED_DELAY_MS_MAX: u64 = 50;
/// A member that forgets has more crashes than others.
const AMNESIA_CRASHES: usize = 4;

/// How the process ends in its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    Crash,
    SyncFails,
}

impl World {
    pub(super) fn schedule_work(&mut self) {
        let after = 5;
        for tx in 0..self.txs.len() {
            let late = tx + after >= self.txs.len();
            let faults_ms = self.plan.faults_ms;
            let time = if late {
                faults_ms + self.dice.between(1, 3_000)
            } else {
                self.dice.between(0, faults_ms)
            };
            for node in 0..self.nodes.len() {
                let gossip = self.dice.between(0, 200);
                self.at(time + gossip, Action::Submit { node, tx });
                self.submitting += 1;
            }
        }
    }

    pub(super) fn submit(&mut self, node: usize, tx: usize) {
        self.submitting -= 1;
        let tx = self.txs[tx].clone();
        let id = tx.id();
        if !self.nodes[node].disk.has_executed(&id) {
            self.nodes[node].pool.add(id, tx);
            self.start_turn(node);
        }
    }

    pub(super) fn schedule_faults(&mut self) {
        let end = self.plan.faults_ms;
        if let Some(time) = self.plan.loses_ms {
            self.at(time, Action::Lose);
        }
        for _ in 0..self.plan.ledgers_lost {
            let node = self.dice.index(self.nodes.len());
            let pause = self.dice.between(200, 8_000);
            let time = self.dice.between(0, end);
            self.at(time, Action::LoseLedger { node });
            self.at(time + pause, Action::Restart { node });
        }
        for _ in 0..self.plan.crashes {
            let node = self.dice.index(self.nodes.len());
            self.schedule_crash(node);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].lie() == Some(Lie::Amnesia) {
                (0..AMNESIA_CRASHES).for_each(|_| self.schedule_crash(node));
            }
        }
        for _ in 0..self.plan.sync_failures {
            let (node, time) = (self.dice.index(self.nodes.len()), self.dice.between(0, end));
            self.at(time, Action::FailSync { node });
        }
        for _ in 0..self.plan.kills_of_all {
            let time = self.dice.between(0, end);
            for node in 0..self.nodes.len() {
                let pause = self.dice.between(100, 3_000);
                self.at(time, Action::Crash { node });
                self.at(time + pause, Action::Restart { node });
            }
        }
        for _ in 0..self.plan.partitions {
            let (time, length) = (self.dice.between(0, end), self.dice.between(1_000, 10_000));
            let groups = self.dice.pick(&[1, 1, 2]);
            self.at(time, Action::Partition { groups });
            self.at(time + length, Action::Partition { groups: 0 });
        }
    }

    fn schedule_crash(&mut self, node: usize) {
        let (time, pause) =
            (self.dice.between(0, self.plan.faults_ms), self.dice.between(200, 8_000));
        self.at(time, Action::Crash { node });
        self.at(time + pause, Action::Restart { node });
    }

    /// Half of the crashes hit in the middle of a turn.
    pub(super) fn crash_soon(&mut self, node: usize) {
        if self.nodes[node].turn.is_none() && self.dice.chance(50) {
            self.doomed.insert(node, Doom::Crash);
        } else {
            self.crash(node);
        }
    }

    /// What the turn has written so far may reach the disk or not.
    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].absent {
            return;
        }
        self.note(|| format!("crash {node}"));
        if let Some((records, effects)) = self.nodes[node].turn.take()
            && !records.is_empty()
            && !self.plan.has(crate::lie::WorldFault::RecordsLost)
        {
            match self.nodes[node].disk.tear(&records, &mut self.dice) {
                Ok(true) => self.watch_sync(node, &records, &effects),
                Ok(false) => {}
                Err(failure) => self.fail(format!("torn: node {node}: {failure}")),
            }
        }
        if self.nodes[node].lie() == Some(Lie::Amnesia) {
            let chain_too = self.dice.chance(50);
            self.nodes[node].disk.forget(chain_too);
        }
        self.nodes[node].crash();
        self.checks.punished.crashed(node);
    }

    /// The disk damages the tables; the operator puts the ledger aside and keeps the log. Somebody
    /// honest has all of the chain still, and no more are silent for it than the committee bears.
    pub(super) fn lose_ledger(&mut self, node: usize) {
        let head = self.nodes[node].disk.head().height;
        let has_all = |other: &Node| other.disk.base().0 == 0 && other.disk.head().height >= head;
        let known = self.standing().any(|other| other.index != node && has_all(other));
        let bears = (self.plan.seats - 1) / 3;
        let silent = self.plan.liars.len() as u64 + self.ledgers_lost;
        // After more than it bears were lost for good it bears less.
        let narrow = self.recovery.is_some() || self.nodes.iter().any(|node| node.lost);
        if self.nodes[node].absent || narrow || !known || silent >= bears as u64 {
            return;
        }
        self.ledgers_lost += 1;
        self.crash(node);
        self.note(|| format!("{node} has lost its ledger"));
        self.nodes[node].disk.lose_ledger();
        self.checks.exactly_once.began_anew(node);
        self.checks.punished.began_anew(node);
    }

    /// The process ends itself, and is started again later.
    pub(super) fn sync_fails(&mut self, node: usize) {
        self.crash(node);
        let pause = self.dice.between(200, 8_000);
        self.at(pause, Action::Restart { node });
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].is_up() || self.nodes[node].lost {
            return;
        }
        self.doomed.remove(&node);
        self.join_if_absent(node);
        self.nodes[node].skew_ms = setup::draw_skew(&self.plan, &mut self.dice);
        if let Err(failure) = self.nodes[node].start() {
            if self.nodes[node].is_honest() {
                self.fail(format!("single vote: {failure}"));
            }
            return;
        }
        let head = self.nodes[node].disk.head();
        self.note(|| format!("start {node} at height {}", head.height));
        self.checks.exactly_once.started(node, head.height);
        for peer in 0..self.nodes.len() {
            let delay = self.delay();
            self.at(delay, Action::Connect { a: node, b: peer });
        }
        self.start_turn(node);
    }

    pub(super) fn partition(&mut self, groups: u64) {
        self.note(|| format!("partition into {}", groups + 1));
        self.sides = match groups {
            0 => Vec::new(),
            _ => self.nodes.iter().map(|_| self.dice.between(0, groups)).collect(),
        };
        self.connect_all();
    }

    pub(super) fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let delay = self.delay();
                self.at(delay, Action::Connect { a, b });
            }
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if a == b || !self.is_open(a, b) {
            return;
        }
        for (node, peer) in [(a, b), (b, a)] {
            let peer = self.nodes[peer].key();
            self.nodes[node].inbox.push(Event::Connected { peer });
            self.start_turn(node);
        }
    }

    pub(super) fn is_open(&self, a: usize, b: usize) -> bool {
        let side = |node: usize| self.sides.get(node);
        self.nodes[a].is_up() && self.nodes[b].is_up() && side(a) == side(b)
    }

    pub(super) fn heal(&mut self) {
        self.note(|| "heal".into());
        self.healed = true;
        self.healed_height = self.highest_height();
        self.sides.clear();
        self.doomed.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].sync_ms_max = self.plan.sync_ms_max;
            self.restart(node);
        }
        self.connect_all();
    }

    pub(super) fn delay(&mut self) -> u64 {
        let most = if self.healed { HEALED_DELAY_MS_MAX } else { self.plan.delay_ms_max };
        self.dice.between(1, most)
    }
}
