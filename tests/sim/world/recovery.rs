//! More seats than the committee bears are lost for good; the admins name who goes on from what
//! the others hold, and each operator accepts it in his own time (P21).

use super::{Action, World};
use std::collections::BTreeSet;
use twinfold_types::{
    Committee, PublicKey, TimeMs,
    quorum::Seat,
    stake::{Candidate, Jail},
    state_key,
};

const SEATS_MIN: usize = 4;
/// From the loss until somebody has decided that it is one.
const DECIDE_MS: (u64, u64) = (2_500, 6_000);
/// No run sees the end of the epoch that a recovery begins: lost members could be elected again.
const LASTS_MS: u64 = 3_600_000;

impl World {
    /// So many seats vanish with their disks that no quorum is left, and so few liars stay that
    /// those who stay can go on.
    pub(super) fn lose(&mut self) {
        let Some(newest) = self.highest_standing() else { return };
        let committee = self.nodes[newest].disk.running().clone();
        let most = committee.quorum() - 1;
        if most < SEATS_MIN {
            return;
        }
        let count = self.dice.between(SEATS_MIN as u64, most as u64) as usize;
        let Some(staying) = self.draw_staying(&committee, count) else { return };
        let leaving = committee.seats.iter().filter(|seat| !staying.contains(&seat.validator));
        let leaving: Vec<usize> =
            leaving.flat_map(|seat| self.index_of[&seat.validator].clone()).collect();
        for node in leaving {
            self.note(|| format!("{node} is lost for good"));
            self.crash(node);
            self.nodes[node].lost = true;
        }
        let delay = self.dice.between(DECIDE_MS.0, DECIDE_MS.1);
        self.at(delay, Action::Recover);
    }

    fn draw_staying(&mut self, committee: &Committee, count: usize) -> Option<BTreeSet<PublicKey>> {
        let mut seats: Vec<PublicKey> = committee.seats.iter().map(|seat| seat.validator).collect();
        let (mut staying, mut liars) = (BTreeSet::new(), 0);
        while staying.len() < count {
            let key = match seats.len() {
                0 => return None,
                left => seats.swap_remove(self.dice.index(left)),
            };
            let lies = !self.is_honest_key(&key);
            if lies && liars == (count - 1) / 3 {
                continue;
            }
            liars += usize::from(lies);
            staying.insert(key);
        }
        Some(staying)
    }

    /// All who are left are stopped, and a statement is made of the highest that any of them holds.
    pub(super) fn recover(&mut self) {
        let left: Vec<usize> = (0..self.nodes.len()).filter(|it| !self.nodes[*it].lost).collect();
        left.iter().for_each(|node| self.crash(*node));
        for node in left.iter().copied() {
            if self.nodes[node].is_honest() {
                self.execute_committed(node);
            }
        }
        let Some(newest) = self.highest_standing() else { return };
        let ended = self.nodes[newest].disk.voting_committee().clone();
        let seats = self.seats_left(newest);
        let liars = seats.iter().filter(|seat| !self.is_honest_key(&seat.validator)).count();
        let bears = seats.len() >= SEATS_MIN && liars <= (seats.len() - 1) / 3;
        if !bears || seats.len() >= ended.quorum() {
            return self.come_back();
        }
        let epoch = self.checks.one_committee.newest().next();
        let statement = self.nodes[newest].disk.draft(epoch, seats, TimeMs(self.now_ms + LASTS_MS));
        self.note(|| format!("a recovery keeps height {}", statement.kept.height));
        let kept = statement.kept.height;
        self.checks.agreement.forget_above(kept);
        self.checks.determinism.forget_above(kept);
        self.checks.durability.forget_above(kept);
        let rows = |prefix| self.nodes[newest].disk.ledger.rows_of(prefix);
        let results = [
            self.checks.conserved.begin_again(kept, &rows),
            self.checks.one_committee.elected(newest, &statement.committee),
        ];
        results.into_iter().for_each(|result| self.check(result));
        self.recovery = Some(statement);
        // A liar that knows more of the old epoch could tell those who have not accepted: they
        // would have to begin anew.
        let knows_more = |node: &usize| self.nodes[*node].disk.decided_height() > kept;
        let some_late = !left.iter().any(knows_more);
        for node in left {
            self.accept_soon(node, some_late);
        }
    }

    /// Some are started again before their operator has heard of it.
    fn accept_soon(&mut self, node: usize, some_late: bool) {
        let pause = self.dice.between(100, 3_000);
        if self.dice.chance(25) && some_late {
            self.at(pause, Action::Restart { node });
            let later = self.dice.between(4_000, 8_000);
            self.at(later, Action::Accept { node });
        } else {
            self.at(pause, Action::Accept { node });
        }
    }

    pub(super) fn accept(&mut self, node: usize) {
        let Some(statement) = self.recovery.clone().filter(|_| !self.nodes[node].lost) else {
            return;
        };
        self.crash(node);
        self.note(|| format!("{node} accepts the recovery"));
        let accepted = self.nodes[node].disk.accept(&statement);
        if self.nodes[node].is_honest() {
            self.check(accepted.map_err(|error| format!("recovery: node {node}: {error}")));
        }
        self.restart(node);
    }

    /// A process died between its journal and its ledger. Where the log has a certificate and not
    /// its blocks, this node must not go on without them: it is lost too.
    fn execute_committed(&mut self, node: usize) {
        let Some(blocks) = self.nodes[node].disk.committed_above() else {
            self.note(|| format!("{node} lacks blocks that are committed"));
            self.nodes[node].lost = true;
            return;
        };
        for (block, certificate) in blocks {
            let (height, digest) = (block.header.height, block.digest());
            let agreed = self.checks.agreement.committed(node, height, digest);
            self.check(agreed);
            block.txs.iter().for_each(|tx| self.nodes[node].pool.executed(&tx.id()));
            let executed = self.nodes[node].disk.execute(block, certificate, &|_| 0);
            self.watch_execution(node, &executed);
        }
    }

    /// Seats of the running committee that go on.
    fn seats_left(&self, newest: usize) -> Vec<Seat> {
        let disk = &self.nodes[newest].disk;
        let stays = |seat: &&Seat| {
            let nodes = &self.index_of[&seat.validator];
            let candidate: Option<Candidate> =
                disk.ledger.get(&state_key::candidate(&seat.validator));
            let barred = matches!(
                candidate.map(|candidate| candidate.jail),
                None | Some(Some(Jail::Guilty | Jail::Expelled))
            );
            !barred && nodes.iter().all(|node| !self.nodes[*node].lost)
        };
        disk.running().seats.iter().filter(stays).cloned().collect()
    }

    /// What was lost is found again, with its disks.
    fn come_back(&mut self) {
        self.note(|| "no recovery is possible: the lost come back".into());
        for node in 0..self.nodes.len() {
            self.nodes[node].lost = false;
            let pause = self.dice.between(100, 3_000);
            self.at(pause, Action::Restart { node });
        }
    }

    fn highest_standing(&self) -> Option<usize> {
        self.standing().max_by_key(|node| node.disk.head().height).map(|node| node.index)
    }

    fn is_honest_key(&self, key: &PublicKey) -> bool {
        let nodes = self.index_of.get(key);
        nodes.is_some_and(|nodes| nodes.iter().all(|node| self.nodes[*node].is_honest()))
    }
}
