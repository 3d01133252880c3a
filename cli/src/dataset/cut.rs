//! A file cut into chunks at places that its content determines (FastCDC, Xia et al. 2020), so
//! that a change moves no cut but those near it. Chunks that are stored already are only named;
//! the others go one after another into packs on this machine's disk.

use crate::error::{CliError, Result};
use fastcdc::v2020::StreamCDC;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use twinfold_types::{
    BlobId, Digest,
    dataset::manifest::{Chunk, Manifest},
    limits,
};

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Stored(BlobId, u64),
    /// In one of the new packs.
    New(usize, u64),
}

/// A file's content, cut.
pub struct Cut {
    pub length: u64,
    pub sha256: Digest,
    pub blake3: Digest,
    /// New packs in their order.
    pub packs: Vec<PathBuf>,
    /// Bytes in them.
    pub new_bytes: u64,
    /// Bytes of chunks that are stored already, or stand in the file again.
    pub shared_bytes: u64,
    chunks: Vec<(Place, u32, Digest)>,
}

/// Chunks that are stored already, by their hash.
pub struct Known(BTreeMap<Digest, (Place, u32)>);

impl Known {
    /// Those of a version. Where its chunks are spread over as many packs as a manifest takes, none
    /// is used: the new version begins anew.
    pub fn of(manifest: Option<&Manifest>) -> Self {
        let usable = |manifest: &&Manifest| {
            manifest.packs.len() + limits::DATASET_PACKS_NEW_MAX <= limits::DATASET_PACKS_MAX
        };
        let parts = manifest.filter(usable).into_iter().flat_map(Manifest::parts);
        let known = parts
            .map(|(pack, chunk)| (chunk.hash, (Place::Stored(*pack, chunk.offset), chunk.length)));
        Self(known.collect())
    }
}

/// Cuts a file; new packs are written to `folder`. `told` hears how many bytes are cut.
pub fn cut(
    path: &Path,
    folder: &Path,
    known: Known,
    pack_bytes_max: u64,
    told: &dyn Fn(u64),
) -> Result<Cut> {
    let file = File::open(path).map_err(CliError::file(path))?;
    let mut known = known.0;
    let mut packs =
        Packs { folder, files: vec![], open: None, bytes: 0, bytes_max: pack_bytes_max };
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    let (mut length, mut shared_bytes, mut new_bytes, mut chunks) = (0, 0, 0, vec![]);
    let pieces = StreamCDC::new(
        file,
        limits::DATASET_CHUNK_BYTES_MIN,
        limits::DATASET_CHUNK_BYTES_AVERAGE,
        limits::DATASET_CHUNK_BYTES_MAX,
    );
    for piece in pieces {
        let piece = piece.map_err(|error| CliError::file(path)(error.into()))?.data;
        sha256.update(&piece);
        blake3.update(&piece);
        let (hash, bytes) = (Digest(*blake3::hash(&piece).as_bytes()), piece.len() as u32);
        length += u64::from(bytes);
        check_size(length, chunks.len())?;
        let place = match known.get(&hash) {
            Some((place, known_bytes)) if *known_bytes == bytes => {
                shared_bytes += u64::from(bytes);
                *place
            }
            _ => {
                new_bytes += u64::from(bytes);
                let place = packs.add(&piece)?;
                known.insert(hash, (place, bytes));
                place
            }
        };
        chunks.push((place, bytes, hash));
        told(length);
    }
    let packs = packs.finish()?;
    let (sha256, blake3) =
        (Digest(sha256.finalize().into()), Digest(*blake3.finalize().as_bytes()));
    Ok(Cut { length, sha256, blake3, packs, new_bytes, shared_bytes, chunks })
}

fn check_size(length: u64, chunks: usize) -> Result<()> {
    if length > limits::DATASET_BYTES_MAX || chunks >= limits::DATASET_CHUNKS_MAX {
        return Err(CliError::usage(
            format!("a version takes at most {} bytes", limits::DATASET_BYTES_MAX),
            "make several data sets of it",
        ));
    }
    Ok(())
}

impl Cut {
    /// The manifest, once it is known which payloads the new packs became.
    pub fn manifest(&self, packs: &[BlobId]) -> Manifest {
        Manifest::new(self.chunks.iter().map(|(place, length, hash)| {
            let (pack, offset) = match *place {
                Place::Stored(pack, offset) => (pack, offset),
                Place::New(index, offset) => (packs[index], offset),
            };
            (pack, Chunk { pack: 0, offset, length: *length, hash: *hash })
        }))
    }
}

/// New packs as they are written.
struct Packs<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
    open: Option<BufWriter<File>>,
    /// Of the open one.
    bytes: u64,
    bytes_max: u64,
}

impl Packs<'_> {
    fn add(&mut self, piece: &[u8]) -> Result<Place> {
        if self.open.is_none() || self.bytes + piece.len() as u64 > self.bytes_max {
            self.begin()?;
        }
        let (index, offset) = (self.files.len() - 1, self.bytes);
        if let Some(open) = &mut self.open {
            open.write_all(piece).map_err(CliError::file(&self.files[index]))?;
        }
        self.bytes += piece.len() as u64;
        Ok(Place::New(index, offset))
    }

    fn begin(&mut self) -> Result<()> {
        self.end()?;
        if self.files.len() == limits::DATASET_PACKS_NEW_MAX {
            let most = limits::DATASET_PACKS_NEW_MAX as u64 * limits::DATASET_PACK_BYTES_MAX;
            return Err(CliError::usage(
                format!("more than {most} bytes are new: one version does not bring so much"),
                "append a file with the first part of it, then the whole",
            ));
        }
        let path = self.folder.join(format!("pack-{}", self.files.len()));
        self.open = Some(BufWriter::new(File::create(&path).map_err(CliError::file(&path))?));
        self.files.push(path);
        self.bytes = 0;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let (Some(mut open), Some(path)) = (self.open.take(), self.files.last()) else {
            return Ok(());
        };
        open.flush().map_err(CliError::file(path))
    }

    fn finish(mut self) -> Result<Vec<PathBuf>> {
        self.end()?;
        Ok(self.files)
    }
}
