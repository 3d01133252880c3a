//! Completes what this seat holds. A quorum has its fragments of a payload when a transaction names
//! it, and this seat may not be among them: it was down, or slow. It makes its own fragment from
//! the others' then. Updates are not seen to here: who folds them has to have them anyway.

use crate::node::Node;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use twinfold_types::{Action, BlobId, PublicKey, SignedTx};

/// A fragment may be on its way still; and between two attempts.
const PAUSE: Duration = Duration::from_secs(3);
/// Attempts at one payload; the ledger goes on naming what is given up here.
const ATTEMPTS: u32 = 40;
/// Payloads that wait; a transaction names a few at most.
pub const WAITING_MAX: usize = 4_096;

/// A payload that the ledger names, and by whom.
pub struct Named {
    blob: BlobId,
    by: PublicKey,
}

struct Waiting {
    named: Named,
    attempts: u32,
    due: Instant,
}

/// The payloads that a transaction names and each seat has to hold its part of.
pub fn named(tx: &SignedTx) -> Vec<Named> {
    let folded = matches!(tx.body.action, Action::Update(_));
    let payloads = tx.body.action.payloads().into_iter().filter(|_| !folded);
    payloads.map(|payload| Named { blob: payload.blob, by: tx.body.sender }).collect()
}

/// Runs for the life of the node.
pub async fn complete(node: Arc<Node>, mut incoming: mpsc::Receiver<Named>) {
    let mut waiting = VecDeque::new();
    loop {
        let due = waiting.front().map(|first: &Waiting| first.due);
        tokio::select! {
            named = incoming.recv(), if waiting.len() < WAITING_MAX => match named {
                Some(named) => waiting.push_back(Waiting { named, attempts: 0, due: Instant::now() + PAUSE }),
                None => return,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some(first) = waiting.pop_front() {
                    waiting.extend(attempt(&node, first).await);
                }
            }
        }
    }
}

/// What is to be tried again comes back.
async fn attempt(node: &Node, waiting: Waiting) -> Option<Waiting> {
    node.seat()?;
    let Waiting { named, attempts, .. } = waiting;
    let error = node.exchange.ensure(&named.blob, named.by).await.err()?;
    let payload = named.blob.digest();
    if attempts + 1 == ATTEMPTS {
        tracing::warn!(%payload, %error, "this seat's fragment cannot be made: given up");
        return None;
    }
    tracing::debug!(%payload, %error, "this seat's fragment cannot be made yet");
    Some(Waiting { named, attempts: attempts + 1, due: Instant::now() + PAUSE })
}
