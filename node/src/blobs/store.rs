//! The store of fragments: one file for each payload, of this seat's fragment, so that a
//! folder of files is the whole truth. Payloads that no transaction names yet stand in
//! `pending` and count against their uploader's quota; those that nothing keeps any more in
//! `released`. A file's modification time says when this node last answered for it: see `collect`.

use super::{
    BlobError,
    fragment::{Draft, Header, Stored, header},
};
use crate::journal::sync_parent;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};
use twinfold_types::{BlobDigest, BlobId, PublicKey, blob::Hashes, limits};

/// What files' times are taken from.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

pub struct BlobStore {
    dir: PathBuf,
    clock: Clock,
    accounts: Mutex<Accounts>,
    next_temporary: AtomicU64,
}

#[derive(Default)]
struct Accounts {
    pending_bytes: BTreeMap<PublicKey, u64>,
    /// Named on the ledger before their content came here.
    named_early: BTreeSet<BlobDigest>,
}

/// Where fragments lie.
pub const FOLDERS: [&str; 3] = ["named", "pending", "released"];
/// Late fragments that are waited for; beyond it a late one stays pending.
const NAMED_EARLY_MAX: usize = 10_000;

impl BlobStore {
    /// Opens or creates the folders and counts what is pending.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        Self::open_with(dir, Arc::new(SystemTime::now))
    }

    /// By another clock than the machine's.
    pub fn open_with(dir: &Path, clock: Clock) -> Result<Self, BlobError> {
        for folder in FOLDERS.into_iter().chain(["incoming"]) {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|error| io(&path, error))?;
        }
        let (accounts, next_temporary) = (Mutex::default(), AtomicU64::new(0));
        let store = Self { dir: dir.into(), clock, accounts, next_temporary };
        store.clear_incoming()?;
        for path in files(&dir.join("pending"))? {
            if let Some((uploader, bytes)) = uploader_of(&path) {
                store.accounts.lock().add(uploader, bytes);
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

    /// Where a fragment lies, if one does: nobody has looked at it.
    pub fn existing(&self, digest: &BlobDigest) -> Option<PathBuf> {
        FOLDERS.map(|folder| self.path(folder, digest)).into_iter().find(|path| path.exists())
    }

    /// Refuses an uploader who has too much pending already.
    pub fn check_quota(&self, uploader: &PublicKey, blob: &BlobId) -> Result<(), BlobError> {
        self.check_room(uploader, Stored::bytes_of(blob))
    }

    pub fn check_room(&self, uploader: &PublicKey, bytes: u64) -> Result<(), BlobError> {
        self.accounts.lock().check(uploader, bytes)
    }

    /// A file for what comes in.
    pub fn draft(&self) -> Result<Draft, BlobError> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join("incoming").join(number.to_string());
        Draft::new(path.clone()).map_err(|error| io(&path, error))
    }

    /// Makes an uploaded fragment durable under its payload's identity. Idempotent.
    pub fn keep(&self, draft: Draft, header: &Header, hashes: &Hashes) -> Result<(), BlobError> {
        self.check_quota(&header.uploader, &header.blob)?;
        self.place(draft, header, hashes, false)
    }

    /// Makes a fragment durable whose payload the ledger names already: no quota holds it up.
    pub fn keep_named(
        &self,
        draft: Draft,
        header: &Header,
        hashes: &Hashes,
    ) -> Result<(), BlobError> {
        self.place(draft, header, hashes, true)
    }

    /// What was verified takes the place of what may lie there, in one step.
    fn place(
        &self,
        mut draft: Draft,
        header: &Header,
        hashes: &Hashes,
        named: bool,
    ) -> Result<(), BlobError> {
        let digest = header.blob.digest();
        draft.seal(header, hashes, (self.clock)()).map_err(|error| io(&self.dir, error))?;
        // Under the lock: the same fragment may come twice at once, or be named meanwhile.
        let mut accounts = self.accounts.lock();
        let named = accounts.named_early.remove(&digest) | named;
        let existing = self.existing(&digest);
        let folder = if named { "named" } else { "pending" };
        let path = existing.clone().unwrap_or_else(|| self.path(folder, &digest));
        draft.place(&path).map_err(|error| io(&path, error))?;
        if existing.is_none() && !named {
            accounts.add(header.uploader, Stored::bytes_of(&header.blob));
        }
        drop(accounts);
        if named {
            self.mark_named(&digest);
        }
        Ok(())
    }

    /// The fragment that is here. A damaged one is put aside, to be had anew.
    pub fn stored(&self, digest: &BlobDigest) -> Option<Stored> {
        match self.open_stored(digest) {
            Ok(stored) => stored,
            Err(error) => {
                self.note_damage(digest, &error);
                None
            }
        }
    }

    fn open_stored(&self, digest: &BlobDigest) -> std::io::Result<Option<Stored>> {
        // Between the look and the opening it may have been named, and moved.
        for _ in 0..2 {
            let Some(path) = self.existing(digest) else { return Ok(None) };
            match Stored::open(&path, digest) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// Which fragment is here and synced, every byte of it: a receipt says so once more, and from
    /// now on the lease runs anew.
    pub fn held(&self, digest: &BlobDigest) -> Option<u16> {
        let renewed = |fragment: Option<u16>| match fragment {
            Some(fragment) => Ok(self.renew(digest)?.then_some(fragment)),
            None => Ok(None),
        };
        self.check(digest).and_then(renewed).unwrap_or_else(|error| {
            self.note_damage(digest, &error);
            None
        })
    }

    /// Whether a fragment is here undamaged: nobody is told, and its lease goes on as it was.
    pub fn is_intact(&self, digest: &BlobDigest) -> bool {
        let checked = self.check(digest).inspect_err(|error| self.note_damage(digest, error));
        matches!(checked, Ok(Some(_)))
    }

    /// False where it went meanwhile.
    fn renew(&self, digest: &BlobDigest) -> std::io::Result<bool> {
        // Under the lock: it may be on the point of being removed.
        let _accounts = self.accounts.lock();
        let Some(path) = self.existing(digest) else { return Ok(false) };
        touch(&path, (self.clock)())?;
        sync_parent(&path)?;
        Ok(true)
    }

    /// Reads all of a fragment: which one it is.
    fn check(&self, digest: &BlobDigest) -> std::io::Result<Option<u16>> {
        let Some(stored) = self.open_stored(digest)? else { return Ok(None) };
        for group in 0..stored.body.groups() {
            stored.body.read(group..group + 1)?;
        }
        Ok(Some(stored.header.fragment))
    }

    /// The content, if a whole copy is here undamaged.
    pub fn read_whole(&self, digest: &BlobDigest) -> Option<Vec<u8>> {
        let stored = self.stored(digest).filter(|stored| stored.header.blob.k == 1)?;
        match stored.body.read(0..stored.body.groups()) {
            Ok(content) => Some(content),
            Err(error) => {
                self.note_damage(digest, &error);
                None
            }
        }
    }

    /// What the disk gave back is not what was stored: it is had anew from the others. What only
    /// could not be read this time stays, and so does a good one that has taken its place.
    pub fn note_damage(&self, digest: &BlobDigest, error: &std::io::Error) {
        let still_damaged = || self.check(digest).is_err_and(|error| is_damage(&error));
        if !is_damage(error) || !still_damaged() {
            tracing::warn!(%digest, %error, "a stored fragment could not be read");
            return;
        }
        tracing::error!(%digest, %error, "a stored fragment is damaged");
        if let Err(error) = self.put_aside(digest) {
            tracing::error!(%digest, %error, "cannot put a damaged fragment aside");
        }
    }

    /// Out of the way, until the next start removes it.
    fn put_aside(&self, digest: &BlobDigest) -> Result<(), BlobError> {
        let mut accounts = self.accounts.lock();
        let Some(path) = self.existing(digest) else { return Ok(()) };
        if path == self.path("pending", digest)
            && let Some((uploader, bytes)) = uploader_of(&path)
        {
            accounts.subtract(&uploader, bytes);
        }
        let aside = self.dir.join("incoming").join(format!("aside-{digest}"));
        std::fs::rename(&path, aside).map_err(|error| io(&path, error))
    }

    /// A transaction on the ledger names the payload now: it is pinned, and no
    /// longer counts against its uploader.
    pub fn mark_named(&self, digest: &BlobDigest) {
        let mut accounts = self.accounts.lock();
        let to = self.path("named", digest);
        let lies = |folder: &&str| self.path(folder, digest).exists();
        let Some(folder) = ["pending", "released"].into_iter().find(lies) else {
            if !to.exists() {
                accounts.name_early(*digest);
            }
            return;
        };
        if let Err(error) = self.shift(&mut accounts, digest, folder, "named") {
            tracing::warn!(%digest, %error, "cannot move a payload that is named now");
        }
    }

    /// Nothing on the ledger keeps the payload any more: from now on its lease decides.
    pub fn release(&self, digest: &BlobDigest) -> Result<(), BlobError> {
        self.shift(&mut self.accounts.lock(), digest, "named", "released")
    }

    fn shift(
        &self,
        accounts: &mut Accounts,
        digest: &BlobDigest,
        from: &str,
        to: &str,
    ) -> Result<(), BlobError> {
        let (source, target) = (self.path(from, digest), self.path(to, digest));
        let counted = (from == "pending").then(|| uploader_of(&source)).flatten();
        std::fs::rename(&source, &target).map_err(|error| io(&source, error))?;
        if let Some((uploader, bytes)) = counted {
            accounts.subtract(&uploader, bytes);
        }
        Ok(())
    }

    /// What lies in a folder, and when this node last answered for each.
    pub fn listed(&self, folder: &str) -> Result<Vec<(BlobDigest, SystemTime)>, BlobError> {
        let mut found = Vec::new();
        for path in files(&self.dir.join(folder))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(digest) = name.and_then(|name| name.parse().ok()) else { continue };
            // One that has moved meanwhile is looked at another time.
            if let Ok(at) = std::fs::metadata(&path).and_then(|about| about.modified()) {
                found.push((digest, at));
            }
        }
        Ok(found)
    }

    /// Removes what is not named, unless this node has answered for it since then; says whether.
    pub fn remove(&self, digest: &BlobDigest, answered: SystemTime) -> Result<bool, BlobError> {
        let mut accounts = self.accounts.lock();
        for folder in ["pending", "released"] {
            let path = self.path(folder, digest);
            let at = std::fs::metadata(&path).and_then(|about| about.modified());
            if !at.is_ok_and(|at| at <= answered) {
                continue;
            }
            let counted = (folder == "pending").then(|| uploader_of(&path)).flatten();
            std::fs::remove_file(&path).map_err(|error| io(&path, error))?;
            if let Some((uploader, bytes)) = counted {
                accounts.subtract(&uploader, bytes);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// Whose pending bytes a file counts among, and how many they are.
fn uploader_of(path: &Path) -> Option<(PublicKey, u64)> {
    let header = File::open(path).and_then(|mut file| header(&mut file)).ok()?;
    Some((header.uploader, Stored::bytes_of(&header.blob)))
}

/// From now on the lease runs anew; durable when this returns.
fn touch(path: &Path, now: SystemTime) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_modified(now)?;
    file.sync_all()
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

fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

pub fn io(path: &Path, error: std::io::Error) -> BlobError {
    BlobError::Io { path: path.display().to_string(), error }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let entries = std::fs::read_dir(dir).map_err(|error| io(dir, error))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| io(dir, error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::staging::Staging;
    use twinfold_types::blob::Coding;

    const ALICE: PublicKey = PublicKey([1; 32]);

    fn opened(dir: &tempfile::TempDir) -> BlobStore {
        BlobStore::open(dir.path()).unwrap()
    }

    fn staged(store: &BlobStore, content: &[u8]) -> (BlobId, Header, Hashes, Draft) {
        let coding = Coding::whole_copies(4).unwrap();
        let mut staging = Staging::new(store, coding).unwrap();
        staging.write(content).unwrap();
        let mut staged = staging.finish().unwrap();
        let header = Header { blob: staged.id, uploader: ALICE, fragment: 0 };
        (staged.id, header, staged.hashes(0), staged.take(0).unwrap())
    }

    fn stored(content: &[u8]) -> (tempfile::TempDir, BlobStore, BlobId) {
        let dir = tempfile::tempdir().unwrap();
        let store = opened(&dir);
        let (id, header, hashes, draft) = staged(&store, content);
        store.keep(draft, &header, &hashes).unwrap();
        (dir, store, id)
    }

    #[test]
    fn a_payload_survives_reopening_and_counts_until_it_is_named() {
        let (dir, store, id) = stored(b"delta");
        drop(store);
        let store = opened(&dir);
        assert_eq!(store.read_whole(&id.digest()).unwrap(), b"delta");
        let pending = || store.accounts.lock().pending_bytes[&ALICE];
        assert_eq!(pending(), Stored::bytes_of(&id));
        store.mark_named(&id.digest());
        assert_eq!(pending(), 0);
        assert_eq!(store.read_whole(&id.digest()).unwrap(), b"delta");
    }

    #[test]
    fn a_copy_that_comes_after_its_transaction_costs_no_quota() {
        let (_dir, store, delta) = stored(b"delta");
        let (id, header, hashes, draft) = staged(&store, b"late");
        store.mark_named(&id.digest());
        store.keep(draft, &header, &hashes).unwrap();
        assert_eq!(store.accounts.lock().pending_bytes[&ALICE], Stored::bytes_of(&delta));
        assert!(store.read_whole(&id.digest()).is_some());
    }

    #[test]
    fn a_flipped_byte_on_disk_is_found_and_the_payload_can_be_had_anew() {
        let (dir, store, id) = stored(b"delta");
        let path = dir.path().join("pending").join(id.digest().to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(5).position(|window| window == b"delta").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.read_whole(&id.digest()), None);
        assert!(store.stored(&id.digest()).is_none());
        let (_, header, hashes, draft) = staged(&store, b"delta");
        store.keep(draft, &header, &hashes).unwrap();
        assert_eq!(store.read_whole(&id.digest()).unwrap(), b"delta");
    }
}
