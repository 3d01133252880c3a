//! What a lying member makes of an honest machine's messages.

use crate::{dice::Dice, node::Node, plan::Lie};
use twinfold_types::{
    Block, TimeMs,
    message::ConsensusMessage,
    vote::{NewView, NewViewBody, ViewChange, ViewChangeHeader, Vote, VoteBody, VoteKind},
};

/// The messages for each of `peers` instead of one for all.
pub fn distort(
    node: &Node,
    message: &ConsensusMessage,
    peers: usize,
    dice: &mut Dice,
) -> Vec<(usize, ConsensusMessage)> {
    let to_all = |message: &ConsensusMessage| (0..peers).map(|to| (to, message.clone())).collect();
    match (node.lie, message) {
        (Some(Lie::Equivocate), ConsensusMessage::PrePrepare { vote, block }) => {
            let (other_vote, other) = other_block(node, vote, block);
            let split = dice.number();
            let side = |to: usize| split >> to & 1 == 1;
            let send = |to: usize| {
                let (vote, block) = if side(to) { (vote, block) } else { (&other_vote, &other) };
                (to, ConsensusMessage::PrePrepare { vote: vote.clone(), block: block.clone() })
            };
            (0..peers).map(send).collect()
        }
        (Some(Lie::Withhold), _) => {
            let share = dice.between(0, 100);
            (0..peers).filter(|_| dice.chance(share)).map(|to| (to, message.clone())).collect()
        }
        (Some(Lie::Bases), ConsensusMessage::NewView(new_view)) => (0..peers)
            .map(|to| {
                let other = other_new_view(node, new_view, dice).unwrap_or((**new_view).clone());
                (to, ConsensusMessage::NewView(Box::new(other)))
            })
            .collect(),
        (Some(Lie::Bases), ConsensusMessage::ViewChange(change)) => {
            to_all(&ConsensusMessage::ViewChange(Box::new(without_claim(node, change))))
        }
        _ => to_all(message),
    }
}

/// An equivocator votes both ways for whatever it hears of.
pub fn echo(node: &Node, message: &ConsensusMessage) -> Vec<ConsensusMessage> {
    let body = match message {
        ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote) => vote.body,
        _ => return Vec::new(),
    };
    if node.lie != Some(Lie::Equivocate) {
        return Vec::new();
    }
    let kinds = [VoteKind::Prepare, VoteKind::Commit];
    let votes = kinds.into_iter().map(|kind| sign_vote(node, VoteBody { kind, ..body }));
    votes.map(ConsensusMessage::Vote).collect()
}

fn sign_vote(node: &Node, body: VoteBody) -> Vote {
    let statement = body.statement(&node.config.chain, &node.config.committee.digest());
    Vote { body, seat: node.config.seat.unwrap(), signature: node.signer.sign(&statement) }
}

fn other_block(node: &Node, vote: &Vote, block: &Block) -> (Vote, Box<Block>) {
    let mut other = block.clone();
    other.header.time = TimeMs(other.header.time.0 + 1);
    let body = VoteBody { digest: other.digest(), ..vote.body };
    (sign_vote(node, body), Box::new(other))
}

/// The same view change, with nothing claimed.
fn without_claim(node: &Node, change: &ViewChange) -> ViewChange {
    let mut body = change.header.body.clone();
    body.claim = None;
    let statement = body.statement(&node.config.chain, &node.config.committee.digest());
    let signature = node.signer.sign(&statement);
    let header = ViewChangeHeader { body, seat: change.header.seat, signature };
    ViewChange { header, certificate: None }
}

/// A valid new view of another quorum, so perhaps on another base.
fn other_new_view(node: &Node, new_view: &NewView, dice: &mut Dice) -> Option<NewView> {
    let view = new_view.body.view;
    let of_view = node.seen_changes.iter().filter(|change| change.header.body.view == view);
    let mut changes: Vec<ViewChange> = of_view.cloned().collect();
    changes.sort_by_key(|change| change.header.seat);
    changes.dedup_by_key(|change| change.header.seat);
    for change in &mut changes {
        if Some(change.header.seat) == node.config.seat {
            *change = without_claim(node, change);
        }
    }
    let quorum = node.config.committee.quorum();
    while changes.len() > quorum {
        changes.remove(dice.index(changes.len()));
    }
    if changes.len() < quorum {
        return None;
    }
    let highest =
        changes.iter().max_by_key(|change| change.header.body.claim.map(|claim| claim.rank()))?;
    let body = NewViewBody {
        certificate: highest.certificate.clone(),
        headers: changes.iter().map(|change| change.header.clone()).collect(),
        ..new_view.body.clone()
    };
    let statement = body.statement(&node.config.chain, &node.config.committee.digest());
    Some(NewView { body, signature: node.signer.sign(&statement) })
}
