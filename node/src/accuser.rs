//! Brings evidence to the ledger, as the docket says, in transactions of this node's member.

use crate::{
    clock,
    node::{Node, SubmitError},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use twinfold_consensus::{Answer, Docket};
use twinfold_types::{Evidence, tx::Action};

const INTERVAL: Duration = Duration::from_secs(2);

/// Runs for the life of the node.
pub async fn accuse(node: Arc<Node>, mut incoming: mpsc::Receiver<Evidence>) {
    let mut docket = Docket::default();
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            evidence = incoming.recv() => match evidence {
                Some(evidence) => docket.add(clock::now(), evidence),
                None => return,
            },
            _ = interval.tick() => {
                let running = node.reader.committee().epoch;
                let waits = |id: &_| node.pool.contains(id);
                docket.tend(clock::now(), running, waits, |evidence| bring(&node, evidence));
            }
        }
    }
}

fn bring(node: &Node, evidence: &Evidence) -> Answer {
    match node.submit_own(Action::Accuse(Box::new(evidence.clone()))) {
        Ok(id) => Answer::Waits(id),
        Err(SubmitError::Refused(code)) => {
            tracing::info!(reason = code.text(), "the ledger refuses this evidence");
            Answer::Refused(code)
        }
        Err(error) => {
            tracing::debug!(%error, "evidence was not taken");
            Answer::NotNow
        }
    }
}
