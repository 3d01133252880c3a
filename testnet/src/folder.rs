//! The folder that holds everything a network writes.

use color_eyre::eyre::{Result, WrapErr, ensure};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Ids of the processes of a network that was left running: `NAME ID` a line.
pub const PIDS: &str = "pids";
/// Stands in a folder that was made as a temporary one: whoever ends the network
/// removes it.
pub const TEMPORARY: &str = "temporary";

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// It was there before, empty: its content is ours, it is not.
    found: bool,
}

impl Folder {
    /// An empty folder to work in: the one asked for, or a temporary one.
    pub fn prepare(asked: Option<&Path>) -> Result<Self> {
        let Some(path) = asked else { return Self::temporary() };
        let found = path.exists();
        if found {
            let mut entries =
                fs::read_dir(path).wrap_err_with(|| format!("--dir {}", path.display()))?;
            ensure!(
                entries.next().is_none(),
                "--dir {}: the folder is not empty. Give another, or remove it; if a network \
                 still runs in it, `testnet/down --dir {}` ends it",
                path.display(),
                path.display()
            );
        }
        private_folder(path)?;
        let path = path.canonicalize().wrap_err_with(|| format!("--dir {}", path.display()))?;
        Ok(Self { path, found })
    }

    fn temporary() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("twinfold-").tempdir();
        let path = folder.wrap_err("cannot make a temporary folder")?.keep();
        fs::write(path.join(TEMPORARY), "").wrap_err("cannot write to the temporary folder")?;
        Ok(Self { path, found: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_temporary(&self) -> bool {
        self.path.join(TEMPORARY).exists()
    }

    /// Makes a folder inside, for the owner only.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        private_folder(&path)?;
        Ok(path)
    }

    /// Removes what the network wrote. A process that is just being killed may still
    /// write, so a second look is taken.
    pub fn remove(&self) -> io::Result<()> {
        let once = || if self.found { empty(&self.path) } else { fs::remove_dir_all(&self.path) };
        match once().or_else(|_| once()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn private_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.wrap_err_with(|| format!("cannot make the folder {}", path.display()))
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("mine"), "x").unwrap();
        assert!(Folder::prepare(Some(outer.path())).unwrap_err().to_string().contains("not empty"));
        assert!(outer.path().join("mine").exists());
    }

    #[test]
    fn a_folder_that_was_there_is_emptied_and_one_that_was_not_is_removed() {
        let outer = tempfile::tempdir().unwrap();
        for (path, stays) in [(outer.path().to_path_buf(), true), (outer.path().join("new"), false)]
        {
            let folder = Folder::prepare(Some(&path)).unwrap();
            fs::write(folder.make("node-1").unwrap().join("log"), "x").unwrap();
            folder.remove().unwrap();
            assert_eq!(path.exists(), stays);
            assert!(!path.join("node-1").exists());
        }
    }
}
