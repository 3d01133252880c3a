//! One row a round, for people or as a line of JSON.

use serde::Serialize;
use std::io::Write;

/// What a model is worth on the held-out data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    pub loss: f64,
    pub accuracy: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// From 1.
    pub round: u64,
    pub clusters: Vec<ClusterRow>,
    /// After the merge that followed.
    pub global: Option<Score>,
    /// Of this round: what left the trainers, and the same updates as f32.
    pub bytes_sent: u64,
    pub bytes_dense: u64,
    pub commit_ms_p50: Option<f64>,
    pub commit_ms_p99: Option<f64>,
    /// Validators that run, and whether they hold the same state root.
    pub validators: usize,
    pub state_roots_equal: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct ClusterRow {
    pub cluster: u16,
    /// Names of the trainers whose updates the round holds.
    pub took_part: Vec<String>,
    /// Updates that were folded.
    pub folded: u32,
    /// Of the cluster's model before the merge; none where the round is void.
    pub score: Option<Score>,
}

/// Where rows go, as they come.
pub struct Table {
    json: bool,
    clusters: usize,
}

/// Clusters that get a column each; more of them share one with the range.
const COLUMNS_MAX: usize = 3;
/// Trainers that are named; of more only the number is shown.
const NAMES_MAX: usize = 8;

impl Table {
    pub fn new(json: bool, clusters: usize) -> Self {
        Self { json, clusters }
    }

    pub fn header(&self) -> std::io::Result<()> {
        if self.json {
            return Ok(());
        }
        let (names, units) = match self.clusters {
            count if count <= COLUMNS_MAX => (
                (0..count).map(|cluster| format!("cluster {cluster}")).collect(),
                vec![SCORE_UNITS.into(); count],
            ),
            count => (vec![format!("{count} clusters")], vec!["accuracy %".into()]),
        };
        let top = ["round", "took part", "global", "sent / dense", "commit ms", "states"];
        let below = ["", "", SCORE_UNITS, "kB", "p50 / p99", ""];
        print_line(&line(top, &names))?;
        print_line(&line(below, &units))
    }

    /// A line between rows, for people only.
    pub fn note(&self, text: &str) -> std::io::Result<()> {
        if self.json { Ok(()) } else { print_line(&format!("{:>5}  {text}", "")) }
    }

    pub fn row(&self, row: &Row) -> std::io::Result<()> {
        if self.json {
            let line = serde_json::to_string(row).map_err(std::io::Error::other)?;
            return print_line(&line);
        }
        let clusters = match row.clusters.len() {
            count if count <= COLUMNS_MAX => {
                row.clusters.iter().map(|cluster| score(cluster.score)).collect()
            }
            _ => vec![range(row)],
        };
        let cells = [
            &row.round.to_string(),
            &took_part(row),
            &score(row.global),
            &format!("{} / {}", kilobytes(row.bytes_sent), kilobytes(row.bytes_dense)),
            &format!("{} / {}", ms(row.commit_ms_p50), ms(row.commit_ms_p99)),
            &format!(
                "{} {}",
                row.validators,
                if row.state_roots_equal { "equal" } else { "DIFFER" }
            ),
        ];
        print_line(&line(cells.map(String::as_str), &clusters))
    }
}

const SCORE_UNITS: &str = "loss  acc. %";

/// One line: the clusters' cells stand between who took part and the global model.
fn line(
    [round, took_part, global, sent, commit, states]: [&str; 6],
    clusters: &[String],
) -> String {
    let clusters: String = clusters.iter().map(|cell| format!("  {cell:>13}")).collect();
    let text = format!(
        "{round:>5}  {took_part:<17}{clusters}  {global:>13}  {sent:>15}  {commit:>11}  {states}"
    );
    text.trim_end().into()
}

/// A reader that went away (`up | head`) is no error of the run, but ends it.
pub fn print_line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn score(score: Option<Score>) -> String {
    match score {
        Some(score) => format!("{:.3}  {:>5.1}", score.loss, 100.0 * score.accuracy),
        None => "–".into(),
    }
}

fn range(row: &Row) -> String {
    let scores = || row.clusters.iter().filter_map(|cluster| cluster.score);
    let accuracy = || scores().map(|score| 100.0 * score.accuracy);
    let (low, high) = (accuracy().reduce(f64::min), accuracy().reduce(f64::max));
    match (low, high) {
        (Some(low), Some(high)) => format!("{low:.1} – {high:.1}"),
        _ => "–".into(),
    }
}

/// `1 2 3 4 | 5 6 7 8`: numbers of the trainers, by cluster; or how many.
fn took_part(row: &Row) -> String {
    let all: usize = row.clusters.iter().map(|cluster| cluster.took_part.len()).sum();
    let of_cluster = |cluster: &ClusterRow| {
        let numbers = cluster.took_part.iter().map(|name| name.trim_start_matches("trainer-"));
        if all <= NAMES_MAX {
            numbers.collect::<Vec<_>>().join(" ")
        } else {
            cluster.took_part.len().to_string()
        }
    };
    row.clusters.iter().map(of_cluster).collect::<Vec<_>>().join(" | ")
}

pub fn kilobytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e3)
}

fn ms(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.0}"))
}
