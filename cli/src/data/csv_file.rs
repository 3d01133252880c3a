//! CSV: one example a line, features as numbers, one column of labels. A first
//! line with text in a feature column is a header.

use super::{DataError, Dataset, LabelColumn, classes_of};
use csv::StringRecord;
use ndarray::Array2;
use std::path::Path;

pub fn read(path: &Path, label: &LabelColumn) -> Result<Dataset, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| csv_error(path, error))?;
    let (mut values, mut labels, mut columns) = (vec![], vec![], None);
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let fault = |reason| DataError::Line { path: path.into(), line, reason };
        let at = match columns {
            Some(at) => at,
            None => {
                let at = label_column(label, &record).map_err(fault)?;
                columns = Some(at);
                if is_header(&record, at) || matches!(label, LabelColumn::Name(_)) {
                    continue;
                }
                at
            }
        };
        read_example(&record, at, &mut values, &mut labels).map_err(fault)?;
    }
    let content = |reason: String| DataError::Content { path: path.into(), reason };
    if labels.is_empty() {
        return Err(content("expected examples, found none".into()));
    }
    let (y, classes) = classes_of(&labels).map_err(content)?;
    let shape = (y.len(), values.len() / y.len());
    let x = Array2::from_shape_vec(shape, values).map_err(|error| content(error.to_string()))?;
    Ok(Dataset { x, y, classes })
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let line = error.position().map(csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("expected {expected_len} columns, found {len}")
        }
        csv::ErrorKind::Utf8 { .. } => "expected UTF-8 text".into(),
        _ => error.to_string(),
    };
    match (error.into_kind(), line) {
        (csv::ErrorKind::Io(source), _) => DataError::File { path: path.into(), source },
        (_, Some(line)) => DataError::Line { path: path.into(), line, reason },
        _ => DataError::Content { path: path.into(), reason },
    }
}

fn label_column(label: &LabelColumn, first: &StringRecord) -> Result<usize, String> {
    if first.len() < 2 {
        return Err("expected at least one feature and a label, separated by commas".into());
    }
    match label {
        LabelColumn::Last => Ok(first.len() - 1),
        LabelColumn::Index(index) if *index < first.len() => Ok(*index),
        LabelColumn::Index(index) => {
            Err(format!("label column {index} of {} columns, counted from 0", first.len()))
        }
        LabelColumn::Name(name) => first.iter().position(|field| field == name).ok_or_else(|| {
            let names: Vec<_> = first.iter().take(20).collect();
            format!("no column {name:?} in the header; it begins with {}", names.join(", "))
        }),
    }
}

fn is_header(first: &StringRecord, label: usize) -> bool {
    let mut features = first.iter().enumerate().filter(|(column, _)| *column != label);
    features.any(|(_, field)| !field.is_empty() && field.parse::<f32>().is_err())
}

fn read_example(
    record: &StringRecord,
    label: usize,
    values: &mut Vec<f32>,
    labels: &mut Vec<String>,
) -> Result<(), String> {
    for (column, field) in record.iter().enumerate() {
        if column == label {
            if field.is_empty() {
                return Err(format!("column {}: the label is missing", column + 1));
            }
            labels.push(field.into());
            continue;
        }
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => values.push(value),
            _ => return Err(format!("column {}: expected a number, got {field:?}", column + 1)),
        }
    }
    Ok(())
}

pub fn write(data: &Dataset, path: &Path) -> Result<(), DataError> {
    let failed = |error| csv_error(path, error);
    let mut writer = csv::Writer::from_path(path).map_err(failed)?;
    let names = (0..data.features()).map(|feature| format!("x{feature}"));
    writer.write_record(names.chain(["label".into()])).map_err(failed)?;
    for (row, y) in data.x.rows().into_iter().zip(&data.y) {
        let fields = row.iter().map(f32::to_string);
        writer.write_record(fields.chain([y.to_string()])).map_err(failed)?;
    }
    writer.flush().map_err(|source| DataError::File { path: path.into(), source })
}
