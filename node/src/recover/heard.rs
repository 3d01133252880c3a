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
    genesis::ChainParams,
    key::Verifier,
    member::{Member, Role},
    recovery::Recovery,
    state_key,
};

/// Between two looks at what peers send of it: signatures are checked.
const PAUSE: Duration = Duration::from_secs(1);

/// When that was looked at last.
#[derive(Default)]
pub struct Heard(Mutex<Option<Instant>>);

impl Heard {
    fn may_look(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() >= PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// A peer says that the epoch in which this node stands was ended by the admins.
pub fn note(node: &Arc<Node>, recovery: Recovery) {
    if node.halted.lock().is_some() || !node.heard.may_look() {
        return;
    }
    let node = node.clone();
    tokio::task::spawn_blocking(move || match concerns(&node, &recovery) {
        Ok(true) => {
            let (height, digest) = (recovery.statement.kept.height, recovery.digest());
            let reason = format!(
                "the chain goes on from height {height} by a recovery that this node's operator has not \
                 accepted, {digest}: compare the digest with the other operators, then stop this node and \
                 run `twinfold-node recover accept` with the statement's file"
            );
            tracing::error!("{reason}");
            *node.halted.lock() = Some(reason);
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
    if known || !(statement.kept.epoch..statement.committee.epoch).contains(&epoch) {
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
