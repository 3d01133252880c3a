//! In each life of a process every height above the recovered head is committed once,
//! in order; and a transaction takes effect, or is refused for good, once in a node's chain.

use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{Code, Height, Receipt, TxId};

#[derive(Default)]
pub struct ExactlyOnce {
    committed: BTreeMap<usize, Height>,
    applied: BTreeSet<(usize, TxId)>,
}

impl ExactlyOnce {
    pub fn started(&mut self, node: usize, head: Height) {
        self.committed.insert(node, head);
    }

    /// Its ledger is empty again: whatever it applied counts no more.
    pub fn began_anew(&mut self, node: usize) {
        self.applied.retain(|(of, _)| *of != node);
    }

    pub fn committed(&mut self, node: usize, height: Height) -> Result<(), String> {
        let before = self.committed.insert(node, height).unwrap_or_default();
        if height.0 != before.0 + 1 {
            return Err(format!("exactly once: node {node} commits {height} after {before}"));
        }
        Ok(())
    }

    /// A replay, or one that is too early or too late, leaves no trace but its receipt.
    pub fn executed(&mut self, node: usize, receipts: &[Receipt]) -> Result<(), String> {
        for receipt in receipts {
            let Some(id) = receipt.tx else { continue };
            let applied = !matches!(receipt.code, Code::Replayed | Code::NotValidNow);
            if applied && !self.applied.insert((node, id)) {
                return Err(format!(
                    "exactly once: node {node} applies {id} again at height {}",
                    receipt.height
                ));
            }
        }
        Ok(())
    }
}
