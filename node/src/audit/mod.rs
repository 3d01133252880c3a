//! `twinfold-node audit` and `repair`: looks at everything that a stopped node has on its disk and
//! that an answer rests on, and puts aside what is not what was written.

mod files;
mod repair;

use crate::{args::AuditArgs, config::Config, genesis_file};
use color_eyre::eyre::{WrapErr, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde::Serialize;
use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use twinfold_ledger::rederive;

/// What a finding is in: it decides what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Ledger,
    Journal,
    Payload,
    Model,
    Key,
}

/// Something that is not what was written.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub part: Part,
    pub file: PathBuf,
    /// Where in it, if it has rows: `table key`.
    pub place: Option<String>,
    pub height: Option<u64>,
    pub what: String,
}

/// Something that was looked at, and how many of it.
#[derive(Clone, Debug, Serialize)]
pub struct Looked {
    pub at: String,
    pub count: u64,
}

/// What an audit came to.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub looked: Vec<Looked>,
    pub found: Vec<Found>,
    /// Findings in the ledger beyond those that are told.
    pub more: u64,
}

/// A node that is stopped, and stays so while this lives.
pub struct Stopped {
    pub config: Config,
    _lock: Option<File>,
}

impl Stopped {
    fn of(args: &AuditArgs) -> color_eyre::Result<Self> {
        let path = match (&args.dir, &args.config) {
            (Some(dir), None) => dir.join("config.toml"),
            (None, Some(config)) => config.clone(),
            _ => bail!("say which node: --dir FOLDER, or --config FILE"),
        };
        let config = Config::read(&path)?;
        let lock = config.data.join("ledger").join("LOCK");
        let lock = match File::options().read(true).write(true).open(&lock) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).wrap_err_with(|| lock.display().to_string()),
        };
        if let Some(file) = &lock {
            let free = fcntl_lock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
            ensure!(free, "the node in {} is running: stop it first", config.data.display());
        }
        Ok(Self { config, _lock: lock })
    }
}

/// `twinfold-node audit`: fails when something was found.
pub fn run(args: &AuditArgs) -> color_eyre::Result<()> {
    let node = Stopped::of(args)?;
    let report = audit(&node.config)?;
    tell(&report, args.json)?;
    let findings = report.found.len() as u64 + report.more;
    ensure!(
        findings == 0,
        "{findings} findings. Keep a copy of the folder and look at the disk; `twinfold-node repair` puts aside \
         what is damaged, and the node fetches it from the others when it starts"
    );
    Ok(())
}

/// `twinfold-node repair`.
pub fn run_repair(args: &AuditArgs) -> color_eyre::Result<()> {
    let node = Stopped::of(args)?;
    let report = audit(&node.config)?;
    tell(&report, args.json)?;
    repair::run(&node.config, &report)
}

/// Looks at all of a stopped node.
pub fn audit(config: &Config) -> color_eyre::Result<Report> {
    let bar = progress();
    let mut report = Report::default();
    files::keys(&config.keys.dir, &mut report)?;
    let genesis = genesis_file::read(&config.genesis)?;
    let folder = config.data.join("ledger");
    if folder.exists() {
        let told = &mut |at: &'static str, count: u64| bar.set_message(format!("{at}: {count}"));
        let ledger = rederive(&folder, &config.log.dir, &genesis, told)?;
        for area in ledger.areas {
            report.looked.push(Looked { at: area.name.into(), count: area.checked });
        }
        report.more = ledger.more;
        report.found.extend(ledger.findings.into_iter().map(|found| Found {
            part: Part::Ledger,
            file: folder.clone(),
            place: Some(found.place),
            height: found.height.map(|height| height.0),
            what: found.what,
        }));
    }
    files::journal(&config.data.join("journal"), &genesis.digest(), &mut report);
    files::payloads(&config.data.join("blobs"), &mut report, &bar)?;
    files::models(&config.data.join("models"), &mut report, &bar)?;
    bar.finish_and_clear();
    Ok(report)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("a template"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn tell(report: &Report, json: bool) -> color_eyre::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    for Looked { at, count } in &report.looked {
        writeln!(out, "  {at:<36} {count:>12}")?;
    }
    for found in &report.found {
        writeln!(out, "✗ {}", found.line())?;
    }
    match (report.found.is_empty(), report.more) {
        (true, _) => writeln!(out, "✓ everything is what was written")?,
        (false, 0) => {}
        (false, more) => writeln!(out, "✗ and {more} more in the ledger")?,
    }
    Ok(())
}

impl Found {
    fn line(&self) -> String {
        let place = self.place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        let height = self.height.map(|height| format!(", height {height}")).unwrap_or_default();
        format!("{}{place}{height}: {}", self.file.display(), self.what)
    }
}

/// Files in a folder, in the order of their names; none where there is no folder.
fn listed(dir: &Path) -> color_eyre::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).wrap_err_with(|| dir.display().to_string()),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
