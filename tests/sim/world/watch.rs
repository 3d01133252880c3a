//! What honest nodes sign, sync, say and commit, held against the invariants.

use super::{World, is_watched};
use crate::{disk::Execution, invariants::bounded, node::Node};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_consensus_planted::{Effect, Record};
use twinfold_types::{
    Block, Committee, Epoch, Height, PublicKey, SeatIndex,
    message::ConsensusMessage,
    vote::{Certificate, Vote},
};

impl World {
    /// What an honest seat is called; none for liars and observers.
    fn honest_seat(&self, node: usize) -> Option<SeatIndex> {
        self.nodes[node].seat().filter(|_| self.nodes[node].is_honest())
    }

    /// The seats of an epoch that nobody who lies holds.
    pub(super) fn honest_seats(&self, epoch: Epoch) -> BTreeSet<SeatIndex> {
        let Some(committee) = self.checks.one_committee.get(epoch) else { return BTreeSet::new() };
        let is_honest = |seat: &SeatIndex| {
            committee
                .validator(*seat)
                .is_some_and(|key| is_honest(&self.index_of, &self.nodes, key))
        };
        committee.seat_indices().filter(is_honest).collect()
    }

    /// What execution came to, held against what it must come to.
    fn watch_ledger(&mut self, node: usize, executed: &Execution) {
        let Self { checks, nodes, index_of, .. } = self;
        let Execution { checkpoint, receipts, .. } = executed;
        let disk = &nodes[node].disk;
        let rows = |prefix| disk.ledger.rows_of(prefix);
        let honest = |key: &PublicKey| is_honest(index_of, nodes, key);
        let results = [
            checks.conserved.executed(checkpoint.height, receipts, &rows),
            checks.punished.executed(node, disk.head().time, receipts, honest),
        ];
        results.into_iter().for_each(|result| self.check(result));
    }

    /// Where every chain begins.
    pub(super) fn watch_genesis(&mut self) {
        let disk = &self.nodes[0].disk;
        let rows = |prefix| disk.ledger.rows_of(prefix);
        let results = [
            self.checks.one_committee.elected(0, disk.running()),
            self.checks.conserved.executed(Height(0), &[], &rows),
        ];
        results.into_iter().for_each(|result| self.check(result));
    }

    /// A turn ends: nothing of it is synced yet.
    pub(super) fn watch_turn(&mut self, node: usize, records: &[Record], effects: &[Effect]) {
        let Some(seat) = self.honest_seat(node) else { return };
        let recorded = records.iter().filter_map(|record| match record {
            Record::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let committed = effects.iter().filter_map(|effect| match effect {
            Effect::Commit { certificate, .. } => Some(certificate),
            _ => None,
        });
        let certificates: Vec<&Certificate> = recorded.chain(committed).collect();
        for certificate in certificates {
            let result = self.checks.counted.made(seat, certificate);
            self.check(result);
        }
        self.watch_holdings(node);
    }

    fn watch_clock(&mut self, node: usize, records: &[Record]) {
        let clock = self.nodes[node].clock(self.now_ms);
        for record in records {
            match record {
                Record::Block(block) => self.checks.clocks.exists(block),
                Record::Vote(vote) => {
                    let base = self.checks.one_base.base(node, &vote.body);
                    let result = self.checks.clocks.signed(vote, base, clock);
                    self.check(result);
                }
                _ => {}
            }
        }
    }

    fn watch_holdings(&mut self, node: usize) {
        let Some(machine) = &self.nodes[node].machine else { return };
        let behind = machine.committed().height.0 - machine.executed().0;
        let result = bounded::holds(node, self.plan.seats, behind, &machine.holdings());
        self.check(result);
    }

    /// Its records are synced, or found on the disk after a crash.
    pub(super) fn watch_sync(&mut self, node: usize, records: &[Record], effects: &[Effect]) {
        for effect in effects {
            if let Effect::Commit { block, .. } = effect {
                let height = block.header.height;
                self.checks.base_first.committed(node, height);
                self.checks.unbroken.committed(node, height, block.digest());
            }
        }
        if self.honest_seat(node).is_none() {
            return;
        }
        for record in records {
            match record {
                Record::Vote(vote) => self.watch_signed(node, vote),
                Record::Block(block) => self.checks.unbroken.exists(block),
                Record::ViewChange(change) => {
                    let result = self.checks.single_vote.changed(change);
                    self.check(result);
                }
                Record::NewView(new_view) => {
                    let result = self.checks.one_base.installed(node, new_view);
                    self.check(result);
                }
                _ => {}
            }
        }
        self.watch_clock(node, records);
    }

    /// A vote is on an honest node's disk, in the order of its log.
    fn watch_signed(&mut self, node: usize, vote: &Vote) {
        let base = self.checks.one_base.base(node, &vote.body);
        self.checks.counted.synced(vote.seat, vote.body);
        self.checks.certified.synced(vote.seat, vote.body);
        let results = [
            self.checks.single_vote.signed(vote),
            self.checks.base_first.signed(node, vote, base),
            self.checks.unbroken.signed(node, vote, base),
        ];
        results.into_iter().for_each(|result| self.check(result));
    }

    /// A node says something.
    pub(super) fn observe(&mut self, node: usize, message: &ConsensusMessage) {
        if self.trace && !matches!(message, ConsensusMessage::Status(_)) {
            let text = format!("{message:?}");
            self.note(|| format!("{node} says {}", text.chars().take(170).collect::<String>()));
        }
        let seat = self.honest_seat(node);
        match message {
            ConsensusMessage::PrePrepare { vote, .. } | ConsensusMessage::Vote(vote)
                if seat == Some(vote.seat) =>
            {
                self.watch_vote(node, vote);
            }
            ConsensusMessage::ViewChange(change) if seat == Some(change.header.seat) => {
                let result = self.checks.single_vote.changed(change);
                self.check(result);
            }
            _ => {}
        }
    }

    fn watch_vote(&mut self, node: usize, vote: &Vote) {
        let disk = &self.nodes[node].disk;
        let base = self.checks.one_base.base(node, &vote.body);
        // What it voted for before its ledger was lost it may say again.
        let stable = disk.stood;
        let in_ledger = disk.has(vote.body.height, &vote.body.digest);
        let results = [
            self.checks.single_vote.signed(vote),
            self.checks.synced.spoke(vote, &disk.log, in_ledger),
            bounded::spoke(vote, stable, base),
        ];
        for result in results {
            self.check(result);
        }
    }

    pub(super) fn watch_commit(&mut self, node: usize, block: &Block, certificate: &Certificate) {
        let (height, digest) = (block.header.height, block.digest());
        if self.nodes[node].is_honest() {
            let epoch = certificate.body.epoch;
            let honest = self.honest_seats(epoch);
            let is_honest = |seat: SeatIndex| honest.contains(&seat);
            let committee = self.checks.one_committee.get(epoch);
            let seats = committee.map_or(self.plan.seats, Committee::size);
            let results = [
                self.checks.one_committee.committed(block, certificate),
                self.checks.agreement.committed(node, height, digest),
                self.checks.exactly_once.committed(node, height),
                self.checks.clocks.committed(node, block),
                self.checks.certified.committed(certificate, seats, is_honest),
            ];
            self.checks.durability.acknowledged(height, digest);
            results.into_iter().for_each(|result| self.check(result));
        }
    }

    pub(super) fn watch_execution(&mut self, node: usize, executed: &Execution) {
        if self.nodes[node].is_honest() {
            let result = self.checks.determinism.executed(node, &executed.checkpoint);
            self.check(result);
            let result = self.checks.exactly_once.executed(node, &executed.receipts);
            self.check(result);
            self.watch_ledger(node, executed);
            if let Some(elected) = &executed.elected {
                let result = self.checks.one_committee.elected(node, elected);
                self.check(result);
            }
        }
    }

    pub(super) fn check(&mut self, result: Result<(), String>) {
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    pub(super) fn fail(&mut self, failure: String) {
        if is_watched(self.promises, &failure) {
            self.failure.get_or_insert(failure);
        }
    }
}

/// Whether nobody who lies has this key; twins share one.
fn is_honest(index_of: &BTreeMap<PublicKey, Vec<usize>>, nodes: &[Node], key: &PublicKey) -> bool {
    let holders = index_of.get(key);
    holders.is_some_and(|holders| holders.iter().all(|node| nodes[*node].is_honest()))
}
