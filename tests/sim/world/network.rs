//! The network, and an ear at it.

use super::{Action, World};
use crate::{liar, plan::Planted};
use twinfold_consensus::Event;
use twinfold_types::{PublicKey, SeatIndex, message::ConsensusMessage, vote::Vote};

impl World {
    pub(super) fn broadcast(&mut self, node: usize, message: ConsensusMessage) {
        let message = self.forget_claim(node, message);
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
        let message = self.forget_claim(from, message);
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
        let drop = !self.healed && self.dice.chance(self.plan.drop_percent);
        let copies = if self.dice.chance(self.plan.duplicate_percent) { 2 } else { 1 };
        for _ in 0..if drop { 0 } else { copies } {
            let (delay, message) = (self.delay(), Box::new(message.clone()));
            self.at(delay, Action::Deliver { from, to, message });
        }
    }

    pub(super) fn forget_claim(&self, node: usize, message: ConsensusMessage) -> ConsensusMessage {
        match message {
            ConsensusMessage::ViewChange(change)
                if self.plan.planted == Some(Planted::ClaimsForgotten) =>
            {
                let change = liar::without_claim(&self.nodes[node], &change);
                ConsensusMessage::ViewChange(Box::new(change))
            }
            other => other,
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

    /// What an honest node says.
    pub(super) fn observe(&mut self, node: usize, message: &ConsensusMessage) {
        if self.trace && !matches!(message, ConsensusMessage::Status(_)) {
            let text = format!("{message:?}");
            self.note(|| format!("{node} says {}", text.chars().take(170).collect::<String>()));
        }
        let honest = self.nodes[node].is_honest();
        let own = |seat: SeatIndex| honest && seat.index() == node;
        let spoke: Option<Vote> = match message {
            ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote) => {
                own(vote.seat).then(|| vote.clone())
            }
            _ => None,
        };
        if let Some(vote) = spoke {
            let result = self.single_vote.spoke(&vote);
            self.check(result);
        }
        if let ConsensusMessage::ViewChange(change) = message
            && own(change.header.seat)
        {
            let result = self.single_vote.changed(change);
            self.check(result);
        }
    }
}
