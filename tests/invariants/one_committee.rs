//! Every honest node goes on from the same block with the same committee, and what is committed in an
//! epoch stands between the last block of the one before and its own last block.

use std::collections::BTreeMap;
use twinfold_types::{Block, Committee, Epoch, vote::Certificate};

#[derive(Default)]
pub struct OneCommittee(BTreeMap<Epoch, Committee>);

impl OneCommittee {
    /// A node's execution elected a committee, or genesis did.
    pub fn elected(&mut self, node: usize, committee: &Committee) -> Result<(), String> {
        let first = self.0.entry(committee.epoch).or_insert_with(|| committee.clone());
        match first == committee {
            true => Ok(()),
            false => Err(format!("one committee: node {node} has {committee:?}, not {first:?}")),
        }
    }

    pub fn get(&self, epoch: Epoch) -> Option<&Committee> {
        self.0.get(&epoch)
    }

    pub fn newest(&self) -> Epoch {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// Epochs, and how many of them began with other seats than the one before.
    pub fn counts(&self) -> (u64, u64) {
        let pairs = self.0.values().zip(self.0.values().skip(1));
        let changed = pairs.filter(|(before, after)| before.seats != after.seats);
        (self.0.len() as u64, changed.count() as u64)
    }

    pub fn committed(&self, block: &Block, certificate: &Certificate) -> Result<(), String> {
        let (epoch, height) = (block.header.epoch, block.header.height);
        let begun = self.0.get(&epoch).is_some_and(|committee| committee.anchor < height);
        let ended = self.0.get(&epoch.next()).is_some_and(|next| next.anchor < height);
        if !begun || ended || certificate.body.epoch != epoch {
            return Err(format!(
                "one committee: height {height} is committed in epoch {epoch} by {:?}",
                certificate.body
            ));
        }
        Ok(())
    }
}
