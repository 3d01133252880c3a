//! The journal: what must be durable before it is spoken. One file of frames, each
//! a batch of records written by one call and synced by one `fdatasync`.
//!
//! A frame is `marker 16 bytes · length u32 · checksum 8 bytes · batch`; the checksum
//! covers length and batch. The marker is drawn at random for each file and stands in its
//! header, which has a checksum too: nothing that others write, such as the transactions of a block, can look like a
//! frame. A bad frame at the end was cut short before its sync and
//! is dropped on opening. A bad frame with a good one behind it was synced once and is
//! refused with its offset: a validator that forgot its votes could vote twice.

use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use twinfold_types::{Digest, codec, hash::Tag};

const MAGIC: &[u8; 8] = b"TFJRNL03";
/// Magic, chain, marker, and the checksum of these.
const HEADER_BYTES: usize = 64;
const CHAIN_AT: std::ops::Range<usize> = 8..40;
const MARKER_AT: std::ops::Range<usize> = 40..56;
const FRAME_HEADER_BYTES: usize = 28;

/// What the frames of one file begin with.
pub type Marker = [u8; 16];
/// Above this a journal is rewritten with the records that still matter.
const COMPACT_BYTES: u64 = 32 << 20;
/// A frame never holds more: one block of the largest size and its votes.
const FRAME_BYTES_MAX: usize = twinfold_types::limits::DECODE_BYTES_MAX;

pub struct Journal {
    path: PathBuf,
    file: File,
    chain: Digest,
    marker: Marker,
    length: u64,
    /// Its length when it was last replaced.
    compacted: u64,
    /// Synced batches since the start.
    pub syncs: Arc<AtomicU64>,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal {}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("the journal {} is damaged at byte {offset}: {reason}; the node will not sign without its old votes. \
             Keep the folder, and let the node join with a new key", path.display())]
    Damaged { path: PathBuf, offset: usize, reason: String },
    #[error("the journal {} belongs to another chain: {found}, this is {expected}", path.display())]
    OtherChain { path: PathBuf, found: Digest, expected: Digest },
    #[error(
        "the journal {} is not there, but this validator has voted before: without it it could sign \
         two things at once. Put the file back; if it is lost, let the node join with a new key",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error("a batch of {0} bytes is too large for a frame")]
    TooLarge(usize),
}

impl Journal {
    /// Opens a journal and returns every record in it. Only where the node is `new`
    /// one that is not there is made.
    pub fn open<T: Serialize + DeserializeOwned>(
        path: &Path,
        chain: Digest,
        new: bool,
    ) -> Result<(Self, Vec<T>), JournalError> {
        let io = |error| JournalError::Io { path: path.into(), error };
        if !path.exists() {
            if !new {
                return Err(JournalError::Missing { path: path.into() });
            }
            write_whole(path, &header(&chain, &rand::random())).map_err(io)?;
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(io)?;
        let (marker, records, end) = read_frames(path, &bytes, &chain)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        if end < bytes.len() {
            tracing::warn!(
                offset = end,
                "dropping a batch that was cut short before it was synced"
            );
            file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(io)?;
        }
        let (path, length, syncs) = (path.into(), end as u64, Arc::default());
        Ok((Self { path, file, chain, marker, length, compacted: 0, syncs }, records))
    }

    /// Appends a batch and syncs it. When this returns an error, nothing that
    /// depends on the batch may be spoken and the process must end.
    pub fn append<T: Serialize>(&mut self, records: &[T]) -> Result<(), JournalError> {
        // What several blocks make too large goes into several frames, each synced: nothing of the
        // batch is spoken before the last.
        match frame(&self.marker, records) {
            Err(JournalError::TooLarge(_)) if records.len() > 1 => {
                let (first, rest) = records.split_at(records.len() / 2);
                self.append(first)?;
                self.append(rest)
            }
            frame => self.write(&frame?),
        }
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), JournalError> {
        let written = self.file.write_all(frame).and_then(|()| self.file.sync_data());
        written.map_err(|error| JournalError::Io { path: self.path.clone(), error })?;
        self.length += frame.len() as u64;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub fn wants_compaction(&self) -> bool {
        // What still matters may be much: then it is not written again for little more.
        self.length > COMPACT_BYTES.max(2 * self.compacted)
    }

    /// Replaces the whole journal, atomically.
    pub fn compact<T: Serialize>(&mut self, records: &[T]) -> Result<(), JournalError> {
        let io = |error| JournalError::Io { path: self.path.clone(), error };
        let mut bytes = header(&self.chain, &self.marker);
        for record in records {
            bytes.extend_from_slice(&frame(&self.marker, std::slice::from_ref(record))?);
        }
        write_whole(&self.path, &bytes).map_err(io)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
        self.length = bytes.len() as u64;
        self.compacted = self.length;
        Ok(())
    }
}

/// Writes a file so that after a crash either the old or the new content stands.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Makes a rename or creation in a folder durable.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// What an audit finds in a journal that nobody writes: its records, or where a batch begins that
/// was cut short. Changes nothing.
pub fn inspect<T: Serialize + DeserializeOwned>(
    path: &Path,
    chain: &Digest,
) -> Result<Vec<T>, JournalError> {
    let bytes =
        std::fs::read(path).map_err(|error| JournalError::Io { path: path.into(), error })?;
    let (_, records, end) = read_frames(path, &bytes, chain)?;
    match end == bytes.len() {
        true => Ok(records),
        false => {
            let reason = "its last batch was cut short, or changed since".into();
            Err(JournalError::Damaged { path: path.into(), offset: end, reason })
        }
    }
}

/// The bytes of a file that holds these batches: what a disk that is only simulated writes.
pub fn image<T: Serialize>(
    chain: &Digest,
    marker: &Marker,
    batches: &[&[T]],
) -> Result<Vec<u8>, JournalError> {
    let mut bytes = header(chain, marker);
    for batch in batches {
        bytes.extend_from_slice(&frame(marker, batch)?);
    }
    Ok(bytes)
}

/// The records of such bytes, as opening a file of them gives them back.
pub fn read_image<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    chain: &Digest,
) -> Result<Vec<T>, JournalError> {
    read_frames(Path::new("image"), bytes, chain).map(|(_, records, _)| records)
}

fn header(chain: &Digest, marker: &Marker) -> Vec<u8> {
    let mut header = [MAGIC.as_slice(), &chain.0, marker].concat();
    header.extend_from_slice(&checksum(&header));
    header
}

fn checksum(batch: &[u8]) -> [u8; 8] {
    // Plain digest of the batch, then one over (length, digest): no copy of the batch.
    let content = Digest::of_bytes(Tag::JournalFrame, batch);
    let hash = Digest::of(Tag::JournalFrame, &(batch.len() as u64, content));
    std::array::from_fn(|i| hash.0[i])
}

fn frame<T: Serialize>(marker: &Marker, records: &[T]) -> Result<Vec<u8>, JournalError> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    codec::encode_into(records, &mut frame);
    let (head, batch) = frame.split_at_mut(FRAME_HEADER_BYTES);
    if batch.len() > FRAME_BYTES_MAX {
        return Err(JournalError::TooLarge(batch.len()));
    }
    let parts = [marker.as_slice(), &(batch.len() as u32).to_le_bytes(), &checksum(batch)];
    head.copy_from_slice(&parts.concat());
    Ok(frame)
}

/// The file's marker, all records, and where the last whole frame ends.
fn read_frames<T: Serialize + DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    chain: &Digest,
) -> Result<(Marker, Vec<T>, usize), JournalError> {
    let damaged = |offset: usize, reason: &str| JournalError::Damaged {
        path: path.into(),
        offset,
        reason: reason.into(),
    };
    let (said, sum) = bytes
        .get(..HEADER_BYTES)
        .unwrap_or_default()
        .split_at_checked(MARKER_AT.end)
        .ok_or_else(|| damaged(0, "no journal header"))?;
    if !said.starts_with(MAGIC) || checksum(said) != sum {
        return Err(damaged(0, "its header is not one that this program wrote"));
    }
    let marker: Marker = std::array::from_fn(|at| said[MARKER_AT.start + at]);
    if bytes[CHAIN_AT] != chain.0 {
        let mut found = Digest::ZERO;
        found.0.copy_from_slice(&bytes[CHAIN_AT]);
        return Err(JournalError::OtherChain { path: path.into(), found, expected: *chain });
    }
    let (mut records, mut at) = (Vec::new(), HEADER_BYTES);
    while at < bytes.len() {
        let Some(batch) = next_frame(&marker, &bytes[at..]) else {
            return if is_cut_short(&marker, &bytes[at..]) {
                Ok((marker, records, at))
            } else {
                Err(damaged(at, "the checksum does not match"))
            };
        };
        let decoded: Vec<T> = codec::decode(batch, FRAME_BYTES_MAX)
            .map_err(|error| damaged(at, &error.to_string()))?;
        records.extend(decoded);
        at += FRAME_HEADER_BYTES + batch.len();
    }
    Ok((marker, records, at))
}

/// The batch of the frame that starts here, if a good one does.
fn next_frame<'b>(marker: &Marker, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let rest = bytes.strip_prefix(marker)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let batch = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (checksum(batch) == *sum).then_some(batch)
}

/// Whether no good frame stands anywhere behind the bad one: then it is the last
/// write, of which only a part (or zeros) reached the disk.
fn is_cut_short(marker: &Marker, bytes: &[u8]) -> bool {
    let mut starts = (1..bytes.len()).filter(|at| bytes[*at..].starts_with(marker));
    !starts.any(|at| next_frame(marker, &bytes[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Digest = Digest([7; 32]);

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open::<u64>(&path, CHAIN, true).unwrap();
        journal.append(&[1u64, 2]).unwrap();
        journal.append(&[3u64]).unwrap();
        (dir, path)
    }

    #[test]
    fn records_survive_reopening_and_compaction() {
        let (_dir, path) = journal();
        let (mut journal, records) = Journal::open::<u64>(&path, CHAIN, true).unwrap();
        assert_eq!(records, [1, 2, 3]);
        journal.compact(&[3u64]).unwrap();
        journal.append(&[4u64]).unwrap();
        assert_eq!(Journal::open::<u64>(&path, CHAIN, true).unwrap().1, [3, 4]);
    }

    #[test]
    fn a_batch_too_large_for_one_frame_goes_into_several() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open::<Vec<u8>>(&path, CHAIN, true).unwrap();
        let block = vec![7u8; FRAME_BYTES_MAX / 3];
        journal.append(&vec![block.clone(); 8]).unwrap();
        assert_eq!(Journal::open::<Vec<u8>>(&path, CHAIN, true).unwrap().1, vec![block; 8]);
        let one = vec![7u8; FRAME_BYTES_MAX];
        assert!(matches!(journal.append(&[one]), Err(JournalError::TooLarge(_))));
    }

    #[test]
    fn a_tail_cut_at_any_byte_loses_only_the_last_batch() {
        let (_dir, path) = journal();
        let whole = std::fs::read(&path).unwrap();
        let last = FRAME_HEADER_BYTES + 16;
        for cut in whole.len() - last + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Journal::open::<u64>(&path, CHAIN, true).unwrap().1, [1, 2], "cut at {cut}");
        }
    }

    #[test]
    fn a_flip_before_the_last_batch_is_refused_with_its_offset() {
        let (_dir, path) = journal();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER_BYTES + FRAME_HEADER_BYTES + 3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let Err(error) = Journal::open::<u64>(&path, CHAIN, true) else { panic!("opened") };
        assert!(error.to_string().contains("byte 64"), "{error}");
    }

    #[test]
    fn what_others_put_into_a_record_cannot_make_a_torn_tail_look_like_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open::<Vec<u8>>(&path, CHAIN, true).unwrap();
        // A whole frame of another file, marker and all.
        let foreign = frame(&[9; 16], &[vec![1u8]]).unwrap();
        journal.append(&[vec![0u8]]).unwrap();
        journal.append(&[[foreign, vec![0; 100]].concat()]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
        assert_eq!(Journal::open::<Vec<u8>>(&path, CHAIN, true).unwrap().1, [vec![0u8]]);
    }

    #[test]
    fn a_flipped_length_does_not_hide_the_votes_behind_it() {
        let (_dir, path) = journal();
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..32 {
            let mut bytes = whole.clone();
            bytes[HEADER_BYTES + size_of::<Marker>() + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            let opened = Journal::open::<u64>(&path, CHAIN, true);
            assert!(matches!(opened, Err(JournalError::Damaged { .. })), "bit {bit}");
        }
    }

    #[test]
    fn the_journal_of_another_chain_is_refused() {
        let (_dir, path) = journal();
        let error = Journal::open::<u64>(&path, Digest([8; 32]), true).err().unwrap();
        assert!(matches!(error, JournalError::OtherChain { .. }));
    }
}
