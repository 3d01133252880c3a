//! View changes that claim what is not so, or what is so no longer.

use super::{Liar, forge, leader, own_seat};
use crate::{dice::Dice, node::Node};
use twinfold_types::{
    Digest, Epoch, Height, View,
    hash::Tag,
    message::ConsensusMessage,
    vote::{Certificate, ViewChange, ViewChangeBody, VoteBody, VoteKind},
};

/// One of the ways to lie about where the sender stands, or the truth.
pub fn lying(node: &Node, liar: &Liar, change: &ViewChange, dice: &mut Dice) -> ViewChange {
    let view = change.header.body.view;
    match dice.between(0, 7) {
        0 => change.clone(),
        1 => leader::without_claim(node, change),
        2 => with_claim(node, view, stale(liar, dice)),
        3 => with_claim(node, view, Some(forged(node, liar, view, dice))),
        4 => mismatched(node, liar, view, dice),
        5 | 6 => with_claim(node, view, past(node, liar, view)),
        _ => {
            let far = dice.pick(&[1, 7, 1_000, u64::MAX / 2]);
            with_claim(node, View(view.0.saturating_add(far)), stale(liar, dice))
        }
    }
}

/// A view change that nothing gave reason for.
pub fn unasked(node: &Node, dice: &mut Dice) -> Vec<ConsensusMessage> {
    let (Some(liar), Some(machine)) = (&node.liar, &node.machine) else { return Vec::new() };
    let view = View(machine.view().0.saturating_add(dice.between(1, 3)));
    let truth = with_claim(node, view, None);
    vec![ConsensusMessage::ViewChange(Box::new(lying(node, liar, &truth, dice)))]
}

fn with_claim(node: &Node, view: View, certificate: Option<Certificate>) -> ViewChange {
    let claim = certificate.as_ref().map(|certificate| certificate.body);
    let epoch = node.setup.config.committee.epoch;
    let body = ViewChangeBody { epoch, view, claim };
    ViewChange { header: leader::sign_change(node, body), certificate }
}

/// Any certificate heard of, so mostly not the highest.
fn stale(liar: &Liar, dice: &mut Dice) -> Option<Certificate> {
    match liar.certificates.len() {
        0 => None,
        len => liar.certificates.get(dice.index(len)).cloned(),
    }
}

/// The highest certificate of the epoch before, of a view that could be claimed.
fn past(node: &Node, liar: &Liar, view: View) -> Option<Certificate> {
    let epoch = Epoch(node.setup.config.committee.epoch.0.checked_sub(1)?);
    liar.highest.get(&epoch).filter(|it| it.body.view < view).cloned()
}

/// A certificate of the view before, above everything, that no quorum signed.
fn forged(node: &Node, liar: &Liar, view: View, dice: &mut Dice) -> Certificate {
    let head = node.machine.as_ref().map_or(Height(0), |machine| machine.committed().height);
    let body = VoteBody {
        kind: dice.pick(&[VoteKind::Prepare, VoteKind::Commit, VoteKind::PrePrepare]),
        epoch: Epoch(node.setup.config.committee.epoch.0 + dice.between(0, 1)),
        view: View(view.0.saturating_sub(dice.between(0, 1))),
        height: Height(head.0 + dice.between(0, 9)),
        digest: Digest::of(Tag::StateKey, &(own_seat(node), dice.number())),
    };
    forge::certificate(node, liar, body, dice)
}

/// The claim of one certificate with another certificate beside it.
fn mismatched(node: &Node, liar: &Liar, view: View, dice: &mut Dice) -> ViewChange {
    let (one, other) = (stale(liar, dice), forged(node, liar, view, dice));
    let mut change = with_claim(node, view, Some(other));
    change.certificate = one;
    change
}
