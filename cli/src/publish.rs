//! Models from outside: published, and read back.

use crate::{
    client::Client,
    error::{CliError, Result},
    tensor_file::ImportedModel,
};
use std::time::Duration;
use twinfold_fl::canonical_bytes;
use twinfold_types::{
    Action, SecretKey,
    api::{Level, TxStatus},
    model::{ModelRecord, ModelSource, TensorSpec, model_digest, tensors_digest},
    tx::PublishAction,
};

/// Stores a model with the committee and publishes it; waits for the receipt.
pub fn publish(
    client: &Client,
    key: &SecretKey,
    name: String,
    description: String,
    model: &ImportedModel,
    timeout: Duration,
) -> Result<TxStatus> {
    let canonical = canonical_bytes(&model.steps);
    let payload = client.upload(key, &canonical)?;
    let action = PublishAction {
        name,
        description,
        tensors: model.tensors.clone(),
        model: model_digest(&canonical),
        payload,
    };
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
            if tensors_digest(&publish.tensors) == record.tensors =>
        {
            Ok(publish.tensors.clone())
        }
        _ => Err(CliError::failed(
            format!("transaction {id} does not have the tensors that the model's record names"),
            "ask another node",
        )),
    }
}
