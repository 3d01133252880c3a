//! What was acknowledged as committed survives the kill of every node at once: it stands in
//! every honest node's chain that is as long, at every checkpoint, and in all of them at the end.

use std::collections::BTreeMap;
use twinfold_types::{Digest, Height};

#[derive(Default)]
pub struct Durability(BTreeMap<Height, Digest>);

impl Durability {
    /// An honest node told the world that this block is committed.
    pub fn acknowledged(&mut self, height: Height, digest: Digest) {
        self.0.entry(height).or_insert(digest);
    }

    pub fn highest(&self) -> Height {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// What only those knew who are lost for good.
    pub fn forget_above(&mut self, kept: Height) {
        self.0.split_off(&kept.next());
    }

    /// A chain may end early while there are faults.
    pub fn holds_in(
        &self,
        node: usize,
        chain: impl Iterator<Item = (Height, Digest)>,
    ) -> Result<(), String> {
        for (height, digest) in chain {
            match self.0.get(&height) {
                Some(acknowledged) if *acknowledged == digest => {}
                other => {
                    return Err(format!(
                        "durability: {other:?} was acknowledged at height {height}, node {node} has {digest:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// At the end, after all faults. The node has no blocks up to `base`.
    pub fn survives_in(
        &self,
        node: usize,
        base: Height,
        chain: impl Iterator<Item = (Height, Digest)>,
    ) -> Result<(), String> {
        let chain: BTreeMap<Height, Digest> = chain.collect();
        let mut above = self.0.iter().filter(|(height, _)| **height > base);
        match above.find(|(height, digest)| chain.get(height) != Some(digest)) {
            Some((height, digest)) => Err(format!(
                "durability: {digest:?} was acknowledged at height {height}, node {node} has {:?}",
                chain.get(height)
            )),
            None => Ok(()),
        }
    }
}
