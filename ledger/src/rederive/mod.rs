//! An audit of a folder that nobody writes: everything in it that can influence an answer is
//! made once more from what it rests on, and compared. What does not fit is told by table, row
//! and height; nothing is changed.
//!
//! Blocks rest on their chain of parents below a certified head; receipts, the audit log and the
//! indexes on the blocks; committees on the certificates that handed over; the tree on its
//! nodes' and values' hashes under the heads' roots; the state on the tree. Whether execution was
//! right only a replay shows.

mod chain;
mod files;
mod log;
mod side;
mod tree;

use crate::{
    error::LedgerError,
    ledger::Head,
    look::Look,
    open, proof,
    rocks::{Order, Rocks, View},
    store::{self, Column},
};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use twinfold_types::{Digest, Height, genesis::Genesis};

/// Findings that are told; more are counted.
const FINDINGS_MAX: usize = 1_000;
/// Rows read at once.
const ROWS: usize = 512;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A file's name, or `table key` with the key in hexadecimal.
    pub place: String,
    pub height: Option<Height>,
    pub what: String,
}

/// Something that was looked at, and how many of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub name: &'static str,
    pub checked: u64,
}

/// What an audit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rederived {
    pub areas: Vec<Area>,
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

impl Rederived {
    pub fn find(&mut self, place: impl Into<String>, height: Option<Height>, what: String) {
        match self.findings.len() < FINDINGS_MAX {
            true => self.findings.push(Finding { place: place.into(), height, what }),
            false => self.more += 1,
        }
    }

    fn area(&mut self, name: &'static str, checked: u64) {
        self.areas.push(Area { name, checked });
    }
}

/// Told now and then: what is looked at, and how many of it so far.
pub type Progress<'a> = dyn FnMut(&'static str, u64) + 'a;

/// Looks at a whole folder. The caller sees to it that no process writes it meanwhile. `logs` is
/// where the database may write about itself.
pub fn rederive(
    dir: &Path,
    logs: &Path,
    genesis: &Genesis,
    progress: &mut Progress<'_>,
) -> Result<Rederived, LedgerError> {
    genesis.check()?;
    let mut report = Rederived::default();
    let Some(rocks) = open_to_read(dir, logs, &mut report) else { return Ok(report) };
    files::check(&rocks, &mut report)?;
    let look = Look(rocks.view());
    let head = match open::load(&look) {
        Ok(published) => Head::clone(&published.head),
        Err(error) => {
            report.find("meta", None, error.to_string());
            return Ok(report);
        }
    };
    let chain = genesis.digest();
    // Where blocks say so too, it is the genesis that is another's, and not all else.
    let newest = proof::block(&look.0, head.height).ok().flatten();
    if newest.is_some_and(|block| block.header.chain != chain) {
        open::check_genesis(&look.0, dir.to_path_buf(), &chain)?;
    }
    let mut check = Check { look: &look, genesis, chain, head, report: &mut report, progress };
    check.all();
    Ok(report)
}

/// Strictly first: then a log whose end is cut short or flipped is a finding as well.
fn open_to_read(dir: &Path, logs: &Path, report: &mut Rederived) -> Option<Rocks> {
    let Err(error) = Rocks::open_to_read(dir, logs, true).map(drop) else {
        return Rocks::open_to_read(dir, logs, true).ok();
    };
    let place = files::named_in(&error.to_string()).unwrap_or_else(|| "ledger".into());
    report.find(place, None, error.to_string());
    Rocks::open_to_read(dir, logs, false).ok()
}

/// One look at a folder.
struct Check<'c, 'p> {
    look: &'c Look<'c>,
    genesis: &'c Genesis,
    chain: Digest,
    head: Head,
    report: &'c mut Rederived,
    progress: &'c mut Progress<'p>,
}

impl Check<'_, '_> {
    fn view(&self) -> &View<'_> {
        &self.look.0
    }

    fn all(&mut self) {
        self.meta();
        self.committees();
        let digests = self.blocks();
        self.certificates(&digests);
        self.receipts(&digests);
        self.audit_log();
        self.checkpoints(&digests);
        self.block_index(&digests);
        self.replay(&digests);
        self.tree();
        self.models();
        self.joining();
    }

    /// Every row of a table. One that cannot be read ends the table: the rest is not there.
    fn rows(&mut self, column: Column, mut row: impl FnMut(&mut Self, &[u8], &[u8])) -> u64 {
        let (mut beyond, mut count) = (None::<Vec<u8>>, 0);
        loop {
            let rows = self.view().rows(column, &[], beyond.as_deref(), Order::Forward, ROWS);
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => {
                    let at = beyond.map_or("its first rows".into(), hex::encode);
                    let what = format!("cannot be read behind {at}: {error}");
                    self.report.find(column.name(), None, what);
                    return count;
                }
            };
            for (key, value) in &rows {
                row(self, key, value);
            }
            count += rows.len() as u64;
            (self.progress)(column.name(), count);
            match rows.into_iter().last() {
                Some((last, _)) => beyond = Some(last),
                None => return count,
            }
        }
    }

    /// A row's value; one that is none is a finding.
    fn decode<T: Serialize + DeserializeOwned>(
        &mut self,
        column: Column,
        key: &[u8],
        value: &[u8],
    ) -> Option<T> {
        match store::decode(value, column.name(), |why| self.view().damaged(why)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.find(column, key, None, error.to_string());
                None
            }
        }
    }

    fn find(
        &mut self,
        column: Column,
        key: &[u8],
        height: Option<Height>,
        what: impl Into<String>,
    ) {
        let place = format!("{} {}", column.name(), hex::encode(key));
        self.report.find(place, height, what.into());
    }

    /// What reading came to; an error is a finding.
    fn read<T>(&mut self, column: Column, read: Result<T, LedgerError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                self.report.find(column.name(), None, error.to_string());
                None
            }
        }
    }
}

/// A height from a key of eight bytes.
fn height_of(key: &[u8]) -> Option<Height> {
    Some(Height(u64::from_be_bytes(*key.first_chunk::<8>()?))).filter(|_| key.len() == 8)
}
