//! One validator: its store, the state that it executed, and its collector.

use super::{chain::Chain, content::Cut};
use crate::ledger::Ledger;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use twinfold_ledger::LedgerError;
use twinfold_node::{
    blobs::{BlobError, BlobStore, fragment::Header, own_fragment, rebuild::Rebuild},
    collect::{Collector, Kept},
};
use twinfold_types::{
    BlobDigest, BlobId, Code, Committee, Epoch, Height, PublicKey, SeatIndex, TimeMs,
    blob::{BlobReference, FragmentList},
    keeping::Takeover,
    quorum::PastEpoch,
    state_key::{self, Prefix},
};

/// What the collector goes by, and how often it may still ask before its process is killed.
pub struct Seen {
    ledger: Arc<Ledger>,
    height: u64,
    stable: u64,
    answers: Option<u64>,
    no_lease: bool,
}

#[derive(Clone)]
pub struct View(Arc<Mutex<Seen>>);

impl View {
    fn ask<T>(&self, answer: impl FnOnce(&Seen) -> T) -> Result<T, LedgerError> {
        let mut seen = self.0.lock().expect("nobody panics with it");
        match seen.answers.as_mut().map(|left| left.checked_sub(1).map(|rest| *left = rest)) {
            Some(None) => {
                Err(LedgerError::Damaged { dir: PathBuf::new(), reason: "killed".into() })
            }
            _ => Ok(answer(&seen)),
        }
    }
}

impl Kept for View {
    fn head(&self) -> Height {
        Height(self.0.lock().expect("nobody panics with it").height)
    }
    fn stable(&self) -> Height {
        Height(self.0.lock().expect("nobody panics with it").stable)
    }
    fn is_kept(&self, digest: &BlobDigest) -> Result<bool, LedgerError> {
        self.ask(|seen| reference(&seen.ledger, digest).is_some())
    }
    fn running(&self) -> Epoch {
        let seen = self.0.lock().expect("nobody panics with it");
        if seen.no_lease { Epoch(u64::MAX) } else { seen.ledger.running().epoch }
    }
    fn ended(&self, epoch: Epoch) -> Result<Option<TimeMs>, LedgerError> {
        self.ask(|seen| match seen.no_lease {
            true => Some(TimeMs(u64::MAX)),
            false => {
                seen.ledger.get(&state_key::past_epoch(epoch)).map(|past: PastEpoch| past.ended)
            }
        })
    }
}

pub fn reference(ledger: &Ledger, digest: &BlobDigest) -> Option<BlobReference> {
    ledger.get(&state_key::blob_reference(digest))
}

pub struct Site {
    /// Of its key.
    pub index: usize,
    pub key: PublicKey,
    dir: tempfile::TempDir,
    now: Arc<AtomicU64>,
    skew_ms: u64,
    pub up: bool,
    /// Gives receipts and holds nothing.
    pub lies: bool,
    pub store: Arc<BlobStore>,
    pub view: View,
    collector: Collector<View>,
    /// Named, and not looked after yet.
    pub waiting: BTreeMap<BlobDigest, (BlobId, PublicKey)>,
}

/// Fragments of one payload at other sites.
pub type Pieces = BTreeMap<u16, Vec<u8>>;

impl Site {
    pub fn new(index: usize, key: PublicKey, chain: &Chain, now: Arc<AtomicU64>) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a folder");
        let ledger = chain.views[0].clone();
        let seen = Seen { ledger, height: 0, stable: 0, answers: None, no_lease: false };
        let view = View(Arc::new(Mutex::new(seen)));
        let skew_ms = 60_000 * (index as u64 % 5);
        let store = open(&dir, &now, skew_ms);
        let collector = Collector::new(view.clone(), store.clone());
        let waiting = BTreeMap::new();
        Self {
            index,
            key,
            dir,
            now,
            skew_ms,
            up: true,
            lies: false,
            store,
            view,
            collector,
            waiting,
        }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.view.0.lock().expect("nobody panics with it"))
    }

    pub fn ledger(&self) -> Arc<Ledger> {
        self.seen(|seen| seen.ledger.clone())
    }

    pub fn height(&self) -> u64 {
        self.seen(|seen| seen.height)
    }

    pub fn keeps_no_lease(&self) {
        self.seen(|seen| seen.no_lease = true);
    }

    pub fn hears_of_stable(&self, height: u64) {
        self.seen(|seen| seen.stable = seen.stable.max(height));
    }

    /// Its seat in the committee that runs by its own state.
    pub fn seat(&self) -> Option<SeatIndex> {
        self.ledger().running().seat_of(&self.key)
    }

    /// One more block.
    pub fn execute(&mut self, chain: &Chain) {
        let next = self.height() + 1;
        self.seen(|seen| (seen.height, seen.ledger) = (next, chain.views[next as usize].clone()));
        for (tx, code) in &chain.blocks[next as usize - 1] {
            for payload in tx.body.action.payloads().into_iter().filter(|_| *code == Code::Ok) {
                let digest = payload.blob.digest();
                self.store.mark_named(&digest);
                self.waiting.insert(digest, (payload.blob, tx.body.sender));
            }
        }
    }

    /// Verifies and syncs a fragment; the fragment that it can give a receipt for.
    pub fn receive(&self, cut: &Cut, fragment: u16, uploader: PublicKey) -> Option<u16> {
        if self.lies {
            return Some(fragment);
        }
        let (piece, hashes) = cut.fragment(fragment);
        let header = Header { blob: cut.id, uploader, fragment };
        let mut draft = self.store.draft().ok()?;
        draft.write(piece).ok()?;
        self.store.keep(draft, &header, hashes).ok()?;
        self.store.held(&cut.id.digest())
    }

    /// An intact fragment that it serves.
    pub fn serves(&self, digest: &BlobDigest) -> Option<(u16, Vec<u8>, FragmentList)> {
        let stored = self.store.stored(digest).filter(|_| self.up && !self.lies)?;
        let bytes = stored.body.read(0..stored.body.groups());
        let bytes = bytes.inspect_err(|error| self.store.note_damage(digest, error)).ok()?;
        Some((stored.header.fragment, bytes, stored.body.hashes.fragments.clone()))
    }

    /// Whether its seat's fragment is here, or it has none to hold.
    pub fn is_complete(&self, blob: &BlobId) -> bool {
        let Some(own) = own_fragment(blob, self.seat()) else { return true };
        let stored = self.store.stored(&blob.digest());
        stored.is_some_and(|stored| stored.header.fragment == own)
    }

    /// Makes its seat's fragment of what others have. A kill leaves what was written.
    pub fn rebuild(
        &self,
        blob: &BlobId,
        uploader: PublicKey,
        (pieces, list): (&Pieces, FragmentList),
        killed: bool,
    ) -> Result<(), BlobError> {
        let Some(fragment) = own_fragment(blob, self.seat()) else { return Ok(()) };
        let header = Header { blob: *blob, uploader, fragment };
        let mut work = Rebuild::new(header, list, &self.store)?;
        let some: Vec<_> = pieces.iter().take(usize::from(blob.k)).collect();
        let some: Vec<_> = some.iter().map(|(at, piece)| (**at, (*piece).clone())).collect();
        work.add(0..1, &some)?;
        if killed {
            std::mem::forget(work);
            return Ok(());
        }
        work.keep(&self.store)
    }

    /// The collector looks; with a number of answers it is killed after so many.
    pub fn collect(&mut self, answers: Option<u64>, early: bool) -> u64 {
        self.seen(|seen| seen.answers = answers);
        let day = Duration::from_secs(if early { 10 * 24 * 3_600 } else { 0 });
        let looked = self.collector.look(time(&self.now, self.skew_ms) + day);
        self.seen(|seen| seen.answers = None);
        if answers.is_some() {
            self.restart();
        }
        looked.unwrap_or(0)
    }

    /// What a killed process finds on its disk.
    pub fn restart(&mut self) {
        self.store = open(&self.dir, &self.now, self.skew_ms);
        self.collector = Collector::new(self.view.clone(), self.store.clone());
        self.up = true;
    }

    pub fn files(&self, folder: &str) -> Vec<BlobDigest> {
        let listed = self.store.listed(folder).expect("its folder");
        listed.into_iter().map(|(digest, _)| digest).collect()
    }

    /// A bit of a stored file turns.
    pub fn rots(&self, digest: &BlobDigest, at: u64) {
        let Some(path) = self.store.existing(digest) else { return };
        let modified = std::fs::metadata(&path).and_then(|about| about.modified()).expect("a file");
        let mut bytes = std::fs::read(&path).expect("a file");
        let at = at as usize % bytes.len();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        let file = std::fs::File::options().write(true).open(&path).expect("a file");
        file.set_modified(modified).expect("a file");
    }

    /// Whether the ledger, as far as it knows, waits for its word.
    pub fn is_awaited(&self) -> bool {
        let Some(seat) = self.seat() else { return false };
        let row: Option<Takeover> = self.ledger().get(&state_key::takeover(seat));
        row.is_some_and(|row| row.by == self.key)
    }

    /// Everything that its state names.
    pub fn references(&self) -> Vec<BlobReference> {
        references(&self.ledger())
    }

    pub fn committee(&self) -> Committee {
        self.ledger().running()
    }
}

pub fn references(ledger: &Ledger) -> Vec<BlobReference> {
    let rows = ledger.rows_of(Prefix::BlobReference);
    let decode = |row: &[u8]| twinfold_types::codec::decode(row, 1 << 16).expect("its own row");
    rows.iter().map(|(_, row)| decode(row)).collect()
}

fn open(dir: &tempfile::TempDir, now: &Arc<AtomicU64>, skew_ms: u64) -> Arc<BlobStore> {
    let now = now.clone();
    let clock = Arc::new(move || time(&now, skew_ms));
    Arc::new(BlobStore::open_with(dir.path(), clock).expect("a folder"))
}

fn time(now: &AtomicU64, skew_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now.load(Ordering::Relaxed) + skew_ms)
}
