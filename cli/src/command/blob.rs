//! `twinfold blob`.

use super::Context;
use crate::{
    client::Cut,
    error::{CliError, Result},
    render::{pairs, table},
};
use clap::Subcommand;
use std::path::PathBuf;
use twinfold_types::{AvailabilityCertificate, Digest, api::HoldersView};

#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Store a file with the committee, cut into fragments of which n − 2f give it back; up to 64
    /// KiB as whole copies
    Put {
        file: PathBuf,
        /// A copy for each validator instead
        #[arg(long)]
        whole: bool,
    },
    /// A payload's identity, and who answers for which of its fragments
    Stat { digest: Digest },
    /// Fetch a payload into a file; one that broke off goes on where it stopped
    Get {
        digest: Digest,
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

pub fn run(context: &Context, command: BlobCommand) -> Result<()> {
    match command {
        BlobCommand::Put { file, whole } => {
            let length = std::fs::metadata(&file).map_err(CliError::file(&file))?.len();
            let cut = if whole { Cut::Whole } else { Cut::of(length) };
            let key = context.signing_key()?;
            let client = context.client()?;
            let progress = context.output.progress("cutting and storing");
            let stored = client.put_file(&key, &file, cut)?;
            drop(progress);
            context.output.show(&stored, || human_stored(&stored))
        }
        BlobCommand::Stat { digest } => {
            let view = context.client()?.holders(&digest)?;
            context.output.show(&view, || human_holders(&view))
        }
        BlobCommand::Get { digest, output } => {
            let client = context.client()?;
            let id = client.holders(&digest)?.blob;
            let progress = context.output.progress("fetching");
            client.get_file(&id, &output, &|done| progress.bytes(done, id.length))?;
            drop(progress);
            let text = || format!("{} bytes in {}", id.length, output.display());
            context.output.show(&id, text)
        }
    }
}

fn human_stored(stored: &AvailabilityCertificate) -> String {
    let blob = &stored.blob;
    pairs(&[
        ("payload", blob.digest().to_string()),
        ("bytes", blob.length.to_string()),
        ("cut", cut_text(blob.n, blob.k)),
        ("receipts", format!("{} of epoch {}", stored.receipts.len(), stored.epoch)),
    ])
}

fn human_holders(view: &HoldersView) -> String {
    let blob = &view.blob;
    let rows = view
        .holders
        .iter()
        .map(|holder| [holder.fragment.to_string(), holder.member.short().to_string()]);
    let about = pairs(&[
        ("payload", blob.digest().to_string()),
        ("bytes", blob.length.to_string()),
        ("cut", cut_text(blob.n, blob.k)),
        ("a fragment", format!("{} bytes", view.fragment_bytes)),
    ]);
    format!("{about}\n\n{}", table(&["fragment", "held by"], rows))
}

fn cut_text(n: u16, k: u16) -> String {
    match k {
        1 => format!("{n} whole copies"),
        _ => format!("{n} fragments, any {k} suffice"),
    }
}
