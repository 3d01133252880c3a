//! Finds the programs of this project: they stand beside the one that runs.

use color_eyre::eyre::{Result, WrapErr, bail, eyre};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[derive(Clone, Debug)]
pub struct Programs {
    pub node: PathBuf,
    pub cli: PathBuf,
}

impl Programs {
    pub fn beside_this_one() -> Result<Self> {
        let this = std::env::current_exe().wrap_err("cannot tell where this program stands")?;
        let folder = this.parent().ok_or_else(|| eyre!("{} has no folder", this.display()))?;
        Self::in_folder(folder)
    }

    /// Looks in the folder and the one above it, where cargo puts the programs that
    /// a test uses.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            let places = [Some(folder), folder.parent()];
            let mut paths = places.into_iter().flatten().map(|place| place.join(name));
            paths.find(|path| path.is_file()).ok_or_else(|| {
                eyre!(
                    "{name} is not in {}; build it with `cargo build --workspace --bins`",
                    folder.display()
                )
            })
        };
        Ok(Self { node: find("twinfold-node")?, cli: find("twinfold")? })
    }
}

/// Runs a command to its end and gives what it wrote to stdout; a failure carries
/// what it wrote to stderr.
pub fn output_of(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().wrap_err_with(|| format!("cannot run {name}"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&stderr);
        bail!("{name} {} ended with {status}:\n{}", arguments.join(" "), said.trim_end());
    }
    Ok(stdout)
}
