//! The database's own files. Their content is read with checksums by whoever reads the tables;
//! here is what no reading of a row sees.

use super::Rederived;
use crate::{error::LedgerError, rocks::Rocks};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// What the database writes anew from its settings, or for people: no answer rests on it.
const UNREAD: [&str; 4] = ["IDENTITY", "LOCK", "LOG", "OPTIONS-"];

/// End of a table: a byte for the kind of checksum, two handles with zeros behind them in 40
/// bytes, version, magic (RocksDB, table/format.h, `Footer`).
const FOOTER_BYTES: usize = 53;
const HANDLES: std::ops::Range<usize> = 1..41;

pub fn check(rocks: &Rocks, report: &mut Rederived) -> Result<(), LedgerError> {
    let dir = rocks.dir();
    let storage = |error: std::io::Error| LedgerError::Storage {
        dir: dir.to_path_buf(),
        reason: error.to_string(),
    };
    let tables = rocks.tables()?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(storage)? {
        names.push(entry.map_err(storage)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut checked = 0;
    for name in &names {
        let result = match name.as_str() {
            "CURRENT" => check_current(dir, &names),
            table if table.ends_with(".sst") => check_table(dir, table, &tables),
            // Every record of theirs is read when the database opens.
            log if log.ends_with(".log") || log.starts_with("MANIFEST-") => Ok(()),
            other if UNREAD.iter().any(|unread| other.starts_with(unread)) => continue,
            _ => Err("it is no file of this database".into()),
        };
        checked += 1;
        if let Err(what) = result {
            report.find(name.as_str(), None, what);
        }
    }
    for table in tables.iter().filter(|table| !names.contains(table)) {
        report.find(table.as_str(), None, "it is missing".into());
    }
    report.area("files of the database", checked);
    Ok(())
}

fn check_current(dir: &Path, names: &[String]) -> Result<(), String> {
    let text = std::fs::read_to_string(dir.join("CURRENT")).map_err(|error| error.to_string())?;
    match text.strip_suffix('\n').is_some_and(|name| names.iter().any(|other| other == name)) {
        true => Ok(()),
        false => Err(format!("it names {text:?}")),
    }
}

fn check_table(dir: &Path, name: &str, tables: &[String]) -> Result<(), String> {
    if !tables.iter().any(|table| table == name) {
        return Err("no table of the database is in it".into());
    }
    let footer = footer(&dir.join(name)).map_err(|error| error.to_string())?;
    let handles = &footer[HANDLES];
    // Four numbers of seven bits a byte, each ended by a byte below 128.
    let ends = handles.iter().enumerate().filter(|(_, byte)| **byte < 128);
    let used = ends.map(|(at, _)| at + 1).nth(3);
    match used.is_some_and(|used| handles[used..].iter().all(|byte| *byte == 0)) {
        true => Ok(()),
        false => Err("its footer has bytes that nobody wrote".into()),
    }
}

fn footer(path: &Path) -> std::io::Result<[u8; FOOTER_BYTES]> {
    let (mut file, mut footer) = (File::open(path)?, [0; FOOTER_BYTES]);
    file.seek(SeekFrom::End(-(FOOTER_BYTES as i64)))?;
    file.read_exact(&mut footer)?;
    Ok(footer)
}

/// The file of the database that a message names.
pub fn named_in(message: &str) -> Option<String> {
    let mut words = message.split(|c: char| c.is_whitespace() || "/:,()".contains(c));
    let is_file = |word: &&str| {
        word.ends_with(".sst")
            || word.ends_with(".log")
            || word.starts_with("MANIFEST-")
            || *word == "CURRENT"
    };
    words.rfind(is_file).map(str::to_string)
}
