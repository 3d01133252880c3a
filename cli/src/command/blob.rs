//! `twinfold blob`.

use super::{Context, sealed};
use crate::{
    client::Cut,
    error::{CliError, Result},
    render::{pairs, table, time},
};
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;
use twinfold_types::{
    AvailabilityCertificate, Digest,
    api::{HoldersView, SealedView},
};

#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Store a file with the committee, cut into fragments of which n − 2f give it back; up to 64
    /// KiB as whole copies
    Put {
        file: PathBuf,
        /// A copy for each validator instead
        #[arg(long)]
        whole: bool,
        /// Cut it here and send each validator its fragment, instead of all of it to one node: fewer
        /// bytes in all, more from this machine. Needs --node for each validator, and room for n/k of the
        /// file among the temporary files (TMPDIR)
        #[arg(long, conflicts_with = "whole")]
        direct: bool,
        /// Seal it first, so that only these members (by name or key, with commas) can read it
        #[arg(long, value_name = "MEMBERS", value_delimiter = ',')]
        seal_for: Vec<String>,
    },
    /// Let further members read what was sealed from this folder, or one with a new encryption key
    Grant {
        digest: Digest,
        #[arg(long, value_name = "MEMBERS", value_delimiter = ',', required = true)]
        to: Vec<String>,
    },
    /// Give a sealed payload's key to these members no longer; what they have read they know
    Revoke {
        digest: Digest,
        #[arg(long, value_name = "MEMBERS", value_delimiter = ',', required = true)]
        from: Vec<String>,
    },
    /// Give a sealed payload's key to nobody any more, and destroy the copy of it kept here
    Purge { digest: Digest },
    /// A payload's identity, and who answers for which of its fragments
    Stat { digest: Digest },
    /// Fetch a payload into a file, unsealed; one that broke off goes on where it stopped
    Get {
        digest: Digest,
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Leave a sealed payload as it is stored
        #[arg(long)]
        raw: bool,
    },
}

pub fn run(context: &Context, command: BlobCommand) -> Result<()> {
    match command {
        BlobCommand::Put { file, whole, direct, seal_for } => {
            let length = std::fs::metadata(&file).map_err(CliError::file(&file))?.len();
            let cut = match (whole, direct) {
                (true, _) => Cut::Whole,
                (_, true) => Cut::Direct,
                _ => Cut::of(length),
            };
            if !seal_for.is_empty() {
                return sealed::put(context, &file, cut, &seal_for);
            }
            let key = context.signing_key()?;
            let client = context.client()?;
            let progress = context.output.progress("cutting and storing");
            let stored = client.put_file(&key, &file, cut)?;
            drop(progress);
            context.output.show(&stored, || human_stored(&stored))
        }
        BlobCommand::Grant { digest, to } => sealed::grant(context, &digest, &to),
        BlobCommand::Revoke { digest, from } => sealed::revoke(context, &digest, &from),
        BlobCommand::Purge { digest } => sealed::purge(context, &digest),
        BlobCommand::Stat { digest } => {
            let client = context.client()?;
            let (holders, sealed) = (client.holders(&digest)?, client.sealed(&digest)?);
            let view = StatView { holders, sealed };
            context.output.show(&view, || human_stat(&view))
        }
        BlobCommand::Get { digest, output, raw } => {
            let client = context.client()?;
            if !raw && let Some(view) = client.sealed(&digest)? {
                return sealed::get(context, &view, &output);
            }
            let id = client.holders(&digest)?.blob;
            let progress = context.output.progress("fetching");
            client.get_file(&id, &output, &|done| progress.bytes(done, id.length))?;
            drop(progress);
            if !raw {
                sealed::refuse_if_sealed(&output)?;
            }
            let text = || format!("{} bytes in {}", id.length, output.display());
            context.output.show(&id, text)
        }
    }
}

#[derive(Serialize)]
struct StatView {
    #[serde(flatten)]
    holders: HoldersView,
    /// Where it is registered as sealed.
    sealed: Option<SealedView>,
}

fn human_stat(view: &StatView) -> String {
    match &view.sealed {
        None => human_holders(&view.holders),
        Some(sealed) => format!("{}\n\n{}", human_holders(&view.holders), human_sealed(sealed)),
    }
}

fn human_sealed(view: &SealedView) -> String {
    let record = &view.record;
    let readers = match record.destroyed {
        Some(at) => format!("none: purged on {}", time(at)),
        None => view.wraps.iter().map(|wrap| wrap.member.short()).collect::<Vec<_>>().join(", "),
    };
    pairs(&[
        ("sealed by", record.owner.to_string()),
        ("on", time(record.time)),
        ("readers", readers),
        ("commitment", record.commitment.to_string()),
    ])
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
    let kept = match &view.kept {
        Some(kept) => format!(
            "for {} reason(s); named first at height {} by {} of {}",
            kept.reasons,
            kept.height,
            kept.by.short(),
            kept.organisation
        ),
        None => "by nothing: it goes when its lease is over".into(),
    };
    let mut about = vec![
        ("payload", blob.digest().to_string()),
        ("bytes", blob.length.to_string()),
        ("cut", cut_text(blob.n, blob.k)),
        ("a fragment", format!("{} bytes", view.fragment_bytes)),
        ("kept", kept),
    ];
    if let Some(hold) = &view.hold {
        about.push(("held", format!("since {}: {}", time(hold.time), hold.reason)));
    }
    let about = pairs(&about);
    format!("{about}\n\n{}", table(&["fragment", "held by"], rows))
}

fn cut_text(n: u16, k: u16) -> String {
    match k {
        1 => format!("{n} whole copies"),
        _ => format!("{n} fragments, any {k} suffice"),
    }
}
