//! Verified streaming without a format of its own. BLAKE3 is a tree over chunks of 1,024
//! bytes, so the hash of a fragment is the root over the chaining values of its *groups*,
//! each [`PIECE_BYTES`] long but the last. A receiver first takes the list of the groups'
//! values, whose length the fragment's length fixes, and checks that it leads to
//! the fragment's hash; from then on every group is checked by itself as it comes,
//! in any order. One false byte is refused within its group, and a stream that broke goes
//! on at any group.
//!
//! The list is 32 bytes a group, 1/2048 of the fragment.

use crate::{Digest, limits::PIECE_BYTES, merkle};
use blake3::{
    Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

/// The chaining values of a fragment's groups; of a single group, its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHashes {
    length: u64,
    hashes: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("a list of {found} bytes where {length} bytes of content have one of {expected}")]
    ListLength { length: u64, expected: u64, found: u64 },
    #[error("the list of group hashes does not lead to the expected hash")]
    List,
    #[error("there is no group {index}: there are {groups}")]
    NoSuchGroup { index: u64, groups: u64 },
    #[error("group {index} has {found} bytes instead of {expected}")]
    GroupLength { index: u64, expected: usize, found: usize },
    #[error("the bytes of group {index} are not those that its hash was made of")]
    Group { index: u64 },
}

impl GroupHashes {
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = GroupHasher::default();
        hasher.update(content);
        hasher.finish()
    }

    /// Groups of so much content: at least one, of no bytes if there are none.
    pub fn groups(length: u64) -> u64 {
        length.div_ceil(PIECE_BYTES as u64).max(1)
    }

    /// Length of the list for so much content: what a receiver takes in, and no more.
    pub fn list_bytes(length: u64) -> u64 {
        32 * Self::groups(length)
    }

    /// A list as it was received, for content of a known length and hash.
    pub fn received(list: &[u8], length: u64, hash: &Digest) -> Result<Self, StreamError> {
        let (expected, found) = (Self::list_bytes(length), list.len() as u64);
        let (hashes, rest) = list.as_chunks::<32>();
        if found != expected || !rest.is_empty() {
            return Err(StreamError::ListLength { length, expected, found });
        }
        let list = Self { length, hashes: hashes.to_vec() };
        if list.root() != *hash { Err(StreamError::List) } else { Ok(list) }
    }

    /// The list as it is sent and stored.
    pub fn as_bytes(&self) -> &[u8] {
        self.hashes.as_flattened()
    }

    /// Of the content.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The content's plain BLAKE3.
    pub fn root(&self) -> Digest {
        match &self.hashes[..] {
            [one] => Digest(*one),
            all => {
                let (left, right) = halves(all);
                let root = merge_subtrees_root(&value(left), &value(right), Mode::Hash);
                Digest(*root.as_bytes())
            }
        }
    }

    /// Length of a group, `None` beyond the last.
    pub fn group_bytes(&self, index: u64) -> Option<usize> {
        let start = index.checked_mul(PIECE_BYTES as u64)?;
        let left = self.length.checked_sub(start)?;
        (index < self.hashes.len() as u64).then_some(left.min(PIECE_BYTES as u64) as usize)
    }

    /// Whether bytes are a group's.
    pub fn check(&self, index: u64, bytes: &[u8]) -> Result<(), StreamError> {
        let groups = self.hashes.len() as u64;
        let expected = self.group_bytes(index).ok_or(StreamError::NoSuchGroup { index, groups })?;
        if bytes.len() != expected {
            return Err(StreamError::GroupLength { index, expected, found: bytes.len() });
        }
        let hash = if groups == 1 {
            *blake3::hash(bytes).as_bytes()
        } else {
            group_hasher(index * PIECE_BYTES as u64).update(bytes).finalize_non_root()
        };
        if hash != self.hashes[index as usize] { Err(StreamError::Group { index }) } else { Ok(()) }
    }
}

/// Makes the list from content in pieces of any length.
#[derive(Clone, Default)]
pub struct GroupHasher {
    hasher: Hasher,
    /// Bytes in the open group.
    open: usize,
    length: u64,
    closed: Vec<[u8; 32]>,
}

impl GroupHasher {
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full group is closed only now that it is known not to be the only one.
            if self.open == PIECE_BYTES {
                self.closed.push(self.hasher.finalize_non_root());
                self.hasher = group_hasher(self.length);
                self.open = 0;
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.open));
            self.hasher.update(taken);
            self.open += taken.len();
            self.length += taken.len() as u64;
            bytes = rest;
        }
    }

    pub fn finish(mut self) -> GroupHashes {
        let last = if self.closed.is_empty() {
            *self.hasher.finalize().as_bytes()
        } else {
            self.hasher.finalize_non_root()
        };
        self.closed.push(last);
        GroupHashes { length: self.length, hashes: self.closed }
    }
}

fn group_hasher(offset: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// BLAKE3 splits as RFC 6962 does: at the largest power of two below the length.
fn halves(groups: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    groups.split_at(merkle::split(groups.len() as u64) as usize)
}

/// Chaining value of a subtree that is not the whole.
fn value(groups: &[[u8; 32]]) -> [u8; 32] {
    match groups {
        [one] => *one,
        all => {
            let (left, right) = halves(all);
            merge_subtrees_non_root(&value(left), &value(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::scenes::content;

    const S: usize = PIECE_BYTES;

    fn hash(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    fn lengths() -> Vec<usize> {
        let mut lengths = vec![0, 1, 1_023, 1_024, 1_025, S - 1, S, S + 1, 2 * S, 3 * S + 17];
        lengths.extend((4..=9).flat_map(|groups| [groups * S - 1, groups * S, groups * S + 1]));
        lengths
    }

    #[test]
    fn the_root_over_the_groups_is_blake3_whatever_the_length_and_the_cuts() {
        for length in lengths() {
            let bytes = content(length);
            let list = GroupHashes::of(&bytes);
            assert_eq!(list.root(), hash(&bytes), "{length}");
            for cut in [1_000, S - 1, S, S + 1, 5 * S] {
                let mut hasher = GroupHasher::default();
                bytes.chunks(cut).for_each(|part| hasher.update(part));
                assert_eq!(hasher.finish(), list, "{length} by {cut}");
            }
        }
    }

    #[test]
    fn a_received_list_takes_each_group_and_refuses_a_flipped_byte_in_any() {
        for length in lengths() {
            let bytes = content(length);
            let sent = GroupHashes::of(&bytes);
            let list =
                GroupHashes::received(sent.as_bytes(), length as u64, &hash(&bytes)).unwrap();
            let mut groups: Vec<_> = bytes.chunks(S).map(<[u8]>::to_vec).collect();
            if length == 0 {
                groups.push(vec![]);
            }
            for (index, group) in groups.iter_mut().enumerate().rev() {
                let index = index as u64;
                assert_eq!(list.check(index, group), Ok(()));
                for at in [0, group.len() / 2, group.len().saturating_sub(1)] {
                    let Some(byte) = group.get_mut(at) else { continue };
                    *byte ^= 1;
                    assert_eq!(list.check(index, group), Err(StreamError::Group { index }));
                    group[at] ^= 1;
                }
                assert!(matches!(
                    list.check(index, &[&group[..], &[0]].concat()),
                    Err(StreamError::GroupLength { .. })
                ));
            }
            let beyond = groups.len() as u64;
            for index in [beyond, u64::MAX] {
                let refused = Err(StreamError::NoSuchGroup { index, groups: beyond });
                assert_eq!(list.check(index, b""), refused);
            }
        }
    }

    #[test]
    fn equal_groups_cannot_stand_for_each_other_in_another_place() {
        let list = GroupHashes::of(&vec![7; 2 * S]);
        assert_ne!(list.hashes[0], list.hashes[1]);
    }

    #[test]
    fn a_list_of_another_length_or_with_a_flipped_byte_is_refused() {
        for length in [0, 1, S, S + 1, 3 * S + 17] {
            let bytes = content(length);
            let (root, sent) = (hash(&bytes), GroupHashes::of(&bytes).as_bytes().to_vec());
            let receive = |list: &[u8], length| GroupHashes::received(list, length, &root);
            let length = length as u64;
            for list in [&sent[1..], &sent[32..], &[&sent[..], &[0; 32]].concat(), &[]] {
                assert!(matches!(receive(list, length), Err(StreamError::ListLength { .. })));
            }
            for wrong in [length + 2 * S as u64, u64::MAX] {
                assert!(matches!(receive(&sent, wrong), Err(StreamError::ListLength { .. })));
            }
            for at in 0..sent.len() {
                let mut list = sent.clone();
                list[at] ^= 0x40;
                assert_eq!(receive(&list, length), Err(StreamError::List));
            }
        }
    }
}
