//! The command line, and what it comes to once its parts are checked against
//! each other.

use clap::{Parser, ValueEnum};
use color_eyre::eyre::{Result, bail, ensure};
use std::{path::PathBuf, time::Duration};
use twinfold_cli::{data::Partition, task::ModeChoice};
use twinfold_types::{limits, quorum, task::Compression, text::parse_duration};

/// Start a network of real Twinfold nodes on this machine, let it train a model
/// on real data, and check what came of it.
///
/// Without --once or --keep the network runs on until Ctrl-C, which stops and
/// removes everything.
#[derive(Clone, Debug, Parser)]
#[command(name = "up", version, max_term_width = 100)]
pub struct Args {
    /// Validators.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub nodes: usize,
    /// Allow fewer than four validators: such a network tolerates no fault.
    #[arg(long)]
    pub allow_unsafe_size: bool,
    /// Clusters of trainers, each with a model of its own between merges.
    #[arg(long, value_name = "C", default_value_t = 2)]
    pub clusters: u16,
    /// Trainers, shared out to the clusters in turn.
    #[arg(long, value_name = "M", default_value_t = 8)]
    pub trainers: u32,
    /// Rounds of each cluster; the global model is merged after each.
    #[arg(long, value_name = "R", default_value_t = 20)]
    pub rounds: u64,
    /// Training data, CSV (label in the last column) or .npz (x and y) [default: the
    /// handwritten digits in testnet/data]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// How the training data is shared out: iid, or dirichlet:ALPHA (labels unevenly,
    /// more so the smaller ALPHA is).
    #[arg(long, value_name = "SPLIT", default_value = "iid")]
    pub split: Partition,
    /// Seed of the held-out split, the shares, the first model and the training.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// What trainers send: none (32-bit steps), q1 to q16 (quantised to so many bits),
    /// or topk:F[:BITS] (the fraction F of largest values, 8 bits each unless said otherwise).
    #[arg(long, value_name = "HOW", default_value = "q8")]
    pub compress: Compression,
    /// sync: a round waits for its trainers; async: updates are folded in buffers as they
    /// come, weighted down by staleness.
    #[arg(long, value_enum, default_value_t = Mode::Sync)]
    pub mode: Mode,
    /// Length of an epoch in block time, such as 10s: committees are elected anew while the
    /// network learns [default: a day]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub epoch: Option<Duration>,
    /// Folder for everything the network writes; must be empty or absent
    /// [default: a temporary one]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Kill so many validators in the middle of a round and restart them at the end.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub kill: usize,
    /// Exit after the run; everything is stopped and removed.
    #[arg(long, conflicts_with = "keep")]
    pub once: bool,
    /// Exit after the run and leave the network running; `testnet/down --dir DIR` ends it.
    #[arg(long)]
    pub keep: bool,
    /// JSON lines instead of a table; the last is the summary.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Sync,
    Async,
}

impl Args {
    /// The split as `twinfold train --split` takes it.
    pub fn split_text(&self) -> String {
        match self.split {
            Partition::Iid => "iid".into(),
            Partition::Dirichlet(alpha) => format!("dirichlet:{alpha}"),
        }
    }

    /// Buffers of asynchronous tasks are as large as a cluster.
    pub fn mode_choice(&self) -> ModeChoice {
        match self.mode {
            Mode::Sync => ModeChoice::Sync,
            Mode::Async => ModeChoice::Async(self.participants()),
        }
    }

    /// Refuses combinations that cannot work, each with the reason.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.nodes >= 4 || self.allow_unsafe_size,
            "{} validators tolerate no fault; 4 do. To start them all the same, add --allow-unsafe-size",
            self.nodes
        );
        ensure!(
            (1..=limits::SEATS_MAX).contains(&self.nodes),
            "--nodes {}: 1 to {} are allowed",
            self.nodes,
            limits::SEATS_MAX
        );
        let faults = quorum::faults(self.nodes);
        ensure!(
            self.kill <= faults,
            "--kill {}: of {} validators at most {faults} may fail; with more down nothing can be \
             agreed on. Kill fewer, or start 3·K+1 validators",
            self.kill,
            self.nodes
        );
        ensure!(
            (1..=limits::CLUSTERS_MAX).contains(&self.clusters),
            "--clusters {}: 1 to {} are allowed",
            self.clusters,
            limits::CLUSTERS_MAX
        );
        if self.trainers < u32::from(self.clusters) {
            bail!("--trainers {}: each of the {} clusters needs one", self.trainers, self.clusters);
        }
        ensure!(
            self.participants() <= limits::PARTICIPANTS_MAX,
            "--trainers {}: at most {} in each cluster",
            self.trainers,
            limits::PARTICIPANTS_MAX
        );
        ensure!(self.rounds >= 1, "--rounds 0: at least one");
        let epoch_min = Duration::from_millis(limits::EPOCH_MS_MIN);
        ensure!(
            self.epoch.is_none_or(|epoch| epoch >= epoch_min),
            "--epoch: an epoch lasts at least {} ms",
            limits::EPOCH_MS_MIN
        );
        Ok(())
    }

    /// Updates that close a round: the size of the smallest cluster, so that no
    /// round has to wait for its deadline.
    pub fn participants(&self) -> u32 {
        self.trainers / u32::from(self.clusters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("up").chain(line.split_whitespace()))
    }

    fn refused(line: &str) -> String {
        match args(line) {
            Err(error) => error.to_string(),
            Ok(args) => args.check().unwrap_err().to_string(),
        }
    }

    #[test]
    fn the_defaults_are_four_validators_and_eight_trainers_in_two_clusters() {
        let args = args("").unwrap();
        args.check().unwrap();
        assert_eq!((args.nodes, args.trainers, args.clusters, args.participants()), (4, 8, 2, 4));
        assert_eq!(args.compress, Compression::dense(8));
    }

    #[test]
    fn once_and_keep_together_are_refused() {
        assert!(refused("--once --keep").contains("--keep"));
    }

    #[test]
    fn more_validators_than_may_fail_are_not_killed() {
        assert!(refused("--kill 2").contains("at most 1"));
        args("--kill 2 --nodes 7").unwrap().check().unwrap();
    }

    #[test]
    fn fewer_than_four_validators_must_be_asked_for() {
        assert!(refused("--nodes 3").contains("--allow-unsafe-size"));
        args("--nodes 3 --allow-unsafe-size").unwrap().check().unwrap();
    }

    #[test]
    fn epochs_may_be_short_but_not_too_short() {
        args("--epoch 10s").unwrap().check().unwrap();
        assert!(refused("--epoch 10ms").contains("at least 1000 ms"));
        assert!(refused("--epoch soon").contains("30s"));
    }

    #[test]
    fn a_split_survives_being_handed_to_trainers() {
        for text in ["iid", "dirichlet:0.3"] {
            assert_eq!(args(&format!("--split {text}")).unwrap().split_text(), text);
        }
        assert!(refused("--split dirichlet:0").contains("dirichlet:ALPHA"));
        assert!(refused("--compress q3").contains("topk:F"));
    }
}
