//! What stands beside the ledger: the journal, payloads, models, keys.

use super::{Found, Looked, Part, Report, listed};
use crate::{
    blobs::{fragment::Stored, models::read_in},
    journal,
};
use indicatif::ProgressBar;
use std::path::Path;
use twinfold_consensus::Record;
use twinfold_types::{Digest, keyfile::KeyFile};

fn find(report: &mut Report, part: Part, file: &Path, what: String) {
    report.found.push(Found { part, file: file.into(), place: None, height: None, what });
}

fn looked(report: &mut Report, at: &str, count: usize) {
    report.looked.push(Looked { at: at.into(), count: count as u64 });
}

/// The name of a file that is called after a digest.
fn digest_of(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Every frame of the journal. An observer that never ran has none.
pub fn journal(path: &Path, chain: &Digest, report: &mut Report) {
    if !path.exists() {
        return;
    }
    match journal::inspect::<Record>(path, chain) {
        Ok(records) => looked(report, "records of the journal", records.len()),
        Err(error) => find(report, Part::Journal, path, error.to_string()),
    }
}

/// Every byte of every fragment.
pub fn payloads(dir: &Path, report: &mut Report, bar: &ProgressBar) -> color_eyre::Result<()> {
    let mut count = 0;
    for folder in crate::blobs::store::FOLDERS {
        for path in listed(&dir.join(folder))? {
            if let Err(what) = check_fragment(&path) {
                find(report, Part::Payload, &path, what);
            }
            count += 1;
            bar.set_message(format!("payloads: {count}"));
        }
    }
    looked(report, "fragments of payloads", count);
    Ok(())
}

fn check_fragment(path: &Path) -> Result<(), String> {
    let digest = digest_of(path).ok_or("it is called after no payload")?;
    let stored = Stored::open(path, &digest).map_err(|error| error.to_string())?;
    for group in 0..stored.body.groups() {
        stored.body.read(group..group + 1).map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub fn models(dir: &Path, report: &mut Report, bar: &ProgressBar) -> color_eyre::Result<()> {
    let mut count = 0;
    for path in listed(dir)? {
        // Of a write that a kill cut short: the next one replaces it.
        if path.extension().is_some_and(|extension| extension == "new") {
            continue;
        }
        // Of a difference the parent is read too.
        let named = digest_of(&path.with_extension(""));
        let read = named.map(|digest| read_in(dir, &digest).map_err(|error| error.to_string()));
        match read {
            Some(Ok(_)) => {}
            Some(Err(what)) => find(report, Part::Model, &path, what),
            None => find(report, Part::Model, &path, "it is called after no model".into()),
        }
        count += 1;
        bar.set_message(format!("models: {count}"));
    }
    looked(report, "model files", count);
    Ok(())
}

/// Each key file by its checksum; one that is not encrypted also by its public key.
pub fn keys(dir: &Path, report: &mut Report) -> color_eyre::Result<()> {
    let mut count = 0;
    for path in listed(dir)? {
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let opened = text.and_then(|text| {
            let file = KeyFile::from_json(&text).map_err(|error| error.to_string())?;
            match file.is_encrypted() {
                true => Ok(()),
                false => file.open(None).map(drop).map_err(|error| error.to_string()),
            }
        });
        if let Err(what) = opened {
            find(report, Part::Key, &path, what);
        }
        count += 1;
    }
    looked(report, "key files", count);
    Ok(())
}
