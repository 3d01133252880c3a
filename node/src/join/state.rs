//! The state of a certified height, part by part: down the tree from its root, several parts
//! at once. What is kept from before is looked at first; its hash says whether it still holds.

use super::{Sources, Unserved};
use crate::blobs::wire::Request;
use std::sync::Arc;
use tokio::task::JoinSet;
use twinfold_ledger::{Joining, LedgerError};
use twinfold_types::{
    Digest, Height, limits,
    subtree::{Part, Subtree},
};

/// Parts asked for at once, for each peer that can be asked: it answers eight of one peer.
const PEER_AT_ONCE: usize = 6;
/// Parts are kept in batches, each with one sync.
const BATCH_PARTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;

type Place = (Vec<u8>, Digest);
type Answer = (Vec<u8>, Result<(Vec<u8>, Subtree), Unserved>);

/// Fetches what is missing. False when nobody serves this height's state any more.
pub async fn fetch(
    sources: &Arc<Sources>,
    joining: &Arc<Joining>,
    height: Height,
    root: Digest,
) -> Result<bool, LedgerError> {
    let mut walk = Walk { sources, joining, height, waiting: vec![], kept: vec![], bytes: 0 };
    walk.waiting.push((Vec::new(), root));
    let mut running: JoinSet<Answer> = JoinSet::new();
    loop {
        walk.begin(&mut running)?;
        match running.join_next().await {
            None => {
                walk.keep()?;
                return Ok(true);
            }
            Some(Ok((nibbles, Ok((bytes, part))))) => {
                walk.note(&nibbles, &part);
                walk.bytes += bytes.len();
                walk.kept.push((nibbles, bytes));
                if walk.kept.len() >= BATCH_PARTS || walk.bytes >= BATCH_BYTES {
                    walk.keep()?;
                }
            }
            Some(Ok((_, Err(Unserved))) | Err(_)) => {
                running.abort_all();
                while running.join_next().await.is_some() {}
                walk.keep()?;
                return Ok(false);
            }
        }
    }
}

struct Walk<'a> {
    sources: &'a Arc<Sources>,
    joining: &'a Arc<Joining>,
    height: Height,
    /// Parts still to be looked at: the deepest first, so that these stay few.
    waiting: Vec<Place>,
    /// Arrived and not yet written.
    kept: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Walk<'_> {
    fn begin(&mut self, running: &mut JoinSet<Answer>) -> Result<(), LedgerError> {
        let at_once = PEER_AT_ONCE * self.sources.usable().len().max(1);
        while running.len() < at_once
            && let Some((nibbles, hash)) = self.waiting.pop()
        {
            let here = self.joining.part(&nibbles)?;
            let here = here.and_then(|bytes| Subtree::decode(&bytes, &nibbles, &hash).ok());
            match here {
                Some(part) => self.note(&nibbles, &part),
                None => drop(running.spawn(ask(self.sources.clone(), self.height, nibbles, hash))),
            }
        }
        Ok(())
    }

    fn note(&mut self, nibbles: &[u8], part: &Subtree) {
        match part {
            Subtree::Rows(rows) => self.sources.progress.settled(nibbles.len(), rows.len()),
            Subtree::Parts(parts) => {
                for (nibble, part) in (0..).zip(parts.iter()) {
                    match part {
                        Part::Empty => self.sources.progress.settled(nibbles.len() + 1, 0),
                        part => self.waiting.push(([nibbles, &[nibble]].concat(), part.hash())),
                    }
                }
            }
        }
    }

    fn keep(&mut self) -> Result<(), LedgerError> {
        self.bytes = 0;
        self.joining.keep_parts(std::mem::take(&mut self.kept))
    }
}

async fn ask(sources: Arc<Sources>, height: Height, nibbles: Vec<u8>, hash: Digest) -> Answer {
    let request = Request::FetchState { height, nibbles: nibbles.clone() };
    let check =
        |bytes: &[u8]| Subtree::decode(bytes, &nibbles, &hash).map_err(|error| error.to_string());
    let answer = sources.ask(&request, limits::SUBTREE_ANSWER_BYTES_MAX, check).await;
    (nibbles, answer)
}
