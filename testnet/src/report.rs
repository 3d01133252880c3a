//! What the run came to: the summary, the checks behind it, and where to look next.

use crate::{network::Network, table::kilobytes, table::print_line};
use color_eyre::eyre::{Result, WrapErr};
use serde::Serialize;
use std::time::Duration;
use twinfold_cli::{
    client::Client,
    verify::{VerifyOptions, VerifyReport, verify_model},
};
use twinfold_types::model::ModelId;

/// The last line with `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub rounds: u64,
    pub accuracy: f64,
    /// Of the same training on all the data in one place.
    pub central_accuracy: f64,
    /// Left the trainers, headers and signatures included.
    pub bytes_sent: u64,
    /// Ran between validators.
    pub bytes_relayed: u64,
    /// The same updates as f32, once.
    pub bytes_dense: u64,
    pub commit_ms_p50: Option<f64>,
    pub commit_ms_p99: Option<f64>,
    /// All validators, the killed ones included, hold the same state.
    pub state_roots_equal: bool,
    /// The final model was proved, and recomputed bit for bit, back to the first.
    pub lineage_verified: bool,
    pub validators: usize,
    pub killed: usize,
    /// From genesis written to the final table.
    pub seconds: f64,
}

impl Summary {
    pub fn is_good(&self) -> bool {
        self.state_roots_equal && self.lineage_verified
    }
}

/// Proves the model back to the first and folds it again. A proof that fails is a
/// finding, not an error of the launcher.
pub fn verify(
    network: &Network,
    client: &Client,
    model: &ModelId,
    progress: &indicatif::ProgressBar,
) -> Result<Option<VerifyReport>> {
    let genesis = twinfold_cli::client::read_genesis(network.genesis())
        .wrap_err("cannot read back the genesis file")?;
    let options = VerifyOptions { recompute: true, timeout: Duration::from_secs(60) };
    let mut tell = |text: &str| progress.set_message(text.to_string());
    match verify_model(client, &genesis, model, &options, &mut tell) {
        Ok(report) => Ok(Some(report)),
        Err(error) => {
            progress.suspend(|| eprintln!("the lineage of model {model} is not proved: {error}"));
            Ok(None)
        }
    }
}

pub fn show(
    summary: &Summary,
    lineage: Option<&VerifyReport>,
    network: &Network,
    stays: bool,
) -> Result<()> {
    let line = |text: String| print_line(&text).wrap_err("cannot write the report");
    let (accuracy, central) = (100.0 * summary.accuracy, 100.0 * summary.central_accuracy);
    line(format!(
        "\nAccuracy on held-out data {accuracy:.1} %; central training on the same data {central:.1} % ({:+.1} points)",
        accuracy - central
    ))?;
    line(format!(
        "Trainers sent {} kB for updates of {} kB as f32; validators relayed {} kB to each other",
        kilobytes(summary.bytes_sent),
        kilobytes(summary.bytes_dense),
        kilobytes(summary.bytes_relayed)
    ))?;
    let roots = if summary.state_roots_equal { "hold the same state" } else { "DIFFER in state" };
    let killed = match summary.killed {
        0 => String::new(),
        killed => format!(", {killed} of them killed in the middle of a round and restarted"),
    };
    line(format!("All {} validators {roots}{killed}", summary.validators))?;
    match lineage {
        Some(report) => line(format!(
            "Lineage verified from genesis: {} updates by {} trainers in blocks {} made {} models; \
             {} of them recomputed bit for bit",
            report.updates.len(),
            report.trainers,
            block_range(report),
            report.models,
            report.recomputed
        ))?,
        None => line("Lineage NOT VERIFIED".into())?,
    }
    line(format!("{:.1} s from genesis to here", summary.seconds))?;
    if stays { where_to_look(network, lineage).wrap_err("cannot write the report") } else { Ok(()) }
}

fn block_range(report: &VerifyReport) -> String {
    let heights = || report.updates.iter().map(|update| update.height);
    match (heights().min(), heights().max()) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".into(),
    }
}

fn where_to_look(network: &Network, lineage: Option<&VerifyReport>) -> std::io::Result<()> {
    let folder = network.folder().path().display();
    let cli = network.programs().cli.display();
    let url = &network.nodes()[0].url;
    let genesis = network.genesis().display();
    print_line(&format!("\nThe network runs. Look at it:\n  {url}/"))?;
    print_line(&format!("  {cli} --node {url} status"))?;
    print_line(&format!("  {cli} --node {url} task watch digits"))?;
    if let Some(report) = lineage {
        let model = report.model;
        print_line(&format!(
            "  {cli} --node {url} --dir {folder}/operator --genesis {genesis} \
             model verify {model} --recompute"
        ))?;
    }
    print_line(&format!("Keys, logs and data are in {folder}"))
}
