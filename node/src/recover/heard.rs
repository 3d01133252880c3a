//! What a running node hears of a recovery that its operator has not accepted: enough of the
//! admins that its own state knows signed that its chain went on without it. It follows nothing
//! of it; it says so, and what its operator may do.

use crate::node::Node;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use twinfold_ledger::LedgerError;
use twinfold_types::{
    Digest, Height,
    genesis::ChainParams,
    key::Verifier,
    member::{Member, Role},
    recovery::Recovery,
    state_key,
};

/// Between two looks at what peers send of it: signatures are checked.
const PAUSE: Duration = Duration::from_secs(1);

/// What was heard, and when that was looked at last. One node that accepts early must not stop the
/// others: they go on as before, and forget it once they have ordered more than it keeps.
#[derive(Default)]
pub struct Heard {
    looked: Mutex<Option<Instant>>,
    told: Mutex<Option<Told>>,
}

struct Told {
    kept: Height,
    digest: Digest,
}

impl Heard {
    /// What the operator must know, while this node stands at a height.
    pub fn notice(&self, head: Height) -> Option<String> {
        let mut told = self.told.lock();
        *told = told.take().filter(|told| head <= told.kept);
        let Told { kept, digest } = told.as_ref()?;
        Some(format!(
            "the chain goes on from height {kept} by a recovery that this node's operator has not \
             accepted, {digest}: compare the digest with the other operators, then stop this node and \
             run `twinfold-node recover accept` with the statement's file"
        ))
    }

    fn tell(&self, recovery: &Recovery) {
        let (kept, digest) = (recovery.statement.kept.height, recovery.digest());
        *self.told.lock() = Some(Told { kept, digest });
    }

    fn may_look(&self) -> bool {
        let mut last = self.looked.lock();
        let due = last.is_none_or(|at| at.elapsed() >= PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// A peer says that the epoch in which this node stands was ended by the admins.
pub fn note(node: &Arc<Node>, recovery: Recovery) {
    if node.recovery_told().is_some() || !node.heard.may_look() {
        return;
    }
    let node = node.clone();
    tokio::task::spawn_blocking(move || match concerns(&node, &recovery) {
        Ok(true) => {
            node.heard.tell(&recovery);
            node.recovery_told().iter().for_each(|notice| tracing::error!("{notice}"));
        }
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "cannot judge a recovery that a peer tells of"),
    });
}

/// Whether it is of the epoch in which this node stands, not accepted, and signed by enough of
/// whom this node knows as admins.
fn concerns(node: &Node, recovery: &Recovery) -> Result<bool, LedgerError> {
    let (reader, statement) = (&node.reader, &recovery.statement);
    let accepted = reader.recoveries()?;
    let epoch = reader.voting_committee()?.epoch;
    let known = accepted.iter().any(|other| other.digest() == recovery.digest());
    // Ordering more than it keeps needed a quorum: here it has ended nothing.
    let passed = reader.head().height > statement.kept.height;
    if known || passed || !(statement.kept.epoch..statement.committee.epoch).contains(&epoch) {
        return Ok(false);
    }
    let params: Option<ChainParams> = reader.get(&state_key::params())?;
    let mut admins = 0;
    for (key, _) in &recovery.signatures {
        let member: Option<Member> = reader.get(&state_key::member(key))?;
        if !member.is_some_and(|member| member.has(Role::Admin)) {
            return Ok(false);
        }
        admins += 1;
    }
    let verifier: &dyn Verifier = &*node.door.verifier;
    let enough = params.is_some_and(|params| admins >= params.threshold);
    Ok(enough && recovery.verify(&node.chain, verifier).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_forgotten_once_more_is_ordered_than_it_keeps() {
        let heard = Heard::default();
        assert_eq!(heard.notice(Height(1)), None);
        *heard.told.lock() = Some(Told { kept: Height(5), digest: Digest([7; 32]) });
        assert!(heard.notice(Height(5)).unwrap().contains("recover accept"));
        assert_eq!(heard.notice(Height(6)), None);
        assert_eq!(heard.notice(Height(5)), None, "it is gone");
    }
}
