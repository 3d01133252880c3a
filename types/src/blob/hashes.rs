//! The hashes that vouch for a fragment, down to each group: stored behind it, sent before it.

use super::{BlobId, Encoded, FragmentList, GroupHashes, Layout};
use crate::{Digest, limits::BLOB_SMALL_BYTES_MAX};

/// What a fragment's bytes are held against: the list that the identity commits to, and the
/// hashes of this fragment's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    pub fragments: FragmentList,
    pub groups: GroupHashes,
}

impl Hashes {
    /// Bytes that they take, stored and sent; `None` for an identity of no known form.
    pub fn bytes_of(blob: &BlobId) -> Option<u64> {
        blob.layout().ok().filter(|_| blob.is_supported()).map(|layout| Self::room(&layout))
    }

    /// The same, before the identity is known.
    pub fn room(layout: &Layout) -> u64 {
        let coding = layout.coding();
        let list = if coding.is_whole() { 0 } else { 32 * u64::from(coding.n()) };
        list + GroupHashes::list_bytes(layout.fragment_bytes())
    }

    /// As received or read: they must lead to the identity.
    pub fn decode(blob: &BlobId, fragment: u16, bytes: &[u8]) -> Result<Self, String> {
        let layout = blob.layout().map_err(|error| error.to_string())?;
        let listed = if layout.coding().is_whole() { 0 } else { 32 * usize::from(blob.n) };
        let (list, groups) = bytes.split_at_checked(listed).ok_or("too few hashes")?;
        let fragments = match layout.coding().is_whole() {
            true => FragmentList(vec![blob.content; usize::from(blob.n)]),
            false => {
                FragmentList(list.as_chunks::<32>().0.iter().map(|hash| Digest(*hash)).collect())
            }
        };
        fragments.check(blob).map_err(|error| error.to_string())?;
        let hash = fragments.hash(fragment).ok_or("there is no such fragment")?;
        let groups = GroupHashes::received(groups, layout.fragment_bytes(), hash);
        Ok(Self { groups: groups.map_err(|error| error.to_string())?, fragments })
    }

    /// The hashes of a fragment that has just been coded.
    pub fn of(encoded: &Encoded, fragment: u16) -> Option<Self> {
        let groups = encoded.groups(fragment)?.clone();
        Some(Self { fragments: encoded.fragments.clone(), groups })
    }

    /// Whether the fragment's bytes come right behind its hashes.
    pub fn goes_with_bytes(blob: &BlobId) -> bool {
        blob.layout().is_ok_and(|layout| layout.fragment_bytes() <= BLOB_SMALL_BYTES_MAX)
    }

    pub fn encode(&self, blob: &BlobId) -> Vec<u8> {
        let list = if blob.k == 1 { &[][..] } else { &self.fragments.0[..] };
        let mut bytes: Vec<u8> = list.iter().flat_map(|hash| hash.0).collect();
        bytes.extend_from_slice(self.groups.as_bytes());
        bytes
    }
}
