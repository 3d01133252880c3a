//! What goes wrong, and when it stops.

use super::{Action, World};
use twinfold_consensus_planted::Event;

const HEALED_DELAY_MS_MAX: u64 = 50;

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
            }
        }
    }

    pub(super) fn schedule_faults(&mut self) {
        let end = self.plan.faults_ms;
        for _ in 0..self.plan.crashes {
            let node = self.dice.index(self.nodes.len());
            let (time, pause) = (self.dice.between(0, end), self.dice.between(200, 8_000));
            self.at(time, Action::Crash { node });
            self.at(time + pause, Action::Restart { node });
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
            let groups = self.dice.number();
            self.at(time, Action::Partition { groups });
            self.at(time + length, Action::Partition { groups: 0 });
        }
    }

    /// Half of the crashes hit in the middle of a turn.
    pub(super) fn crash_soon(&mut self, node: usize) {
        if self.nodes[node].turn.is_none() && self.dice.chance(50) {
            self.doomed.insert(node);
        } else {
            self.crash(node);
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.note(|| format!("crash {node}"));
        self.nodes[node].crash();
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].is_up() {
            return;
        }
        self.doomed.remove(&node);
        if let Err(failure) = self.nodes[node].start() {
            return self.fail(format!("single vote: {failure}"));
        }
        let head = self.nodes[node].disk.head();
        self.note(|| format!("start {node} at height {}", head.height));
        self.exactly_once.started(node, head.height);
        for peer in 0..self.nodes.len() {
            let delay = self.delay();
            self.at(delay, Action::Connect { a: node, b: peer });
        }
        self.start_turn(node);
    }

    pub(super) fn partition(&mut self, groups: u64) {
        self.note(|| format!("partition {groups:b}"));
        self.groups = groups;
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
            let peer = self.nodes[peer].signer.public_key();
            self.nodes[node].inbox.push(Event::Connected { peer });
            self.start_turn(node);
        }
    }

    pub(super) fn is_open(&self, a: usize, b: usize) -> bool {
        let side = |node: usize| self.groups >> node & 1;
        self.nodes[a].is_up() && self.nodes[b].is_up() && side(a) == side(b)
    }

    pub(super) fn heal(&mut self) {
        self.note(|| "heal".into());
        self.healed = true;
        self.groups = 0;
        self.doomed.clear();
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
        self.connect_all();
    }

    pub(super) fn delay(&mut self) -> u64 {
        let most = if self.healed { HEALED_DELAY_MS_MAX } else { self.plan.delay_ms_max };
        self.dice.between(1, most)
    }
}
