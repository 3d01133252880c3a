//! The single writer: opens the folder, commits blocks, takes stable checkpoints.
//! A block is one synced batch: all of it is there after a crash, or nothing.

use crate::{
    audit,
    error::LedgerError,
    execute::{self, Env, Transition},
    look::Look,
    open,
    reader::Reader,
    recovery, replay,
    rocks::{Order, Rocks, View},
    state::{StateRead, Writes},
    store::{self, Batch, Column, TxPlace},
    term::{Recovered, Term},
    tree,
};
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use twinfold_types::{
    Block, Code, Committee, Digest, Epoch, Height, Receipt, TimeMs, TxId,
    block::body_digest,
    codec,
    genesis::Genesis,
    model::ModelRecord,
    state_key::Prefix,
    vote::{Certificate, Checkpoint, CheckpointCertificate},
};

/// The newest executed height and what it came to. At height 0 the digest is the
/// genesis digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub height: Height,
    pub digest: Digest,
    pub time: TimeMs,
    pub state_root: Digest,
    pub audit_size: u64,
    pub audit_root: Digest,
}

/// What a committed block came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// What this node may sign of the height.
    pub checkpoint: Checkpoint,
    pub receipts: Vec<Receipt>,
    pub block: Digest,
    /// The height that the admins made the running epoch's last.
    pub ends_at: Option<Height>,
    /// Who goes on from here by a recovery that the operator accepted.
    pub recovered: Option<Committee>,
}

/// What the writer and all readers share.
pub(crate) struct Shared {
    pub rocks: Rocks,
    pub genesis: Genesis,
    pub chain: Digest,
    published: RwLock<Published>,
    /// The lowest version of the tree that somebody reads on: none where it is the greatest number.
    pub held: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Published {
    pub head: Head,
    pub stable: Option<CheckpointCertificate>,
    /// Lowest height whose block is here.
    pub first: Height,
    /// Of the epoch that the next height belongs to.
    pub committee: Arc<Committee>,
}

impl Shared {
    pub fn published(&self) -> Published {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.published.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The single writer of a folder.
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
}

impl StateRead for View<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.get(Column::State, key)
    }
    fn read_prefix(
        &self,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, LedgerError> {
        self.rows(Column::State, prefix, None, Order::Forward, limit)
    }
    fn was_applied(&self, valid_until: TimeMs, id: &TxId) -> Result<bool, LedgerError> {
        Ok(self.get(Column::Replay, &store::replay_key(valid_until, id))?.is_some())
    }
    fn damaged(&self, reason: String) -> LedgerError {
        View::damaged(self, reason)
    }
}

impl Ledger {
    /// Opens the folder of this genesis; an empty one begins with its state. The database writes
    /// about itself to `logs`, or else beside its tables.
    pub fn open(dir: &Path, logs: Option<&Path>, genesis: &Genesis) -> Result<Self, LedgerError> {
        genesis.check()?;
        let chain = genesis.digest();
        let (rocks, published) = open::open(dir, logs, genesis, &chain)?;
        let (published, held) = (RwLock::new(published), AtomicU64::new(u64::MAX));
        let shared = Shared { rocks, genesis: genesis.clone(), chain, published, held };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// Executes the block that follows the head and writes everything it came to.
    /// The caller has checked the block and its certificate; here it must only fit.
    pub fn commit(
        &mut self,
        block: &Block,
        certificate: &Certificate,
    ) -> Result<Executed, LedgerError> {
        let shared = &self.shared;
        let head = shared.published().head;
        let look = Look(shared.rocks.view());
        let (view, term) = (&look.0, Term::load(&look, &head)?);
        check_link(&head, &shared.chain, &term, block)?;
        term.check_protocol()?;
        let env = Env::new(&shared.chain, &term, block.header.height, block.header.time);
        let Transition { receipts, writes, elected, ends_at } =
            execute::execute_block(view, env, &block.txs)?;

        let mut batch = Batch::default();
        let new_head = put_transition(view, &head, block, &receipts, &writes, &mut batch)?;
        put_block(view, block, &new_head.digest, certificate, &mut batch)?;
        let checkpoint = checkpoint_of(&new_head, block.header.epoch, elected.as_ref());
        let key = store::height_key(new_head.height);
        batch.put(Column::Checkpoints, key, &checkpoint);
        batch.put(Column::Meta, store::META_HEAD, &new_head);
        if let Some(elected) = &elected {
            batch.put(Column::Committees, store::epoch_key(elected.epoch), elected);
        }
        if term.recovered.is_some() {
            batch.put(Column::Committees, store::epoch_key(term.committee.epoch), &term.committee);
        }
        shared.rocks.write(batch)?;
        let recovered = recovery::checked_at(&Look(shared.rocks.view()), &new_head)?;
        let recovered = recovered.map(|recovery| recovery.statement.committee);
        shared.publish(|published| {
            published.head = new_head;
            if let Some(next) = recovered.as_ref().or(elected.as_ref()) {
                published.committee = Arc::new(next.clone());
            }
        });
        Ok(Executed { checkpoint, receipts, block: new_head.digest, ends_at, recovered })
    }

    /// Takes a stable checkpoint, whose certificate the caller has verified. An older one than
    /// the newest known changes nothing, unless it ends an epoch: that one hands over to the
    /// next committee and is kept.
    pub fn set_stable(&mut self, certificate: &CheckpointCertificate) -> Result<(), LedgerError> {
        let Published { head, stable, .. } = self.shared.published();
        let theirs = &certificate.checkpoint;
        if theirs.height > head.height {
            return Err(LedgerError::NotExecuted { height: theirs.height, head: head.height });
        }
        let view = self.shared.rocks.view();
        let ours = checkpoint(&view, theirs.height)?.ok_or_else(|| {
            view.damaged(format!("checkpoint of height {} is missing", theirs.height))
        })?;
        if ours != *theirs {
            let (height, ours, theirs) = (theirs.height, Box::new(ours), Box::new(theirs.clone()));
            return Err(LedgerError::Diverged { height, ours, theirs });
        }
        let is_newer = stable.is_none_or(|stable| stable.checkpoint.height < theirs.height);
        let mut batch = Batch::default();
        if theirs.next_committee.is_some() {
            batch.put(Column::EpochEnds, store::epoch_key(theirs.epoch), certificate);
        }
        if is_newer {
            batch.put(Column::Meta, store::META_STABLE, certificate);
            let kept = theirs.height.0.saturating_sub(tree::VERSIONS_KEPT);
            tree::prune(&view, kept.min(self.shared.held.load(Ordering::Acquire)), &mut batch)?;
        }
        self.shared.rocks.write(batch)?;
        if is_newer {
            self.shared.publish(|published| published.stable = Some(certificate.clone()));
        }
        Ok(())
    }
}

/// Our own checkpoint of a height.
pub(crate) fn checkpoint(
    view: &View<'_>,
    height: Height,
) -> Result<Option<Checkpoint>, LedgerError> {
    let bytes = view.get(Column::Checkpoints, &store::height_key(height))?;
    bytes.map(|bytes| store::decode(&bytes, "checkpoint", |why| view.damaged(why))).transpose()
}

pub(crate) fn checkpoint_of(head: &Head, epoch: Epoch, elected: Option<&Committee>) -> Checkpoint {
    Checkpoint {
        epoch,
        height: head.height,
        block: head.digest,
        state_root: head.state_root,
        audit_size: head.audit_size,
        audit_root: head.audit_root,
        next_committee: elected.map(Committee::digest),
    }
}

fn check_link(head: &Head, chain: &Digest, term: &Term, block: &Block) -> Result<(), LedgerError> {
    let (header, committee) = (&block.header, &term.committee);
    if let Some(Recovered { statement, .. }) = &term.recovered
        && header.epoch < committee.epoch
    {
        return Err(LedgerError::BeyondRecovery { height: head.height, digest: *statement });
    }
    let reason = if header.height != head.height.next() {
        "it has another height".to_string()
    } else if header.chain != *chain {
        format!("it is of chain {}", header.chain)
    } else if header.epoch != committee.epoch {
        format!("it is of epoch {}, epoch {} runs", header.epoch, committee.epoch)
    } else if header.protocol != committee.protocol {
        let (theirs, ours) = (header.protocol, committee.protocol);
        format!("it follows version {theirs} of the rules, the epoch version {ours}")
    } else if header.parent != head.digest {
        format!("its parent is {}, the head is {}", header.parent, head.digest)
    } else if header.time <= head.time {
        format!("its time {} is not above {}", header.time, head.time)
    } else if header.body != body_digest(&block.txs) {
        "its body is not the one its header names".to_string()
    } else {
        return Ok(());
    };
    Err(LedgerError::WrongBlock { height: header.height, head: head.height, reason })
}

/// State, tree, receipts, audit log and indexes.
fn put_transition(
    view: &View<'_>,
    head: &Head,
    block: &Block,
    receipts: &[Receipt],
    writes: &Writes,
    batch: &mut Batch,
) -> Result<Head, LedgerError> {
    let height = block.header.height;
    let state_root = tree::update(view, height.0, writes, batch)?;
    put_state(writes, batch);
    put_model_indexes(view, writes, batch)?;
    let mut log = audit::Append::new(view, head.audit_size);
    for receipt in receipts {
        let entry = codec::encode(receipt);
        let audit = log.push(&entry)?;
        batch.put_raw(Column::Receipts, store::receipt_key(height, receipt.index), entry);
        // A replayed transaction stays where it was applied.
        if let (Some(id), true) = (receipt.tx, receipt.code != Code::Replayed) {
            let place = TxPlace { height, position: receipt.index - 1, audit };
            batch.put(Column::Txs, id.0.0, &place);
        }
    }
    let (audit_size, audit_root) = (log.size(), log.root()?);
    for ((level, index), hash) in log.into_nodes() {
        batch.put_raw(Column::Audit, store::audit_key(level, index), hash.0);
    }
    let (digest, time) = (block.digest(), block.header.time);
    Ok(Head { height, digest, time, state_root, audit_size, audit_root })
}

pub(crate) fn put_state(writes: &Writes, batch: &mut Batch) {
    for (key, value) in writes {
        match value {
            Some(value) => batch.put_raw(Column::State, key.as_slice(), value.as_slice()),
            None => batch.delete(Column::State, key.as_slice()),
        }
    }
}

pub(crate) fn put_model_indexes(
    view: &View<'_>,
    writes: &Writes,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
    for (key, value) in writes {
        let (Some(value), true) = (value, key.starts_with(&[Prefix::Model as u8])) else {
            continue;
        };
        let record: ModelRecord = store::decode(value, "model", |why| view.damaged(why))?;
        let id = record.id();
        batch.put_raw(Column::Models, store::model_index_key(&id, &record), []);
        let key = store::model_digest_key(&record.digest, record.height, &id);
        batch.put_raw(Column::ModelDigests, key, []);
    }
    Ok(())
}

fn put_block(
    view: &View<'_>,
    block: &Block,
    digest: &Digest,
    certificate: &Certificate,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
    let key = store::height_key(block.header.height);
    batch.put(Column::Blocks, key, block);
    batch.put(Column::Certificates, key, certificate);
    batch.put_raw(Column::BlockIndex, digest.0, key);
    replay::forget(view, batch, block.header.time)?;
    replay::remember(batch, &block.txs);
    Ok(())
}
