//! The data: a held-out part that only the launcher sees, and a training part that
//! the trainers share out among themselves.

use color_eyre::eyre::{Result, WrapErr, ensure};
use std::path::{Path, PathBuf};
use twinfold_cli::data::{Dataset, LoadOptions, load, split_train_test};

/// Handwritten digits (UCI); source and licence stand beside the file.
const DIGITS: &str = include_str!("../data/optdigits.csv");
/// Share of the examples that nobody trains on.
const TEST_SHARE: f64 = 0.2;

pub struct Data {
    pub train: Dataset,
    pub test: Dataset,
    /// The training part, scaled, as trainers read it.
    pub train_file: PathBuf,
}

/// Reads the data, splits it by the seed and writes the training part to a folder.
pub fn prepare(path: Option<&Path>, folder: &Path, seed: u64, trainers: u32) -> Result<Data> {
    let bundled = folder.join("optdigits.csv");
    if path.is_none() {
        std::fs::write(&bundled, DIGITS).wrap_err("cannot write the data")?;
    }
    // Features are scaled once, before the split, so that all parts are scaled alike.
    let whole = load(path.unwrap_or(&bundled), &LoadOptions::default())?;
    let (train, test) = split_train_test(&whole, TEST_SHARE, seed)?;
    ensure!(
        train.len() >= trainers as usize,
        "{} examples cannot be shared among {trainers} trainers: each needs at least one",
        train.len()
    );
    let train_file = folder.join("train.csv");
    train.write_csv(&train_file)?;
    Ok(Data { train, test, train_file })
}
