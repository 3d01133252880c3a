//! Getting content back: any k fragments of it, from whoever holds them, this node included, run
//! by run of stripes and several runs ahead. Each group is held against the holder's hashes,
//! which are held against the identity; who sends a false one is named and left out, and so is
//! who breaks off or is slow: another's fragment takes its place from that run on.

use super::{
    BlobError,
    exchange::Inner,
    fragment::{Body, Hashes},
    wire::{Answer, Request, unexpected},
};
use crate::network::{NetworkError, Peer};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, future::join_all};
use parking_lot::Mutex;
use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use twinfold_types::{
    BlobDigest, BlobId,
    blob::{Decoder, Layout},
};

/// Runs fetched ahead of the one that is decoded.
const RUNS_AHEAD: usize = 2;
/// Once enough holders have said what they have, so long is waited for others.
const MORE_HOLDERS_WAIT: Duration = Duration::from_millis(20);
/// Who has not said by then what it has is not waited for.
const HOLDERS_WAIT: Duration = Duration::from_secs(5);

/// A payload and who holds which of its fragments.
pub struct Gather {
    inner: Arc<Inner>,
    pub id: BlobId,
    layout: Layout,
    holders: Vec<Holder>,
    /// Holders that failed.
    left_out: Mutex<BTreeSet<usize>>,
}

pub struct Holder {
    pub fragment: u16,
    pub place: Place,
    pub hashes: Arc<Hashes>,
}

pub enum Place {
    Here(Body),
    There(Peer),
}

/// The pieces of some stripes, by fragment.
type Pieces = (Range<u64>, Vec<(u16, Vec<u8>)>);

impl Gather {
    /// Asks who holds what, until enough do.
    pub(super) async fn open(inner: Arc<Inner>, digest: &BlobDigest) -> Result<Self, BlobError> {
        let mut holders: Vec<(BlobId, Holder)> = inner.here(digest).await?.into_iter().collect();
        let mut asked = JoinSet::new();
        for peer in inner.validators() {
            let (inner, digest) = (inner.clone(), *digest);
            asked.spawn(async move { inner.held_by(peer, &digest).await });
        }
        let mut until = tokio::time::Instant::now() + HOLDERS_WAIT;
        let mut enough = false;
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, asked.join_next()).await {
            holders.extend(answer.ok().flatten());
            if !enough && is_enough(&holders) {
                enough = true;
                until = tokio::time::Instant::now() + MORE_HOLDERS_WAIT;
            }
        }
        let id = holders.first().map(|(id, _)| *id).ok_or(BlobError::NotFound(*digest))?;
        let layout = id.layout().map_err(|error| BlobError::Mismatch(error.to_string()))?;
        let mut holders: Vec<Holder> = holders.into_iter().map(|(_, holder)| holder).collect();
        if !is_whole(&id) {
            // Data first: it needs no decoding. What lies here comes before all.
            holders
                .sort_by_key(|holder| (matches!(holder.place, Place::There(_)), holder.fragment));
            holders.dedup_by_key(|holder| holder.fragment);
        }
        Ok(Self { inner, id, layout, holders, left_out: Mutex::default() })
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// The runs that cover all stripes, or some.
    pub fn runs(&self, stripes: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + use<> {
        let step = self.layout.coding().run_stripes();
        let end = stripes.end;
        (stripes.start..end).step_by(step as usize).map(move |at| at..end.min(at + step))
    }

    /// The pieces of one run after the other, k of each.
    pub fn pieces(
        self: &Arc<Self>,
        stripes: Range<u64>,
    ) -> impl Stream<Item = Result<Pieces, BlobError>> + Send + use<> {
        let gather = self.clone();
        let fetched = self.runs(stripes).map(move |run| {
            let gather = gather.clone();
            async move { gather.run(run).await }
        });
        futures::stream::iter(fetched).buffered(RUNS_AHEAD)
    }

    /// Content from one byte to another.
    pub fn content(
        self: &Arc<Self>,
        bytes: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + use<> {
        let full = self.layout.coding().stripe_bytes() as u64;
        let stripes = bytes.start / full..bytes.end.div_ceil(full);
        let decoder = Decoder::new(self.layout);
        let state = (decoder, Box::pin(self.pieces(stripes)));
        futures::stream::try_unfold(state, move |(mut decoder, mut pieces)| {
            let bytes = bytes.clone();
            async move {
                let Some((run, found)) = pieces.try_next().await? else { return Ok(None) };
                let start = run.start * full;
                let decode = tokio::task::spawn_blocking(move || {
                    let content = decoded(&mut decoder, run, &found);
                    content.map(|content| (content, decoder))
                });
                let (content, decoder) = decode.await.map_err(|_| BlobError::Stopped)??;
                let end = start + content.len() as u64;
                let from = bytes.start.clamp(start, end) - start;
                let to = bytes.end.clamp(start, end) - start;
                let part = Bytes::from(content).slice(from as usize..to as usize);
                Ok(Some((part, (decoder, pieces))))
            }
        })
    }

    /// k fragments' pieces of a run, whoever fails.
    async fn run(&self, run: Range<u64>) -> Result<Pieces, BlobError> {
        let needed = usize::from(self.id.k);
        let mut pieces: Vec<(u16, Vec<u8>)> = Vec::with_capacity(needed);
        let mut tried = BTreeSet::new();
        while pieces.len() < needed {
            let next = self.choose(&run, &tried, needed - pieces.len());
            if next.is_empty() {
                let digest = self.id.digest();
                return Err(BlobError::TooFewFragments { digest, got: pieces.len(), needed });
            }
            tried.extend(next.iter().copied());
            let fetched = next.iter().map(|index| self.piece(*index, &run));
            let fetched = join_all(fetched).await;
            let good = next
                .iter()
                .zip(fetched)
                .filter_map(|(index, piece)| Some((self.holders[*index].fragment, piece?)));
            pieces.extend(good);
        }
        Ok((run, pieces))
    }

    /// The next holders to ask, as many as are needed. Of whole copies another one for each run,
    /// so that all of them send.
    fn choose(&self, run: &Range<u64>, tried: &BTreeSet<usize>, needed: usize) -> Vec<usize> {
        let left_out = self.left_out.lock();
        let usable = |index: &usize| !left_out.contains(index) && !tried.contains(index);
        let mut usable: Vec<usize> = (0..self.holders.len()).filter(usable).collect();
        let local = self.holders.first().is_some_and(|first| matches!(first.place, Place::Here(_)));
        if is_whole(&self.id) && !local && !usable.is_empty() {
            let turn = (run.start / self.layout.coding().run_stripes()) as usize % usable.len();
            usable.rotate_left(turn);
        }
        usable.truncate(needed);
        usable
    }

    /// One holder's piece of a run. Who fails is left out from now on.
    async fn piece(&self, index: usize, run: &Range<u64>) -> Option<Vec<u8>> {
        let holder = &self.holders[index];
        let piece = match &holder.place {
            Place::Here(body) => {
                let (body, run) = (body.clone(), run.clone());
                let read = tokio::task::spawn_blocking(move || body.read(run)).await.ok()?;
                read.map_err(|error| {
                    self.inner.blobs.note_damage(&self.id.digest(), &error);
                })
            }
            Place::There(peer) => self.fetch(peer, holder, run).await.map_err(|error| {
                let digest = self.id.digest();
                tracing::warn!(peer = %peer.name, %digest, %error, "is left out of this download");
            }),
        };
        if piece.is_err() {
            self.left_out.lock().insert(index);
        }
        piece.ok()
    }

    async fn fetch(
        &self,
        peer: &Peer,
        holder: &Holder,
        run: &Range<u64>,
    ) -> Result<Vec<u8>, BlobError> {
        let range = self.layout.fragment_range(run).ok_or(BlobError::Stopped)?;
        let request = Request::FetchGroups {
            blob: self.id.digest(),
            fragment: holder.fragment,
            first: run.start,
            count: run.end - run.start,
        };
        let check = |group: u64, bytes: &[u8]| {
            let checked = holder.hashes.groups.check(run.start + group, bytes);
            checked.map_err(|error| error.to_string())
        };
        self.inner.caller.fetch_groups(peer, &request, range.end - range.start, check).await
    }
}

fn is_whole(id: &BlobId) -> bool {
    id.k == 1
}

fn is_enough(holders: &[(BlobId, Holder)]) -> bool {
    let fragments: BTreeSet<u16> = holders.iter().map(|(_, holder)| holder.fragment).collect();
    holders.first().is_some_and(|(id, _)| fragments.len() >= usize::from(id.k))
}

fn decoded(
    decoder: &mut Decoder,
    run: Range<u64>,
    found: &[(u16, Vec<u8>)],
) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<_> = found.iter().map(|(fragment, piece)| (*fragment, &piece[..])).collect();
    let parts = decoder.content(run, &pieces);
    let parts = parts.map_err(|error| BlobError::Mismatch(error.to_string()))?;
    Ok(parts.concat())
}

impl Inner {
    async fn here(
        self: &Arc<Self>,
        digest: &BlobDigest,
    ) -> Result<Option<(BlobId, Holder)>, BlobError> {
        let (inner, digest) = (self.clone(), *digest);
        let stored = tokio::task::spawn_blocking(move || inner.blobs.stored(&digest)).await;
        Ok(stored.map_err(|_| BlobError::Stopped)?.map(|stored| {
            let (fragment, hashes) = (stored.header.fragment, stored.body.hashes.clone());
            (stored.header.blob, Holder { fragment, place: Place::Here(stored.body), hashes })
        }))
    }

    /// What a peer holds, as far as its hashes lead to the identity asked for.
    async fn held_by(&self, peer: Peer, digest: &BlobDigest) -> Option<(BlobId, Holder)> {
        match self.hashes_of(&peer, digest).await {
            Ok((id, fragment, hashes)) => {
                let hashes = Arc::new(hashes);
                Some((id, Holder { fragment, place: Place::There(peer), hashes }))
            }
            Err(BlobError::NotPermitted(_)) => None,
            Err(error) => {
                tracing::debug!(peer = %peer.name, %error, "does not say what it holds");
                None
            }
        }
    }

    async fn hashes_of(
        &self,
        peer: &Peer,
        digest: &BlobDigest,
    ) -> Result<(BlobId, u16, Hashes), BlobError> {
        let request = Request::FetchHashes { blob: *digest };
        let (mut stream, answer) = self.caller.ask(peer, &request, &[]).await?;
        let (id, fragment) = match answer {
            Answer::Held { blob, fragment } if blob.digest() == *digest => (blob, fragment),
            Answer::Refused(reason) => {
                self.caller.keep(peer, stream);
                return Err(BlobError::NotPermitted(reason));
            }
            other => return Err(unexpected(peer, &other).into()),
        };
        let false_hashes = |reason: &str| NetworkError::Malformed {
            peer: peer.name.clone(),
            reason: format!("hashes of {digest}: {reason}"),
        };
        let bytes = Hashes::bytes_of(&id).ok_or_else(|| false_hashes("unknown identity"))?;
        let bytes = super::call::read_content(&mut stream, peer, bytes).await?;
        self.caller.keep(peer, stream);
        let hashes = Hashes::decode(&id, fragment, &bytes);
        Ok((id, fragment, hashes.map_err(|reason| false_hashes(&reason))?))
    }
}
