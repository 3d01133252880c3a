//! A leader that says one thing to some and another to others.

use super::{Liar, own_seat, sign_vote};
use crate::{dice::Dice, node::Node};
use twinfold_types::{
    Block, TimeMs,
    message::ConsensusMessage,
    vote::{NewView, NewViewBody, ViewChange, ViewChangeBody, ViewChangeHeader, Vote, VoteBody},
};

/// One block to some, another to the others.
pub fn two_blocks(
    node: &Node,
    vote: &Vote,
    block: &Block,
    peers: usize,
    dice: &mut Dice,
) -> Vec<(usize, ConsensusMessage)> {
    let mut other = block.clone();
    other.header.time = TimeMs(other.header.time.0 + 1);
    let other_vote = sign_vote(node, VoteBody { digest: other.digest(), ..vote.body });
    let proposal = |vote: &Vote, block: &Block| ConsensusMessage::PrePrepare {
        vote: vote.clone(),
        block: Box::new(block.clone()),
    };
    let (one, two) = (proposal(vote, block), proposal(&other_vote, &other));
    let side = |_: usize| if dice.chance(50) { one.clone() } else { two.clone() };
    (0..peers).zip((0..peers).map(side)).collect()
}

/// A valid new view to each, on whatever base another quorum of view changes demands.
pub fn other_bases(
    node: &Node,
    liar: &Liar,
    new_view: &NewView,
    peers: usize,
    dice: &mut Dice,
) -> Vec<(usize, ConsensusMessage)> {
    let mut other = |_: usize| {
        let other = other_new_view(node, liar, new_view, dice);
        ConsensusMessage::NewView(Box::new(other.unwrap_or_else(|| new_view.clone())))
    };
    (0..peers).map(|to| (to, other(to))).collect()
}

fn other_new_view(
    node: &Node,
    liar: &Liar,
    new_view: &NewView,
    dice: &mut Dice,
) -> Option<NewView> {
    let view = new_view.body.view;
    let of_view = liar.seen_changes.iter().filter(|change| change.header.body.view == view);
    let mut changes: Vec<ViewChange> = of_view.cloned().collect();
    changes.sort_by_key(|change| change.header.seat);
    changes.dedup_by_key(|change| change.header.seat);
    for change in &mut changes {
        if change.header.seat == own_seat(node) {
            *change = without_claim(node, change);
        }
    }
    let quorum = node.setup.config.committee.quorum();
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
    Some(sign_new_view(node, body))
}

pub fn sign_new_view(node: &Node, body: NewViewBody) -> NewView {
    let config = &node.setup.config;
    let statement = body.statement(&config.chain, &config.committee.digest());
    NewView { body, signature: node.setup.signer.sign(&statement) }
}

/// The same view change, with nothing claimed.
pub fn without_claim(node: &Node, change: &ViewChange) -> ViewChange {
    let body = ViewChangeBody { claim: None, ..change.header.body.clone() };
    ViewChange { header: sign_change(node, body), certificate: None }
}

pub fn sign_change(node: &Node, body: ViewChangeBody) -> ViewChangeHeader {
    let config = &node.setup.config;
    let statement = body.statement(&config.chain, &config.committee.digest());
    let signature = node.setup.signer.sign(&statement);
    ViewChangeHeader { body, seat: own_seat(node), signature }
}
