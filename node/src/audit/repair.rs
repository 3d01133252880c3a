//! Puts aside what an audit found to be damaged, so that the node fetches it from the others when
//! it starts. What only this node has cannot be fetched: its journal and its keys.

use super::{Part, Report};
use crate::{clock, config::Config, journal::sync_parent};
use color_eyre::eyre::{WrapErr, bail};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

pub fn run(config: &Config, report: &Report) -> color_eyre::Result<()> {
    if report.found.is_empty() {
        println!("Nothing is to be repaired.");
        return Ok(());
    }
    let own: Vec<_> = report
        .found
        .iter()
        .filter(|found| is_own(found.part))
        .map(|found| found.file.display())
        .collect();
    let aside = config.data.join("damaged").join(clock::now().0.to_string());
    let damaged: BTreeSet<&PathBuf> =
        report.found.iter().filter(|found| !is_own(found.part)).map(|found| &found.file).collect();
    for path in &damaged {
        put_aside(&config.data, path, &aside)?;
        println!("put aside  {}", path.display());
    }
    if !damaged.is_empty() {
        println!("It is in {} now.", aside.display());
    }
    if report.found.iter().any(|found| found.part == Part::Ledger) {
        println!(
            "The ledger begins anew: start the node, and it fetches the chain from the others. Its votes are in \
             the journal, so it says nothing twice."
        );
    } else if !damaged.is_empty() {
        println!(
            "Start the node: it makes its fragments from the others' and fetches models again."
        );
    }
    match own.first() {
        None => Ok(()),
        Some(path) => bail!(
            "{path} is this node's alone: no other has it. A key file comes back from its backup; without its \
             journal a validator must not sign again: let it join with a new key"
        ),
    }
}

fn is_own(part: Part) -> bool {
    matches!(part, Part::Journal | Part::Key)
}

/// Keeps its place below the data folder.
fn put_aside(data: &Path, path: &Path, aside: &Path) -> color_eyre::Result<()> {
    let named = || format!("cannot put {} aside", path.display());
    let to = aside.join(path.strip_prefix(data).wrap_err_with(named)?);
    let parent = to.parent().unwrap_or(aside);
    std::fs::create_dir_all(parent).wrap_err_with(named)?;
    std::fs::rename(path, &to).wrap_err_with(named)?;
    sync_parent(&to).and_then(|()| sync_parent(path)).wrap_err_with(named)
}
