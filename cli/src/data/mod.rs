//! Training data: a matrix of features and a class for each row, read from CSV or
//! NumPy's .npz, scaled, split and shared out. Everything drawn here is seeded.

mod csv_file;
mod npz_file;
mod split;

#[cfg(test)]
mod tests;

pub(crate) use split::normal;
pub use split::{Partition, partition, split_train_test};

use ndarray::{Array2, Axis};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

/// Distinct classes of a data set: a label beyond is taken for a mistake, such as
/// a feature column read as labels.
pub const CLASSES_MAX: usize = 65_536;

#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// One row an example.
    pub x: Array2<f32>,
    /// The class of each row, below `classes`.
    pub y: Vec<u32>,
    pub classes: usize,
}

/// Where a CSV file has its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LabelColumn {
    #[default]
    Last,
    /// Counted from 0.
    Index(usize),
    /// By the header.
    Name(String),
}

impl FromStr for LabelColumn {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(index) => Self::Index(index),
            Err(_) if text == "last" => Self::Last,
            Err(_) => Self::Name(text.into()),
        })
    }
}

/// How features are scaled. All trainers of a task must scale alike, so shards of
/// one set are divided by the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scaling {
    None,
    /// All features by the largest magnitude in the file.
    #[default]
    MaxAbs,
    /// Each feature by its own largest magnitude in the file.
    FeatureMaxAbs,
    /// All features by this number.
    Divide(f32),
}

impl FromStr for Scaling {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "max" => Ok(Self::MaxAbs),
            "feature" => Ok(Self::FeatureMaxAbs),
            _ => match text.parse::<f32>() {
                Ok(by) if by.is_finite() && by > 0.0 => Ok(Self::Divide(by)),
                _ => Err(format!("expected none, max, feature or a positive number, got {text:?}")),
            },
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    pub label: LabelColumn,
    pub scaling: Scaling,
}

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: expected a name ending in .csv or .npz")]
    Format { path: PathBuf },
    #[error("{path}, line {line}: {reason}")]
    Line { path: PathBuf, line: u64, reason: String },
    #[error("{path}: {reason}")]
    Content { path: PathBuf, reason: String },
    #[error("{examples} examples cannot be shared among {parts}: each needs at least one")]
    TooFew { examples: usize, parts: usize },
    #[error("expected iid or dirichlet:ALPHA with ALPHA > 0, got {0:?}")]
    Partition(String),
}

/// Reads a data set by the ending of its name.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Dataset, DataError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let mut data = match ending.to_ascii_lowercase().as_str() {
        "csv" => csv_file::read(path, &options.label)?,
        "npz" => npz_file::read(path)?,
        _ => return Err(DataError::Format { path: path.into() }),
    };
    data.scale(options.scaling);
    Ok(data)
}

impl Dataset {
    pub fn len(&self) -> usize {
        self.y.len()
    }

    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    pub fn features(&self) -> usize {
        self.x.ncols()
    }

    /// The rows of these indices, in their order; the classes stay.
    pub fn select(&self, rows: &[usize]) -> Self {
        let y = rows.iter().map(|row| self.y[*row]).collect();
        Self { x: self.x.select(Axis(0), rows), y, classes: self.classes }
    }

    pub fn scale(&mut self, scaling: Scaling) {
        let largest = |values: &mut dyn Iterator<Item = &f32>| -> f32 {
            let largest = values.fold(0.0f32, |largest, x| largest.max(x.abs()));
            if largest > 0.0 { largest } else { 1.0 }
        };
        match scaling {
            Scaling::None => {}
            Scaling::MaxAbs => self.x /= largest(&mut self.x.iter()),
            Scaling::Divide(by) => self.x /= by,
            Scaling::FeatureMaxAbs => {
                for mut feature in self.x.columns_mut() {
                    feature /= largest(&mut feature.iter());
                }
            }
        }
    }

    /// Writes the set as CSV with a header, the label last.
    pub fn write_csv(&self, path: &Path) -> Result<(), DataError> {
        csv_file::write(self, path)
    }
}

/// Classes 0..n from labels as text: integers stand for themselves, other texts
/// for their place among the sorted texts.
fn classes_of(labels: &[String]) -> Result<(Vec<u32>, usize), String> {
    let numbers: Option<Vec<u32>> = labels.iter().map(|label| label.parse().ok()).collect();
    let y = numbers.unwrap_or_else(|| {
        let mut names: Vec<_> = labels.iter().collect();
        names.sort();
        names.dedup();
        labels.iter().map(|label| names.partition_point(|name| *name < label) as u32).collect()
    });
    let classes = y.iter().max().map_or(0, |largest| *largest as usize + 1);
    if classes > CLASSES_MAX {
        return Err(format!(
            "labels go up to {}, at most {CLASSES_MAX} classes were expected: is the label column right?",
            classes - 1
        ));
    }
    Ok((y, classes))
}
