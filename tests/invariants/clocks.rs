//! Block time rises from block to block, and an honest seat prepares no block that is further
//! ahead of its clock than allowed, except for the base of a view.

use std::collections::BTreeMap;
use twinfold_types::{
    Block, Digest, Height, TimeMs,
    limits::DRIFT_MS_MAX,
    vote::{Vote, VoteBody, VoteKind},
};

#[derive(Default)]
pub struct Clocks {
    times: BTreeMap<Digest, TimeMs>,
    committed: BTreeMap<usize, (Height, TimeMs)>,
}

impl Clocks {
    /// A block is on somebody's disk.
    pub fn exists(&mut self, block: &Block) {
        self.times.insert(block.digest(), block.header.time);
    }

    /// A vote of the turn that ends; the clock may have gone on since it was signed.
    pub fn signed(&self, vote: &Vote, base: Option<VoteBody>, clock: TimeMs) -> Result<(), String> {
        let VoteBody { kind, digest, .. } = vote.body;
        let is_base = base.is_some_and(|base| base.digest == digest);
        if kind != VoteKind::Prepare || is_base {
            return Ok(());
        }
        match self.times.get(&digest) {
            Some(time) if time.0 > clock.0 + DRIFT_MS_MAX => {
                Err(format!("clocks: seat {} says {:?} at {clock}", vote.seat, vote.body))
            }
            _ => Ok(()),
        }
    }

    pub fn committed(&mut self, node: usize, block: &Block) -> Result<(), String> {
        let (height, time) = (block.header.height, block.header.time);
        match self.committed.insert(node, (height, time)) {
            Some((before, old)) if before < height && old >= time => Err(format!(
                "clocks: node {node} commits height {height} of {time} after {before} of {old}"
            )),
            _ => Ok(()),
        }
    }
}
