//! In a view with a base an honest seat prepares the base before anything above it, and votes
//! for no other block at or below it. Who has committed beyond the base need not prepare it.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Epoch, Height, View,
    vote::{Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct BaseFirst {
    heads: BTreeMap<usize, Height>,
    done: BTreeSet<(usize, Epoch, View)>,
}

impl BaseFirst {
    pub fn committed(&mut self, node: usize, height: Height) {
        let head = self.heads.entry(node).or_default();
        *head = height.max(*head);
    }

    pub fn signed(
        &mut self,
        node: usize,
        vote: &Vote,
        base: Option<VoteBody>,
    ) -> Result<(), String> {
        let Some(base) = base else { return Ok(()) };
        let (seat, VoteBody { kind, epoch, view, height, digest }) = (vote.seat, vote.body);
        if (height, digest) == (base.height, base.digest) {
            if kind == VoteKind::Prepare {
                self.done.insert((node, epoch, view));
            }
            return Ok(());
        }
        let beyond = self.heads.get(&node).is_some_and(|head| *head > base.height);
        let allowed =
            beyond || self.done.contains(&(node, epoch, view)) || kind == VoteKind::Commit;
        if height <= base.height || !allowed {
            return Err(format!("base first: seat {seat} says {:?} on base {base:?}", vote.body));
        }
        Ok(())
    }
}
