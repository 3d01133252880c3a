//! Whether a version's record is the chain's: the transaction that appended it, with its receipt,
//! under a checkpoint that leads from the genesis file.

use crate::verify::VerifyError;
use twinfold_types::{
    Action, Code, Event,
    dataset::{DatasetAction, DatasetVersion},
    genesis::Genesis,
    proof::Bundle,
    recovery::Accepted,
};

/// Checks the proof of a version's transaction, and that the record says the same.
pub fn prove(
    bundle: &Bundle,
    name: &str,
    version: &DatasetVersion,
    genesis: &Genesis,
    accepted: &Accepted,
) -> Result<(), VerifyError> {
    let what = || format!("version {} of data set {name}", version.number);
    bundle.verify(genesis, accepted).map_err(|error| VerifyError::Proof { what: what(), error })?;
    let found = bundle.transactions.iter().find(|(tx, _)| tx.id() == version.tx);
    let Some((tx, proof)) = found else {
        return Err(VerifyError::mismatch(what(), "a proof of its transaction", "another proof"));
    };
    let receipt = &proof.receipt;
    let number = receipt.events.iter().find_map(|event| match event {
        Event::DatasetAppended { dataset, version, .. } => Some((*dataset, *version)),
        _ => None,
    });
    let Action::Dataset(DatasetAction::Append(append)) = &tx.body.action else {
        return Err(VerifyError::mismatch(what(), "a transaction that appends", "another action"));
    };
    let packs = append.packs.iter().map(|pack| &pack.blob);
    let same = receipt.code == Code::Ok
        && number == Some((version.dataset, version.number))
        && receipt.height == version.height
        && append.dataset == name
        && append.parent == version.parent
        && tx.body.sender == version.by
        && append.manifest.blob == version.manifest
        && packs.eq(&version.packs)
        && append.content == version.content;
    match same {
        true => Ok(()),
        false => {
            Err(VerifyError::mismatch(what(), "the record that its transaction made", "another"))
        }
    }
}
