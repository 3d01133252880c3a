//! A folder that the disk or someone damaged is refused with a clear word, or what
//! it still says is right; never a panic, never a wrong answer.

use crate::kit::*;
use std::path::{Path, PathBuf};
use twinfold_ledger::{Head, Ledger, LedgerError};
use twinfold_types::{Action, member::AdminAction};

/// Writes a chain, opens it again so that tables are written too, and adds more.
fn written(dir: &Path) -> Vec<Head> {
    let mut heads = vec![Chain::at(dir).reader.head()];
    for admin in [ADMIN, ADMIN_TWO] {
        let mut chain = Chain::at(dir);
        for _ in 0..6 {
            chain.ok(admin, Action::Propose(AdminAction::SetThreshold(1)));
            heads.push(chain.reader.head());
        }
    }
    heads
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in files(from) {
        std::fs::copy(&file, to.path().join(file.file_name().unwrap())).unwrap();
    }
    to
}

/// Opens the damaged copy: a refusal that names the folder, or a true head.
fn judge(dir: &Path, heads: &[Head], what: &str) -> bool {
    match Ledger::open(dir, None, &genesis()) {
        Ok(ledger) => {
            let reader = ledger.reader();
            assert!(heads.contains(&reader.head()), "{what}: an invented head");
            // Reading everything refuses or answers.
            for head in heads.iter().take_while(|head| head.height <= reader.head().height) {
                if let Ok(Some(block)) = reader.block(head.height) {
                    assert_eq!(block.digest(), head.digest, "{what}");
                }
                let _ = (reader.receipts(head.height), reader.members(), reader.proposals());
            }
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&dir.display().to_string()), "{what}: {text}");
            assert!(
                matches!(error, LedgerError::Damaged { .. } | LedgerError::Storage { .. }),
                "{what}: {text}"
            );
            false
        }
    }
}

fn damaged(change: impl Fn(&mut Vec<u8>, usize)) {
    let source = tempfile::tempdir().unwrap();
    let heads = written(source.path());
    let mut refused = 0;
    for file in files(source.path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for at in 0..4 {
            let copy = copy(source.path());
            let mut bytes = std::fs::read(&file).unwrap();
            change(&mut bytes, at);
            std::fs::write(copy.path().join(&name), bytes).unwrap();
            refused += usize::from(!judge(copy.path(), &heads, &format!("{name} {at}")));
        }
    }
    assert!(refused > 0, "some of this must be noticed at once");
}

#[test]
fn flipped_bytes_are_refused_or_harmless() {
    damaged(|bytes, quarter| {
        let at = bytes.len() * quarter / 4;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x55;
        }
    });
}

#[test]
fn truncated_files_are_refused_or_harmless() {
    damaged(|bytes, quarter| bytes.truncate(bytes.len() * quarter / 4));
}

#[test]
fn a_missing_file_is_refused_or_harmless() {
    let source = tempfile::tempdir().unwrap();
    let heads = written(source.path());
    for file in files(source.path()) {
        let name = file.file_name().unwrap();
        let copy = copy(source.path());
        std::fs::remove_file(copy.path().join(name)).unwrap();
        let opened = judge(copy.path(), &heads, &name.to_string_lossy());
        let needed = ["CURRENT"].contains(&&*name.to_string_lossy())
            || name.to_string_lossy().ends_with(".sst");
        assert!(!(opened && needed), "{name:?} was not missed");
    }
}

#[test]
fn a_flip_inside_the_log_is_refused_rather_than_forgotten() {
    let source = tempfile::tempdir().unwrap();
    written(source.path());
    let logs = files(source.path()).into_iter();
    let logs = logs.filter(|file| file.extension().is_some_and(|end| end == "log"));
    let newest = logs.max().expect("a log");
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&newest, bytes).unwrap();
    let error = Ledger::open(source.path(), None, &genesis()).err().expect("a refusal");
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}
