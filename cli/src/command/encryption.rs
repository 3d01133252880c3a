//! `twinfold key encryption`: the key that others seal payloads to.

use super::{Context, accepted};
use crate::{
    error::{CliError, Result},
    readers,
    render::{pairs, table},
};
use clap::Subcommand;
use serde::Serialize;
use twinfold_types::{
    Action, PublicKey, api::Level, key::EncryptionKey, sealed::EncryptionKeyFile,
};

#[derive(Debug, Subcommand)]
pub enum EncryptionCommand {
    /// Draw an encryption key and store it beside the signing key, protected as that one is
    New {
        /// The signing key's name
        name: Option<String>,
        /// Draw one more: from its publication on it is used in place of the one before
        #[arg(long)]
        rotate: bool,
    },
    /// Show the encryption keys that are stored here, the newest last
    Show { name: Option<String> },
    /// Register the newest on the chain, so that others can seal payloads for this member
    Publish { name: Option<String> },
    /// Destroy the secrets of all but the newest: what was sealed for those alone is lost for good
    DestroyOld {
        name: Option<String>,
        /// Yes, destroy them
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct EncryptionView {
    name: String,
    /// The newest last.
    keys: Vec<EncryptionKey>,
    encrypted: bool,
}

pub fn run(context: &Context, command: EncryptionCommand) -> Result<()> {
    match command {
        EncryptionCommand::New { name, rotate } => {
            let name = name_of(context, name)?;
            show(context, &context.keystore().create_encryption(&name, rotate)?)
        }
        EncryptionCommand::Show { name } => {
            let name = name_of(context, name)?;
            show(context, &context.keystore().encryption_file(&name)?)
        }
        EncryptionCommand::Publish { name } => publish(context, &name_of(context, name)?),
        EncryptionCommand::DestroyOld { name, .. } => {
            destroy_old(context, &name_of(context, name)?)
        }
    }
}

fn name_of(context: &Context, name: Option<String>) -> Result<String> {
    name.map_or_else(|| context.key_name(), Ok)
}

fn show(context: &Context, file: &EncryptionKeyFile) -> Result<()> {
    let keys = file.keys.iter().map(|key| key.public).collect();
    let encrypted = file.newest().secret.is_encrypted();
    let view = EncryptionView { name: file.name.clone(), keys, encrypted };
    context.output.show(&view, || {
        let about = pairs(&[
            ("name", view.name.clone()),
            ("stored", if view.encrypted { "encrypted" } else { "unencrypted" }.into()),
            ("file", context.keystore().encryption_path(&view.name).display().to_string()),
        ]);
        let rows = view.keys.iter().map(|key| [key.to_string()]);
        format!("{about}\n\n{}", table(&["encryption key (newest last)"], rows))
    })
}

/// Waits until it is under a checkpoint: others take it only with a proof.
fn publish(context: &Context, name: &str) -> Result<()> {
    let newest = context.keystore().encryption_file(name)?.newest().public;
    let key = context.keystore().open(name)?;
    let progress = context.output.progress("waiting for a checkpoint over it");
    let action = Action::SetEncryptionKey(newest);
    let client = context.client()?;
    let status = client.submit(&key, action, Level::Certified, context.global.timeout)?;
    drop(progress);
    let status = accepted(status)?;
    context.output.show(&status, || {
        format!("others can seal payloads for {name} now\ntransaction {}", status.id)
    })
}

/// Only once others use the newest: what they seal must not be lost.
fn destroy_old(context: &Context, name: &str) -> Result<()> {
    let keystore = context.keystore();
    let newest = keystore.encryption_file(name)?.newest().public;
    let member = keystore.load(name)?.public;
    let proved = readers::encryption_key(&context.client()?, &member, context.global.timeout)?;
    if proved != Some(newest) {
        return Err(CliError::failed(
            "the newest encryption key is not the one registered on the chain",
            format!("run `twinfold key encryption publish {name}` first"),
        ));
    }
    let destroyed = keystore.destroy_old_encryption(name)?;
    let view = serde_json::json!({ "destroyed": destroyed });
    context.output.show(&view, || format!("{destroyed} older secrets destroyed"))
}

/// The name of the key to sign with, its member key, and its newest encryption key.
pub fn own(context: &Context) -> Result<(String, PublicKey, EncryptionKey)> {
    let name = context.key_name()?;
    let newest = context.keystore().encryption_file(&name)?.newest().public;
    let member = context.keystore().load(&name)?.public;
    Ok((name, member, newest))
}
