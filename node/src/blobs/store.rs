//! The store of payloads. A file holds its identity and uploader before its content,
//! so that a folder of files is the whole truth. Payloads that no transaction names
//! yet stand in `pending` and count against their uploader's quota.

use super::BlobError;
use crate::journal::sync_parent;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use twinfold_types::{BlobDigest, BlobId, Digest, PublicKey, codec, limits};

/// Encoded (identity, uploader): 8 + 32 + 2 + 2 + 32 + 32 bytes.
const HEADER_BYTES: usize = 108;

pub struct BlobStore {
    dir: PathBuf,
    accounts: Mutex<Accounts>,
    next_temporary: AtomicU64,
}

#[derive(Default)]
struct Accounts {
    pending_bytes: BTreeMap<PublicKey, u64>,
    /// Named on the ledger before their content came here.
    named_early: BTreeSet<BlobDigest>,
}

/// Late copies that are waited for; beyond it a late one stays pending.
const NAMED_EARLY_MAX: usize = 10_000;

/// A payload on its way in: hashed as it is written.
pub struct Incoming {
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
    length: u64,
    kept: bool,
}

impl BlobStore {
    /// Opens or creates the folders and counts what is pending.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        for folder in ["pending", "named", "incoming"] {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|error| io(&path, error))?;
        }
        let store =
            Self { dir: dir.into(), accounts: Mutex::default(), next_temporary: AtomicU64::new(0) };
        store.clear_incoming()?;
        for path in files(&dir.join("pending"))? {
            if let Ok((id, uploader)) = read_header(&path) {
                store.accounts.lock().add(uploader, id.length);
            }
        }
        Ok(store)
    }

    fn clear_incoming(&self) -> Result<(), BlobError> {
        for path in files(&self.dir.join("incoming"))? {
            std::fs::remove_file(&path).map_err(|error| io(&path, error))?;
        }
        Ok(())
    }

    fn path(&self, folder: &str, digest: &BlobDigest) -> PathBuf {
        self.dir.join(folder).join(digest.to_string())
    }

    fn existing(&self, digest: &BlobDigest) -> Option<PathBuf> {
        ["named", "pending"]
            .map(|folder| self.path(folder, digest))
            .into_iter()
            .find(|p| p.exists())
    }

    pub fn has(&self, digest: &BlobDigest) -> bool {
        self.existing(digest).is_some()
    }

    /// Refuses an uploader who has too much pending already.
    pub fn check_quota(&self, uploader: &PublicKey, length: u64) -> Result<(), BlobError> {
        self.accounts.lock().check(uploader, length)
    }

    /// Starts to take a payload in.
    pub fn begin(&self) -> Result<Incoming, BlobError> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("incoming").join(number.to_string());
        let open = || -> std::io::Result<File> {
            let mut file = File::create(&path)?;
            file.write_all(&[0; HEADER_BYTES])?;
            Ok(file)
        };
        let file = open().map_err(|error| io(&path, error))?;
        Ok(Incoming { file, path, hasher: blake3::Hasher::new(), length: 0, kept: false })
    }

    /// Makes an uploaded payload durable under its identity. Idempotent.
    pub fn keep(
        &self,
        incoming: Incoming,
        id: &BlobId,
        uploader: PublicKey,
    ) -> Result<(), BlobError> {
        self.check_quota(&uploader, id.length)?;
        self.place(incoming, id, uploader)
    }

    /// Makes a payload durable that the ledger names already: no quota holds it up.
    pub fn keep_named(
        &self,
        incoming: Incoming,
        id: &BlobId,
        uploader: PublicKey,
    ) -> Result<(), BlobError> {
        self.accounts.lock().name_early(id.digest());
        self.place(incoming, id, uploader)
    }

    fn place(
        &self,
        mut incoming: Incoming,
        id: &BlobId,
        uploader: PublicKey,
    ) -> Result<(), BlobError> {
        let found = incoming.identity(usize::from(id.n));
        if found != *id {
            return Err(BlobError::Mismatch(format!(
                "{} bytes with BLAKE3 {}, announced were {} bytes with {}",
                found.length, found.content, id.length, id.content
            )));
        }
        let digest = id.digest();
        incoming.finish(id, uploader).map_err(|error| io(&incoming.path, error))?;
        // Under the lock: the same payload may come twice at once.
        let mut accounts = self.accounts.lock();
        if self.has(&digest) {
            return Ok(());
        }
        let named = accounts.named_early.remove(&digest);
        let path = self.path(if named { "named" } else { "pending" }, &digest);
        std::fs::rename(&incoming.path, &path)
            .and_then(|()| sync_parent(&path))
            .map_err(|error| io(&path, error))?;
        incoming.kept = true;
        if !named {
            accounts.add(uploader, id.length);
        }
        Ok(())
    }

    /// The content, if a whole copy is here. A damaged one is put aside, to be had anew.
    pub fn read_whole(&self, digest: &BlobDigest) -> Result<Option<Vec<u8>>, BlobError> {
        match self.read(digest) {
            Err(BlobError::Mismatch(reason)) => {
                tracing::error!(%digest, reason, "a stored payload is damaged");
                if let Some(path) = self.existing(digest) {
                    let aside = self.dir.join("incoming").join(format!("damaged-{digest}"));
                    std::fs::rename(&path, aside).map_err(|error| io(&path, error))?;
                }
                Ok(None)
            }
            read => read,
        }
    }

    /// A transaction on the ledger names the payload now: it is pinned, and no
    /// longer counts against its uploader.
    pub fn mark_named(&self, digest: &BlobDigest) {
        let mut accounts = self.accounts.lock();
        let (from, to) = (self.path("pending", digest), self.path("named", digest));
        let Ok((id, uploader)) = read_header(&from) else {
            if !to.exists() {
                accounts.name_early(*digest);
            }
            return;
        };
        match std::fs::rename(&from, &to) {
            Ok(()) => accounts.subtract(&uploader, id.length),
            Err(error) => {
                tracing::warn!(%digest, %error, "cannot move a payload that is named now")
            }
        }
    }

    /// Identity, uploader, and the file positioned at the content.
    pub fn open_blob(
        &self,
        digest: &BlobDigest,
    ) -> Result<Option<(BlobId, PublicKey, File)>, BlobError> {
        let Some(path) = self.existing(digest) else { return Ok(None) };
        let (id, uploader) = read_header(&path).map_err(|error| io(&path, error))?;
        let mut file = File::open(&path).map_err(|error| io(&path, error))?;
        file.seek(SeekFrom::Start(HEADER_BYTES as u64)).map_err(|error| io(&path, error))?;
        Ok(Some((id, uploader, file)))
    }

    /// The content, checked against its identity: disks lie.
    fn read(&self, digest: &BlobDigest) -> Result<Option<Vec<u8>>, BlobError> {
        let damaged = || BlobError::Mismatch(format!("stored payload {digest} is damaged"));
        let opened = match self.open_blob(digest) {
            Err(BlobError::Io { error, .. }) if is_damage(&error) => return Err(damaged()),
            opened => opened?,
        };
        let Some((id, _, mut file)) = opened else { return Ok(None) };
        // The header may be what is damaged: nothing is allocated for it unchecked.
        if id.digest() != *digest {
            return Err(damaged());
        }
        let mut content = Vec::with_capacity(id.length as usize);
        file.read_to_end(&mut content).map_err(|error| io(&self.dir, error))?;
        if BlobId::whole_copies(&content, usize::from(id.n)) != id {
            return Err(damaged());
        }
        Ok(Some(content))
    }
}

impl Accounts {
    fn check(&self, uploader: &PublicKey, length: u64) -> Result<(), BlobError> {
        let pending = self.pending_bytes.get(uploader).copied().unwrap_or(0);
        let limit = limits::MEMBER_PENDING_BYTES_MAX;
        if pending.saturating_add(length) > limit {
            return Err(BlobError::Quota { member: uploader.to_string(), pending, limit });
        }
        Ok(())
    }

    fn add(&mut self, uploader: PublicKey, length: u64) {
        let pending = self.pending_bytes.entry(uploader).or_default();
        *pending = pending.saturating_add(length);
    }

    fn subtract(&mut self, uploader: &PublicKey, length: u64) {
        if let Some(pending) = self.pending_bytes.get_mut(uploader) {
            *pending = pending.saturating_sub(length);
        }
    }

    fn name_early(&mut self, digest: BlobDigest) {
        if self.named_early.len() < NAMED_EARLY_MAX {
            self.named_early.insert(digest);
        }
    }
}

impl Incoming {
    /// Writes the header and syncs the file.
    fn finish(&mut self, id: &BlobId, uploader: PublicKey) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&codec::encode(&(id, uploader)))?;
        self.file.sync_all()
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.length += bytes.len() as u64;
        if self.length > limits::BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { limit: limits::BLOB_BYTES_MAX });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| io(&self.path, error))
    }

    /// Identity of what was written so far, as n whole copies.
    pub fn identity(&self, n: usize) -> BlobId {
        let content = Digest(*self.hasher.finalize().as_bytes());
        BlobId::of_whole_copies(self.length, content, n)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

fn io(path: &Path, error: std::io::Error) -> BlobError {
    BlobError::Io { path: path.display().to_string(), error }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let entries = std::fs::read_dir(dir).map_err(|error| io(dir, error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| io(dir, error))).collect()
}

fn read_header(path: &Path) -> std::io::Result<(BlobId, PublicKey)> {
    let mut header = [0; HEADER_BYTES];
    File::open(path)?.read_exact(&mut header)?;
    codec::decode(&header, HEADER_BYTES)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PublicKey = PublicKey([1; 32]);

    fn stored(content: &[u8]) -> (tempfile::TempDir, BlobStore, BlobId) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let mut incoming = store.begin().unwrap();
        incoming.write(content).unwrap();
        let id = incoming.identity(4);
        store.keep(incoming, &id, ALICE).unwrap();
        (dir, store, id)
    }

    #[test]
    fn a_payload_survives_reopening_and_counts_until_it_is_named() {
        let (dir, store, id) = stored(b"delta");
        drop(store);
        let store = BlobStore::open(dir.path()).unwrap();
        assert_eq!(store.read(&id.digest()).unwrap().unwrap(), b"delta");
        assert_eq!(store.accounts.lock().pending_bytes[&ALICE], 5);
        store.mark_named(&id.digest());
        assert_eq!(store.accounts.lock().pending_bytes[&ALICE], 0);
        assert_eq!(store.read(&id.digest()).unwrap().unwrap(), b"delta");
    }

    #[test]
    fn content_that_is_not_what_was_announced_is_refused_and_leaves_nothing() {
        let (dir, store, id) = stored(b"delta");
        let mut incoming = store.begin().unwrap();
        incoming.write(b"other").unwrap();
        assert!(matches!(store.keep(incoming, &id, ALICE), Err(BlobError::Mismatch(_))));
        assert_eq!(files(&dir.path().join("incoming")).unwrap().len(), 0);
    }

    #[test]
    fn a_copy_that_comes_after_its_transaction_costs_no_quota() {
        let (_dir, store, _) = stored(b"delta");
        let mut incoming = store.begin().unwrap();
        incoming.write(b"late").unwrap();
        let id = incoming.identity(4);
        store.mark_named(&id.digest());
        store.keep(incoming, &id, ALICE).unwrap();
        assert_eq!(store.accounts.lock().pending_bytes[&ALICE], 5);
        assert!(store.read_whole(&id.digest()).unwrap().is_some());
    }

    #[test]
    fn a_flipped_byte_on_disk_is_found() {
        let (dir, store, id) = stored(b"delta");
        let path = dir.path().join("pending").join(id.digest().to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(store.read(&id.digest()).is_err());
        assert!(store.read_whole(&id.digest()).unwrap().is_none());
        assert!(!store.has(&id.digest()), "it can be had anew");
    }

    #[test]
    fn a_damaged_header_allocates_nothing() {
        let (dir, store, id) = stored(b"delta");
        let path = dir.path().join("pending").join(id.digest().to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[7] = 0xff;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(store.read(&id.digest()), Err(BlobError::Mismatch(_))));
    }
}
