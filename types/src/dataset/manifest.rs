//! What a version consists of: chunks in the order of the content, each a part of a pack.
//!
//! There is one manifest for a list of chunks: packs stand in the order of their first use, none
//! twice and none unused. Two manifests of the same chunks are the same payload.

use crate::{
    Digest,
    blob::BlobId,
    codec::{self, CodecError},
    limits,
};
use serde::{Deserialize, Serialize};

/// Version of the manifest's format.
pub const FORMAT: u32 = 1;

/// A part of the content, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Place in the manifest's list of packs.
    pub pack: u32,
    /// First byte within that pack.
    pub offset: u64,
    pub length: u32,
    /// Plain BLAKE3.
    pub hash: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub packs: Vec<BlobId>,
    pub chunks: Vec<Chunk>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest: {0}")]
    Codec(#[from] CodecError),
    #[error("the manifest has format {found}, this program reads format {FORMAT}")]
    Format { found: u32 },
    #[error(
        "the manifest names {packs} packs and {chunks} chunks; it takes at most {} and {}",
        limits::DATASET_PACKS_MAX,
        limits::DATASET_CHUNKS_MAX
    )]
    TooMany { packs: usize, chunks: usize },
    #[error("the manifest's packs do not stand in the order of their first use, each once")]
    Packs,
    #[error("chunk {index} of the manifest is empty, too long, or not inside its pack")]
    Chunk { index: usize },
    #[error("the manifest's chunks have {found} bytes, the version has {expected}")]
    Length { found: u64, expected: u64 },
}

impl Manifest {
    /// Gathers chunks that lie in packs, in the order of the content.
    pub fn new(parts: impl IntoIterator<Item = (BlobId, Chunk)>) -> Self {
        let (mut packs, mut places) = (Vec::new(), std::collections::BTreeMap::new());
        let place = |(pack, chunk): (BlobId, Chunk)| {
            let place = *places.entry(pack).or_insert_with(|| {
                packs.push(pack);
                packs.len() as u32 - 1
            });
            Chunk { pack: place, ..chunk }
        };
        let chunks = parts.into_iter().map(place).collect();
        Self { format: FORMAT, packs, chunks }
    }

    /// Reads a manifest of a version with so many bytes.
    pub fn decode(bytes: &[u8], content_bytes: u64) -> Result<Self, ManifestError> {
        let manifest: Self = codec::decode(bytes, limits::MANIFEST_BYTES_MAX)?;
        manifest.check(content_bytes)?;
        Ok(manifest)
    }

    pub fn check(&self, content_bytes: u64) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format { found: self.format });
        }
        let (packs, chunks) = (self.packs.len(), self.chunks.len());
        if packs > limits::DATASET_PACKS_MAX || chunks > limits::DATASET_CHUNKS_MAX {
            return Err(ManifestError::TooMany { packs, chunks });
        }
        let distinct: std::collections::BTreeSet<_> = self.packs.iter().collect();
        let (mut used, mut found) = (0, 0u64);
        for (index, chunk) in self.chunks.iter().enumerate() {
            if chunk.pack > used {
                return Err(ManifestError::Packs);
            }
            used = used.max(chunk.pack + 1);
            let pack = self.packs.get(chunk.pack as usize).ok_or(ManifestError::Packs)?;
            let end = chunk.offset.checked_add(u64::from(chunk.length));
            let inside = end.is_some_and(|end| end <= pack.length);
            if !inside || chunk.length == 0 || chunk.length > limits::DATASET_CHUNK_BYTES_MAX {
                return Err(ManifestError::Chunk { index });
            }
            found += u64::from(chunk.length);
        }
        if used as usize != packs || distinct.len() != packs {
            return Err(ManifestError::Packs);
        }
        match found == content_bytes {
            true => Ok(()),
            false => Err(ManifestError::Length { found, expected: content_bytes }),
        }
    }

    /// Each chunk with the pack it lies in.
    pub fn parts(&self) -> impl Iterator<Item = (&BlobId, &Chunk)> {
        self.chunks.iter().map(|chunk| (&self.packs[chunk.pack as usize], chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(byte: u8) -> BlobId {
        BlobId::of_whole_copies(1_000, Digest([byte; 32]), 4)
    }

    fn chunk(offset: u64, length: u32) -> Chunk {
        Chunk { pack: 0, offset, length, hash: Digest([9; 32]) }
    }

    fn manifest() -> Manifest {
        Manifest::new([
            (pack(2), chunk(0, 600)),
            (pack(1), chunk(100, 900)),
            (pack(2), chunk(600, 400)),
        ])
    }

    #[test]
    fn a_manifest_reads_back_with_its_packs_in_the_order_of_use() {
        let manifest = manifest();
        assert_eq!(manifest.packs, [pack(2), pack(1)]);
        let places: Vec<_> = manifest.chunks.iter().map(|chunk| chunk.pack).collect();
        assert_eq!(places, [0, 1, 0]);
        assert_eq!(Manifest::decode(&codec::encode(&manifest), 1_900), Ok(manifest));
        assert_eq!(Manifest::new([]).check(0), Ok(()));
    }

    #[test]
    fn a_manifest_that_lies_is_refused() {
        let changed = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            Manifest::decode(&codec::encode(&manifest), 1_900).unwrap_err()
        };
        assert_eq!(changed(|m| m.format = 2), ManifestError::Format { found: 2 });
        assert_eq!(changed(|m| m.packs[1] = m.packs[0]), ManifestError::Packs);
        assert_eq!(changed(|m| m.packs.push(pack(3))), ManifestError::Packs);
        assert_eq!(changed(|m| m.chunks[0].pack = 1), ManifestError::Packs);
        assert_eq!(changed(|m| m.chunks[1].pack = u32::MAX), ManifestError::Packs);
        assert_eq!(changed(|m| m.chunks[2].length = 0), ManifestError::Chunk { index: 2 });
        assert_eq!(changed(|m| m.chunks[2].length = 401), ManifestError::Chunk { index: 2 });
        assert_eq!(changed(|m| m.chunks[2].offset = u64::MAX), ManifestError::Chunk { index: 2 });
        let length = ManifestError::Length { found: 1_899, expected: 1_900 };
        assert_eq!(changed(|m| m.chunks[0].length -= 1), length);
    }
}
