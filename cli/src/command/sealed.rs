//! Sealed payloads under `twinfold blob`: put for some readers, granted, revoked, purged, read.

use super::{Context, accepted, encryption};
use crate::{
    client::{Client, Cut, identify},
    command::member,
    error::{CliError, Result},
    keystore::OwnCopy,
    readers::{self, SealReader},
    render::{pairs, time},
    sealed::{SealedContent, beside, is_sealed, open_file, seal_file},
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use twinfold_types::{
    Action, BlobDigest, BlobId, Code, Digest, PublicKey, SecretKey,
    api::{Level, SealedView},
    limits,
    sealed::{ContentKey, RegisterSealed, SealedAction, SealedWrap, WrapPlace},
};

#[derive(Serialize)]
struct StoredView<'a> {
    blob: &'a BlobId,
    digest: BlobDigest,
    readers: Vec<PublicKey>,
}

/// Seals a file, stores it, and lets these members read it. The own copy of the content key is
/// kept before anything of it stands on the chain.
pub fn put(context: &Context, file: &Path, cut: Cut, wanted: &[String]) -> Result<()> {
    let (name, owner, own_key) = encryption::own(context)?;
    let key = context.keystore().open(&name)?;
    let client = context.client()?;
    let chain = client.chain()?.digest;
    let readers = readers::find(&client, wanted, context.global.timeout)?;
    let progress = context.output.progress("sealing");
    let sealed = Ciphertext::new(context)?;
    let SealedContent { key: content, commitment } = seal_file(file, &sealed.0)?;
    progress.say("cutting and storing");
    let payload = client.put_file(&key, &sealed.0, cut)?;
    let (blob, digest) = (payload.blob, payload.blob.digest());
    let place = WrapPlace { chain: &chain, blob: &digest };
    let own = SealedWrap::new(&content, place, owner, own_key, &rand::random())
        .map_err(|error| CliError::failed(error.to_string(), ""))?;
    context.keystore().keep_copy(&OwnCopy::new(chain, digest, own))?;
    progress.say("waiting for the receipts");
    let register = SealedAction::Register(Box::new(RegisterSealed { payload, commitment }));
    send(context, &client, &key, register)?;
    grant_all(context, &client, &key, &readers, &digest, &content).map_err(|error| {
        let again = format!("`twinfold blob grant {digest} --to {}`", wanted.join(","));
        CliError::failed(
            format!("{digest} is stored and yours, but not every reader was granted it: {error}"),
            format!("what is missing is done by {again}"),
        )
    })?;
    drop(progress);
    let readers_keys = readers.iter().map(|reader| reader.member.key).collect();
    let view = StoredView { blob: &blob, digest, readers: readers_keys };
    context.output.show(&view, || {
        pairs(&[
            ("payload", digest.to_string()),
            ("bytes", format!("{} sealed", blob.length)),
            ("readers", names(&readers)),
        ])
    })
}

pub fn grant(context: &Context, digest: &BlobDigest, wanted: &[String]) -> Result<()> {
    let name = context.key_name()?;
    let Some(wrap) = own_copy(context, &name, digest)? else {
        return Err(CliError::failed(
            format!("no key of the sealed payload {digest} is kept here for {name}"),
            "only who sealed it can grant it, with the folder (--dir) it was sealed from",
        ));
    };
    let key = context.keystore().open(&name)?;
    let client = context.client()?;
    let readers = readers::find(&client, wanted, context.global.timeout)?;
    let content = open_wrap(context, &client, &name, digest, &wrap)?;
    grant_all(context, &client, &key, &readers, digest, &content)?;
    let keys: Vec<_> = readers.iter().map(|reader| reader.member.key).collect();
    context.output.show(&keys, || format!("{} can read {digest} now", names(&readers)))
}

pub fn revoke(context: &Context, digest: &BlobDigest, wanted: &[String]) -> Result<()> {
    let client = context.client()?;
    let keys = wanted.iter().map(|text| member::key_of(&client, text)).collect::<Result<_>>();
    let mut members: Vec<PublicKey> = keys?;
    members.sort();
    members.dedup();
    let key = context.signing_key()?;
    for members in members.chunks(limits::SEALED_WRAPS_PER_TX_MAX) {
        let (blob, members) = (*digest, members.to_vec());
        send(context, &client, &key, SealedAction::Revoke { blob, members })?;
    }
    context.output.show(&members, || {
        format!(
            "{digest} is no longer given to {}; who has read it already still knows it",
            wanted.join(", ")
        )
    })
}

/// On the chain first, then here: what is broken off is done by running it again.
pub fn purge(context: &Context, digest: &BlobDigest) -> Result<()> {
    let key = context.signing_key()?;
    match send(context, &context.client()?, &key, SealedAction::Destroy(*digest)) {
        Err(error) if is_purged(&error) => {}
        done => done?,
    }
    let destroyed = context.keystore().destroy_copy(digest)?;
    let view = serde_json::json!({ "purged": digest, "own_copy_destroyed": destroyed });
    context.output.show(&view, || {
        let own = if destroyed { "the key kept here is destroyed" } else { "no key was kept here" };
        format!("{digest} is purged: nobody is given its key any more; {own}")
    })
}

/// The chain's word, by receipt or at a node's door.
fn is_purged(error: &CliError) -> bool {
    let code = match error {
        CliError::Chain { code, .. } => Some(*code),
        CliError::Client(error) => crate::update::refused_code(error),
        _ => None,
    };
    code == Some(Code::SealedDestroyed)
}

/// Fetches a sealed payload and opens it with the own copy of its key, or the own wrap.
pub fn get(context: &Context, view: &SealedView, output: &Path) -> Result<()> {
    let record = &view.record;
    let (id, digest) = (record.blob, record.blob.digest());
    if let Some(at) = record.destroyed {
        return Err(CliError::failed(
            format!("the sealed payload {digest} was purged on {}", time(at)),
            "nobody is given its key any more; ask its owner whether there is another copy",
        ));
    }
    let client = context.client()?;
    let name = context.key_name()?;
    let wrap = own_wrap(context, &client, &name, view)?;
    let content = open_wrap(context, &client, &name, &digest, &wrap)?;
    let sealed = beside(output, ".sealed");
    fetch(context, &client, &id, &sealed)?;
    let bytes = open_file(&sealed, output, &content, &record.commitment)?;
    std::fs::remove_file(&sealed).map_err(CliError::file(&sealed))?;
    context.output.show(&id, || format!("{bytes} bytes, unsealed, in {}", output.display()))
}

/// The sealed bytes into a file; one that is there and whole is not fetched again.
fn fetch(context: &Context, client: &Client, id: &BlobId, path: &Path) -> Result<()> {
    let coding = id.layout().map(|layout| layout.coding());
    let there = path.exists()
        && coding.is_ok_and(|coding| identify(path, coding).is_ok_and(|found| found == *id));
    if there {
        return Ok(());
    }
    let progress = context.output.progress("fetching");
    client.get_file(id, path, &|done| progress.bytes(done, id.length))?;
    Ok(())
}

/// What this key's member kept when it sealed the payload: a folder may hold several members' keys.
fn own_copy(context: &Context, name: &str, digest: &BlobDigest) -> Result<Option<SealedWrap>> {
    let member = context.keystore().load(name)?.public;
    let copy = context.keystore().own_copy(digest)?;
    Ok(copy.map(|copy| copy.wrap).filter(|wrap| wrap.member == member))
}

fn own_wrap(
    context: &Context,
    client: &Client,
    name: &str,
    view: &SealedView,
) -> Result<SealedWrap> {
    let digest = view.record.blob.digest();
    if let Some(wrap) = own_copy(context, name, &digest)? {
        return Ok(wrap);
    }
    let member = context.keystore().load(name)?.public;
    let wrap = view.wraps.iter().find(|wrap| wrap.member == member);
    wrap.copied().ok_or_else(|| {
        let owner = view.record.owner;
        let members = client.members().unwrap_or_default();
        let known = members.iter().find(|member| member.key == owner);
        let whom = known.map_or_else(
            || format!("a former member ({owner})"),
            |owner| format!("{} of {} ({})", owner.name, owner.organisation, owner.key),
        );
        CliError::failed(
            format!("the payload {digest} is sealed, and not for {name}; it is {whom} who owns it"),
            format!(
                "ask the owner to run `twinfold blob grant {digest} --to {member}`; if you have no \
                 encryption key yet, run `twinfold key encryption new` and `publish` first. The \
                 sealed bytes as they are: --raw"
            ),
        )
    })
}

fn open_wrap(
    context: &Context,
    client: &Client,
    name: &str,
    digest: &BlobDigest,
    wrap: &SealedWrap,
) -> Result<ContentKey> {
    let secret = context.keystore().open_encryption(name, &wrap.to)?;
    let chain: Digest = client.chain()?.digest;
    wrap.open(WrapPlace { chain: &chain, blob: digest }, &secret).map_err(|error| {
        CliError::failed(
            format!("the key of {digest}: {error}"),
            "ask another node (--node), or the owner to grant it again",
        )
    })
}

/// A payload of which the node knows no seal but which is one: the node may lag.
pub fn refuse_if_sealed(output: &Path) -> Result<()> {
    if !is_sealed(output)? {
        return Ok(());
    }
    let kept = beside(output, ".sealed");
    std::fs::rename(output, &kept).map_err(CliError::file(output))?;
    Err(CliError::failed(
        "the payload is sealed, and the node that was asked knows neither its owner nor its readers",
        format!(
            "run the command again, at another node (--node); what came is kept in {}. As it is: \
             --raw",
            kept.display()
        ),
    ))
}

fn grant_all(
    context: &Context,
    client: &Client,
    key: &SecretKey,
    readers: &[SealReader],
    blob: &BlobDigest,
    content: &ContentKey,
) -> Result<()> {
    let chain = client.chain()?.digest;
    for some in readers.chunks(limits::SEALED_WRAPS_PER_TX_MAX) {
        let wraps = readers::wrap(some, &chain, blob, content)?;
        send(context, client, key, SealedAction::Grant { blob: *blob, wraps })?;
    }
    Ok(())
}

fn send(context: &Context, client: &Client, key: &SecretKey, action: SealedAction) -> Result<()> {
    let action = Action::Sealed(action);
    accepted(client.submit(key, action, Level::Executed, context.global.timeout)?).map(|_| ())
}

fn names(readers: &[SealReader]) -> String {
    let name = |reader: &SealReader| {
        let member = &reader.member;
        format!("{} of {} ({})", member.name, member.organisation, member.key.short())
    };
    readers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Where a sealed stream lies until it is stored; gone with this value. What a killed process
/// leaves is sealed under a key that died with it.
struct Ciphertext(PathBuf);

impl Ciphertext {
    fn new(context: &Context) -> Result<Self> {
        let folder = context.state_dir();
        crate::files::create_private_folder(&folder).map_err(CliError::file(&folder))?;
        Ok(Self(folder.join(format!("{:016x}.sealing", rand::random::<u64>()))))
    }
}

impl Drop for Ciphertext {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
