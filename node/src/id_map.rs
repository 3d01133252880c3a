//! Maps whose keys are identities of transactions. An identity is a digest already, so that
//! mixing two of its words with secrets drawn at the start is hash enough: nobody outside can
//! choose identities that fall into one place.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher},
};
use twinfold_types::TxId;

pub type IdMap<T> = HashMap<TxId, T, IdState>;
pub type IdSet = HashSet<TxId, IdState>;

#[derive(Clone, Copy)]
pub struct IdState([u64; 2]);

impl Default for IdState {
    fn default() -> Self {
        Self(rand::random())
    }
}

impl BuildHasher for IdState {
    type Hasher = IdHasher;
    fn build_hasher(&self) -> IdHasher {
        IdHasher { secrets: self.0, hash: 0 }
    }
}

pub struct IdHasher {
    secrets: [u64; 2],
    hash: u64,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        let [first, second] = self.secrets;
        let product = u128::from(word(0) ^ first) * u128::from((word(1) ^ second) | 1);
        self.hash = (product >> 64) as u64 ^ product as u64;
    }

    /// The length of the digest, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Digest, hash::Tag};

    #[test]
    fn identities_are_found_again_and_spread() {
        let id = |number: u64| TxId(Digest::of(Tag::Transaction, &number));
        let set: IdSet = (0..1_000).map(id).collect();
        assert!(set.contains(&id(7)) && !set.contains(&id(1_000)));
        let state = IdState([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9]);
        let places: HashSet<u64> = (0..1_000).map(|n| state.hash_one(id(n)) >> 54).collect();
        assert!(places.len() > 500, "{} of 1,024 places", places.len());
    }
}
