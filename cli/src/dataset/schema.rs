//! What is known of a file: its media type by its name, columns and rows where the form is CSV,
//! NumPy's NPZ or Apache Parquet. A file of any other form, or one that does not hold to its form, is taken as
//! bytes: nothing here refuses it.

use super::{schema_npz, schema_parquet};
use crate::error::{CliError, Result};
use std::path::Path;
use twinfold_types::{
    dataset::{Column, ColumnKind},
    limits,
};

pub const CSV: &str = "text/csv";
pub const NPZ: &str = "application/x-npz";
pub const PARQUET: &str = "application/vnd.apache.parquet";

/// Media types by the ending of a file's name.
const TYPES: [(&str, &str); 8] = [
    ("csv", CSV),
    ("npz", NPZ),
    ("parquet", PARQUET),
    ("json", "application/json"),
    ("jsonl", "application/jsonlines"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub media_type: &'static str,
    pub columns: Option<Vec<Column>>,
    pub rows: Option<u64>,
}

pub fn of(path: &Path) -> Result<Found> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    let known = TYPES.iter().find(|(known, _)| *known == ending);
    let media_type = known.map_or("application/octet-stream", |(_, media_type)| media_type);
    let table = match media_type {
        CSV => csv_table(path)?,
        NPZ => schema_npz::table(path).map_err(CliError::file(path))?,
        PARQUET => schema_parquet::table(path).map_err(CliError::file(path))?,
        _ => None,
    };
    let (columns, rows) = table.map_or((None, None), |(columns, rows)| (columns, Some(rows)));
    Ok(Found { media_type, columns: columns.filter(|columns| are_fit(columns)), rows })
}

/// Whether a version's record takes these columns.
fn are_fit(columns: &[Column]) -> bool {
    let distinct: std::collections::BTreeSet<_> =
        columns.iter().map(|column| &column.name).collect();
    let named = |column: &Column| (1..=limits::NAME_BYTES_MAX).contains(&column.name.len());
    distinct.len() == columns.len()
        && (1..=limits::DATASET_COLUMNS_MAX).contains(&columns.len())
        && columns.iter().all(named)
}

/// Columns, where they are known, and rows.
pub type Table = (Option<Vec<Column>>, u64);

/// Reads all of it: the kinds of columns are those of every row. `None` where it is no table.
fn csv_table(path: &Path) -> Result<Option<Table>> {
    let reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_path(path);
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return no_table(path, error),
    };
    let (mut record, mut names) = (csv::StringRecord::new(), vec![]);
    let (mut kinds, mut rows): (Vec<Option<ColumnKind>>, u64) = (vec![], 0);
    let mut first = true;
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return no_table(path, error),
        }
        if std::mem::take(&mut first) {
            kinds = vec![None; record.len()];
            if is_header(&record) {
                names = record.iter().map(String::from).collect();
                continue;
            }
            // A column without a name goes by its place.
            names = (0..record.len()).map(|place| place.to_string()).collect();
        }
        rows += 1;
        for (kind, field) in kinds.iter_mut().zip(&record) {
            *kind = joined(*kind, field);
        }
    }
    let columns = names.into_iter().zip(kinds).map(|(name, kind)| Column {
        name,
        kind: kind.unwrap_or(ColumnKind::Text),
        shape: vec![],
    });
    Ok(Some((Some(columns.collect()), rows)))
}

fn no_table(path: &Path, error: csv::Error) -> Result<Option<Table>> {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Err(CliError::file(path)(error)),
        _ => Ok(None),
    }
}

/// A first line is a header if none of its fields is empty or a number.
fn is_header(first: &csv::StringRecord) -> bool {
    first.iter().all(|field| !field.is_empty() && field.parse::<f64>().is_err())
}

/// The kind that holds what a column held so far and this field too; an empty one says nothing.
fn joined(kind: Option<ColumnKind>, field: &str) -> Option<ColumnKind> {
    use ColumnKind::{Boolean, Integer, Real, Text};
    if field.is_empty() || kind == Some(Text) {
        return kind;
    }
    let found = match field {
        _ if field.eq_ignore_ascii_case("true") || field.eq_ignore_ascii_case("false") => Boolean,
        _ if field.parse::<i64>().is_ok() => Integer,
        _ if field.parse::<f64>().is_ok() => Real,
        _ => Text,
    };
    Some(match kind {
        None => found,
        Some(kind) if kind == found => found,
        Some(Integer | Real) if matches!(found, Integer | Real) => Real,
        Some(_) => Text,
    })
}
