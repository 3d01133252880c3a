//! Turns of the nodes, and what their effects do.

use super::{Action, World, faults::Doom};
use crate::{disk::Execution, lie::WorldFault, node::Node};
use twinfold_consensus_planted::{Effect, Event};
use twinfold_types::{
    Block,
    message::ConsensusMessage,
    vote::{Certificate, CheckpointCertificate},
};

const EXECUTE_MS_MAX: u64 = 30;

impl World {
    pub(super) fn start_turn(&mut self, node: usize) {
        if !self.nodes[node].is_up() || self.nodes[node].turn.is_some() {
            return;
        }
        self.nodes[node].take_turn(self.now_ms);
        if self.plan.has(WorldFault::SpokenBeforeSync) {
            let effects =
                self.nodes[node].turn.as_mut().map(|(_, effects)| std::mem::take(effects));
            self.let_out(node, effects.unwrap_or_default());
        }
        if self.doomed.get(&node) == Some(&Doom::Crash) {
            self.doomed.remove(&node);
            return self.crash(node);
        }
        let life = self.nodes[node].life;
        let delay = self.dice.between(0, self.nodes[node].sync_ms_max);
        self.at(delay, Action::Synced { node, life });
    }

    pub(super) fn finish_turn(&mut self, node: usize) {
        let fails = self.nodes[node].turn.as_ref().is_some_and(|(records, _)| !records.is_empty());
        if fails && self.doomed.remove(&node).is_some() && !self.goes_on(node) {
            return;
        }
        let Some((records, effects)) = self.nodes[node].turn.take() else { return };
        self.watch_turn(node, &records, &effects);
        self.watch_sync(node, &records, &effects);
        let kept = !self.plan.has(WorldFault::RecordsLost);
        if kept {
            self.nodes[node].disk.log.extend(records);
        }
        self.let_out(node, effects);
        let compact = self.dice.chance(1) || self.nodes[node].disk.wants_compaction();
        if let Some(machine) = self.nodes[node].machine.as_ref().filter(|_| kept && compact) {
            self.nodes[node].disk.log = machine.durable_records();
        }
        let builds = self.nodes[node].would_build();
        // A timer that went off during the turn was not heard.
        let clock = self.nodes[node].clock(self.now_ms);
        let due = self.nodes[node].wake.is_some_and(|wake| wake <= clock);
        if !self.nodes[node].inbox.is_empty() || builds || due {
            let life = self.nodes[node].life;
            self.at(0, Action::Wake { node, life });
        }
    }

    /// The sync of a turn fails: the process ends. One with a mistake goes on.
    fn goes_on(&mut self, node: usize) -> bool {
        if !self.plan.has(WorldFault::FailedSyncIgnored) {
            self.sync_fails(node);
            return false;
        }
        if let Some((records, effects)) = &mut self.nodes[node].turn {
            records.clear();
            let effects = std::mem::take(effects);
            self.let_out(node, effects);
        }
        true
    }

    pub(super) fn let_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(_) | Effect::Returned(_) => {}
                Effect::Broadcast(message) => self.broadcast(node, message),
                Effect::Send { to, message } => self.send_to_key(node, to, message),
                Effect::Build { view, parent, parent_time, .. } => {
                    self.nodes[node].build = Some((view, parent, parent_time));
                }
                Effect::Commit { block, certificate } => self.commit(node, block, certificate),
                Effect::Stable(certificate) => self.stable(node, certificate),
                Effect::ServeCommitted { to, from } => {
                    if let Some(blocks) = self.nodes[node].disk.committed(from) {
                        self.send_to_key(node, to, ConsensusMessage::Committed(Box::new(blocks)));
                    }
                }
                Effect::ServeBlock { to, height, digest } => {
                    if let Some(block) = self.nodes[node].disk.block(height, &digest) {
                        self.send_to_key(node, to, ConsensusMessage::Block(Box::new(block)));
                    }
                }
                Effect::ServeEpochEnd { to, epoch } => {
                    if let Some(end) = self.nodes[node].disk.epoch_end(epoch).cloned() {
                        self.send_to_key(node, to, ConsensusMessage::Stable(Box::new(end)));
                    }
                }
                Effect::Timer(time) => {
                    self.nodes[node].wake = Some(time);
                    let clock = self.nodes[node].clock(self.now_ms);
                    let life = self.nodes[node].life;
                    self.at(time.0.saturating_sub(clock.0), Action::Wake { node, life });
                }
                Effect::Evidence(evidence) => self.evidence(node, *evidence),
                Effect::Halt(reason) if self.nodes[node].is_honest() => {
                    self.fail(format!("node {node} halts: {reason}"));
                }
                Effect::Halt(_) => {}
            }
        }
    }

    pub(super) fn commit(&mut self, node: usize, block: Block, certificate: Certificate) {
        self.note(|| {
            let (height, digest) = (block.header.height, block.digest());
            format!("{node} commits {height} {digest:?} by view {}", certificate.body.view)
        });
        self.watch_commit(node, &block, &certificate);
        block.txs.iter().for_each(|tx| self.nodes[node].pool.ordered(&tx.id()));
        self.nodes[node].to_execute.push_back((block, certificate));
        if self.nodes[node].to_execute.len() == 1 {
            self.execute_later(node);
        }
    }

    fn stable(&mut self, node: usize, certificate: CheckpointCertificate) {
        let height = certificate.checkpoint.height;
        let ends = certificate.checkpoint.next_committee.is_some();
        self.nodes[node].disk.set_stable(certificate);
        if ends {
            let life = self.nodes[node].life;
            self.at(0, Action::Wake { node, life });
        }
        if self.nodes[node].is_honest() {
            self.look_at_checkpoint(height);
        }
    }

    pub(super) fn execute_later(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let delay = self.dice.between(1, EXECUTE_MS_MAX);
        self.at(delay, Action::Execute { node, life });
    }

    pub(super) fn execute(&mut self, node: usize) {
        let Some((block, certificate)) = self.nodes[node].to_execute.pop_front() else { return };
        block.txs.iter().for_each(|tx| self.nodes[node].pool.executed(&tx.id()));
        let Node { disk, pool, .. } = &mut self.nodes[node];
        let executed = disk.execute(block, certificate, &|id| pool.arrived(id));
        self.watch_execution(node, &executed);
        let Execution { checkpoint, ends_at, .. } = executed;
        self.nodes[node].inbox.push(Event::Executed { checkpoint, ends_at });
        if !self.nodes[node].to_execute.is_empty() {
            self.execute_later(node);
        }
        self.start_turn(node);
    }
}
