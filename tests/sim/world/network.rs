//! The network, and an ear at it.

use super::{Action, World};
use crate::liar;
use std::sync::Arc;
use twinfold_consensus_planted::Event;
use twinfold_types::{PublicKey, message::ConsensusMessage};

impl World {
    pub(super) fn broadcast(&mut self, node: usize, message: ConsensusMessage) {
        self.observe(node, &message);
        let from = self.nodes[node].key();
        let peers = self.nodes.len();
        if self.nodes[node].is_honest() {
            let shared = Arc::new(message.clone());
            (0..peers).for_each(|to| self.send(node, to, shared.clone()));
        } else {
            let messages = liar::distort(&self.nodes[node], &message, peers, &mut self.dice);
            for (to, message) in messages {
                self.send(node, to, Arc::new(message));
            }
        }
        self.nodes[node].inbox.push(Event::Message { from, message });
    }

    /// Twins share a key: one of them gets it.
    pub(super) fn send_to_key(&mut self, from: usize, to: PublicKey, message: ConsensusMessage) {
        self.observe(from, &message);
        let Some(peers) = self.index_of.get(&to) else { return };
        let to = if peers.len() == 1 { peers[0] } else { peers[self.dice.index(peers.len())] };
        let message = match self.nodes[from].is_honest() {
            true => Some(message),
            false => liar::answer(&self.nodes[from], &message, &mut self.dice),
        };
        if let Some(message) = message {
            self.send(from, to, Arc::new(message));
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: Arc<ConsensusMessage>) {
        if from == to {
            return;
        }
        self.sent += 1;
        let lost = self.plan.checkpoints_lost && is_checkpoint(&message);
        let drop = !self.healed && (lost || self.dice.chance(self.plan.drop_percent));
        let copies = if self.dice.chance(self.plan.duplicate_percent) { 2 } else { 1 };
        for _ in 0..if drop { 0 } else { copies } {
            let (delay, message) = (self.delay(), message.clone());
            self.at(delay, Action::Deliver { from, to, message });
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, message: Arc<ConsensusMessage>) {
        if !self.is_open(from, to) {
            return;
        }
        if !self.nodes[to].is_honest() {
            let said = liar::react(&mut self.nodes[to], &message, &mut self.dice);
            for message in said.into_iter().map(Arc::new) {
                (0..self.nodes.len()).for_each(|peer| self.send(to, peer, message.clone()));
            }
        }
        let (from, message) = (self.nodes[from].key(), Arc::unwrap_or_clone(message));
        self.nodes[to].inbox.push(Event::Message { from, message });
        self.start_turn(to);
    }
}

fn is_checkpoint(message: &ConsensusMessage) -> bool {
    matches!(message, ConsensusMessage::Checkpoint(_) | ConsensusMessage::Stable(_))
}
