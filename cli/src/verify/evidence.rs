//! Pieces that nodes bring, each held against the genesis file.

use super::{VerifiedUpdate, VerifyError};
use crate::client::{Client, ClientError};
use serde::{Serialize, de::DeserializeOwned};
use std::time::{Duration, Instant};
use twinfold_types::{
    Action, Code, Event, PublicKey, Receipt, SignedTx, TaskId, TxId, codec,
    genesis::Genesis,
    key::EncryptionKey,
    limits,
    member::Member,
    model::{ModelId, ModelRecord, ModelSource},
    proof::Bundle,
    round::{Contribution, Entry, Round, RoundKey, RoundState},
    state_key::{self, StateKey},
    task::{
        TaskSpec,
        masks::{Deal, Masking},
    },
    tx::UpdateAction,
    vote::CheckpointCertificate,
};

pub struct Evidence<'a> {
    client: &'a Client,
    genesis: &'a Genesis,
    timeout: Duration,
}

/// A model's record under a stable checkpoint.
pub struct Proved {
    pub record: ModelRecord,
    pub checkpoint: CheckpointCertificate,
    bundle: Bundle,
}

/// A round's list, proved entry by entry.
pub struct ProvedRound {
    pub entries: Vec<Entry>,
    pub updates: Vec<VerifiedUpdate>,
    pub contributions: Vec<Contribution>,
    /// Where updates are masked.
    pub masking: Option<Masking>,
}

impl<'a> Evidence<'a> {
    pub fn new(client: &'a Client, genesis: &'a Genesis, timeout: Duration) -> Self {
        Self { client, genesis, timeout }
    }

    /// Fetches a bundle, waiting until its subject is under a stable checkpoint,
    /// and verifies all of it.
    fn bundle(
        &self,
        what: &str,
        fetch: impl Fn() -> Result<Bundle, ClientError>,
    ) -> Result<Bundle, VerifyError> {
        let started = Instant::now();
        let bundle = loop {
            match fetch() {
                Ok(bundle) => break bundle,
                Err(error) if error.is_not_certified() && started.elapsed() < self.timeout => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(error) => return Err(error.into()),
            }
        };
        match bundle.verify(self.genesis, self.client.accepted()) {
            Ok(()) => Ok(bundle),
            Err(error) => Err(VerifyError::Proof { what: what.into(), error }),
        }
    }

    /// A model's record under a stable checkpoint's state root.
    pub fn model(&self, id: &ModelId) -> Result<Proved, VerifyError> {
        let what = format!("proof of model {id}");
        let bundle = self.bundle(&what, || self.client.model_proof(id))?;
        let record: ModelRecord = proved(&bundle, &state_key::model(id), &what)?;
        if record.id() != *id {
            return Err(VerifyError::mismatch(what, id, record.id()));
        }
        Ok(Proved { record, checkpoint: bundle.checkpoint.clone(), bundle })
    }

    /// A member, and its encryption key if it has one, under a stable checkpoint.
    pub fn encryption_key(
        &self,
        member: &PublicKey,
    ) -> Result<(Member, Option<EncryptionKey>), VerifyError> {
        let what = format!("proof of the encryption key of member {member}");
        let bundle = self.bundle(&what, || self.client.encryption_key_proof(member))?;
        let found = proved(&bundle, &state_key::member(member), &what)?;
        let key = state_key::encryption_key(member);
        let key = match bundle.state(&key) {
            Some(None) => None,
            _ => Some(proved(&bundle, &key, &what)?),
        };
        Ok((found, key))
    }

    /// A masked round under a stable checkpoint.
    pub fn masking(&self, key: &RoundKey) -> Result<Masking, VerifyError> {
        let what = format!("proof of masked round {}", key.round);
        let bundle = self.bundle(&what, || self.client.masking_proof(key, None))?;
        proved_masking(&bundle, key, &what)
    }

    /// What a member dealt in a masked round, as long as the ledger keeps it.
    pub fn deal(&self, key: &RoundKey, dealer: u32) -> Result<Option<Deal>, VerifyError> {
        let what = format!("proof of a deal in masked round {}", key.round);
        let bundle = self.bundle(&what, || self.client.masking_proof(key, Some(dealer)))?;
        let key = state_key::mask_deal(key, dealer);
        match bundle.state(&key) {
            Some(None) => Ok(None),
            _ => proved(&bundle, &key, &what).map(Some),
        }
    }

    /// A transaction with its receipt, which says that it was carried out.
    fn transaction(&self, id: &TxId) -> Result<(SignedTx, Receipt), VerifyError> {
        let what = format!("proof of transaction {id}");
        let bundle = self.bundle(&what, || self.client.tx_proof(id))?;
        let (tx, receipt) = carried_out(&bundle, id)?;
        Ok((tx.clone(), receipt.clone()))
    }

    /// A task's settings: the transaction that created it is its identity.
    pub fn task(&self, task: &TaskId) -> Result<TaskSpec, VerifyError> {
        let (tx, _) = self.transaction(&TxId(task.0))?;
        match &tx.body.action {
            Action::CreateTask(spec) => Ok((**spec).clone()),
            _ => Err(VerifyError::Lineage(format!("transaction {task} creates no task"))),
        }
    }

    /// A published model is what its transaction says.
    pub fn published(
        &self,
        id: &TxId,
        by: &PublicKey,
        record: &ModelRecord,
    ) -> Result<(), VerifyError> {
        let (tx, _) = self.transaction(id)?;
        let Action::PublishModel(publish) = &tx.body.action else {
            return Err(VerifyError::Lineage(format!("transaction {id} publishes no model")));
        };
        let what = || format!("model published by transaction {id}");
        if publish.digest() != record.digest {
            return Err(VerifyError::mismatch(what(), publish.digest(), record.digest));
        }
        let blob = publish.steps.as_ref().map(|steps| steps.payload.blob);
        let source = ModelSource::Published {
            tx: *id,
            by: *by,
            about: Box::new(publish.about.clone()),
            file: publish.file.blob,
        };
        if (&source, &publish.parents, blob) != (&record.source, &record.parents, record.blob) {
            let text = format!("{} is not described as there", what());
            return Err(VerifyError::Lineage(text));
        }
        if tx.body.sender != *by {
            return Err(VerifyError::mismatch("publisher", tx.body.sender, by));
        }
        Ok(())
    }

    /// The list of the round that a model was folded from: each update signed by its
    /// trainer, and ordered at its place by the block its receipt names.
    pub fn round(
        &self,
        spec: &TaskSpec,
        id: &ModelId,
        record: &ModelRecord,
    ) -> Result<ProvedRound, VerifyError> {
        let (ModelSource::Round { cluster, round, .. }, Some(task)) = (&record.source, record.task)
        else {
            return Err(VerifyError::Lineage(format!("model {id} was folded in no round")));
        };
        let key = RoundKey { task, cluster: *cluster, round: *round };
        let bundle = self.model(id)?.bundle;
        let what = format!("round {round} of cluster {cluster}");
        let state: Round = proved(&bundle, &state_key::round(&key), &what)?;
        let (outcomes, contributions) = match &state.state {
            RoundState::Aggregated { model, outcomes, contributions, .. } if model == id => {
                (outcomes, contributions.clone())
            }
            _ => return Err(VerifyError::Lineage(format!("{what} did not come to model {id}"))),
        };
        if outcomes.len() != state.entries as usize {
            return Err(VerifyError::mismatch(what, state.entries, outcomes.len()));
        }
        let (mut entries, mut updates) = (vec![], vec![]);
        for (index, outcome) in (0u32..).zip(outcomes) {
            let entry: Entry = proved(&bundle, &state_key::round_entry(&key, index), &what)?;
            let (tx, receipt) = carried_out(&bundle, &entry.tx)?;
            check_update(spec, key, index, &entry, tx, receipt)?;
            updates.push(VerifiedUpdate {
                tx: entry.tx,
                trainer: entry.trainer,
                height: receipt.height,
                cluster: *cluster,
                round: round.0,
                index,
                base_version: entry.base_version,
                weight: entry.weight,
                outcome: *outcome,
                model: *id,
            });
            entries.push(entry);
        }
        let masking = spec.masks.map(|_| proved_masking(&bundle, &key, &what)).transpose()?;
        Ok(ProvedRound { entries, updates, contributions, masking })
    }
}

fn proved_masking(bundle: &Bundle, key: &RoundKey, what: &str) -> Result<Masking, VerifyError> {
    let masking: Masking = proved(bundle, &state_key::masking(key), what)?;
    match masking.round == *key {
        true => Ok(masking),
        false => Err(VerifyError::Lineage(format!("{what} tells of another round"))),
    }
}

/// The value that a verified bundle proves for a key.
fn proved<T: Serialize + DeserializeOwned>(
    bundle: &Bundle,
    key: &StateKey,
    what: &str,
) -> Result<T, VerifyError> {
    let fault = |reason: String| VerifyError::Lineage(format!("{what}: {reason}"));
    match bundle.state(key) {
        Some(Some(bytes)) => {
            codec::decode(bytes, limits::DECODE_BYTES_MAX).map_err(|error| fault(error.to_string()))
        }
        Some(None) => Err(fault("the state holds no such thing".into())),
        None => Err(fault("the proof leaves it out".into())),
    }
}

/// A transaction of a verified bundle whose receipt says that it was carried out.
fn carried_out<'b>(
    bundle: &'b Bundle,
    id: &TxId,
) -> Result<(&'b SignedTx, &'b Receipt), VerifyError> {
    // The bundle's check held each receipt against the identity of its transaction.
    let found = bundle.transactions.iter().find(|(_, audit)| audit.receipt.tx == Some(*id));
    let (tx, audit) = found
        .ok_or_else(|| VerifyError::Lineage(format!("the proof leaves out transaction {id}")))?;
    let code = audit.receipt.code;
    if code != Code::Ok {
        let what = format!("receipt of transaction {id}");
        return Err(VerifyError::mismatch(what, Code::Ok.text(), code.text()));
    }
    Ok((tx, &audit.receipt))
}

/// The list's entry says what the signed transaction and its receipt say.
fn check_update(
    spec: &TaskSpec,
    key: RoundKey,
    index: u32,
    entry: &Entry,
    tx: &SignedTx,
    receipt: &Receipt,
) -> Result<(), VerifyError> {
    let Action::Update(update) = &tx.body.action else {
        return Err(VerifyError::Lineage(format!("transaction {} is no update", entry.tx)));
    };
    check_entry(spec, key, entry, &tx.body.sender, update)?;
    let ordered = Event::UpdateOrdered { key, index, trainer: entry.trainer };
    if receipt.height != entry.height || !receipt.events.contains(&ordered) {
        return Err(VerifyError::Lineage(format!(
            "the receipt of update {} does not order it at place {index} of round {} of cluster {}",
            entry.tx, key.round, key.cluster
        )));
    }
    Ok(())
}

fn check_entry(
    spec: &TaskSpec,
    key: RoundKey,
    entry: &Entry,
    sender: &PublicKey,
    update: &UpdateAction,
) -> Result<(), VerifyError> {
    let what = |field: &str| format!("{field} of update {}", entry.tx);
    let told = (entry.trainer, key.task, key.cluster, entry.base_version);
    let signed = (*sender, update.task, update.cluster, update.base_version);
    if told != signed {
        let fields = what("trainer, task, cluster and base");
        return Err(VerifyError::mismatch(fields, format!("{signed:?}"), format!("{told:?}")));
    }
    if entry.blob != update.payload.blob {
        let (signed, told) = (update.payload.blob.digest(), entry.blob.digest());
        return Err(VerifyError::mismatch(what("payload"), signed, told));
    }
    let weight = update.examples.min(spec.weight_max);
    if entry.weight != weight {
        return Err(VerifyError::mismatch(what("weight"), weight, entry.weight));
    }
    Ok(())
}
