//! What a blob is. Its identity commits to length, content, coding (n, k) and fragment
//! root; a whole copy is k = 1, whose n equal leaves make the root. The root stands for
//! the list of all fragments' hashes, which is short and travels with each
//! fragment: whoever has it and the identity needs nobody's word.

use super::{
    encoder::Encoder,
    layout::{Coding, Layout, LayoutError},
};
use crate::{Digest, hash::Tag};
use serde::{Deserialize, Serialize};

/// Digest of a [`BlobId`].
pub type BlobDigest = Digest;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobId {
    /// Bytes.
    pub length: u64,
    /// Plain BLAKE3 of the content.
    pub content: Digest,
    /// Fragments in all.
    pub n: u16,
    /// Fragments that suffice.
    pub k: u16,
    pub fragment_root: Digest,
}

impl BlobId {
    /// Identity of content stored whole by each of n seats.
    pub fn whole_copies(content: &[u8], n: usize) -> Self {
        let hash = Digest(*blake3::hash(content).as_bytes());
        Self::of_whole_copies(content.len() as u64, hash, n)
    }

    /// The same from the content's length and BLAKE3.
    pub fn of_whole_copies(length: u64, content: Digest, n: usize) -> Self {
        let fragment_root = FragmentList(vec![content; n]).root(length);
        Self { length, content, n: n as u16, k: 1, fragment_root }
    }

    /// Identity of content cut in this way; `None` if it is too long for it.
    pub fn of(content: &[u8], coding: Coding) -> Option<Self> {
        let (mut encoder, mut rest) = (Encoder::new(coding), content);
        while encoder.push(&mut rest).ok()?.is_some() {}
        Some(encoder.finish().id)
    }

    pub fn digest(&self) -> BlobDigest {
        Digest::of(Tag::Blob, self)
    }

    /// How the content is cut, if its coding and length are ones that this version stores.
    pub fn layout(&self) -> Result<Layout, LayoutError> {
        Layout::new(self.length, Coding::new(self.n, self.k)?)
    }

    /// Whether the identity is one that this version can store: whole copies with a consistent
    /// root, or coded fragments. What a coded blob's root stands for only the list of its
    /// fragments tells ([`FragmentList::check`]).
    pub fn is_supported(&self) -> bool {
        let whole = || Self::of_whole_copies(self.length, self.content, usize::from(self.n));
        self.layout().is_ok_and(|layout| !layout.coding().is_whole() || *self == whole())
    }
}

/// Plain BLAKE3 of each of a blob's n fragments, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentList(pub Vec<Digest>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{found} fragment hashes for a blob of {n} fragments")]
    Count { n: u16, found: usize },
    #[error("the fragment hashes are not those that the blob's identity commits to")]
    Root,
}

impl FragmentList {
    /// Whether these are the hashes that an identity commits to.
    pub fn check(&self, id: &BlobId) -> Result<(), FragmentError> {
        let layout = id.layout()?;
        if self.0.len() != usize::from(id.n) {
            return Err(FragmentError::Count { n: id.n, found: self.0.len() });
        }
        if !id.is_supported() || self.root(layout.fragment_bytes()) != id.fragment_root {
            return Err(FragmentError::Root);
        }
        Ok(())
    }

    pub fn hash(&self, fragment: u16) -> Option<&Digest> {
        self.0.get(usize::from(fragment))
    }

    /// Merkle root over fragment leaves (RFC 6962's tree shape, BLAKE3 tagged), all of one length.
    pub fn root(&self, fragment_bytes: u64) -> Digest {
        let leaf = |hash: &Digest| Digest::of(Tag::BlobLeaf, &(fragment_bytes, hash));
        let leaves: Vec<_> = self.0.iter().map(leaf).collect();
        crate::merkle::root_with(&leaves, &|left, right| Digest::of(Tag::BlobLeaf, &(left, right)))
            .unwrap_or(Digest::ZERO)
    }
}
