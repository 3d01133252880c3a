//! `twinfold model`: what is known of a model, for other tools.

use super::Context;
use crate::{
    client::Client,
    error::{CliError, Result},
    files::{self, Access},
    model_export::{Dossier, PEM_BYTES_MAX, SigningKey, bom, card, sign},
    model_file,
    publish::{fetch_original, published_file},
    render::pairs,
};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinfold_types::{Digest, model::ModelId};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub struct ExportArgs {
    id: Digest,
    /// Write it there instead of printing it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SignArgs {
    /// A file; or a published model's identity, whose original file is then fetched and checked
    model: String,
    /// Unencrypted P-256 key in PKCS#8 PEM
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn write_card(context: &Context, args: ExportArgs) -> Result<()> {
    let dossier = Dossier::of(&context.client()?, &ModelId(args.id))?;
    deliver(context, card(&dossier), args.output)
}

pub fn write_bom(context: &Context, args: ExportArgs) -> Result<()> {
    let dossier = Dossier::of(&context.client()?, &ModelId(args.id))?;
    deliver(context, format!("{:#}\n", bom(&dossier)), args.output)
}

#[derive(Serialize)]
struct Delivered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

fn deliver(context: &Context, text: String, output: Option<PathBuf>) -> Result<()> {
    let Some(path) = output else {
        let delivered = Delivered { file: None, text: Some(&text) };
        return context.output.show(&delivered, || text.trim_end().into());
    };
    files::write(&path, text.as_bytes(), Access::Everyone).map_err(CliError::file(&path))?;
    let said = format!("written to {}", path.display());
    context.output.show(&Delivered { file: Some(path), text: None }, || said)
}

#[derive(Serialize)]
struct SignedView {
    signature: PathBuf,
    sha256: Digest,
}

pub fn sign_model(context: &Context, args: SignArgs) -> Result<()> {
    let pem = files::read_text(&args.signing_key, PEM_BYTES_MAX);
    let pem = Zeroizing::new(pem.map_err(CliError::file(&args.signing_key))?);
    let key = SigningKey::from_pem(&pem)?;
    let path = Path::new(&args.model);
    let (name, sha256) = match args.model.parse::<Digest>() {
        Ok(id) if !path.exists() => {
            let _progress = context.output.progress("fetching the model");
            original(&context.client()?, &ModelId(id), &args.output)?
        }
        _ => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            (name.into_owned(), model_file::sha256(path).map_err(CliError::file(path))?)
        }
    };
    let bundle = sign(&key, &name, &sha256)?.to_string();
    let output = args.output;
    files::write(&output, bundle.as_bytes(), Access::Everyone).map_err(CliError::file(&output))?;
    let view = SignedView { signature: output, sha256 };
    context.output.show(&view, || {
        let signature = view.signature.display().to_string();
        pairs(&[("signature", signature), ("sha256", sha256.to_string())])
    })
}

/// Only what was seen is signed: the file is fetched, held against the record and removed.
fn original(client: &Client, id: &ModelId, beside: &Path) -> Result<(String, Digest)> {
    let record = client.model(id)?.record;
    let (about, _) = published_file(&record)?;
    let mut name = beside.as_os_str().to_owned();
    name.push(".original");
    let path = PathBuf::from(name);
    let fetched = fetch_original(client, &record, &path, &|_| {});
    let removed = std::fs::remove_file(&path);
    fetched?;
    removed.map_err(CliError::file(&path))?;
    Ok((about.name.clone(), about.sha256))
}

#[derive(Serialize)]
struct KeyView {
    private: PathBuf,
    public: PathBuf,
}

/// Writes FILE, and FILE.pub beside it.
pub fn new_signing_key(context: &Context, path: PathBuf) -> Result<()> {
    if path.exists() {
        return Err(CliError::usage(
            format!("{} exists already", path.display()),
            "choose another name: a key that was used must not be lost",
        ));
    }
    let (key, pem) = SigningKey::generate()?;
    files::write(&path, pem.as_bytes(), Access::Owner).map_err(CliError::file(&path))?;
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let text = key.public_pem();
    files::write(&public, text.as_bytes(), Access::Everyone).map_err(CliError::file(&public))?;
    let view = KeyView { private: path, public };
    context.output.show(&view, || {
        pairs(&[
            ("private", view.private.display().to_string()),
            ("public", view.public.display().to_string()),
        ])
    })
}
