//! NumPy's .npz with arrays `x` (examples × anything, flattened) and `y`.

use super::{DataError, Dataset, classes_of};
use ndarray::{Array1, Array2, ArrayD};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};
use std::{fs::File, path::Path};

type Reader = NpzReader<File>;
/// Reads an array of one type; `None` where it has another.
type Attempt = fn(&mut Reader, &str) -> Option<Result<ArrayD<f64>, String>>;

pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let content = |reason: String| DataError::Content { path: path.into(), reason };
    let file = File::open(path).map_err(|source| DataError::File { path: path.into(), source })?;
    let mut reader = NpzReader::new(file)
        .map_err(|error| content(format!("expected an .npz archive: {error}")))?;
    let x = features(numbers(&mut reader, "x").map_err(content)?).map_err(content)?;
    let y = numbers(&mut reader, "y").map_err(content)?;
    let labels = labels(y, x.nrows()).map_err(content)?;
    let (y, classes) = classes_of(&labels).map_err(content)?;
    Ok(Dataset { x, y, classes })
}

/// An array of any numeric type as f64.
fn numbers(reader: &mut Reader, name: &str) -> Result<ArrayD<f64>, String> {
    let attempts: [Attempt; 7] = [
        attempt::<f64>,
        attempt::<f32>,
        attempt::<u8>,
        attempt::<i8>,
        attempt::<i16>,
        attempt::<i32>,
        attempt_i64,
    ];
    attempts.iter().find_map(|attempt| attempt(reader, name)).unwrap_or_else(|| {
        Err(format!(
            "array {name:?} has another type than float32, float64, uint8 or a signed integer: \
             convert it, for example with x.astype('float32')"
        ))
    })
}

fn attempt<T: ReadableElement + Into<f64> + Copy>(
    reader: &mut Reader,
    name: &str,
) -> Option<Result<ArrayD<f64>, String>> {
    read_as::<T>(reader, name).map(|array| Ok(array?.mapv(Into::into)))
}

fn attempt_i64(reader: &mut Reader, name: &str) -> Option<Result<ArrayD<f64>, String>> {
    read_as::<i64>(reader, name).map(|array| Ok(array?.mapv(|value| value as f64)))
}

fn read_as<T: ReadableElement>(
    reader: &mut Reader,
    name: &str,
) -> Option<Result<ArrayD<T>, String>> {
    match reader.by_name(name) {
        Ok(array) => Some(Ok(array)),
        Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => None,
        Err(ReadNpzError::Zip(error)) => {
            let names = reader.names().unwrap_or_default().join(", ");
            Some(Err(format!("array {name:?}: {error}; the archive holds: {names}")))
        }
        Err(error) => Some(Err(format!("array {name:?}: {error}"))),
    }
}

fn features(x: ArrayD<f64>) -> Result<Array2<f32>, String> {
    let examples = x.shape().first().copied().unwrap_or(0);
    if examples == 0 || x.len() < examples {
        return Err(format!("\"x\": expected examples × features, got shape {:?}", x.shape()));
    }
    let columns = x.len() / examples;
    // Logical order, whatever the order in memory.
    let values: Vec<f32> = x.iter().map(|value| *value as f32).collect();
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let (row, column) = (at / columns, at % columns);
        return Err(format!("\"x\", row {row}, column {column}: expected a finite number"));
    }
    Array2::from_shape_vec((examples, columns), values).map_err(|error| error.to_string())
}

fn labels(y: ArrayD<f64>, examples: usize) -> Result<Vec<String>, String> {
    let got = y.shape().to_vec();
    let wrong = || format!("\"y\": expected {examples} labels in one dimension, got shape {got:?}");
    let y: Array1<f64> = y.into_dimensionality().map_err(|_| wrong())?;
    if y.len() != examples {
        return Err(wrong());
    }
    let whole = |(row, label): (usize, &f64)| {
        if *label >= 0.0 && label.fract() == 0.0 && *label <= f64::from(u32::MAX) {
            return Ok((*label as u32).to_string());
        }
        Err(format!("\"y\", row {row}: expected a whole number from 0, got {label}"))
    };
    y.iter().enumerate().map(whole).collect()
}
