//! No two honest nodes commit different blocks at one height.

use std::collections::BTreeMap;
use twinfold_types::{Digest, Height};

#[derive(Default)]
pub struct Agreement(BTreeMap<Height, (usize, Digest)>);

impl Agreement {
    pub fn committed(&mut self, node: usize, height: Height, digest: Digest) -> Result<(), String> {
        let (first, agreed) = *self.0.entry(height).or_insert((node, digest));
        if agreed != digest {
            return Err(format!(
                "agreement: at height {height} node {first} committed {agreed:?}, node {node} {digest:?}"
            ));
        }
        Ok(())
    }

    /// What only those knew who are lost for good.
    pub fn forget_above(&mut self, kept: Height) {
        self.0.split_off(&kept.next());
    }
}
