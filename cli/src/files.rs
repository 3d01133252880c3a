//! Files: read with a limit, written atomically (a reader sees the old content
//! or the new, never a part), owner-only where they hold secrets.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Reads at most `limit` bytes; a longer file is refused before it is read.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let too_long = |found: u64| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{found} bytes; at most {limit} were expected"),
        )
    };
    if length > limit {
        return Err(too_long(length));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected UTF-8 text"))
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Owner,
    Everyone,
}

/// Writes a sibling, syncs it, renames it over `path`, syncs the folder.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let sibling = sibling(path);
    let mode = if access == Access::Owner { 0o600 } else { 0o644 };
    // A leftover of a killed process would keep its own permissions.
    match fs::remove_file(&sibling) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&sibling)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&sibling, path)) {
        let _ = fs::remove_file(&sibling);
        return Err(error);
    }
    File::open(folder(path))?.sync_all()
}

/// Creates a folder that only its owner may enter; an existing one stays as it is.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder(path).join(format!(".{name}.{}.new", std::process::id()))
}
