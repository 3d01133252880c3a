//! What a lying member makes of an honest machine's messages.

mod changes;
mod corrupt;
mod forge;
mod garbage;
mod leader;

use crate::{dice::Dice, lie::Lie, node::Node, plan::Plan};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use twinfold_types::{
    Epoch,
    message::ConsensusMessage,
    vote::{Certificate, ViewChange, Vote, VoteBody, VoteKind},
};

/// Messages, view changes and certificates remembered.
const SEEN_MAX: usize = 200;
const CERTIFICATES_MAX: usize = 16;
/// How often a liar says something of its own on hearing a message, in percent.
const REACTION_PERCENT: u64 = 3;

pub struct Liar {
    pub lie: Lie,
    real_signatures: bool,
    seen: VecDeque<ConsensusMessage>,
    seen_changes: VecDeque<ViewChange>,
    certificates: VecDeque<Certificate>,
    /// The highest of each epoch.
    highest: BTreeMap<Epoch, Certificate>,
    /// What an equivocator has voted for already.
    echoed: BTreeSet<VoteBody>,
}

impl Liar {
    pub fn new(lie: Lie, plan: &Plan) -> Self {
        Self {
            lie,
            real_signatures: plan.real_signatures,
            seen: VecDeque::new(),
            seen_changes: VecDeque::new(),
            certificates: VecDeque::new(),
            highest: BTreeMap::new(),
            echoed: BTreeSet::new(),
        }
    }

    pub fn remember(&mut self, message: &ConsensusMessage) {
        let certificate = match message {
            ConsensusMessage::ViewChange(change) => {
                push(&mut self.seen_changes, (**change).clone(), SEEN_MAX);
                change.certificate.clone()
            }
            ConsensusMessage::NewView(new_view) => new_view.body.certificate.clone(),
            ConsensusMessage::Committed(committed) => Some(committed.certificate.clone()),
            _ => None,
        };
        if let Some(certificate) = certificate {
            let highest = self.highest.entry(certificate.body.epoch);
            let highest = highest.or_insert_with(|| certificate.clone());
            if highest.body.rank() < certificate.body.rank() {
                *highest = certificate.clone();
            }
            push(&mut self.certificates, certificate, CERTIFICATES_MAX);
        }
        if matches!(self.lie, Lie::Garbage | Lie::Forge) {
            push(&mut self.seen, message.clone(), SEEN_MAX);
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// A broadcast: the messages for each of `peers` instead of one for all.
pub fn distort(
    node: &Node,
    message: &ConsensusMessage,
    peers: usize,
    dice: &mut Dice,
) -> Vec<(usize, ConsensusMessage)> {
    let Some(liar) = node.seated_liar() else { return to_all(message, peers) };
    match (liar.lie, message) {
        (Lie::Equivocate, ConsensusMessage::PrePrepare { vote, block }) => {
            leader::two_blocks(node, vote, block, peers, dice)
        }
        (Lie::Bases, ConsensusMessage::NewView(new_view)) => {
            leader::other_bases(node, liar, new_view, peers, dice)
        }
        (Lie::Bases, ConsensusMessage::ViewChange(change)) => {
            let change = leader::without_claim(node, change);
            to_all(&ConsensusMessage::ViewChange(Box::new(change)), peers)
        }
        (Lie::Withhold, _) => {
            let share = dice.between(0, 100);
            let mut some = to_all(message, peers);
            some.retain(|_| dice.chance(share));
            some
        }
        (Lie::Changes | Lie::Forge | Lie::Corrupt | Lie::Garbage, _) => (0..peers)
            .filter_map(|to| answer(node, message, dice).map(|message| (to, message)))
            .collect(),
        _ => to_all(message, peers),
    }
}

fn to_all(message: &ConsensusMessage, peers: usize) -> Vec<(usize, ConsensusMessage)> {
    (0..peers).map(|to| (to, message.clone())).collect()
}

/// What one peer gets in place of a message; nothing if it is withheld.
pub fn answer(
    node: &Node,
    message: &ConsensusMessage,
    dice: &mut Dice,
) -> Option<ConsensusMessage> {
    let honest = || Some(message.clone());
    let Some(liar) = node.seated_liar() else { return honest() };
    match (liar.lie, message) {
        (Lie::Withhold, _) => honest().filter(|_| dice.chance(50)),
        (Lie::Changes, ConsensusMessage::ViewChange(change)) => {
            let change = changes::lying(node, liar, change, dice);
            Some(ConsensusMessage::ViewChange(Box::new(change)))
        }
        (Lie::Forge, ConsensusMessage::NewView(new_view)) => {
            let new_view = forge::new_view(node, liar, new_view, dice);
            Some(ConsensusMessage::NewView(Box::new(new_view)))
        }
        (Lie::Corrupt, _) => Some(corrupt::corrupted(node, message, dice)),
        (Lie::Garbage, _) if dice.chance(50) => garbage::flipped(message, dice),
        _ => honest(),
    }
}

/// What a liar says to everyone on hearing a message.
pub fn react(
    node: &mut Node,
    message: &ConsensusMessage,
    dice: &mut Dice,
) -> Vec<ConsensusMessage> {
    match node.seated_liar().map(|liar| liar.lie) {
        Some(Lie::Equivocate) => echo(node, message),
        Some(Lie::Forge) if dice.chance(REACTION_PERCENT) => forge::certificates(node, dice),
        Some(Lie::Changes) if dice.chance(REACTION_PERCENT) => changes::unasked(node, dice),
        Some(Lie::Garbage) if dice.chance(REACTION_PERCENT) => garbage::replayed(node, dice),
        _ => Vec::new(),
    }
}

/// An equivocator votes both ways for whatever it hears of.
fn echo(node: &mut Node, message: &ConsensusMessage) -> Vec<ConsensusMessage> {
    let body = match message {
        ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote) => vote.body,
        _ => return Vec::new(),
    };
    let bodies = [VoteKind::Prepare, VoteKind::Commit].map(|kind| VoteBody { kind, ..body });
    let mut said = Vec::new();
    for body in bodies {
        let liar = node.liar.as_mut();
        if liar.is_some_and(|liar| liar.echoed.insert(body)) {
            said.push(ConsensusMessage::Vote(sign_vote(node, body)));
        }
    }
    said
}

fn own_seat(node: &Node) -> twinfold_types::SeatIndex {
    node.seat().expect("only a liar with a seat lies")
}

fn sign_vote(node: &Node, body: VoteBody) -> Vote {
    let config = &node.setup.config;
    let statement = body.statement(&config.chain, &config.committee.digest());
    Vote { body, seat: own_seat(node), signature: node.setup.signer.sign(&statement) }
}
