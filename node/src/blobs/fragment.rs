//! One stored fragment as a file: a header, the bytes, and behind them the hashes that vouch
//! for them, down to each group. A whole copy is fragment 0 and the content itself. What is
//! read is checked group by group, so that nothing is passed on that the disk has changed.

use crate::journal::sync_parent;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{Error, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use twinfold_types::{
    BlobDigest, BlobId, PublicKey,
    blob::{GroupHashes, Hashes},
    codec,
    limits::PIECE_BYTES,
};

const MAGIC: &[u8; 8] = b"TFFRAG01";
/// Magic, the canonical header (76 + 32 + 2 bytes), and the BLAKE3 of both: the identity does not
/// vouch for the uploader.
const HEADER_BYTES: usize = 8 + 110 + 32;

/// Whose fragment of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub blob: BlobId,
    pub uploader: PublicKey,
    pub fragment: u16,
}

/// A fragment's bytes on the disk, with what they are held against.
#[derive(Clone)]
pub struct Body {
    file: Arc<File>,
    pub hashes: Arc<Hashes>,
}

impl Body {
    /// Some groups, each as it was hashed.
    pub fn read(&self, groups: Range<u64>) -> std::io::Result<Vec<u8>> {
        let all = &self.hashes.groups;
        let lengths = groups.clone().map(|index| all.group_bytes(index));
        let length: Option<usize> = lengths.sum();
        let length = length.ok_or_else(|| damaged("there are no such groups"))?;
        let mut bytes = vec![0; length];
        let start = HEADER_BYTES as u64 + groups.start * PIECE_BYTES as u64;
        self.file.read_exact_at(&mut bytes, start)?;
        let mut rest = &bytes[..];
        for index in groups {
            let (group, after) = rest.split_at(rest.len().min(PIECE_BYTES));
            all.check(index, group).map_err(|error| damaged(&error.to_string()))?;
            rest = after;
        }
        Ok(bytes)
    }

    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()
    }

    pub fn groups(&self) -> u64 {
        GroupHashes::groups(self.hashes.groups.length())
    }
}

/// A fragment as it was stored.
pub struct Stored {
    pub header: Header,
    pub body: Body,
}

impl Stored {
    /// Its header and hashes, checked against the digest that it is stored under.
    pub fn open(path: &Path, digest: &BlobDigest) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let header = header(&mut file)?;
        if header.blob.digest() != *digest {
            return Err(damaged("the header names another payload"));
        }
        let (start, end) = hashes_range(&header.blob).ok_or_else(|| damaged("the header"))?;
        let found = file.metadata()?.len();
        if found != end {
            return Err(damaged(&format!("{found} bytes where {end} are stored")));
        }
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start)?;
        let hashes = Hashes::decode(&header.blob, header.fragment, &bytes);
        let hashes = Arc::new(hashes.map_err(|error| damaged(&error))?);
        Ok(Self { header, body: Body { file: Arc::new(file), hashes } })
    }

    /// What it takes of the disk.
    pub fn bytes_of(blob: &BlobId) -> u64 {
        hashes_range(blob).map_or(0, |(_, end)| end)
    }
}

/// The header alone, unchecked against anything.
pub fn header(file: &mut File) -> std::io::Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact(&mut bytes)?;
    let (header, hash) = bytes.split_at(HEADER_BYTES - 32);
    if blake3::hash(header).as_bytes() != hash {
        return Err(damaged("the header is not what was written"));
    }
    let header = header.strip_prefix(MAGIC).ok_or_else(|| damaged("no fragment begins so"))?;
    codec::decode(header, HEADER_BYTES).map_err(|error| damaged(&error.to_string()))
}

/// Where the hashes stand in a file.
fn hashes_range(blob: &BlobId) -> Option<(u64, u64)> {
    let start = HEADER_BYTES as u64 + blob.layout().ok()?.fragment_bytes();
    Some((start, start + Hashes::bytes_of(blob)?))
}

pub fn damaged(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// A file that is being written. Without being placed it goes when it is dropped.
pub struct Draft {
    file: File,
    path: PathBuf,
    length: u64,
    placed: bool,
}

impl Draft {
    pub fn new(path: PathBuf) -> std::io::Result<Self> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        Ok(Self { file, path, length: 0, placed: false })
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What was written, to be read before it has its header.
    pub fn body(&self, hashes: Hashes) -> std::io::Result<Body> {
        Ok(Body { file: Arc::new(self.file.try_clone()?), hashes: Arc::new(hashes) })
    }

    /// Writes hashes and header, and syncs the file, which is of this time.
    pub fn seal(
        &mut self,
        header: &Header,
        hashes: &Hashes,
        now: SystemTime,
    ) -> std::io::Result<()> {
        let (start, _) = hashes_range(&header.blob).ok_or_else(|| damaged("the header"))?;
        if HEADER_BYTES as u64 + self.length != start {
            return Err(damaged("a fragment of another length"));
        }
        self.file.write_all_at(&hashes.encode(&header.blob), start)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(codec::encode(header));
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        self.file.write_all_at(&bytes, 0)?;
        self.file.set_modified(now)?;
        self.file.sync_all()
    }

    /// Gives a sealed file its name; durable when this returns.
    pub fn place(mut self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.placed = true;
        sync_parent(path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::blob::{Coding, Encoder};

    fn stored(dir: &Path, fragment: u16, content: &[u8]) -> (PathBuf, BlobId) {
        let mut encoder = Encoder::new(Coding::fragments(4).unwrap());
        let mut draft = Draft::new(dir.join("draft")).unwrap();
        let mut rest = content;
        while let Some(stripe) = encoder.push(&mut rest).unwrap() {
            draft.write(stripe.piece(fragment).unwrap()).unwrap();
        }
        let encoded = encoder.finish();
        draft.write(encoded.last_stripe().piece(fragment).unwrap()).unwrap();
        let groups = encoded.groups(fragment).unwrap().clone();
        let hashes = Hashes { fragments: encoded.fragments, groups };
        let header = Header { blob: encoded.id, uploader: PublicKey([1; 32]), fragment };
        draft.seal(&header, &hashes, SystemTime::now()).unwrap();
        let path = dir.join("stored");
        draft.place(&path).unwrap();
        (path, encoded.id)
    }

    #[test]
    fn a_fragment_is_read_back_group_by_group() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..5 * PIECE_BYTES + 7).map(|at| (at % 251) as u8).collect();
        let (path, id) = stored(dir.path(), 0, &content);
        let stored = Stored::open(&path, &id.digest()).unwrap();
        assert_eq!(stored.body.groups(), 3);
        assert_eq!(stored.body.read(0..1).unwrap(), content[..PIECE_BYTES]);
        assert_eq!(stored.body.read(1..2).unwrap(), content[2 * PIECE_BYTES..3 * PIECE_BYTES]);
        assert!(stored.body.read(2..4).is_err());
        assert!(!dir.path().join("draft").exists());
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (path, id) = stored(dir.path(), 3, &[7; 2 * PIECE_BYTES + 100]);
        let good = std::fs::read(&path).unwrap();
        let read = || Stored::open(&path, &id.digest())?.body.read(0..2);
        assert!(read().is_ok());
        for at in (0..HEADER_BYTES).chain((0..good.len()).step_by(97)) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(read().is_err(), "byte {at}");
        }
        for cut in [0, 1, HEADER_BYTES, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(read().is_err(), "{cut} bytes");
        }
    }
}
