//! Python programs that none of us wrote, or that are a part of the documentation.

use std::path::PathBuf;

/// The environment that `tests/run` makes.
pub fn python() -> PathBuf {
    let path = std::env::var_os("TWINFOLD_PYTHON").map(PathBuf::from);
    let path = path
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python")));
    assert!(
        path.is_file(),
        "{} is not there. Make the Python environment with `./tests/run scenarios`, or with\n  \
         python3 -m venv tests/.venv && tests/.venv/bin/pip install -r tests/requirements.txt",
        path.display()
    );
    path
}
