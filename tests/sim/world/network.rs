//! The network, and an ear at it.

use super::{Action, World};
use crate::liar;
use twinfold_consensus_planted::Event;
use twinfold_types::{PublicKey, message::ConsensusMessage};

impl World {
    pub(super) fn broadcast(&mut self, node: usize, message: ConsensusMessage) {
        self.observe(node, &message);
        let from = self.nodes[node].signer.public_key();
        self.nodes[node].inbox.push(Event::Message { from, message: message.clone() });
        let peers = self.nodes.len();
        let messages = liar::distort(&self.nodes[node], &message, peers, &mut self.dice);
        for (to, message) in messages {
            self.send(node, to, message);
        }
    }

    pub(super) fn send_to_key(&mut self, from: usize, to: PublicKey, message: ConsensusMessage) {
        self.observe(from, &message);
        if let Some(to) = self.index_of.get(&to).copied() {
            self.send(from, to, message);
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        if from == to {
            return;
        }
        self.sent += 1;
        let lost = self.plan.checkpoints_lost && is_checkpoint(&message);
        let drop = !self.healed && (self.dice.chance(self.plan.drop_percent) || lost);
        let copies = if self.dice.chance(self.plan.duplicate_percent) { 2 } else { 1 };
        for _ in 0..if drop { 0 } else { copies } {
            let (delay, message) = (self.delay(), Box::new(message.clone()));
            self.at(delay, Action::Deliver { from, to, message });
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        if !self.is_open(from, to) {
            return;
        }
        for echo in liar::echo(&self.nodes[to], &message) {
            if let ConsensusMessage::Vote(vote) = &echo
                && self.echoed.insert((to, vote.body))
            {
                for peer in 0..self.nodes.len() {
                    self.send(to, peer, echo.clone());
                }
            }
        }
        let from = self.nodes[from].signer.public_key();
        self.nodes[to].inbox.push(Event::Message { from, message });
        self.start_turn(to);
    }
}

fn is_checkpoint(message: &ConsensusMessage) -> bool {
    matches!(message, ConsensusMessage::Checkpoint(_) | ConsensusMessage::Stable(_))
}
