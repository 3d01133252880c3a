//! Whatever an honest seat prepares, other than a base, stands on a block that it committed, or
//! prepared in the same view.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Block, Digest, Height, SeatIndex, View,
    vote::{Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct Unbroken {
    parents: BTreeMap<Digest, Digest>,
    committed: BTreeSet<(SeatIndex, Height, Digest)>,
    prepared: BTreeSet<(SeatIndex, View, Height, Digest)>,
}

impl Unbroken {
    pub fn exists(&mut self, block: &Block) {
        self.parents.insert(block.digest(), block.header.parent);
    }

    pub fn committed(&mut self, seat: SeatIndex, height: Height, digest: Digest) {
        self.committed.insert((seat, height, digest));
    }

    pub fn signed(&mut self, vote: &Vote, base: Option<VoteBody>) -> Result<(), String> {
        let (seat, VoteBody { kind, view, height, digest, .. }) = (vote.seat, vote.body);
        if kind != VoteKind::Prepare {
            return Ok(());
        }
        self.prepared.insert((seat, view, height, digest));
        let is_base = base.is_some_and(|base| (base.height, base.digest) == (height, digest));
        let below = Height(height.0 - 1);
        if is_base || below == Height(0) {
            return Ok(());
        }
        // A block that nobody has on disk has no parent here: another property's matter.
        let Some(parent) = self.parents.get(&digest).copied() else { return Ok(()) };
        let stands = self.committed.contains(&(seat, below, parent))
            || self.prepared.contains(&(seat, view, below, parent));
        if !stands {
            return Err(format!("unbroken: seat {seat} says {:?} above a gap", vote.body));
        }
        Ok(())
    }
}
