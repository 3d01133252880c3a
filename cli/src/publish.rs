//! Models from outside: published, and read back.

use crate::{
    client::{Client, Cut},
    error::{CliError, Result},
    model_file::{self, Inspected},
    tensor_file::ImportedModel,
};
use std::{path::Path, time::Duration};
use twinfold_fl::canonical_bytes;
use twinfold_types::{
    Action, BlobId, SecretKey,
    api::{Level, TxStatus},
    model::{ModelId, ModelRecord, ModelSource, TensorSpec, model_digest, tensors_digest},
    store::{ModelAbout, PublishAction, PublishedSteps},
};

/// A file with what is said of it.
pub struct Draft<'a> {
    pub path: &'a Path,
    pub inspected: &'a Inspected,
    pub about: ModelAbout,
    pub parents: Vec<ModelId>,
    /// What tasks can start from, where the file has it.
    pub steps: Option<&'a ImportedModel>,
}

/// Stores a model's file with the committee, and its canonical form, and publishes them; waits
/// for the receipt.
pub fn publish(
    client: &Client,
    key: &SecretKey,
    draft: Draft<'_>,
    timeout: Duration,
) -> Result<TxStatus> {
    let file = client.put_file(key, draft.path, Cut::of(draft.inspected.bytes))?;
    if file.blob.content != draft.inspected.blake3 {
        return Err(CliError::failed(
            format!("{} changed while it was being published", draft.path.display()),
            "publish it again when nothing writes to it",
        ));
    }
    let steps = draft.steps.map(|model| {
        let canonical = canonical_bytes(&model.steps);
        Ok::<_, CliError>(PublishedSteps {
            tensors: model.tensors.clone(),
            model: model_digest(&canonical),
            payload: client.upload(key, &canonical)?,
        })
    });
    let steps = steps.transpose()?;
    let action = PublishAction { about: draft.about, parents: draft.parents, file, steps };
    let action = Action::PublishModel(Box::new(action));
    Ok(client.submit(key, action, Level::Executed, timeout)?)
}

/// The tensors of a published model: its record has their digest only, the
/// transaction that published it the list.
pub fn published_tensors(client: &Client, record: &ModelRecord) -> Result<Vec<TensorSpec>> {
    let ModelSource::Published { tx: id, .. } = &record.source else {
        return Err(CliError::failed("the model has neither a task nor a publisher", ""));
    };
    let bundle = client.tx_proof(id)?;
    let found = bundle.transactions.into_iter().find(|(tx, _)| tx.id() == *id);
    match found.as_ref().map(|(tx, _)| &tx.body.action) {
        Some(Action::PublishModel(publish))
            if tensors_digest(publish.tensors()) == record.tensors =>
        {
            Ok(publish.tensors().to_vec())
        }
        _ => Err(CliError::failed(
            format!("transaction {id} does not have the tensors that the model's record names"),
            "ask another node",
        )),
    }
}

/// What was published as a file, and where it lies.
pub fn published_file(record: &ModelRecord) -> Result<(&ModelAbout, &BlobId)> {
    match &record.source {
        ModelSource::Published { about, file, .. } => Ok((about, file)),
        _ => Err(CliError::usage(
            "the model was made by a task and has no original file",
            "leave --original out: it is written as safetensors",
        )),
    }
}

/// Writes a published model's file as it was given, to the bit: held against the payload's
/// identity while it comes, and against the SHA-256 that its publisher signed.
pub fn fetch_original(
    client: &Client,
    record: &ModelRecord,
    output: &Path,
    told: &dyn Fn(u64),
) -> Result<()> {
    let (about, file) = published_file(record)?;
    client.get_file(file, output, told)?;
    let found = model_file::sha256(output).map_err(CliError::file(output))?;
    if found != about.sha256 {
        return Err(CliError::failed(
            format!("the file's SHA-256 is {found}; its publisher stated {}", about.sha256),
            "the file is the one that was stored: ask its publisher which of the two is right",
        ));
    }
    Ok(())
}
