//! From the first key to the last line.

use crate::{
    args::Args,
    cleanup::Cleanup,
    data, faults,
    folder::Folder,
    learning::{self, Learning},
    network::{Network, Rules, same_root},
    processes::Processes,
    programs::Programs,
    report::{self, Summary},
    table::{Table, print_line},
    trainers::{self, Trainers},
    watch::{Totals, Watch, commit_latency},
};
use color_eyre::eyre::{Result, WrapErr};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use twinfold_cli::{client::Client, verify::VerifyReport};
use twinfold_types::TaskId;

const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Validators come to the same state soon after the last round; the restarted have
/// to catch up first.
const ROOT_PATIENCE: Duration = Duration::from_secs(60);
const TRAINERS_PATIENCE: Duration = Duration::from_secs(10);
/// What the demonstration's admin and operator may delegate: a tenth of a validator's own stake.
const MEMBER_STAKE: u64 = 100_000;

pub fn main(args: Args) -> ExitCode {
    if let Err(error) = args.check() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of our output went away, which is its good right.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &color_eyre::Report) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Tells whether everything that was checked is as it should be.
fn run(args: &Args) -> Result<bool> {
    let folder = Folder::prepare(args.dir.as_deref())?;
    let processes = Processes::default();
    let cleanup = Cleanup::new(processes.clone(), folder.clone());
    cleanup.on_signals()?;
    let progress = progress(args);
    let outcome = play(args, &folder, &processes, &progress);
    progress.finish_and_clear();
    let (network, good) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            if !folder.is_temporary() {
                cleanup.keep_folder();
                eprintln!("The logs stay in {}", folder.path().display());
            }
            return Err(error);
        }
    };
    if args.keep {
        network.write_pids()?;
        cleanup.release();
        let how = format!("End it with testnet/down --dir {}", folder.path().display());
        if args.json { eprintln!("{how}") } else { print_line(&how)? }
    } else if !args.once {
        wait_for_signal(args)?;
    }
    Ok(good)
}

/// The network runs on; the signal's thread cleans up and exits.
fn wait_for_signal(args: &Args) -> Result<()> {
    if !args.json {
        print_line("Ctrl-C stops the network and removes everything.")?;
    }
    loop {
        std::thread::park();
    }
}

fn progress(args: &Args) -> ProgressBar {
    // Drawn on stderr, and only where someone looks.
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or(ProgressStyle::default_spinner()),
    );
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn play(
    args: &Args,
    folder: &Folder,
    processes: &Processes,
    progress: &ProgressBar,
) -> Result<(Network, bool)> {
    let programs = Programs::beside_this_one()?;
    let data =
        data::prepare(args.data.as_deref(), &folder.make("data")?, args.seed, args.trainers)?;
    progress.set_message("making keys and genesis");
    let mut network = Network::form(programs, folder.clone(), processes.clone(), args.nodes)?;
    network.rules = Rules { epoch: args.epoch, member_stake: MEMBER_STAKE };
    let (keys, members) = trainers::make_keys(&network, args.trainers)?;
    let fingerprint = network.write_genesis(&members, args.nodes < 4)?;
    let started = Instant::now();
    if !args.json {
        print_line(&format!("{} validators, genesis {fingerprint}", args.nodes))?;
    }
    progress.set_message("starting validators");
    network.start_all()?;
    network.wait_ready(READY_PATIENCE)?;

    progress.set_message("creating the task");
    let client = network.client()?.reading_as(keys.owner()?);
    let first = learning::first_model(&data, args.seed)?;
    let created = learning::create_task(&client, &keys.owner()?, args, &first)?;
    let train_file = data.train_file.clone();
    let learning = Learning::new(created.spec.clone(), first, data)?;
    let trainers = Trainers::start(&network, args, &created, &train_file, keys.trainers)?;
    let table = Table::new(args.json, usize::from(args.clusters));
    let totals = Watch {
        network: &mut network,
        client: &client,
        learning: &learning,
        trainers: &trainers,
        task: created.task,
        clusters: args.clusters,
        rounds: args.rounds,
        kill: args.kill,
        progress: progress.clone(),
    }
    .follow(&table)?;
    let run = Run {
        args,
        client: &client,
        learning: &learning,
        trainers: &trainers,
        task: created.task,
        started,
    };
    let (summary, lineage) = run.conclude(&mut network, totals, progress)?;
    let stays = !args.once;
    progress.suspend(|| show(args, &summary, lineage.as_ref(), &network, stays))?;
    Ok((network, summary.is_good()))
}

fn show(
    args: &Args,
    summary: &Summary,
    lineage: Option<&VerifyReport>,
    network: &Network,
    stays: bool,
) -> Result<()> {
    if args.json {
        return Ok(print_line(&serde_json::to_string(summary)?)?);
    }
    report::show(summary, lineage, network, stays)
}

struct Run<'a> {
    args: &'a Args,
    client: &'a Client,
    learning: &'a Learning,
    trainers: &'a Trainers,
    task: TaskId,
    started: Instant,
}

impl Run<'_> {
    /// Brings the killed back, compares states, trains centrally, verifies.
    fn conclude(
        &self,
        network: &mut Network,
        totals: Totals,
        progress: &ProgressBar,
    ) -> Result<(Summary, Option<VerifyReport>)> {
        progress.set_message("restarting the killed validators");
        faults::restart(network, &totals.killed)?;
        progress.set_message("comparing states");
        let state_roots_equal = same_root(network, ROOT_PATIENCE)?;
        let statuses = network.statuses();
        let (commit_ms_p50, commit_ms_p99) = commit_latency(&statuses);
        let model = self.client.task(&self.task.to_string())?.global;
        let accuracy = self.learning.score(self.client, &model)?.accuracy;
        progress.set_message("training centrally");
        let central_accuracy = self.learning.central_accuracy(self.args.rounds)?;
        progress.set_message("verifying the lineage");
        let lineage = report::verify(network, self.client, &model, progress)
            .wrap_err("cannot verify the final model")?;
        // Their own count is exact; the sum of the rows stands in where one does not say.
        let sent = self.trainers.bytes_sent(network, TRAINERS_PATIENCE)?;
        let summary = Summary {
            rounds: totals.rounds,
            accuracy,
            central_accuracy,
            bytes_sent: sent.unwrap_or(totals.bytes_sent),
            bytes_relayed: network.relayed_bytes(),
            bytes_dense: totals.bytes_dense,
            commit_ms_p50,
            commit_ms_p99,
            state_roots_equal: state_roots_equal && statuses.len() == self.args.nodes,
            lineage_verified: lineage
                .as_ref()
                .is_some_and(|report| report.recomputed == report.models),
            validators: self.args.nodes,
            killed: totals.killed.len(),
            seconds: self.started.elapsed().as_secs_f64(),
        };
        Ok((summary, lineage))
    }
}
