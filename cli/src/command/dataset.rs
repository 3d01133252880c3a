//! `twinfold dataset`.

use super::{Context, member::name_of, parse_key, proof::once_certified};
use crate::{
    client::Client,
    dataset::{Appended, Appending, DatasetLink, append, card, fetch, newest, prove, readable},
    error::{CliError, Result},
    render::{bytes, or_dash, pairs, table, time},
};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinfold_types::{
    Action, Code, PublicKey,
    api::Level,
    dataset::{AppendRule, Column, Dataset, DatasetAction, DatasetSpec, DatasetVersion},
    limits,
    member::Member,
};

#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Create a data set of yours, and append its first version where a file is given
    Create(CreateArgs),
    /// Append a file as a new version: only what the version it is made from does not have is sent
    Append(AppendArgs),
    /// All data sets, by name
    List,
    /// A data set with its versions and who made each from what; or one version, or its card
    Show(ShowArgs),
    /// Fetch a version into a file, verified; one that broke off goes on where it stopped
    Get {
        /// NAME, or NAME@VERSION
        dataset: DatasetLink,
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Hold the version's record against the genesis file first (--genesis), so that no
        /// node's word is taken for it
        #[arg(long)]
        prove: bool,
    },
    /// Let a member append to a data set of yours whose rule is `listed`
    Grant(MemberArgs),
    /// Take that back; what the member has appended stays
    Revoke(MemberArgs),
    /// Give up the content of a data set of yours, for good: honest validators take it away a day and
    /// two epochs later, unless a hold or another data set keeps it. What is recorded of its versions
    /// stays
    Purge {
        name: String,
        /// Without it nothing is done but said
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Letters, digits, dots, hyphens and underscores; for good
    pub name: String,
    /// File with the first version
    pub file: Option<PathBuf>,
    #[arg(long, default_value = "")]
    pub description: String,
    /// An SPDX identifier or a URL
    #[arg(long, default_value = "")]
    pub licence: String,
    /// Who may append beside you, for good: owner (nobody), listed (whom you grant it),
    /// role:trainer, role:operator or role:admin (every member with the role)
    #[arg(long, default_value = "listed")]
    pub rule: AppendRule,
    /// Media type of the file [default: by the ending of its name]
    #[arg(long, requires = "file")]
    pub media_type: Option<String>,
}

#[derive(Debug, Args)]
pub struct AppendArgs {
    pub name: String,
    /// The whole content of the new version. Columns and rows of .csv and .npz are recorded
    pub file: PathBuf,
    /// Number of the version that it was made from [default: the newest]
    #[arg(long, value_name = "VERSION")]
    pub parent: Option<u64>,
    /// Media type [default: by the ending of the file's name]
    #[arg(long)]
    pub media_type: Option<String>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// NAME, or NAME@VERSION
    pub dataset: DatasetLink,
    /// Print the card of the version (without one: of the newest)
    #[arg(long, value_name = "FORMAT")]
    pub card: Option<Card>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Card {
    /// Croissant 1.0, JSON-LD
    Croissant,
}

#[derive(Debug, Args)]
pub struct MemberArgs {
    pub name: String,
    /// Public key of the member
    #[arg(value_parser = parse_key)]
    pub member: PublicKey,
}

pub fn run(context: &Context, command: DatasetCommand) -> Result<()> {
    match command {
        DatasetCommand::Create(args) => create(context, args),
        DatasetCommand::Append(args) => {
            let dataset = context.client()?.dataset(&args.name)?.dataset;
            let appended = append_file(context, &dataset, args)?;
            context.output.show(&appended, || human_appended(&appended))
        }
        DatasetCommand::List => {
            let client = context.client()?;
            let (datasets, members) = (client.datasets()?, client.members()?);
            context.output.show(&datasets, || human_list(&datasets, &members))
        }
        DatasetCommand::Show(args) => show(context, &args),
        DatasetCommand::Get { dataset, output, prove } => get(context, &dataset, &output, prove),
        DatasetCommand::Grant(MemberArgs { name, member }) => {
            let done = format!("{} may append to {name}", member.short());
            let action = DatasetAction::Grant { dataset: name, member };
            context.transact(Action::Dataset(action), &done)
        }
        DatasetCommand::Revoke(MemberArgs { name, member }) => {
            let done = format!("{} may not append to {name} any more", member.short());
            let action = DatasetAction::Revoke { dataset: name, member };
            context.transact(Action::Dataset(action), &done)
        }
        DatasetCommand::Purge { name, yes } => purge(context, &name, yes),
    }
}

/// Version by version from the newest on, as many in a transaction as it takes.
fn purge(context: &Context, name: &str, yes: bool) -> Result<()> {
    let dataset = context.client()?.dataset(name)?.dataset;
    let left = dataset.versions.saturating_sub(dataset.purged);
    if left == 0 {
        return Err(CliError::usage(
            format!("nothing is left of data set {name}"),
            "it was purged before, or never had a version: see `twinfold dataset show`",
        ));
    }
    if !yes {
        return Err(CliError::usage(
            format!("this gives up the content of {left} versions of data set {name} for good"),
            "say --yes to do it; `twinfold dataset get` fetches what you want to keep",
        ));
    }
    let (client, key) = (context.client()?, context.signing_key()?);
    let progress = context.output.progress("purging");
    let mut done = 0;
    while done < left {
        let versions = (left - done).min(limits::DATASET_PURGED_MAX.into()) as u32;
        let action = DatasetAction::Purge { dataset: name.into(), versions };
        let timeout = context.global.timeout;
        let status = client.submit(&key, Action::Dataset(action), Level::Executed, timeout)?;
        match &status.receipt {
            Some(receipt) if receipt.code != Code::Ok => {
                return Err(CliError::Chain { tx: status.id, code: receipt.code });
            }
            _ => done += u64::from(versions),
        }
        progress.say(format!("purged {done} of {left} versions"));
    }
    drop(progress);
    let view = serde_json::json!({ "dataset": name, "purged": done });
    context.output.show(&view, || {
        format!("{done} versions of {name} are purged: what they held is kept by nothing of it")
    })
}

fn create(context: &Context, args: CreateArgs) -> Result<()> {
    let CreateArgs { name, file, description, licence, rule, media_type } = args;
    let spec = DatasetSpec { name: name.clone(), description, licence, rule };
    if let Some(fault) = spec.fault() {
        return Err(CliError::usage(fault, "see `twinfold dataset create --help`"));
    }
    let action = Action::Dataset(DatasetAction::Create(spec));
    let done = format!("data set {name} created");
    let Some(file) = file else { return context.transact(action, &done) };
    // A file that is not there must be known before a name is taken.
    std::fs::metadata(&file).map_err(CliError::file(&file))?;
    context.execute(action)?;
    let dataset = context.client()?.dataset(&name)?.dataset;
    let args = AppendArgs { name, file, parent: None, media_type };
    let appended = append_file(context, &dataset, args)?;
    context.output.show(&appended, || format!("{done}\n{}", human_appended(&appended)))
}

fn append_file(context: &Context, dataset: &Dataset, args: AppendArgs) -> Result<Appended> {
    let (client, key) = (context.client()?, context.signing_key()?);
    let number = args.parent.or((dataset.versions > 0).then_some(dataset.versions));
    let parent = number.map(|number| client.dataset_version(dataset, number)).transpose()?;
    let length = std::fs::metadata(&args.file).map_err(CliError::file(&args.file))?.len();
    let progress = context.output.progress("cutting");
    let appending = Appending {
        dataset,
        parent: parent.as_ref(),
        file: &args.file,
        media_type: args.media_type,
        folder: &context.state_dir(),
        timeout: context.global.timeout,
    };
    append(&client, &key, &appending, &|doing, done| {
        progress.say(format!("{doing}: {} of {}", bytes(done), bytes(length)));
    })
}

fn get(context: &Context, link: &DatasetLink, output: &Path, proved: bool) -> Result<()> {
    let client = context.client()?;
    let version = readable(&client, link)?.1;
    if proved {
        let genesis = context.genesis_file()?;
        let _progress = context.output.progress("waiting for a stable checkpoint over it");
        let bundle = once_certified(context.global.timeout, || client.tx_proof(&version.tx))?;
        prove(&bundle, &link.name, &version, &genesis, client.accepted())?;
    }
    let progress = context.output.progress("fetching");
    let length = version.content.length;
    fetch(&client, &version, output, &|done| progress.bytes(done, length))?;
    drop(progress);
    let text = || {
        let (number, sha256) = (version.number, version.content.sha256);
        format!("version {number}: {length} bytes in {}\nSHA-256 {sha256}", output.display())
    };
    context.output.show(&version, text)
}

fn version_of(client: &Client, link: &DatasetLink) -> Result<(Dataset, DatasetVersion)> {
    let dataset = client.dataset(&link.name)?.dataset;
    let version = client.dataset_version(&dataset, newest(&dataset, link.version)?)?;
    Ok((dataset, version))
}

/// A data set as `show --json` prints it.
#[derive(Serialize)]
struct Shown {
    dataset: Dataset,
    granted: Vec<PublicKey>,
    /// Newest first.
    versions: Vec<DatasetVersion>,
}

fn show(context: &Context, args: &ShowArgs) -> Result<()> {
    let client = context.client()?;
    let members = client.members()?;
    let link = &args.dataset;
    if let Some(Card::Croissant) = args.card {
        let (dataset, version) = version_of(&client, link)?;
        let card = card::croissant(&dataset, &version, &|key| name_of(&members, key));
        let text = serde_json::to_string_pretty(&card);
        let text = text.map_err(|error| CliError::Output(error.into()))?;
        return context.output.show(&card, || text);
    }
    if link.version.is_some() {
        let version = version_of(&client, link)?.1;
        return context.output.show(&version, || human_version(&version, &members));
    }
    let view = client.dataset(&link.name)?;
    let versions = all_versions(&client, &link.name)?;
    let shown = Shown { dataset: view.dataset, granted: view.granted, versions };
    context.output.show(&shown, || human_dataset(&shown, &members))
}

fn all_versions(client: &Client, name: &str) -> Result<Vec<DatasetVersion>> {
    let mut versions: Vec<DatasetVersion> = vec![];
    loop {
        let before = versions.last().map(|version| version.number);
        let page = client.dataset_versions(name, before, limits::PAGE_ROWS_MAX)?;
        // A node that goes on with what was there already would never come to an end.
        let lower = |version: &DatasetVersion| before.is_none_or(|before| version.number < before);
        if page.is_empty() || !page.iter().all(lower) {
            return Ok(versions);
        }
        versions.extend(page);
    }
}

fn human_appended(appended: &Appended) -> String {
    let content = &appended.content;
    pairs(&[
        ("version", format!("{}@{}", appended.dataset, appended.version)),
        ("content", format!("{} bytes, {}", content.length, content.media_type)),
        ("rows", or_dash(content.rows)),
        ("sent", format!("{} bytes", appended.bytes_sent)),
        ("shared", format!("{} bytes stored already", appended.bytes_shared)),
        ("transaction", appended.transaction.to_string()),
    ])
}

fn human_list(datasets: &[Dataset], members: &[Member]) -> String {
    let rows = datasets.iter().map(|dataset| {
        let spec = &dataset.spec;
        [
            spec.name.clone(),
            dataset.versions.to_string(),
            name_of(members, &dataset.owner),
            spec.rule.to_string(),
            spec.licence.clone(),
            spec.description.chars().take(60).collect(),
        ]
    });
    table(&["name", "versions", "owner", "rule", "licence", "description"], rows)
}

fn human_dataset(shown: &Shown, members: &[Member]) -> String {
    let (dataset, name) = (&shown.dataset, |key: &PublicKey| name_of(members, key));
    let spec = &dataset.spec;
    let may = match spec.rule {
        AppendRule::Listed => {
            let granted: Vec<_> = shown.granted.iter().map(name).collect();
            format!(
                "listed: {}",
                if granted.is_empty() { "nobody".into() } else { granted.join(", ") }
            )
        }
        rule => rule.to_string(),
    };
    let about = pairs(&[
        ("data set", spec.name.clone()),
        ("owner", name(&dataset.owner)),
        ("created", time(dataset.created)),
        ("licence", spec.licence.clone()),
        ("description", spec.description.clone()),
        ("may append", may),
    ]);
    let rows = shown.versions.iter().map(|version| {
        [
            version.number.to_string(),
            or_dash(version.parent),
            name(&version.by),
            time(version.time),
            version.height.to_string(),
            version.content.length.to_string(),
            or_dash(version.content.rows),
            version.content.media_type.clone(),
        ]
    });
    let header = ["version", "made from", "by", "time", "block", "bytes", "rows", "type"];
    format!("{about}\n\n{}", table(&header, rows))
}

fn human_version(version: &DatasetVersion, members: &[Member]) -> String {
    let content = &version.content;
    let new_bytes: u64 = version.packs.iter().map(|pack| pack.length).sum();
    let about = pairs(&[
        ("version", version.number.to_string()),
        ("made from", or_dash(version.parent)),
        ("by", name_of(members, &version.by)),
        ("at", format!("{}, block {}", time(version.time), version.height)),
        ("transaction", version.tx.to_string()),
        ("content", format!("{} bytes, {}", content.length, content.media_type)),
        ("rows", or_dash(content.rows)),
        ("SHA-256", content.sha256.to_string()),
        ("BLAKE3", content.blake3.to_string()),
        ("new bytes", format!("{new_bytes} in {} packs", version.packs.len())),
        ("manifest", version.manifest.digest().to_string()),
    ]);
    let Some(columns) = &content.columns else { return about };
    let row = |column: &Column| {
        let shape = column.shape.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        [column.name.clone(), format!("{:?}", column.kind).to_lowercase(), shape]
    };
    format!("{about}\n\n{}", table(&["column", "kind", "shape"], columns.iter().map(row)))
}
