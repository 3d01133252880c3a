//! The headers of NumPy's NPZ: a zip archive of arrays, each with its type and shape in front. The
//! arrays themselves are not read.

use super::schema::Table;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use twinfold_types::{
    dataset::{Column, ColumnKind},
    limits,
};

/// Of a header; NumPy's are some hundred bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Columns are arrays, rows their first dimension. `None` where it is no such archive, or where
/// arrays differ in their first dimension.
pub fn table(path: &Path) -> io::Result<Option<Table>> {
    let Ok(mut archive) = zip::ZipArchive::new(File::open(path)?) else { return Ok(None) };
    if archive.len() > limits::DATASET_COLUMNS_MAX {
        return Ok(None);
    }
    let (mut columns, mut rows) = (vec![], None);
    for index in 0..archive.len() {
        let Ok(mut entry) = archive.by_index(index) else { return Ok(None) };
        let Some(header) = read_header(&mut entry) else { return Ok(None) };
        let Some((kind, shape)) = parse(&header) else { return Ok(None) };
        let Some((first, shape)) = shape.split_first() else { return Ok(None) };
        if *rows.get_or_insert(*first) != *first {
            return Ok(None);
        }
        let name = entry.name().trim_end_matches(".npy").to_string();
        columns.push(Column { name, kind, shape: shape.to_vec() });
    }
    Ok(rows.map(|rows| (Some(columns), rows)))
}

/// The text between the magic and the data (NumPy's format 1 to 3).
fn read_header(entry: &mut impl Read) -> Option<String> {
    let mut front = [0; 8];
    entry.read_exact(&mut front).ok()?;
    let major = *front.strip_prefix(MAGIC)?.first()?;
    let length = match major {
        1 => {
            let mut length = [0; 2];
            entry.read_exact(&mut length).ok()?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            entry.read_exact(&mut length).ok()?;
            u32::from_le_bytes(length) as usize
        }
        _ => return None,
    };
    let mut header = vec![0; Some(length).filter(|length| *length <= HEADER_BYTES_MAX)?];
    entry.read_exact(&mut header).ok()?;
    String::from_utf8(header).ok()
}

/// The kind and shape that a header tells of, such as
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (10, 64), }`.
fn parse(header: &str) -> Option<(ColumnKind, Vec<u64>)> {
    let after = |name: &str| Some(header.split_once(name)?.1.trim_start());
    let descr = after("'descr':")?.strip_prefix('\'')?.split('\'').next()?;
    let kind = match descr.trim_start_matches(['<', '>', '|', '=']).chars().next()? {
        'b' if descr.ends_with("b1") => ColumnKind::Boolean,
        'i' | 'u' => ColumnKind::Integer,
        'f' => ColumnKind::Real,
        'U' | 'S' => ColumnKind::Text,
        _ => return None,
    };
    let sides = after("'shape':")?.strip_prefix('(')?.split_once(')')?.0;
    let sides = sides.split(',').map(str::trim).filter(|side| !side.is_empty());
    let shape: Option<Vec<u64>> = sides.map(|side| side.parse().ok()).collect();
    Some((kind, shape.filter(|shape| shape.len() <= limits::TENSOR_DIMENSIONS_MAX)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_kind_and_shape() {
        let header = |descr: &str, shape: &str| {
            parse(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}  "))
        };
        assert_eq!(header("<f4", "(10, 8, 8)"), Some((ColumnKind::Real, vec![10, 8, 8])));
        assert_eq!(header("<i8", "(10,)"), Some((ColumnKind::Integer, vec![10])));
        assert_eq!(header("|b1", "()"), Some((ColumnKind::Boolean, vec![])));
        assert_eq!(header("<U7", "(2,)"), Some((ColumnKind::Text, vec![2])));
        assert_eq!(header("<c16", "(2,)"), None);
        assert_eq!(header("<f4", "(-1,)"), None);
        assert_eq!(header("<f4", "(1,1,1,1,1,1,1,1,1)"), None);
        assert_eq!(parse("{'shape': (1,)}"), None);
    }

    #[test]
    fn a_header_that_lies_of_its_length_is_not_read() {
        let mut bytes = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(read_header(&mut &bytes[..]), None);
        bytes.truncate(5);
        assert_eq!(read_header(&mut &bytes[..]), None);
    }
}
