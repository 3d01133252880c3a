//! From what the core knows to sentences that say what is missing and what to do.

use crate::node::Node;
use twinfold_consensus::{Diagnosis, Forgotten, InFlight, Silent};
use twinfold_types::{
    Committee, SeatIndex,
    api::{DiagnosisView, InFlightView},
};

/// What this node can tell of itself and the others.
struct Case<'a> {
    known: Diagnosis,
    committee: &'a Committee,
    /// Names by seat.
    names: Vec<String>,
    reachable: Vec<SeatIndex>,
    halted: Option<String>,
    /// What peers tell of a recovery that is not accepted here.
    recovery: Option<String>,
}

pub fn view(node: &Node) -> DiagnosisView {
    let committee = node.reader.committee();
    let connected = node.links.connected();
    let name = |key| node.genesis.validators.iter().find(|validator| validator.key == key);
    let names = committee.seats.iter().map(|seat| {
        name(seat.key).map_or_else(|| seat.key.short(), |validator| validator.name.clone())
    });
    let seats = (0u16..).map(SeatIndex).zip(&committee.seats);
    let heard = seats.filter(|(_, seat)| seat.key == node.own || connected.contains(&seat.key));
    Case {
        known: node.diagnosis.borrow().clone(),
        committee: &committee,
        names: names.collect(),
        reachable: heard.map(|(index, _)| index).collect(),
        halted: node.halted.lock().clone(),
        recovery: node.recovery_told(),
    }
    .view()
}

impl Case<'_> {
    fn view(&self) -> DiagnosisView {
        let known = &self.known;
        let in_flight = |at: &InFlight| InFlightView {
            height: at.height,
            proposed: at.proposed,
            body_held: at.body_held,
            prepared_by: self.named(&at.prepared_by),
            committed_by: self.named(&at.committed_by),
        };
        DiagnosisView {
            findings: self.findings(),
            doing: self.doing(),
            view: known.view,
            installed: known.installed,
            leader: self.name(self.leader()),
            committed: known.committed,
            executed: known.executed,
            stable: known.stable,
            reachable: self.named(&self.reachable),
            unreachable: self.named(&self.others(&self.reachable)),
            quorum: self.committee.quorum() as u32,
            heights: known.heights.iter().map(in_flight).collect(),
        }
    }

    fn name(&self, seat: SeatIndex) -> String {
        self.names.get(seat.index()).cloned().unwrap_or_else(|| format!("seat {seat}"))
    }

    fn named(&self, seats: &[SeatIndex]) -> Vec<String> {
        seats.iter().map(|seat| self.name(*seat)).collect()
    }

    fn list(&self, seats: &[SeatIndex]) -> String {
        self.named(seats).join(", ")
    }

    fn others(&self, seats: &[SeatIndex]) -> Vec<SeatIndex> {
        let all = (0..self.committee.size() as u16).map(SeatIndex);
        all.filter(|seat| !seats.contains(seat)).collect()
    }

    fn leader(&self) -> SeatIndex {
        self.committee.leader(self.known.view)
    }

    /// "2 of 3 needed, missing c, d".
    fn lacks(&self, seats: &[SeatIndex]) -> String {
        let (have, need) = (seats.len(), self.committee.quorum());
        format!("{have} of {need} needed, missing {}", self.list(&self.others(seats)))
    }

    fn doing(&self) -> String {
        let known = &self.known;
        if self.halted.is_some() {
            return "taking no part".into();
        }
        if known.view > known.installed {
            return format!("changing from view {} to view {}", known.installed, known.view);
        }
        match (known.silent, known.heights.first()) {
            (Some(Silent::Asking { answered, needed }), _) => format!(
                "asking what it signed before it started: {answered} of {needed} have answered"
            ),
            (Some(Silent::Until(_)), _) => "following, and signing nothing".into(),
            (None, Some(at)) => format!("ordering height {} in view {}", at.height, known.view),
            (None, None) if known.work => format!("waiting for a proposal of view {}", known.view),
            (None, None) => "idle: nothing waits to be ordered".into(),
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(reason) = &self.halted {
            found.push(format!("this node has stopped: {reason}"));
        }
        found.extend(self.recovery.clone());
        self.reach(&mut found);
        self.dropped(&mut found);
        found.extend(self.known.silent.as_ref().and_then(silence));
        self.roots(&mut found);
        if self.known.view > self.known.installed {
            found.push(self.view_change());
        } else if let Some(at) = self.known.heights.first() {
            found.extend(self.height(at));
        } else if self.known.work && !self.reachable.contains(&self.leader()) {
            let leader = self.name(self.leader());
            found.push(format!(
                "something waits, and the leader {leader} is not connected: its view ends by time-out"
            ));
        }
        let behind = self.known.committed.0.saturating_sub(self.known.executed.0);
        if behind > 1 {
            found.push(format!("execution here is {behind} heights behind what is committed"));
        }
        found
    }

    fn reach(&self, found: &mut Vec<String>) {
        let missing = self.others(&self.reachable);
        if missing.is_empty() {
            return;
        }
        let (heard, all) = (self.reachable.len(), self.committee.size());
        let quorum = self.committee.quorum();
        let names = self.list(&missing);
        found.push(match quorum.checked_sub(heard).filter(|lacking| *lacking > 0) {
            Some(lacking) => format!(
                "only {heard} of {all} validators are connected and {quorum} are needed: nothing can be \
                 agreed on until {lacking} more of {names} run and can be reached"
            ),
            None => format!("not connected: {names}; the others are enough to go on"),
        });
    }

    /// Catching up is over where everyone who answers has dropped what is needed.
    fn dropped(&self, found: &mut Vec<String>) {
        if let Some(first) = self.known.kept.values().min() {
            found.push(format!(
                "{} peers keep blocks from height {first} on only, and this node has {}: it needs a node that \
                 keeps everything, or a new folder that starts from a checkpoint",
                self.known.kept.len(), self.known.committed
            ));
        }
    }

    fn roots(&self, found: &mut Vec<String>) {
        for (height, roots) in self.known.roots.iter().filter(|(_, roots)| roots.len() > 1) {
            let signed = roots
                .iter()
                .map(|(root, seats)| format!("{} by {}", root.short(), self.list(seats)));
            let signed: Vec<_> = signed.collect();
            found.push(format!(
                "at height {height} different state roots are signed: {}; compare the nodes' versions",
                signed.join("; ")
            ));
        }
    }

    fn view_change(&self) -> String {
        let known = &self.known;
        let (view, leader) = (known.view, self.name(self.leader()));
        if known.changing.len() < self.committee.quorum() {
            return format!("view {view} lacks view changes: {}", self.lacks(&known.changing));
        }
        format!(
            "enough ask for view {view}: its leader {leader} must send the new view; without it the next \
             leader follows by time-out"
        )
    }

    /// What the lowest height in flight waits for.
    fn height(&self, at: &InFlight) -> Option<String> {
        let (height, quorum) = (at.height, self.committee.quorum());
        if !at.body_held {
            return Some(format!("height {height} is voted on, but its block has not come yet"));
        }
        if at.prepared_by.len() < quorum {
            return Some(format!(
                "height {height} lacks prepares: {}",
                self.lacks(&at.prepared_by)
            ));
        }
        let lacking = at.committed_by.len() < quorum;
        lacking.then(|| format!("height {height} lacks commits: {}", self.lacks(&at.committed_by)))
    }
}

/// Asking is over in a moment where enough are connected; that they are not is told by itself.
fn silence(silent: &Silent) -> Option<String> {
    match silent {
        Silent::Asking { .. } => None,
        Silent::Until(Forgotten { height, .. }) => Some(format!(
            "this validator signs nothing: others have seen signatures of its that are not in its journal, as \
             after a restored backup; it takes part again after a stable checkpoint beyond height {height}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use twinfold_types::{Digest, Epoch, Height, PublicKey, View, quorum::Seat};

    fn committee() -> Committee {
        let seat = |number| Seat::of(PublicKey([number; 32]), "o");
        Committee::new(Epoch(0), (1..=4).map(seat).collect())
    }

    fn seats(numbers: &[u16]) -> Vec<SeatIndex> {
        numbers.iter().copied().map(SeatIndex).collect()
    }

    fn findings(reachable: &[u16], known: Diagnosis) -> Vec<String> {
        let committee = committee();
        let names = ["ada", "ben", "cleo", "dora"].map(String::from).to_vec();
        Case {
            known,
            committee: &committee,
            names,
            reachable: seats(reachable),
            halted: None,
            recovery: None,
        }
        .findings()
    }

    #[test]
    fn a_healthy_idle_network_has_no_findings() {
        assert_eq!(findings(&[0, 1, 2, 3], Diagnosis::default()), Vec::<String>::new());
    }

    #[test]
    fn too_few_to_agree_and_one_too_few_are_told_apart() {
        let found = findings(&[0, 1], Diagnosis::default());
        assert!(
            found[0].contains("2 of 4") && found[0].contains("1 more of cleo, dora"),
            "{found:?}"
        );
        let found = findings(&[0, 1, 3], Diagnosis::default());
        assert!(found[0].contains("cleo; the others are enough"), "{found:?}");
    }

    #[test]
    fn the_quorum_that_lacks_votes_is_named_with_those_missing() {
        let at = InFlight {
            height: Height(7),
            proposed: true,
            body_held: true,
            prepared_by: seats(&[0, 1, 2]),
            committed_by: seats(&[0, 2]),
        };
        let known = Diagnosis { heights: vec![at.clone()], ..Diagnosis::default() };
        let found = findings(&[0, 1, 2, 3], known);
        assert_eq!(found, ["height 7 lacks commits: 2 of 3 needed, missing ben, dora"]);
        let early = InFlight { prepared_by: seats(&[3]), ..at };
        let known = Diagnosis { heights: vec![early], ..Diagnosis::default() };
        assert!(findings(&[0, 1, 2, 3], known)[0].contains("lacks prepares: 1 of 3"));
    }

    #[test]
    fn a_view_change_says_who_has_not_asked_or_that_the_leader_is_awaited() {
        let few = Diagnosis { view: View(2), changing: seats(&[1]), ..Diagnosis::default() };
        let found = findings(&[0, 1, 2, 3], few.clone());
        assert!(
            found[0].contains("view 2 lacks view changes: 1 of 3 needed, missing ada"),
            "{found:?}"
        );
        let enough = Diagnosis { changing: seats(&[0, 1, 2]), ..few };
        assert!(findings(&[0, 1, 2, 3], enough)[0].contains("must send the new view"));
    }

    #[test]
    fn differing_roots_name_their_signers() {
        let roots = [(Digest([1; 32]), seats(&[0, 1])), (Digest([2; 32]), seats(&[3]))];
        let roots = BTreeMap::from([(Height(16), BTreeMap::from(roots))]);
        let found = findings(&[0, 1, 2, 3], Diagnosis { roots, ..Diagnosis::default() });
        assert!(found[0].contains("by ada, ben; ") && found[0].contains("by dora"), "{found:?}");
    }
}
