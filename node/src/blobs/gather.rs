//! Getting content back: any k fragments of it, from whoever holds them, this node included, run
//! by run of stripes and several runs ahead. Each group is held against the holder's hashes,
//! which are held against the identity; who sends a false one is named and left out, and so is
//! who breaks off or is slow: another's fragment takes its place from that run on.

use super::{
    BlobError,
    exchange::Inner,
    fragment::Body,
    rebuild::verdict,
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
    blob::{Condemned, Decoder, FragmentList, Hashes, Layout, Reencoding},
    state_key,
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
    /// In order of their answers, what lies here first. Any number may be claimed twice.
    holders: Mutex<Vec<Arc<Holder>>>,
    /// Those that have not answered yet.
    asked: tokio::sync::Mutex<Asked>,
    /// Holders that failed.
    left_out: Mutex<BTreeSet<usize>>,
}

struct Asked {
    answers: JoinSet<Option<(BlobId, Holder)>>,
    until: tokio::time::Instant,
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
        let condemned: Option<Condemned> = inner.reader.get(&state_key::condemned(digest))?;
        if let Some(Condemned { by, organisation, height, found_by, .. }) = condemned {
            let reason = format!(
                "{by} of {organisation} named it; {} validators found out, at height {height}",
                found_by.len()
            );
            return Err(BlobError::Misencoded { digest: *digest, reason });
        }
        let mut answers = JoinSet::new();
        for peer in inner.members() {
            let (inner, digest) = (inner.clone(), *digest);
            answers.spawn(async move { inner.held_by(peer, &digest).await });
        }
        let until = tokio::time::Instant::now() + HOLDERS_WAIT;
        let mut asked = Asked { answers, until };
        let first = match inner.here(digest).await? {
            Some(here) => here,
            None => asked.next().await.ok_or(BlobError::NotFound(*digest))?,
        };
        let (id, first) = first;
        let layout = id.layout().map_err(|error| BlobError::Mismatch(error.to_string()))?;
        let (holders, asked) = (Mutex::new(vec![Arc::new(first)]), tokio::sync::Mutex::new(asked));
        let gather = Self { inner, id, layout, holders, asked, left_out: Mutex::default() };
        while gather.fragments() < usize::from(id.k) && gather.hear_more().await {}
        // Others may be as near.
        tokio::time::timeout(MORE_HOLDERS_WAIT, async { while gather.hear_more().await {} })
            .await
            .ok();
        Ok(gather)
    }

    /// Takes another holder's answer; false when nobody is left to answer.
    async fn hear_more(&self) -> bool {
        match self.asked.lock().await.next().await {
            Some((_, holder)) => {
                self.holders.lock().push(Arc::new(holder));
                true
            }
            None => false,
        }
    }

    /// Different ones that are claimed to be held.
    fn fragments(&self) -> usize {
        let holders = self.holders.lock();
        holders.iter().map(|holder| holder.fragment).collect::<BTreeSet<_>>().len()
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub fn holders(&self) -> Vec<Arc<Holder>> {
        self.holders.lock().clone()
    }

    /// The list that all holders' hashes are under.
    pub fn fragment_list(&self) -> Option<FragmentList> {
        self.holders.lock().first().map(|holder| holder.hashes.fragments.clone())
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

    /// All content, coded again on the way: its last part comes only with the verdict that the
    /// encoder was honest, so that every reader of any fragments is told the same.
    pub fn checked_content(
        self: &Arc<Self>,
    ) -> Result<impl Stream<Item = Result<Bytes, BlobError>> + Send + use<>, BlobError> {
        let digest = self.id.digest();
        let list = self.fragment_list().ok_or(BlobError::NotFound(digest))?;
        let again = Reencoding::new(self.id, list);
        let again = again.map_err(|error| BlobError::Mismatch(error.to_string()))?;
        let parts = self.content(0..self.id.length).boxed();
        let state = (parts, Some((again, self.clone())), None::<Bytes>);
        let checked =
            futures::stream::try_unfold(state, move |(mut parts, again, held)| async move {
                let Some((mut again, gather)) = again else { return Ok(None) };
                let Some(next) = parts.try_next().await? else {
                    verdict(digest, again).inspect_err(|error| gather.note_lie(error))?;
                    return Ok(held.map(|last| (last, (parts, None, None))));
                };
                let part = next.clone();
                let code = tokio::task::spawn_blocking(move || again.push(&part).map(|()| again));
                let again = code.await.map_err(|_| BlobError::Stopped)?;
                let again = again.map_err(|error| BlobError::Mismatch(error.to_string()))?;
                Ok(Some((held.unwrap_or_default(), (parts, Some((again, gather)), Some(next)))))
            });
        Ok(checked.try_filter(|part| std::future::ready(!part.is_empty())))
    }

    /// Who codes again and finds a lie says so to the ledger.
    pub fn note_lie(&self, error: &BlobError) {
        if let BlobError::Misencoded { digest, reason } = error {
            tracing::warn!(payload = %digest, reason, "was cut by a liar");
            self.inner.lies.try_send(*digest).ok();
        }
    }

    /// k fragments' pieces of a run, whoever fails.
    async fn run(&self, run: Range<u64>) -> Result<Pieces, BlobError> {
        let needed = usize::from(self.id.k);
        let mut pieces: Vec<(u16, Vec<u8>)> = Vec::with_capacity(needed);
        let mut tried = BTreeSet::new();
        while pieces.len() < needed {
            let next = self.choose(&run, &tried, &pieces);
            if next.is_empty() {
                if self.hear_more().await {
                    continue;
                }
                let digest = self.id.digest();
                return Err(BlobError::TooFewFragments { digest, got: pieces.len(), needed });
            }
            tried.extend(next.iter().map(|(index, _)| *index));
            let fetched = next.iter().map(|(index, holder)| self.piece(*index, holder, &run));
            let fetched = join_all(fetched).await;
            let good = next
                .iter()
                .zip(fetched)
                .filter_map(|((_, holder), piece)| Some((holder.fragment, piece?)));
            pieces.extend(good);
        }
        Ok((run, pieces))
    }

    /// The next holders to ask, of different fragments, as many as are needed: what lies here
    /// first, then data, which needs no decoding. Of whole copies another one for each run, so
    /// that all of them send.
    fn choose(
        &self,
        run: &Range<u64>,
        tried: &BTreeSet<usize>,
        pieces: &[(u16, Vec<u8>)],
    ) -> Vec<(usize, Arc<Holder>)> {
        let left_out = self.left_out.lock();
        let holders = self.holders.lock();
        let mut usable: Vec<(usize, Arc<Holder>)> = holders.iter().cloned().enumerate().collect();
        usable.retain(|(index, holder)| {
            let has = pieces.iter().any(|(fragment, _)| *fragment == holder.fragment);
            !left_out.contains(index) && !tried.contains(index) && !has
        });
        usable
            .sort_by_key(|(_, holder)| (matches!(holder.place, Place::There(_)), holder.fragment));
        let local = usable.first().is_some_and(|(_, it)| matches!(it.place, Place::Here(_)));
        if is_whole(&self.id) && !local && !usable.is_empty() {
            let turn = (run.start / self.layout.coding().run_stripes()) as usize % usable.len();
            usable.rotate_left(turn);
        }
        let mut chosen = BTreeSet::new();
        usable.retain(|(_, holder)| chosen.insert(holder.fragment));
        usable.truncate(usize::from(self.id.k) - pieces.len());
        usable
    }

    /// One holder's piece of a run. Who fails is left out from now on.
    async fn piece(&self, index: usize, holder: &Holder, run: &Range<u64>) -> Option<Vec<u8>> {
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

impl Asked {
    async fn next(&mut self) -> Option<(BlobId, Holder)> {
        while let Ok(Some(answer)) =
            tokio::time::timeout_at(self.until, self.answers.join_next()).await
        {
            if let Some(held) = answer.ok().flatten() {
                return Some(held);
            }
        }
        None
    }
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
