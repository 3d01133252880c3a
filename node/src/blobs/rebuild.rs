//! A seat's own fragment, made again from others': when it was lost, when it never came, and
//! for a validator that takes over another's place. Whoever decodes a payload first also codes it
//! again: an encoder that lied shows there.

use super::{
    BlobError, BlobStore,
    fragment::{Draft, Header},
    gather::Gather,
    store::io,
};
use futures::TryStreamExt;
use std::{ops::Range, path::Path, sync::Arc};
use twinfold_types::{
    BlobDigest,
    blob::{Decoder, FragmentList, GroupHasher, Hashes, Misencoded, Reencoding, ReencodingError},
};

/// A fragment that is being made.
pub struct Rebuild {
    decoder: Decoder,
    header: Header,
    fragments: FragmentList,
    draft: Draft,
    groups: GroupHasher,
    again: Reencoding,
    piece: Vec<u8>,
}

/// Whether the encoder was honest, once all content has been coded again.
pub fn verdict(digest: BlobDigest, again: Reencoding) -> Result<(), BlobError> {
    again.finish().map_err(|error| match error {
        ReencodingError::Misencoded(lie) => {
            BlobError::Misencoded { digest, reason: lie.to_string() }
        }
        other => BlobError::Mismatch(other.to_string()),
    })
}

/// Fetches what is needed, makes the fragment, and keeps it.
pub async fn rebuild(
    gather: Arc<Gather>,
    blobs: Arc<BlobStore>,
    header: Header,
) -> Result<(), BlobError> {
    let fragments = gather.fragment_list().ok_or(BlobError::NotFound(gather.id.digest()))?;
    let mut work = Rebuild::new(header, fragments, &blobs)?;
    let mut pieces = Box::pin(gather.pieces(0..gather.layout().stripes()));
    while let Some((run, found)) = pieces.try_next().await? {
        let step = tokio::task::spawn_blocking(move || work.add(run, &found).map(|()| work));
        work = step.await.map_err(|_| BlobError::Stopped)??;
    }
    let kept = tokio::task::spawn_blocking(move || work.keep(&blobs)).await;
    kept.map_err(|_| BlobError::Stopped)?.inspect_err(|error| gather.note_lie(error))
}

impl Rebuild {
    /// Of the fragment that the header names, into the store's own folder.
    pub fn new(
        header: Header,
        fragments: FragmentList,
        blobs: &BlobStore,
    ) -> Result<Self, BlobError> {
        let mismatch = |error: &dyn std::fmt::Display| BlobError::Mismatch(error.to_string());
        let layout = header.blob.layout().map_err(|error| mismatch(&error))?;
        let again = Reencoding::new(header.blob, fragments.clone());
        Ok(Self {
            decoder: Decoder::new(layout),
            header,
            fragments,
            draft: blobs.draft()?,
            groups: GroupHasher::default(),
            again: again.map_err(|error| mismatch(&error))?,
            piece: Vec::new(),
        })
    }

    /// The pieces of the next run of stripes, by fragment.
    pub fn add(&mut self, run: Range<u64>, found: &[(u16, Vec<u8>)]) -> Result<(), BlobError> {
        let mismatch = |error: &dyn std::fmt::Display| BlobError::Mismatch(error.to_string());
        let pieces: Vec<_> = found.iter().map(|(index, piece)| (*index, &piece[..])).collect();
        for part in self.decoder.content(run.clone(), &pieces).map_err(|error| mismatch(&error))? {
            self.again.push(part).map_err(|error| mismatch(&error))?;
        }
        let own = self.header.fragment;
        self.decoder
            .rebuild(run, &pieces, own, &mut self.piece)
            .map_err(|error| mismatch(&error))?;
        self.groups.update(&self.piece);
        self.draft.write(&self.piece).map_err(|error| io(Path::new("incoming"), error))
    }

    /// Keeps it, unless the encoder lied.
    pub fn keep(self, blobs: &BlobStore) -> Result<(), BlobError> {
        let digest = self.header.blob.digest();
        verdict(digest, self.again)?;
        let groups = self.groups.finish();
        let fragment = self.header.fragment;
        if self.fragments.hash(fragment) != Some(&groups.root()) {
            let reason = Misencoded::Fragment { fragment }.to_string();
            return Err(BlobError::Misencoded { digest, reason });
        }
        let hashes = Hashes { fragments: self.fragments, groups };
        blobs.keep_named(self.draft, &self.header, &hashes)
    }
}
