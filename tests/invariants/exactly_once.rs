//! In each life of a process every height above the recovered head is committed once,
//! in order.

use std::collections::BTreeMap;
use twinfold_types::Height;

#[derive(Default)]
pub struct ExactlyOnce(BTreeMap<usize, Height>);

impl ExactlyOnce {
    pub fn started(&mut self, node: usize, head: Height) {
        self.0.insert(node, head);
    }

    pub fn committed(&mut self, node: usize, height: Height) -> Result<(), String> {
        let before = self.0.insert(node, height).unwrap_or_default();
        if height.0 != before.0 + 1 {
            return Err(format!("exactly once: node {node} commits {height} after {before}"));
        }
        Ok(())
    }
}
