//! A file as a new version: what is not stored yet goes up as packs, then the manifest, then the
//! transaction that names them. Killed on the way, it begins again: what is stored already under
//! the same content is stored once.

use super::{
    cut::{Cut, Known, cut},
    schema,
};
use crate::{
    client::{self, Client},
    command::accepted,
    error::{CliError, Result},
    files,
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use twinfold_types::{
    Action, AvailabilityCertificate, Event, SecretKey, TxId,
    api::Level,
    codec,
    dataset::{AppendAction, Content, Dataset, DatasetAction, DatasetVersion},
    limits,
};

/// What is appended to what.
pub struct Appending<'a> {
    pub dataset: &'a Dataset,
    /// The version it is made from.
    pub parent: Option<&'a DatasetVersion>,
    pub file: &'a Path,
    /// By the file's name and content where not given.
    pub media_type: Option<String>,
    /// For what is on its way.
    pub folder: &'a Path,
    pub timeout: Duration,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Appended {
    pub dataset: String,
    pub version: u64,
    pub transaction: TxId,
    pub content: Content,
    /// Bytes that went to the committee: packs and manifest.
    pub bytes_sent: u64,
    /// Bytes of the content that were stored already.
    pub bytes_shared: u64,
}

pub fn append(
    client: &Client,
    key: &SecretKey,
    appending: &Appending<'_>,
    told: &dyn Fn(&str, u64),
) -> Result<Appended> {
    let manifest = appending.parent.map(|parent| client.manifest(parent)).transpose()?;
    let temporary = Temporary::new(appending.folder)?;
    let cut = cut(
        appending.file,
        &temporary.0,
        Known::of(manifest.as_ref()),
        limits::DATASET_PACK_BYTES_MAX,
        &|bytes| told("cutting", bytes),
    )?;
    if appending.parent.is_some_and(|parent| parent.content.blake3 == cut.blake3) {
        return Err(CliError::failed(
            format!("{} is what the version it is made from contains", appending.file.display()),
            "there is nothing to append",
        ));
    }
    let content = content(appending, &cut)?;
    let (packs, manifest, bytes_sent) = upload(client, key, &cut, &temporary.0, told)?;
    let name = &appending.dataset.spec.name;
    let action = AppendAction {
        dataset: name.clone(),
        parent: appending.parent.map(|parent| parent.number),
        manifest,
        packs,
        content: content.clone(),
    };
    let action = Action::Dataset(DatasetAction::Append(Box::new(action)));
    let status = client.submit(key, action, Level::Executed, appending.timeout)?;
    let status = accepted(status)?;
    let events = status.receipt.iter().flat_map(|receipt| &receipt.events);
    let version = events.into_iter().find_map(|event| match event {
        Event::DatasetAppended { version, .. } => Some(*version),
        _ => None,
    });
    let version = version.ok_or_else(|| {
        CliError::failed("the receipt names no version", "ask another node with --node")
    })?;
    let (dataset, transaction, bytes_shared) = (name.clone(), status.id, cut.shared_bytes);
    Ok(Appended { dataset, version, transaction, content, bytes_sent, bytes_shared })
}

fn content(appending: &Appending<'_>, cut: &Cut) -> Result<Content> {
    let found = schema::of(appending.file)?;
    let content = Content {
        length: cut.length,
        sha256: cut.sha256,
        blake3: cut.blake3,
        media_type: appending.media_type.clone().unwrap_or_else(|| found.media_type.into()),
        columns: found.columns,
        rows: found.rows,
    };
    match content.fault() {
        None => Ok(content),
        Some(fault) => Err(CliError::usage(fault, "see `twinfold dataset append --help`")),
    }
}

/// Packs and manifest, certified; and the bytes of them.
fn upload(
    client: &Client,
    key: &SecretKey,
    cut: &Cut,
    folder: &Path,
    told: &dyn Fn(&str, u64),
) -> Result<(Vec<AvailabilityCertificate>, AvailabilityCertificate, u64)> {
    let mut packs = vec![];
    for pack in &cut.packs {
        let done: u64 = packs.iter().map(|pack: &AvailabilityCertificate| pack.blob.length).sum();
        told("storing", done);
        let length = std::fs::metadata(pack).map_err(CliError::file(pack))?.len();
        packs.push(client.put_file(key, pack, client::Cut::of(length))?);
    }
    let blobs: Vec<_> = packs.iter().map(|pack| pack.blob).collect();
    let manifest = codec::encode(&cut.manifest(&blobs));
    let path = folder.join("manifest");
    std::fs::write(&path, &manifest).map_err(CliError::file(&path))?;
    let certified = client.put_file(key, &path, client::Cut::of(manifest.len() as u64))?;
    Ok((packs, certified, cut.new_bytes + manifest.len() as u64))
}

/// Names of such folders, before the number of the process.
const PREFIX: &str = "appending-";

/// Removes what killed processes left.
fn remove_abandoned(state_dir: &Path) {
    for entry in std::fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let process = number.and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// A folder for what is on its way, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(state_dir: &Path) -> Result<Self> {
        remove_abandoned(state_dir);
        let path = state_dir.join(format!("{PREFIX}{}", std::process::id()));
        files::create_private_folder(&path).map_err(CliError::file(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
