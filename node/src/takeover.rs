//! A seat that this node's member took over at the end of an epoch: its part of every payload
//! that the ledger names is made from the others', and then the ledger is told. Until then elections
//! replace nobody (`twinfold_ledger`, `stake/takeover.rs`), and whoever had the seat serves what it has.

use crate::{
    blobs::BlobError,
    node::{Node, SubmitError},
};
use std::{sync::Arc, time::Duration};
use twinfold_types::{
    Action, Height,
    blob::BlobReference,
    keeping::Takeover,
    state_key::{self, Prefix},
};

/// Between attempts, when something was not to be had.
const RETRY: Duration = Duration::from_secs(10);
const PAGE: usize = 64;

/// Runs for the life of the node.
pub async fn take_over(node: Arc<Node>) {
    let mut heads = node.heads.clone();
    loop {
        match is_awaited(&node) {
            Ok(false) => {}
            Ok(true) => match complete(&node).await {
                Ok(made) => {
                    tracing::info!(payloads = made, "this seat's part of every payload is here");
                    say(&node, &mut heads).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the seat cannot be taken over yet: trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            },
            Err(error) => tracing::error!(%error, "cannot read which seats changed hands"),
        }
        if heads.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the ledger waits for this node's word.
fn is_awaited(node: &Node) -> Result<bool, BlobError> {
    let Some(seat) = node.seat() else { return Ok(false) };
    let waiting: Option<Takeover> = node.reader.get(&state_key::takeover(seat))?;
    Ok(waiting.is_some_and(|waiting| waiting.by == node.own))
}

/// Makes what is missing; how many payloads there are.
async fn complete(node: &Node) -> Result<u64, BlobError> {
    let mut beyond: Option<Vec<u8>> = None;
    let mut payloads = 0;
    loop {
        let prefix = Prefix::BlobReference.scan();
        let rows = node.reader.scan::<BlobReference>(&prefix, beyond.as_deref(), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(payloads) };
        beyond = Some(last.clone());
        for (_, reference) in rows {
            payloads += 1;
            match node.exchange.ensure(&reference.blob, reference.by).await {
                // One that was cut by a liar has no fragments to be made.
                Ok(()) | Err(BlobError::Misencoded { .. }) => {}
                Err(error) if is_kept(node, &reference)? => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// It may have been released meanwhile.
fn is_kept(node: &Node, reference: &BlobReference) -> Result<bool, BlobError> {
    let key = state_key::blob_reference(&reference.blob.digest());
    Ok(node.reader.get::<BlobReference>(&key)?.is_some())
}

/// Tells the ledger, and waits until it knows or the transaction has had its time.
async fn say(node: &Node, heads: &mut tokio::sync::watch::Receiver<Height>) {
    match node.submit_own(Action::TakeOver) {
        Ok(_) | Err(SubmitError::Refused(_)) => {}
        Err(error) => tracing::debug!(?error, "the takeover cannot be said yet"),
    }
    let known =
        async { while is_awaited(node).unwrap_or(true) && heads.changed().await.is_ok() {} };
    tokio::time::timeout(RETRY, known).await.ok();
}
