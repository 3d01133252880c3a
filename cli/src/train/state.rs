//! A trainer's memory, in one file that is replaced as a whole: the residual, how
//! many updates it made (which seeds the next), and the update whose outcome it does
//! not know yet. A killed trainer finds that update and sends the same bytes again.
//!
//! The residual moves only when the outcome is known: to a − q where the round
//! counted the update, else to a. Until then both stay in the file.
//!
//! ```text
//! magic "TFT2" · header length u32 · header, canonically encoded
//! · residual · control variate · of a pending update: a, a − q, the next control variate (f32 each), payload
//! · BLAKE3 of all before
//! ```

use crate::files::{self, Access};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};
use twinfold_types::{
    PublicKey, RoundNumber, TaskId, codec, limits,
    round::{Metrics, Outcome},
};

const MAGIC: [u8; 4] = *b"TFT2";
const DIGEST_BYTES: usize = 32;
/// A header holds one transaction and a few numbers.
const HEADER_BYTES_MAX: usize = 2 * limits::TX_BYTES_MAX;
const FILE_BYTES_MAX: u64 = 6 * limits::BLOB_BYTES_MAX + 2 * HEADER_BYTES_MAX as u64;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} is in use by another trainer: run one per key and task")]
    Locked(PathBuf),
    #[error("{path} is damaged: {reason}; move it away to start without a residual")]
    Damaged { path: PathBuf, reason: &'static str },
    #[error(
        "{path} belongs to {found}, expected {expected}: give each trainer a folder of its own"
    )]
    Other { path: PathBuf, found: String, expected: String },
    #[error("an update is still without an outcome: settle it first")]
    Pending,
    #[error("no update waits for an outcome")]
    NothingPending,
    #[error("expected {expected} values, got {got}")]
    Length { expected: usize, got: usize },
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Folded with weight.
    Counted,
    /// Refused, late, void or not chosen.
    NotCounted,
}

impl Settlement {
    /// From the round's list of outcomes; `None` where the update is not listed.
    pub fn of(outcome: Option<Outcome>) -> Self {
        match outcome {
            Some(Outcome::Folded { weight }) if weight > 0 => Self::Counted,
            _ => Self::NotCounted,
        }
    }
}

/// An update on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The round meant; `None` in asynchronous tasks.
    pub round: Option<RoundNumber>,
    pub base_version: u64,
    pub examples: u32,
    pub metrics: Metrics,
    /// The signed transaction's bytes, once there are any.
    pub transaction: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    /// The next residual when the update does not count.
    pub carried: Vec<f32>,
    /// The next residual when it does.
    pub rest: Vec<f32>,
    /// The trainer's next control variate when it does; empty in tasks without.
    pub control: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    task: TaskId,
    trainer: PublicKey,
    values: u64,
    sequence: u64,
    residual_base: Option<u64>,
    control_values: u64,
    pending: Option<PendingHeader>,
}

#[derive(Serialize, Deserialize)]
struct PendingHeader {
    round: Option<RoundNumber>,
    base_version: u64,
    examples: u32,
    metrics: Metrics,
    transaction: Option<Vec<u8>>,
    control_values: u64,
    payload_bytes: u64,
}

/// What was not sent yet, and the version it came from.
#[derive(Clone, Debug, PartialEq)]
struct Residual {
    base_version: u64,
    values: Vec<f32>,
}

/// The open state of one trainer in one task; a lock keeps a second process out.
#[derive(Debug)]
pub struct TrainerState {
    path: PathBuf,
    _lock: File,
    task: TaskId,
    trainer: PublicKey,
    values: usize,
    sequence: u64,
    residual: Option<Residual>,
    /// What this trainer's gradient usually is; empty in tasks without control variates.
    control: Vec<f32>,
    pending: Option<Pending>,
}

impl TrainerState {
    /// Opens the state at `path`, or a new one where there is none, for a model of
    /// `values` values.
    pub fn open(
        path: &Path,
        task: TaskId,
        trainer: PublicKey,
        values: usize,
    ) -> Result<Self, StateError> {
        let lock = lock(path)?;
        let fresh = Self {
            path: path.to_path_buf(),
            _lock: lock,
            task,
            trainer,
            values,
            sequence: 0,
            residual: None,
            control: vec![],
            pending: None,
        };
        match files::read(&fresh.path, FILE_BYTES_MAX) {
            Ok(bytes) => fresh.load(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(fresh),
            Err(source) => Err(StateError::File { path: fresh.path, source }),
        }
    }

    /// Updates begun so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The update whose outcome is not known yet.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The residual for training from `version`; empty where there is none, or
    /// where its base is more than `age_max` versions older.
    pub fn residual(&self, version: u64, age_max: Option<u64>) -> &[f32] {
        match &self.residual {
            Some(residual) => {
                let age = version.saturating_sub(residual.base_version);
                if age_max.is_some_and(|max| age > max) { &[] } else { &residual.values }
            }
            None => &[],
        }
    }

    /// The trainer's control variate; empty where there is none.
    pub fn control(&self) -> &[f32] {
        &self.control
    }

    /// Makes an update durable, before any byte of it is sent.
    pub fn begin(&mut self, pending: Pending) -> Result<(), StateError> {
        if self.pending.is_some() {
            return Err(StateError::Pending);
        }
        for got in [pending.carried.len(), pending.rest.len()] {
            if got != self.values {
                return Err(StateError::Length { expected: self.values, got });
            }
        }
        if pending.control.len() > self.values {
            let (expected, got) = (self.values, pending.control.len());
            return Err(StateError::Length { expected, got });
        }
        self.sequence += 1;
        self.pending = Some(pending);
        self.save()
    }

    /// Makes the pending update's signed transaction durable, before it is sent.
    pub fn set_transaction(&mut self, bytes: Vec<u8>) -> Result<(), StateError> {
        let pending = self.pending.as_mut().ok_or(StateError::NothingPending)?;
        pending.transaction = Some(bytes);
        self.save()
    }

    /// The pending update's transaction came to nothing: another one is signed for it.
    pub fn forget_transaction(&mut self) -> Result<(), StateError> {
        let pending = self.pending.as_mut().ok_or(StateError::NothingPending)?;
        pending.transaction = None;
        self.save()
    }

    /// Moves the residual as the update's outcome says.
    pub fn settle(&mut self, settlement: Settlement) -> Result<(), StateError> {
        let pending = self.pending.take().ok_or(StateError::NothingPending)?;
        let values = match settlement {
            Settlement::Counted => {
                // One that was made elsewhere says nothing of it.
                if !pending.control.is_empty() {
                    self.control = pending.control;
                }
                pending.rest
            }
            Settlement::NotCounted => pending.carried,
        };
        self.residual = Some(Residual { base_version: pending.base_version, values });
        self.save()
    }

    fn save(&self) -> Result<(), StateError> {
        files::write(&self.path, &self.encode(), Access::Owner)
            .map_err(|source| StateError::File { path: self.path.clone(), source })
    }

    fn encode(&self) -> Vec<u8> {
        let pending = self.pending.as_ref().map(|pending| PendingHeader {
            round: pending.round,
            base_version: pending.base_version,
            examples: pending.examples,
            metrics: pending.metrics,
            transaction: pending.transaction.clone(),
            control_values: pending.control.len() as u64,
            payload_bytes: pending.payload.len() as u64,
        });
        let header = codec::encode(&Header {
            task: self.task,
            trainer: self.trainer,
            values: self.values as u64,
            sequence: self.sequence,
            residual_base: self.residual.as_ref().map(|residual| residual.base_version),
            control_values: self.control.len() as u64,
            pending,
        });
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&header);
        if let Some(residual) = &self.residual {
            put_reals(&mut out, &residual.values);
        }
        put_reals(&mut out, &self.control);
        if let Some(pending) = &self.pending {
            put_reals(&mut out, &pending.carried);
            put_reals(&mut out, &pending.rest);
            put_reals(&mut out, &pending.control);
            out.extend_from_slice(&pending.payload);
        }
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    fn load(mut self, bytes: &[u8]) -> Result<Self, StateError> {
        let path = self.path.clone();
        let damaged = |reason| StateError::Damaged { path: path.clone(), reason };
        let content = checked_content(bytes).map_err(damaged)?;
        let (header, mut rest) = split_header(content).map_err(damaged)?;
        let found = (header.task, header.trainer, header.values);
        let expected = (self.task, self.trainer, self.values as u64);
        if found != expected {
            let text = |(task, trainer, values): (TaskId, PublicKey, u64)| {
                let (task, trainer) = (task.0.short(), trainer.short());
                format!("task {task}, trainer {trainer}, {values} values")
            };
            let (found, expected) = (text(found), text(expected));
            return Err(StateError::Other { path, found, expected });
        }
        self.sequence = header.sequence;
        if let Some(base_version) = header.residual_base {
            let values = take_reals(&mut rest, self.values).map_err(damaged)?;
            self.residual = Some(Residual { base_version, values });
        }
        self.control = take_reals(&mut rest, header.control_values as usize).map_err(damaged)?;
        if let Some(pending) = header.pending {
            let carried = take_reals(&mut rest, self.values).map_err(damaged)?;
            let kept = take_reals(&mut rest, self.values).map_err(damaged)?;
            let count = pending.control_values as usize;
            let control = take_reals(&mut rest, count).map_err(damaged)?;
            let payload = take(&mut rest, pending.payload_bytes as usize).map_err(damaged)?;
            self.pending = Some(pending.with(payload.to_vec(), carried, kept, control));
        }
        if !rest.is_empty() {
            return Err(damaged("bytes are left over"));
        }
        Ok(self)
    }
}

impl PendingHeader {
    fn with(
        self,
        payload: Vec<u8>,
        carried: Vec<f32>,
        rest: Vec<f32>,
        control: Vec<f32>,
    ) -> Pending {
        let Self { round, base_version, examples, metrics, transaction, .. } = self;
        Pending {
            round,
            base_version,
            examples,
            metrics,
            transaction,
            payload,
            carried,
            rest,
            control,
        }
    }
}

fn lock(path: &Path) -> Result<File, StateError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".lock");
    let lock_path = path.with_file_name(name);
    let failed = |source| StateError::File { path: lock_path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn checked_content(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let end = bytes.len().checked_sub(DIGEST_BYTES).ok_or("it is too short")?;
    let (content, digest) = bytes.split_at(end);
    let content = content.strip_prefix(&MAGIC).ok_or("it is no trainer state of this version")?;
    if blake3::hash(&bytes[..end]).as_bytes() != digest {
        return Err("its digest does not match its content");
    }
    Ok(content)
}

fn split_header(mut content: &[u8]) -> Result<(Header, &[u8]), &'static str> {
    let mut length = [0; 4];
    length.copy_from_slice(take(&mut content, 4)?);
    let header = take(&mut content, u32::from_le_bytes(length) as usize)?;
    let header =
        codec::decode(header, HEADER_BYTES_MAX).map_err(|_| "its header does not decode")?;
    Ok((header, content))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], &'static str> {
    bytes.split_off(..count).ok_or("it is cut off")
}

fn put_reals(out: &mut Vec<u8>, values: &[f32]) {
    out.reserve(values.len() * 4);
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn take_reals(bytes: &mut &[u8], count: usize) -> Result<Vec<f32>, &'static str> {
    let reals = take(bytes, count.saturating_mul(4))?.as_chunks::<4>().0;
    Ok(reals.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
