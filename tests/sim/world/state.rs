//! The state of the whole world: when it is done, how far it is, and whether all of it still
//! holds together.

use super::{START_MS, World, is_watched};
use crate::node::Node;
use twinfold_consensus_planted::Machine;
use twinfold_types::{Epoch, Height, View};

impl World {
    /// Those that the run's promises are about.
    pub(super) fn standing(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_honest() && !node.lost)
    }

    /// Everything is executed, and everyone is at the height of the last block that anyone
    /// committed: one without transactions may be on its way after that.
    pub(super) fn is_done(&self) -> bool {
        let top = self.highest_height();
        self.submitting == 0
            && self.checks.durability.highest().0 == top
            && self.standing().all(|node| {
                node.pool.is_done(node.clock(self.now_ms)) && node.disk.head().height.0 == top
            })
    }

    /// Since the faults stopped.
    pub(super) fn advances(&self) -> bool {
        self.highest_height() > self.healed_height
    }

    fn honest_machines(&self) -> impl Iterator<Item = &Machine> {
        self.standing().filter_map(|node| node.machine.as_ref())
    }

    pub(super) fn highest_epoch(&self) -> Epoch {
        self.honest_machines().map(|machine| machine.epoch()).max().unwrap_or_default()
    }

    /// Of the newest epoch.
    pub(super) fn highest_view(&self) -> View {
        let newest = self.highest_epoch();
        let machines = self.honest_machines().filter(|machine| machine.epoch() == newest);
        machines.map(|machine| machine.view()).max().unwrap_or_default()
    }

    pub(super) fn highest_height(&self) -> u64 {
        self.standing().map(|node| node.disk.head().height).max().unwrap_or(Height(0)).0
    }

    /// A checkpoint is stable somewhere: every honest chain must agree with what was
    /// acknowledged, as far as it goes. Done once for each stable height.
    pub(super) fn look_at_checkpoint(&mut self, stable: Height) {
        if !self.looked_at.insert(stable) {
            return;
        }
        let from = Height(stable.0.saturating_sub(64));
        for node in self.nodes.iter().filter(|node| node.is_honest() && !node.lost) {
            let chain = node.disk.digests().skip_while(|(height, _)| *height <= from);
            let result = self.checks.durability.holds_in(node.index, chain);
            if let Err(failure) = result
                && is_watched(self.promises, &failure)
            {
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// All chains whole.
    pub(super) fn look_at_the_end(&self) -> Result<(), String> {
        for node in self.standing() {
            self.checks.durability.holds_in(node.index, node.disk.digests())?;
            let (base, chain) = (node.disk.base(), node.disk.digests());
            self.checks.durability.survives_in(node.index, base, chain)?;
        }
        Ok(())
    }

    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {}", self.now_ms - START_MS, text());
        }
    }

    pub(super) fn describe(&self) -> String {
        let states = self.nodes.iter().map(|node| {
            let machine = node.machine.as_ref().map(|machine| {
                format!(
                    "epoch {} view {}/{} committed {} executed {} stable {:?}",
                    machine.epoch(),
                    machine.installed_view(),
                    machine.view(),
                    machine.committed().height,
                    machine.executed(),
                    machine.stable().map(|stable| stable.checkpoint.height),
                )
            });
            let (lie, waiting) = (node.lie(), node.pool.waiting().count());
            format!("node {} {lie:?} {machine:?} waiting {waiting}", node.index)
        });
        states.collect::<Vec<_>>().join("; ")
    }
}
