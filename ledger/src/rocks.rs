//! RocksDB, and nothing else: columns, consistent views, synced batches. The only
//! file that names the database.
//!
//! The write-ahead log is read in the mode that accepts a torn last record (a
//! crash in the middle of a write that was never acknowledged) and refuses any
//! other damage, so that nothing acknowledged disappears without a word.

use crate::{
    error::LedgerError,
    store::{Batch, Column, Row},
};
use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, DBCompressionType, DBRecoveryMode,
    Direction, ErrorKind, IteratorMode, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};

/// Size of one log before the columns are flushed and it is dropped: bounds the
/// time of a restart.
const WAL_BYTES_MAX: u64 = 64 << 20;
const OPEN_FILES_MAX: i32 = 256;

pub struct Rocks {
    db: DB,
    dir: PathBuf,
}

/// Rows of a column from a key on.
pub enum Order {
    Forward,
    Backward,
}

impl Rocks {
    /// Opens the database in a folder, or makes it.
    pub fn open(dir: &Path, logs: Option<&Path>) -> Result<Self, LedgerError> {
        let names = Column::ALL.map(Column::name);
        let options = options(logs);
        // A folder with a CURRENT file was complete once: there no column may be missing.
        let exists = dir.join("CURRENT").exists();
        if !exists {
            refuse_a_torso(dir)?;
        }
        let mut options_here = options.clone();
        options_here.create_if_missing(!exists);
        options_here.create_missing_column_families(true);
        let db =
            DB::open_cf_with_opts(&options_here, dir, names.map(|name| (name, options.clone())))
                .map_err(|error| open_error(dir, error))?;
        Ok(Self { db, dir: dir.to_path_buf() })
    }

    /// Opens a database that no process writes, and changes nothing in its folder. Strictly: its
    /// log's last record must be whole too.
    pub fn open_to_read(dir: &Path, logs: &Path, strict: bool) -> Result<Self, LedgerError> {
        let mut options = options(Some(logs));
        if strict {
            options.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
        }
        let columns = Column::ALL.map(|column| (column.name(), options.clone()));
        let db = DB::open_cf_with_opts_for_read_only(&options, dir, columns, false);
        let db = db.map_err(|error| open_error(dir, error))?;
        Ok(Self { db, dir: dir.to_path_buf() })
    }

    /// Names of the files that hold tables.
    pub fn tables(&self) -> Result<Vec<String>, LedgerError> {
        let files = self.db.live_files().map_err(|error| self.error(error))?;
        Ok(files.into_iter().map(|file| file.name.trim_start_matches('/').to_string()).collect())
    }

    pub fn view(&self) -> View<'_> {
        View { rocks: self, snapshot: self.db.snapshot() }
    }

    /// Writes all rows or none, synced to the disk before it returns.
    pub fn write(&self, batch: Batch) -> Result<(), LedgerError> {
        let mut rows = WriteBatch::default();
        for (column, from, end) in batch.ranges {
            rows.delete_range_cf(self.column(column)?, from, end);
        }
        for (column, key, value) in batch.rows {
            let column = self.column(column)?;
            match value {
                Some(value) => rows.put_cf(column, key, value),
                None => rows.delete_cf(column, key),
            }
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(rows, &synced).map_err(|error| self.error(error))
    }

    /// Gives back to the file system what was deleted up to a key (or anywhere): rewrites the
    /// tables that held it, and flushes every column, so that no log of it is left. Others
    /// read and write meanwhile.
    pub fn compact(&self, columns: &[(Column, Option<Vec<u8>>)]) -> Result<(), LedgerError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for (column, end) in columns {
            let column = self.column(*column)?;
            self.db.compact_range_cf_opt(column, None::<&[u8]>, end.as_deref(), &options);
        }
        for column in Column::ALL {
            self.db.flush_cf(self.column(column)?).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    pub fn damaged(&self, reason: String) -> LedgerError {
        LedgerError::Damaged { dir: self.dir.clone(), reason }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn column(&self, column: Column) -> Result<&ColumnFamily, LedgerError> {
        let name = column.name();
        self.db.cf_handle(name).ok_or_else(|| self.damaged(format!("column {name} is missing")))
    }

    fn error(&self, error: rocksdb::Error) -> LedgerError {
        match error.kind() {
            ErrorKind::Corruption => self.damaged(error.into_string()),
            _ => LedgerError::Storage { dir: self.dir.clone(), reason: error.into_string() },
        }
    }
}

/// The database as it was at one instant.
pub struct View<'a> {
    rocks: &'a Rocks,
    snapshot: Snapshot<'a>,
}

impl View<'_> {
    pub fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let handle = self.rocks.column(column)?;
        self.snapshot.get_cf(handle, key).map_err(|error| self.rocks.error(error))
    }

    /// Up to `limit` rows whose keys begin with the prefix, in the order asked for,
    /// strictly beyond `beyond` where one is given.
    pub fn rows(
        &self,
        column: Column,
        prefix: &[u8],
        beyond: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, LedgerError> {
        let handle = self.rocks.column(column)?;
        let end = after_prefix(prefix);
        let (start, direction) = match order {
            Order::Forward => (Some(beyond.unwrap_or(prefix)), Direction::Forward),
            Order::Backward => (beyond.or(end.as_deref()), Direction::Reverse),
        };
        let mode = match (start, direction) {
            (Some(start), direction) => IteratorMode::From(start, direction),
            (None, _) => IteratorMode::End,
        };
        let mut rows = Vec::new();
        for row in self.snapshot.iterator_cf_opt(handle, ReadOptions::default(), mode) {
            let (key, value) = row.map_err(|error| self.rocks.error(error))?;
            let beyond_start = beyond == Some(&*key);
            let past_prefix = !key.starts_with(prefix);
            // Seeking backwards may land on the first key after the prefix.
            if beyond_start || (past_prefix && end.as_deref() == Some(&*key)) {
                continue;
            }
            if past_prefix || rows.len() >= limit {
                break;
            }
            rows.push((key.into_vec(), value.into_vec()));
        }
        Ok(rows)
    }

    /// The first keys of a column, all below `end`.
    pub fn keys_below(
        &self,
        column: Column,
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let handle = self.rocks.column(column)?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let rows = self.snapshot.iterator_cf_opt(handle, options, IteratorMode::Start);
        let mut keys = Vec::new();
        for row in rows.take(limit) {
            let (key, _) = row.map_err(|error| self.rocks.error(error))?;
            keys.push(key.into_vec());
        }
        Ok(keys)
    }

    pub fn damaged(&self, reason: String) -> LedgerError {
        self.rocks.damaged(reason)
    }
}

/// The smallest key above every key with this prefix.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn options(logs: Option<&Path>) -> Options {
    let mut options = Options::default();
    if let Some(logs) = logs {
        options.set_db_log_dir(logs);
    }
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(4);
    // Its own statistics would be written into its log every ten minutes, also when idle.
    options.set_stats_dump_period_sec(0);
    options
}

/// A folder with tables but without the file that names the newest manifest has
/// lost it: making a new database there would hide the loss.
fn refuse_a_torso(dir: &Path) -> Result<(), LedgerError> {
    let storage = |error: std::io::Error| LedgerError::Storage {
        dir: dir.to_path_buf(),
        reason: error.to_string(),
    };
    std::fs::create_dir_all(dir).map_err(storage)?;
    for entry in std::fs::read_dir(dir).map_err(storage)? {
        let name = entry.map_err(storage)?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".sst") || name.ends_with(".log") {
            let reason = format!("{name} is there, but no CURRENT file");
            return Err(LedgerError::Damaged { dir: dir.to_path_buf(), reason });
        }
    }
    Ok(())
}

fn open_error(dir: &Path, error: rocksdb::Error) -> LedgerError {
    let (kind, reason, dir) = (error.kind(), error.into_string(), dir.to_path_buf());
    if reason.to_ascii_lowercase().contains("lock") && kind == ErrorKind::IOError {
        return LedgerError::Locked { dir, reason };
    }
    match kind {
        ErrorKind::IOError if !reason.contains("No such file") => {
            LedgerError::Storage { dir, reason }
        }
        _ => LedgerError::Damaged { dir, reason },
    }
}
