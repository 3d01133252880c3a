//! A node that was not there from the start joins from a checkpoint that is stable somewhere, as
//! `node/src/join` does: the state under that checkpoint's root, the transactions of the last
//! window, the committees so far, and no block.

use super::World;

impl World {
    /// From the newest checkpoint of an honest node, or from genesis where there is none.
    pub(super) fn join_if_absent(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].absent) {
            return;
        }
        let others = self.standing();
        let anchors = others.filter_map(|other| Some((other.index, other.disk.anchor()?)));
        let newest = anchors.max_by_key(|(_, (stable, _))| stable.checkpoint.height);
        let Some((source, (stable, blocks))) = newest else { return };
        let stable = stable.clone();
        self.note(|| format!("{node} joins at height {}", stable.checkpoint.height));
        let [joining, other] =
            self.nodes.get_disjoint_mut([node, source]).expect("it is another one");
        joining.disk.accept_all_of(&other.disk);
        // The state comes by executing: what peers send of it is proved to be the same.
        for (block, certificate) in blocks {
            block.txs.iter().for_each(|tx| self.nodes[node].pool.executed(&tx.id()));
            let executed = self.nodes[node].disk.execute(block, certificate, &|_| 0);
            self.watch_execution(node, &executed);
        }
        let [joining, source] =
            self.nodes.get_disjoint_mut([node, source]).expect("it is another one");
        let joined = joining.disk.joined(&stable, &source.disk);
        self.check(joined);
        self.joined += 1;
        let (height, block) = (stable.checkpoint.height, stable.checkpoint.block);
        self.checks.base_first.committed(node, height);
        self.checks.unbroken.committed(node, height, block);
    }
}
