//! What honest nodes sign, sync, say and commit, held against the invariants.

use super::World;
use crate::{invariants::bounded, plan::WorldFault};
use twinfold_consensus_planted::{Effect, Evidence, Record};
use twinfold_types::{
    Block, Height, SeatIndex,
    message::ConsensusMessage,
    vote::{Certificate, Vote},
};

impl World {
    /// What an honest seat is called; none for liars and observers.
    fn honest_seat(&self, node: usize) -> Option<SeatIndex> {
        self.nodes[node].config.seat.filter(|_| self.nodes[node].is_honest())
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
            let result = self.counted.made(seat, certificate);
            self.check(result);
        }
    }

    /// Its records are synced.
    pub(super) fn watch_sync(&mut self, node: usize, records: &[Record]) {
        let Some(seat) = self.honest_seat(node) else { return };
        for record in records {
            match record {
                Record::Vote(vote) => self.counted.synced(seat, vote.body),
                Record::Block(block) => self.unbroken.exists(block),
                Record::NewView(new_view) => {
                    let result = self.one_base.installed(node, new_view);
                    self.check(result);
                }
                _ => {}
            }
        }
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
                let result = self.single_vote.changed(change);
                self.check(result);
            }
            _ => {}
        }
    }

    fn watch_vote(&mut self, node: usize, vote: &Vote) {
        let disk = &self.nodes[node].disk;
        let base = self.one_base.base(node, vote.body.view);
        let stable = disk.stable.as_ref().map_or(Height(0), |stable| stable.checkpoint.height);
        let in_ledger = disk.block(vote.body.height, &vote.body.digest).is_some();
        let results = [
            self.single_vote.spoke(vote),
            self.synced.spoke(vote, &disk.log, in_ledger),
            bounded::spoke(vote, stable, base),
            self.base_first.spoke(vote, base),
            self.unbroken.spoke(vote, base),
        ];
        for result in results {
            self.check(result);
        }
    }

    pub(super) fn watch_commit(&mut self, node: usize, block: &Block) {
        let (height, digest) = (block.header.height, block.digest());
        if let Some(seat) = self.honest_seat(node) {
            self.base_first.committed(seat, height);
            self.unbroken.committed(seat, height, digest);
        }
        if self.nodes[node].is_honest() {
            let agreement = self.agreement.committed(node, height, digest);
            let once = self.exactly_once.committed(node, height);
            self.durability.acknowledged(height, digest);
            self.check(agreement);
            self.check(once);
        }
    }

    pub(super) fn check_evidence(&mut self, evidence: &Evidence) {
        let seat = match evidence {
            Evidence::Votes(vote, _) => vote.seat,
            Evidence::ViewChanges(header, _) => header.seat,
            Evidence::Checkpoints(vote, _) => vote.seat,
        };
        if self.nodes[seat.index()].is_honest() {
            self.fail(format!("evidence names the honest seat {seat}: {evidence:?}"));
        }
    }

    pub(super) fn has(&self, fault: WorldFault) -> bool {
        self.plan.mistake == Some(crate::plan::Mistake::World(fault))
    }
}
