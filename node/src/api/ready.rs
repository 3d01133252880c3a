//! Whether a node can serve: it takes part, hears a quorum, and is not far behind.

use crate::node::Node;
use twinfold_types::{Height, limits, quorum};

/// Heights behind the others, or executed behind committed, that are still normal.
const BEHIND_MAX: u64 = limits::WATERMARK_HEIGHTS;

#[derive(Clone, Debug)]
pub struct Standing {
    pub halted: Option<String>,
    /// What peers tell of a recovery that is not accepted here.
    pub recovery: Option<String>,
    /// Seats of the committee, and how many of them this node hears (its own included).
    pub seats: usize,
    pub heard: usize,
    pub committed: Height,
    pub executed: Height,
    /// What other seats told of their newest committed height.
    pub others: Vec<Height>,
}

impl Standing {
    pub fn of(node: &Node) -> Self {
        let (committee, connected) = (node.reader.committee(), node.links.connected());
        let keys = || committee.seats.iter().map(|seat| seat.key);
        let others = keys().filter(|key| *key != node.own);
        Self {
            halted: node.halted.lock().clone(),
            recovery: node.recovery_told(),
            seats: committee.size(),
            heard: keys().filter(|key| *key == node.own || connected.contains(key)).count(),
            committed: node.agreement.borrow().committed,
            executed: *node.heads.borrow(),
            others: others.filter_map(|key| node.metrics.committed_of(&key)).collect(),
        }
    }

    /// Why the node is not ready, if it is not: what is wrong, and what to do.
    pub fn fault(&self) -> Option<(String, String)> {
        if let Some(reason) = &self.halted {
            let hint = "its data are kept for inspection; see docs/operations.md";
            return Some((format!("the node takes part no longer: {reason}"), hint.into()));
        }
        if let Some(notice) = &self.recovery {
            let hint = "see docs/operations.md, \"When more than a third is lost for good\"";
            return Some((notice.clone(), hint.into()));
        }
        let quorum = quorum::quorum(self.seats);
        if self.heard < quorum {
            let (heard, seats) = (self.heard, self.seats);
            return Some((
                format!("connected to {heard} of {seats} seats, a quorum is {quorum}"),
                "check that the other validators run, their addresses, and the genesis digests"
                    .into(),
            ));
        }
        let (committed, executed) = (self.committed.0, self.executed.0);
        let told = self.told();
        if told.0.saturating_sub(committed.max(executed)) > BEHIND_MAX {
            let error = format!("at height {committed}, others told of {told}");
            return Some((error, "it is catching up: wait, or look at its log".into()));
        }
        if committed.saturating_sub(executed) > BEHIND_MAX {
            let error = format!("executed height {executed} of {committed} committed");
            return Some((error, "execution is catching up: wait".into()));
        }
        None
    }

    /// A height that at least one honest seat has reached: f liars cannot raise it.
    fn told(&self) -> Height {
        let mut heights = self.others.clone();
        heights.sort_unstable_by(|a, b| b.cmp(a));
        heights.get(quorum::faults(self.seats)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            halted: None,
            recovery: None,
            seats: 4,
            heard: 4,
            committed: Height(1_000),
            executed: Height(1_000),
            others: vec![Height(1_001), Height(1_000), Height(999)],
        }
    }

    fn fault(change: impl FnOnce(&mut Standing)) -> Option<String> {
        let mut standing = standing();
        change(&mut standing);
        standing.fault().map(|(error, _)| error)
    }

    #[test]
    fn a_node_that_follows_is_ready() {
        assert_eq!(fault(|_| {}), None);
        assert_eq!(fault(|standing| standing.heard = 3), None, "one may be down");
    }

    #[test]
    fn a_node_that_halted_says_why() {
        let told = fault(|standing| standing.recovery = Some("by a recovery".into())).unwrap();
        assert!(told.contains("by a recovery"));
        let error = fault(|standing| standing.halted = Some("roots differ".into())).unwrap();
        assert!(error.contains("roots differ"));
    }

    #[test]
    fn without_a_quorum_it_is_not_ready() {
        let error = fault(|standing| standing.heard = 2).unwrap();
        assert!(error.contains("2 of 4") && error.contains("quorum is 3"), "{error}");
    }

    #[test]
    fn it_is_behind_only_when_more_than_f_seats_say_so() {
        let far = Height(5_000);
        assert_eq!(fault(|standing| standing.others[0] = far), None, "one may lie");
        let error = fault(|standing| standing.others = vec![far, far]).unwrap();
        assert!(error.contains("5000"), "{error}");
    }

    #[test]
    fn execution_far_behind_agreement_is_not_ready() {
        assert!(fault(|standing| standing.executed = Height(800)).unwrap().contains("800"));
    }
}
