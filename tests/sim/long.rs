//! The long run: many seeds, in as many pieces as one likes.
//!
//! What was done so far stands in a file outside the sources, `simulation/progress` in the
//! target folder or where `TWINFOLD_SIM_PROGRESS` says: one line for each piece. A piece ends
//! when seeds and heights are enough in all, or after `TWINFOLD_SIM_SECONDS`. The report is
//! written beside it; with `TWINFOLD_BLESS=1` to `docs/simulation.md` as well.

use crate::{number, plan::Plan, run as run_seed, world::Summary};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

const SEEDS_WANTED: u64 = 10_000;
const HEIGHTS_WANTED: u64 = 1_000_000;
/// Seeds after which the file is written.
const BATCH: u64 = 20;

/// One piece: seeds from `first` on.
#[derive(Clone, Copy, Default)]
struct Piece {
    first: u64,
    seeds: u64,
    total: Summary,
    violations: u64,
    seconds: u64,
}

impl Piece {
    fn line(&self) -> String {
        let Summary { height, view, sent, .. } = self.total;
        let Self { first, seeds, violations, seconds, .. } = self;
        format!("{first} {seeds} {height} {view} {sent} {violations} {seconds}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        let [first, seeds, height, view, sent, violations, seconds] = numbers?[..] else {
            return None;
        };
        let total = Summary { height, view, sent, ..Summary::default() };
        Some(Self { first, seeds, total, violations, seconds })
    }
}

fn sum(pieces: &[Piece]) -> Piece {
    let mut sum = Piece::default();
    for piece in pieces {
        sum.first = sum.first.max(piece.first + piece.seeds);
        sum.seeds += piece.seeds;
        sum.total.add(piece.total);
        sum.violations += piece.violations;
        sum.seconds += piece.seconds;
    }
    sum
}

fn progress_file() -> PathBuf {
    if let Some(path) = std::env::var_os("TWINFOLD_SIM_PROGRESS") {
        return path.into();
    }
    let program = std::env::current_exe().expect("a running program has a path");
    // TARGET/PROFILE/deps/PROGRAM
    let target = program.ancestors().nth(3).expect("cargo's layout").to_path_buf();
    target.join("simulation").join("progress")
}

fn read(path: &Path) -> Vec<Piece> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let piece =
        |line: &str| Piece::parse(line).unwrap_or_else(|| panic!("{}: {line:?}", path.display()));
    text.lines().map(piece).collect()
}

fn write(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder is ours");
    fs::write(&temporary, text).expect("the folder is ours");
    fs::rename(&temporary, path).expect("the folder is ours");
}

fn run_all(pieces: &mut Vec<Piece>, path: &Path) {
    let (started, seconds_max) = (Instant::now(), number("TWINFOLD_SIM_SECONDS"));
    let before = pieces.len();
    pieces.push(Piece { first: sum(pieces).first, ..Piece::default() });
    loop {
        let done = sum(pieces);
        let enough = done.seeds >= SEEDS_WANTED && done.total.height >= HEIGHTS_WANTED;
        let piece = &mut pieces[before];
        piece.seconds = started.elapsed().as_secs();
        let late = seconds_max.is_some_and(|most| piece.seconds >= most);
        if piece.seeds.is_multiple_of(BATCH) || enough || late {
            let lines: String = pieces.iter().map(Piece::line).collect();
            write(path, &lines);
        }
        if enough || late {
            return;
        }
        let piece = &mut pieces[before];
        match run_seed(piece.first + piece.seeds) {
            Ok(summary) => piece.total.add(summary),
            Err(failure) => {
                piece.violations += 1;
                println!("{failure}");
            }
        }
        piece.seeds += 1;
    }
}

pub fn run() {
    let path = progress_file();
    let mut pieces = read(&path);
    run_all(&mut pieces, &path);
    pieces.retain(|piece| piece.seeds > 0);
    pieces.sort_by_key(|piece| piece.first);
    let (report, done) = (report(&pieces), sum(&pieces));
    write(&path.with_file_name("simulation.md"), &report);
    if std::env::var_os("TWINFOLD_BLESS").is_some() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/simulation.md");
        fs::write(docs, &report).expect("the page can be written");
    }
    println!("{}", report.lines().next().unwrap_or_default());
    assert_eq!(done.violations, 0, "violations");
}

fn report(pieces: &[Piece]) -> String {
    let done = sum(pieces);
    let Piece { seeds, violations, .. } = done;
    let height = done.total.height;
    let mut text = format!("{seeds} seeds, {height} heights, {violations} violations\n\n");
    text.push_str(include_str!("report.md"));
    if seeds < SEEDS_WANTED || height < HEIGHTS_WANTED {
        let _ = writeln!(
            text,
            "The long run is not at its end: {SEEDS_WANTED} seeds and {HEIGHTS_WANTED} heights are wanted.\n"
        );
    }
    text.push_str("Pieces may run side by side; seconds are of the clock, on a machine shared with other work.\n\n");
    text.push_str("| first seed | seeds | heights | views | messages | violations | seconds |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for piece in pieces {
        row(&mut text, &piece.first.to_string(), piece);
    }
    let total = done;
    row(&mut text, "all", &total);
    text.push_str("\nWhat the seeds drew:\n\n");
    for (what, count) in drawn(pieces) {
        let _ = writeln!(text, "- {what}: {count}");
    }
    text
}

fn row(text: &mut String, first: &str, piece: &Piece) {
    let Piece { seeds, violations, seconds, .. } = piece;
    let Summary { height, view, sent, .. } = piece.total;
    let _ = writeln!(
        text,
        "| {first} | {seeds} | {height} | {view} | {sent} | {violations} | {seconds} |"
    );
}

/// How often each size, lie and fault was drawn: a seed's plan is a function of the seed.
fn drawn(pieces: &[Piece]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::<String, u64>::new();
    let mut count = |what: String, times: u64| *counts.entry(what).or_default() += times;
    for seed in pieces.iter().flat_map(|piece| piece.first..piece.first + piece.seeds) {
        let plan = Plan::new(seed, None);
        count(format!("committees of {:>2} seats", plan.seats), 1);
        plan.liars.iter().for_each(|(_, lie)| count(format!("lies: {lie:?}"), 1));
        count("crashes of one process".into(), plan.crashes);
        count("kills of all processes at once".into(), plan.kills_of_all);
        count("partitions".into(), plan.partitions);
        count("failed syncs".into(), plan.sync_failures);
        count("runs with real signatures".into(), plan.real_signatures.into());
        count("runs in which a node joins later".into(), plan.joins_ms.is_some().into());
        count("runs in which too many are lost".into(), plan.loses_ms.is_some().into());
        count("ledgers lost".into(), plan.ledgers_lost);
        count("runs that reach the watermark".into(), plan.checkpoints_lost.into());
    }
    counts
}
