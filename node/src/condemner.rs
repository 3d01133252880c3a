//! Brings payloads that were cut by a liar to the ledger. What this node finds while it rebuilds or
//! reads is said in a transaction of its member, if that holds a seat; what other seats say is looked
//! at here too: f+1 must.

use crate::{
    blobs::BlobError,
    node::{Node, SubmitError},
};
use futures::TryStreamExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use twinfold_types::{
    BlobDigest, Height, PublicKey,
    state_key::{self, Prefix},
    tx::Action,
};

const LOOK: Duration = Duration::from_secs(2);
/// What could not be judged is tried again after so long, and longer each time.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// Rows of suspicions read at once.
const ROWS: usize = 256;
/// Suspects of this node that wait to be said.
pub const WAITING_MAX: usize = 64;

/// Runs for the life of the node.
pub async fn condemn(node: Arc<Node>, mut found: mpsc::Receiver<BlobDigest>) {
    let heads = node.heads.clone();
    let mut condemner = Condemner {
        node,
        heads,
        lies: BTreeSet::new(),
        judged: BTreeSet::new(),
        later: BTreeMap::new(),
    };
    let mut interval = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            digest = found.recv() => match digest {
                Some(digest) => drop(condemner.lies.insert(digest)),
                None => return,
            },
            _ = interval.tick() => condemner.look().await,
        }
    }
}

struct Condemner {
    node: Arc<Node>,
    heads: watch::Receiver<Height>,
    /// Found here and not said yet.
    lies: BTreeSet<BlobDigest>,
    /// Suspected by others and looked at: a lie is on its way to the ledger.
    judged: BTreeSet<BlobDigest>,
    /// When those that could not be judged are looked at again, and how long they wait then.
    later: BTreeMap<BlobDigest, (Instant, Duration)>,
}

impl Condemner {
    async fn look(&mut self) {
        if self.node.seat().is_none() {
            self.lies.clear();
            return;
        }
        if self.heads.has_changed().unwrap_or(false) || !self.later.is_empty() {
            self.heads.mark_unchanged();
            self.check_suspects().await;
        }
        let node = &self.node;
        self.lies.retain(|digest| match node.submit_own(Action::Condemn(*digest)) {
            Ok(_) => false,
            // Not named yet, said already, or settled.
            Err(SubmitError::Refused(code)) => {
                tracing::debug!(payload = %digest, reason = code.text(), "is not condemned");
                false
            }
            Err(_) => true,
        });
    }

    /// What others suspect is decoded and coded again here.
    async fn check_suspects(&mut self) {
        let prefix = Prefix::Suspicion.scan();
        let rows = match self.node.reader.scan::<BTreeSet<PublicKey>>(&prefix, None, ROWS) {
            Ok(rows) => rows,
            Err(error) => return tracing::error!(%error, "cannot read what is suspected"),
        };
        let named = |key: &[u8]| state_key::parse_suspicion(key);
        let suspects: BTreeMap<BlobDigest, BTreeSet<PublicKey>> =
            rows.into_iter().filter_map(|(key, says)| Some((named(&key)?, says))).collect();
        self.judged.retain(|digest| suspects.contains_key(digest));
        self.later.retain(|digest, _| suspects.contains_key(digest));
        for (digest, says) in suspects {
            let waits = self.later.get(&digest).is_some_and(|(again, _)| *again > Instant::now());
            if !waits && !says.contains(&self.node.own) && !self.judged.contains(&digest) {
                self.check(digest).await;
            }
        }
    }

    /// A lie is heard of by `found`, as whatever else is found here.
    async fn check(&mut self, digest: BlobDigest) {
        let judged = judge(&self.node, &digest).await;
        match judged {
            Ok(()) | Err(BlobError::Misencoded { .. }) => {
                self.later.remove(&digest);
                self.judged.insert(digest);
            }
            Err(error) => {
                tracing::debug!(payload = %digest, %error, "cannot be judged yet");
                let pause = self.later.get(&digest).map_or(RETRY, |(_, pause)| *pause);
                let next = (Instant::now() + pause, (pause * 2).min(RETRY_MAX));
                self.later.insert(digest, next);
            }
        }
    }
}

async fn judge(node: &Node, digest: &BlobDigest) -> Result<(), BlobError> {
    let gather = node.exchange.gather(digest).await?;
    let mut parts = Box::pin(gather.checked_content()?);
    while parts.try_next().await?.is_some() {}
    Ok(())
}
