//! Brings evidence to the ledger: what this node saw a seat sign twice is ordered as a transaction,
//! and tried again until the ledger has punished it or never will.

use crate::node::{Node, SubmitError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use twinfold_types::{Code, Evidence, TxId, tx::Action};

/// Evidence waiting for the ledger.
pub const WAITING_MAX: usize = 64;
const INTERVAL: Duration = Duration::from_secs(2);
/// Evidence about a fold result holds only once the ledger has another one for the job: so long
/// that is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

struct Case {
    evidence: Evidence,
    since: Instant,
    /// The transaction that carries it, as last made.
    tx: Option<TxId>,
}

/// Runs for the life of the node.
pub async fn accuse(node: Arc<Node>, mut incoming: mpsc::Receiver<Evidence>) {
    let mut cases: Vec<Case> = Vec::new();
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            evidence = incoming.recv() => match evidence {
                Some(evidence) => {
                    let known = cases.iter().any(|case| case.evidence == evidence);
                    if !known && cases.len() < WAITING_MAX {
                        cases.push(Case { evidence, since: Instant::now(), tx: None });
                    }
                }
                None => return,
            },
            _ = interval.tick() => cases.retain_mut(|case| !is_settled(&node, case)),
        }
    }
}

/// Submits the evidence unless the ledger has it already; true when nothing is left to do.
fn is_settled(node: &Node, case: &mut Case) -> bool {
    if case.tx.is_some_and(|id| node.pool.contains(&id)) {
        return false;
    }
    let action = Action::Accuse(Box::new(case.evidence.clone()));
    match node.submit_own(action) {
        // Ordered soon, or lost: the next time the ledger knows it, or takes it again.
        Ok(id) => {
            case.tx = Some(id);
            case.since.elapsed() > PATIENCE
        }
        Err(SubmitError::Refused(Code::EvidenceInvalid)) => case.since.elapsed() > PATIENCE,
        Err(SubmitError::Refused(code)) => {
            tracing::info!(reason = code.text(), "the ledger is done with this evidence");
            true
        }
        Err(error) => {
            tracing::debug!(%error, "evidence was not taken");
            case.since.elapsed() > PATIENCE
        }
    }
}
