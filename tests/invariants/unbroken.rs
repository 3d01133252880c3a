//! Whatever an honest seat prepares, other than a base, stands on a block that it committed, or
//! prepared in the same view.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Block, Digest, Height, View,
    vote::{Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct Unbroken {
    parents: BTreeMap<Digest, Digest>,
    committed: BTreeSet<(usize, Height, Digest)>,
    prepared: BTreeSet<(usize, View, Height, Digest)>,
}

impl Unbroken {
    pub fn exists(&mut self, block: &Block) {
        self.parents.insert(block.digest(), block.header.parent);
    }

    pub fn committed(&mut self, node: usize, height: Height, digest: Digest) {
        self.committed.insert((node, height, digest));
    }

    pub fn signed(
        &mut self,
        node: usize,
        vote: &Vote,
        base: Option<VoteBody>,
    ) -> Result<(), String> {
        let (seat, VoteBody { kind, view, height, digest, .. }) = (vote.seat, vote.body);
        if kind != VoteKind::Prepare {
            return Ok(());
        }
        self.prepared.insert((node, view, height, digest));
        let is_base = base.is_some_and(|base| (base.height, base.digest) == (height, digest));
        let below = Height(height.0 - 1);
        if is_base || below == Height(0) {
            return Ok(());
        }
        // A block that nobody has on disk has no parent here: another property's matter.
        let Some(parent) = self.parents.get(&digest).copied() else { return Ok(()) };
        let stands = self.committed.contains(&(node, below, parent))
            || self.prepared.contains(&(node, view, below, parent));
        if !stands {
            return Err(format!("unbroken: seat {seat} says {:?} above a gap", vote.body));
        }
        Ok(())
    }
}
