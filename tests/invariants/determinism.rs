//! The same chain gives the same state on every honest node, before and after restarts.

use std::collections::BTreeMap;
use twinfold_types::{Height, vote::Checkpoint};

#[derive(Default)]
pub struct Determinism(BTreeMap<Height, (usize, Checkpoint)>);

impl Determinism {
    pub fn executed(&mut self, node: usize, checkpoint: &Checkpoint) -> Result<(), String> {
        let first = self.0.entry(checkpoint.height);
        let (other, agreed) = first.or_insert_with(|| (node, checkpoint.clone()));
        if agreed != checkpoint {
            return Err(format!(
                "determinism: node {other} has {agreed:?}, node {node} {checkpoint:?}"
            ));
        }
        Ok(())
    }

    /// What only those knew who are lost for good.
    pub fn forget_above(&mut self, kept: Height) {
        self.0.split_off(&kept.next());
    }
}
