//! Evidence, from the machines to the ledger.

use super::{Action, START_MS, World};
use crate::invariants::{attribution, punished};
use twinfold_types::{Evidence, SeatIndex};

/// How often a node looks at what it wants to bring to the ledger.
const TEND_MS: u64 = 2_000;

impl World {
    /// A machine hands out evidence.
    pub(super) fn evidence(&mut self, node: usize, evidence: Evidence) {
        let (epoch, seat) = evidence.accused();
        let honest = self.honest_seats(epoch);
        let result = attribution::accused(&evidence, |seat: SeatIndex| honest.contains(&seat));
        self.check(result);
        let committee = self.checks.one_committee.get(epoch);
        let accused = committee.and_then(|committee| committee.validator(seat)).copied();
        let Some(accused) = accused.filter(|_| self.nodes[node].is_honest()) else { return };
        self.note(|| format!("{node} accuses seat {seat} of epoch {epoch}"));
        self.checks.punished.saw(node, epoch, accused, self.now_ms);
        let now = self.nodes[node].clock(self.now_ms);
        self.nodes[node].docket.add(now, evidence);
        if !self.nodes[node].tending {
            self.nodes[node].tending = true;
            let delay = self.dice.between(0, TEND_MS);
            self.tend_later(node, delay);
        }
    }

    fn tend_later(&mut self, node: usize, delay: u64) {
        let life = self.nodes[node].life;
        self.at(delay, Action::Tend { node, life });
    }

    /// What a node makes of its evidence reaches every pool.
    pub(super) fn tend_docket(&mut self, node: usize) {
        for tx in self.nodes[node].tend_docket(self.now_ms, &mut self.dice) {
            let number = self.txs.len();
            self.txs.push(tx);
            for peer in 0..self.nodes.len() {
                let delay = if peer == node { 0 } else { self.dice.between(0, 200) };
                self.at(delay, Action::Submit { node: peer, tx: number });
                self.submitting += 1;
            }
        }
        match self.nodes[node].docket.is_empty() {
            true => self.nodes[node].tending = false,
            false => self.tend_later(node, TEND_MS),
        }
    }

    /// Whoever is known to lie is slashed, in a network without faults within a stated time.
    pub(super) fn punishes(&mut self) -> Result<(), String> {
        let (then, evidence_ms) = (self.now_ms, self.nodes[0].disk.evidence_ms());
        while let Err(failure) = self.checks.punished.by(then, self.now_ms, evidence_ms) {
            if self.now_ms > then + punished::PUNISHED_MS_MAX {
                return Err(format!("{failure} by {}", self.now_ms - START_MS));
            }
            self.run_until(self.now_ms + 1_000, |_| false)?;
        }
        Ok(())
    }
}
