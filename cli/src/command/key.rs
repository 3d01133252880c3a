//! `twinfold key`.

use super::{Context, encryption};
use crate::{
    error::Result,
    render::{pairs, table},
};
use clap::Subcommand;
use serde::Serialize;
use twinfold_types::{PublicKey, keyfile::KeyFile};
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Draw a key and store it, encrypted under a passphrase
    New {
        name: String,
        /// Leave it unencrypted, readable by its owner only
        #[arg(long)]
        plain: bool,
    },
    /// Show a key's public half
    Show { name: Option<String> },
    /// The key that others seal payloads to
    #[command(subcommand)]
    Encryption(encryption::EncryptionCommand),
    /// List all keys
    List,
    /// Print the public key, or with --secret the secret seed
    Export {
        name: Option<String>,
        /// Print the secret: whoever has it can sign as you
        #[arg(long, requires = "yes")]
        secret: bool,
        /// Yes, print the secret
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct KeyView {
    name: String,
    public: PublicKey,
    encrypted: bool,
}

impl From<&KeyFile> for KeyView {
    fn from(file: &KeyFile) -> Self {
        let encrypted = file.is_encrypted();
        Self { name: file.name.clone(), public: file.public, encrypted }
    }
}

pub fn run(context: &Context, command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::New { name, plain } => {
            let file = context.keystore().create(&name, plain)?;
            show(context, &file)
        }
        KeyCommand::Show { name } => show(context, &load(context, name)?),
        KeyCommand::Encryption(command) => encryption::run(context, command),
        KeyCommand::List => list(context),
        KeyCommand::Export { name, secret: false, .. } => {
            let file = load(context, name)?;
            context.output.show(&KeyView::from(&file), || file.public.to_string())
        }
        KeyCommand::Export { name, secret: true, .. } => export_secret(context, name),
    }
}

fn load(context: &Context, name: Option<String>) -> Result<KeyFile> {
    let name = name.map_or_else(|| context.key_name(), Ok)?;
    Ok(context.keystore().load(&name)?)
}

fn show(context: &Context, file: &KeyFile) -> Result<()> {
    let view = KeyView::from(file);
    context.output.show(&view, || {
        pairs(&[
            ("name", view.name.clone()),
            ("public", view.public.to_string()),
            ("stored", if view.encrypted { "encrypted" } else { "unencrypted" }.into()),
            ("file", context.keystore().path(&view.name).display().to_string()),
        ])
    })
}

fn list(context: &Context) -> Result<()> {
    let keystore = context.keystore();
    let files =
        keystore.names()?.iter().map(|name| keystore.load(name)).collect::<Result<Vec<_>, _>>();
    let views: Vec<_> = files?.iter().map(KeyView::from).collect();
    context.output.show(&views, || {
        let row = |view: &KeyView| {
            let stored = if view.encrypted { "encrypted" } else { "unencrypted" };
            [view.name.clone(), view.public.to_string(), stored.into()]
        };
        table(&["name", "public key", "stored"], views.iter().map(row))
    })
}

fn export_secret(context: &Context, name: Option<String>) -> Result<()> {
    let name = name.map_or_else(|| context.key_name(), Ok)?;
    let key = context.keystore().open(&name)?;
    let seed = Zeroizing::new(hex::encode(key.seed().as_slice()));
    if context.output.json {
        let document = serde_json::json!({ "name": name, "secret": seed.as_str() });
        return context.output.show(&document, String::new);
    }
    context.output.show(&(), || seed.to_string())
}
