//! Passes on what clients brought: the transactions of a few milliseconds in one message, since
//! each message costs every node a system call and a switch of threads.
//!
//! A few go to the leader, whose block carries them whole to everyone; many go to everyone,
//! and the block names them: then the leader's link is not what bounds the network. What no
//! block took for a while goes to everyone in any case.

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use twinfold_types::SignedTx;

/// How long the first one waits for others.
const PAUSE: Duration = Duration::from_millis(2);
/// So much at once is many.
const MANY_BYTES: usize = 32 << 10;

pub async fn spread(node: Arc<Node>, mut outgoing: mpsc::Receiver<Vec<SignedTx>>) {
    while let Some(mut txs) = outgoing.recv().await {
        let until = Instant::now() + PAUSE;
        let mut bytes = size(&txs);
        while bytes < MANY_BYTES
            && let Ok(Some(more)) = tokio::time::timeout_at(until, outgoing.recv()).await
        {
            bytes += size(&more);
            txs.extend(more);
        }
        match node.leader() {
            Some(leader) if bytes < MANY_BYTES => node.forward(&leader, txs),
            _ => node.tell_all(txs),
        }
    }
}

fn size(txs: &[SignedTx]) -> usize {
    txs.iter().map(SignedTx::encoded_bytes).sum()
}
