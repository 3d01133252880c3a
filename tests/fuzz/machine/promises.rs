//! What holds for one machine whatever all others do.

use std::collections::BTreeMap;
use twinfold_consensus::{Effect, Machine, Record};
use twinfold_types::{
    Digest, Height, View,
    limits::{PREPARED_BODIES_MAX, WATERMARK_HEIGHTS},
    message::ConsensusMessage,
    vote::{Vote, VoteKind},
};

const SEATS: usize = 4;
/// Effects of one step: votes, proposals and commits of a window, and what a status asks for.
const EFFECTS_MAX: usize = 2_000;

#[derive(Default)]
pub struct Promises {
    votes: BTreeMap<(VoteKind, View, Height), Digest>,
    bases: BTreeMap<View, Option<Digest>>,
    left: View,
    head: Height,
}

impl Promises {
    pub fn stepped(&mut self, machine: &Machine, effects: &[Effect]) {
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of one step", effects.len());
        for effect in effects {
            match effect {
                Effect::Persist(record) => self.signed(record),
                Effect::Commit { block, .. } => {
                    assert_eq!(block.header.height, self.head.next(), "committed out of order");
                    self.head = block.header.height;
                }
                Effect::Broadcast(ConsensusMessage::Vote(vote)) => {
                    assert!(self.votes.contains_key(&place(vote)), "said before it was synced");
                }
                _ => {}
            }
        }
        assert!(machine.installed_view() <= machine.view(), "installed and not moved to");
        assert!(machine.view() >= self.left, "the view decreases");
        self.holds(machine);
    }

    fn signed(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => {
                let digest = vote.body.digest;
                let first = *self.votes.entry(place(vote)).or_insert(digest);
                assert_eq!(first, digest, "two votes at one place");
                assert!(vote.body.view >= self.left, "a vote below a view change signed");
            }
            Record::ViewChange(change) => {
                assert!(change.header.body.view > self.left, "a view change back");
                self.left = change.header.body.view;
            }
            Record::NewView(new_view) => {
                let body = &new_view.body;
                let base = body.certificate.as_ref().map(|it| it.body.digest);
                let first = *self.bases.entry(body.view).or_insert(base);
                assert_eq!(first, base, "two bases of one view");
            }
            _ => {}
        }
    }

    fn holds(&self, machine: &Machine) {
        let held = machine.holdings();
        let window = WATERMARK_HEIGHTS as usize;
        let behind = (machine.committed().height.0 - machine.executed().0) as usize;
        let heights = 3 * window + behind;
        assert!(held.slots <= heights, "{held:?}");
        assert!(held.votes <= 2 * SEATS * heights, "{held:?}");
        assert!(
            held.bodies <= heights + 8 + PREPARED_BODIES_MAX && held.wanted <= heights,
            "{held:?}"
        );
        assert!(held.early_votes <= 16 * SEATS && held.early_proposals <= SEATS, "{held:?}");
        assert!(held.view_changes <= SEATS, "{held:?}");
        assert!(held.checkpoint_votes <= 3 * window * SEATS, "{held:?}");
        assert!(held.own_checkpoints <= heights, "{held:?}");
    }
}

fn place(vote: &Vote) -> (VoteKind, View, Height) {
    (vote.body.kind, vote.body.view, vote.body.height)
}
