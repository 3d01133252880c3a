//! The footer of an Apache Parquet file: its columns and how many rows it has. The columns' content is
//! not read.

use super::schema::Table;
use parquet::{
    basic::{LogicalType, Type},
    file::metadata::ParquetMetaDataReader,
    schema::types::ColumnDescriptor,
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};
use twinfold_types::dataset::{Column, ColumnKind};

/// Of a footer: some hundred bytes for each column of each row group.
const FOOTER_BYTES_MAX: u32 = 64 << 20;
const MAGIC: &[u8] = b"PAR1";

/// Leaf columns by their path (`a.b` within groups). `None` where it is no such file.
pub fn table(path: &Path) -> io::Result<Option<Table>> {
    let mut file = File::open(path)?;
    if !has_footer(&mut file)? {
        return Ok(None);
    }
    let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(&file) else {
        return Ok(None);
    };
    let about = metadata.file_metadata();
    let Ok(rows) = u64::try_from(about.num_rows()) else { return Ok(None) };
    let columns = about.schema_descr().columns().iter().map(|column| Column {
        name: column.path().string(),
        kind: kind(column),
        shape: vec![],
    });
    Ok(Some((Some(columns.collect()), rows)))
}

/// Whether it ends as such files do, with a footer of a bearable length.
fn has_footer(file: &mut File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if length < 12 {
        return Ok(false);
    }
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    let (footer, magic) = end.split_at(4);
    let footer = u32::from_le_bytes(footer.try_into().expect("four bytes"));
    Ok(magic == MAGIC && footer <= FOOTER_BYTES_MAX && u64::from(footer) + 12 <= length)
}

fn kind(column: &ColumnDescriptor) -> ColumnKind {
    match (column.logical_type_ref(), column.physical_type()) {
        (Some(LogicalType::Decimal { .. } | LogicalType::Float16), _) => ColumnKind::Real,
        (_, Type::BOOLEAN) => ColumnKind::Boolean,
        (_, Type::INT32 | Type::INT64) => ColumnKind::Integer,
        (_, Type::FLOAT | Type::DOUBLE) => ColumnKind::Real,
        (_, Type::INT96 | Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) => ColumnKind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::{
        data_type::{BoolType, ByteArrayType, DoubleType, Int64Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };
    use std::sync::Arc;

    const SCHEMA: &str = "message m { required int64 id; required double x; required boolean good;
        required group who { required binary name (UTF8); } }";

    /// Three rows.
    fn written(path: &Path) {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let file = File::create(path).unwrap();
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = 0;
        while let Some(mut next) = group.next_column().unwrap() {
            match column {
                0 => drop(next.typed::<Int64Type>().write_batch(&[1, 2, 3], None, None).unwrap()),
                1 => drop(next.typed::<DoubleType>().write_batch(&[0.5; 3], None, None).unwrap()),
                2 => drop(next.typed::<BoolType>().write_batch(&[true; 3], None, None).unwrap()),
                _ => {
                    let names = ["a", "b", "c"].map(|name| name.as_bytes().to_vec().into());
                    next.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
                }
            }
            next.close().unwrap();
            column += 1;
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn the_footer_names_columns_and_counts_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        written(&path);
        let (columns, rows) = table(&path).unwrap().unwrap();
        let columns: Vec<_> =
            columns.unwrap().into_iter().map(|column| (column.name, column.kind)).collect();
        let named = |name: &str, kind| (name.to_string(), kind);
        let expected = [
            named("id", ColumnKind::Integer),
            named("x", ColumnKind::Real),
            named("good", ColumnKind::Boolean),
            named("who.name", ColumnKind::Text),
        ];
        assert_eq!((columns.as_slice(), rows), (&expected[..], 3));
    }

    #[test]
    fn what_is_no_parquet_file_is_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        written(&path);
        let good = std::fs::read(&path).unwrap();
        for cut in [0, 4, 11, 20, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(table(&path).unwrap(), None, "{cut} bytes");
        }
        for at in good.len().saturating_sub(200)..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            // Whatever it is taken for, nothing panics.
            table(&path).unwrap();
        }
    }
}
