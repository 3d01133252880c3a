//! Makes proofs under the newest stable checkpoint; `types` verifies them.

use crate::{
    audit::{self, AuditRead},
    error::LedgerError,
    look::Look,
    recovery,
    rocks::View,
    stakes,
    store::{self, Column, TxPlace},
    tree,
};
use twinfold_types::{
    Digest, Epoch, Height, PublicKey, Receipt, SignedTx, TxId,
    genesis::FORMAT_VERSION,
    handover::{EpochEnd, Handover, Trail},
    model::{ModelId, ModelRecord, ModelSource},
    proof::{AuditProof, Bundle, StateProof},
    round::{Entry, Round, RoundKey},
    state_key::{self, StateKey},
    vote::CheckpointCertificate,
};

impl AuditRead for View<'_> {
    fn node(&self, level: u8, index: u64) -> Result<Digest, LedgerError> {
        let bytes = self.get(Column::Audit, &store::audit_key(level, index))?;
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.map(Digest)
            .ok_or_else(|| self.damaged(format!("audit log: no subtree ({level}, {index})")))
    }
}

/// Where a bundle is put together: one view, one stable checkpoint.
pub struct Prover<'a> {
    pub look: &'a Look<'a>,
    pub view: &'a View<'a>,
    pub chain: Digest,
    pub stable: CheckpointCertificate,
    /// Lowest height whose block is here.
    pub first: Height,
}

impl Prover<'_> {
    pub fn state(&self, key: &StateKey) -> Result<StateProof, LedgerError> {
        tree::prove(self.view, self.stable.checkpoint.height.0, key.bytes())
    }

    /// A transaction and its receipt.
    pub fn tx(&self, id: &TxId) -> Result<Bundle, LedgerError> {
        let transactions = vec![self.tx_with_receipt(id)?];
        self.bundle(transactions, vec![])
    }

    /// A model's record and what it was made from: the list of its round with the
    /// transactions behind it, or the transaction that brought it in.
    pub fn model(&self, id: &ModelId) -> Result<Bundle, LedgerError> {
        let proof = self.state(&state_key::model(id))?;
        let Some(record) = self.value::<ModelRecord>(&proof)? else {
            return Err(LedgerError::NotCertified(format!("model {id}")));
        };
        let (mut transactions, mut states) = (vec![], vec![proof]);
        match (&record.source, record.task) {
            (ModelSource::Initial { tx, .. } | ModelSource::Published { tx, .. }, _) => {
                transactions.push(self.tx_with_receipt(tx)?);
            }
            (ModelSource::Round { cluster, round, .. }, Some(task)) => {
                let key = RoundKey { task, cluster: *cluster, round: *round };
                self.round(&key, &mut transactions, &mut states)?;
            }
            _ => {}
        }
        self.bundle(transactions, states)
    }

    /// A member and its encryption key, or that there is none.
    pub fn encryption_key(&self, member: &PublicKey) -> Result<Bundle, LedgerError> {
        let keys = [state_key::member(member), state_key::encryption_key(member)];
        let states = keys.iter().map(|key| self.state(key)).collect::<Result<_, _>>()?;
        self.bundle(vec![], states)
    }

    /// A masked round; with what a member dealt in it, where that is asked for.
    pub fn masking(&self, key: &RoundKey, dealer: Option<u32>) -> Result<Bundle, LedgerError> {
        let proof = self.state(&state_key::masking(key))?;
        if proof.value.is_none() {
            return Err(LedgerError::NotCertified(format!("masked round {}", key.round)));
        }
        let deal = dealer.map(|dealer| self.state(&state_key::mask_deal(key, dealer)));
        let states = std::iter::once(Ok(proof)).chain(deal).collect::<Result<_, _>>()?;
        self.bundle(vec![], states)
    }

    fn round(
        &self,
        key: &RoundKey,
        transactions: &mut Vec<(SignedTx, AuditProof)>,
        states: &mut Vec<StateProof>,
    ) -> Result<(), LedgerError> {
        let proof = self.state(&state_key::round(key))?;
        let entries = self.value::<Round>(&proof)?.map_or(0, |round| round.entries);
        states.push(proof);
        let masking = self.state(&state_key::masking(key))?;
        if masking.value.is_some() {
            states.push(masking);
        }
        for index in 0..entries {
            let proof = self.state(&state_key::round_entry(key, index))?;
            let entry: Option<Entry> = self.value(&proof)?;
            let entry = entry.ok_or_else(|| {
                self.view.damaged(format!("entry {index} of round {key:?} is missing"))
            })?;
            states.push(proof);
            transactions.push(self.tx_with_receipt(&entry.tx)?);
        }
        Ok(())
    }

    fn value<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        proof: &StateProof,
    ) -> Result<Option<T>, LedgerError> {
        let decode =
            |bytes: &Vec<u8>| store::decode(bytes, "state value", |why| self.view.damaged(why));
        proof.value.as_ref().map(decode).transpose()
    }

    fn tx_with_receipt(&self, id: &TxId) -> Result<(SignedTx, AuditProof), LedgerError> {
        let (tx, receipt, place) = tx(self.view, id)?.ok_or_else(|| self.absent(id))?;
        let size = self.stable.checkpoint.audit_size;
        if place.audit >= size {
            return Err(LedgerError::NotCertified(format!("transaction {id}")));
        }
        let path = audit::path(self.view, place.audit, size)?;
        Ok((tx, AuditProof { receipt, index: place.audit, path }))
    }

    /// Known by the state, it must have been dropped with its block; known by its caller
    /// only, it may have been.
    fn absent(&self, id: &TxId) -> LedgerError {
        let what = format!("transaction {id}");
        match self.first.0 > 1 {
            true => LedgerError::Pruned { what, first: self.first },
            false => LedgerError::Unknown(what),
        }
    }

    fn bundle(
        &self,
        transactions: Vec<(SignedTx, AuditProof)>,
        states: Vec<StateProof>,
    ) -> Result<Bundle, LedgerError> {
        let (format, chain, checkpoint) = (FORMAT_VERSION, self.chain, self.stable.clone());
        let trail = trail(self.look, checkpoint.checkpoint.epoch)?;
        Ok(Bundle { format, chain, trail, checkpoint, transactions, states })
    }
}

/// The hand-overs from the first committee to that of an epoch.
pub fn trail(look: &Look<'_>, epoch: Epoch) -> Result<Trail, LedgerError> {
    let (mut ended, mut at) = (Vec::new(), Epoch(0));
    while at < epoch {
        let recovery = recovery::that_ended(look, at)?;
        let recovery = recovery.filter(|it| it.statement.committee.epoch <= epoch);
        let (committee, end, next) = match (recovery, stakes::epoch_end(look, at)?) {
            (Some(recovery), _) => {
                let next = recovery.statement.committee.epoch;
                let end = EpochEnd::Recovery(Box::new(recovery));
                (stakes::expect_committee(look, at)?, end, next)
            }
            (None, Some((committee, end))) => (committee, EpochEnd::Checkpoint(end), at.next()),
            (None, None) => {
                return Err(LedgerError::NotCertified(format!("the end of epoch {at}")));
            }
        };
        ended.push(Handover { committee, end });
        at = next;
    }
    Ok(Trail { ended, committee: stakes::expect_committee(look, epoch)? })
}

/// A transaction with its receipt and place.
pub fn tx(view: &View<'_>, id: &TxId) -> Result<Option<(SignedTx, Receipt, TxPlace)>, LedgerError> {
    let Some(bytes) = view.get(Column::Txs, &id.0.0)? else { return Ok(None) };
    let damaged = |why| view.damaged(why);
    let place: TxPlace = store::decode(&bytes, "place of a transaction", damaged)?;
    let missing = |what: &str| view.damaged(format!("{what} of transaction {id} is missing"));
    let block = block(view, place.height)?.ok_or_else(|| missing("the block"))?;
    let tx = block.txs.into_iter().nth(place.position as usize);
    let receipt = store::receipt_key(place.height, place.position.saturating_add(1));
    let receipt = view.get(Column::Receipts, &receipt)?.ok_or_else(|| missing("the receipt"))?;
    let receipt = store::decode(&receipt, "receipt", damaged)?;
    Ok(Some((tx.ok_or_else(|| missing("the body"))?, receipt, place)))
}

/// A stored block.
pub fn block(
    view: &View<'_>,
    height: Height,
) -> Result<Option<twinfold_types::Block>, LedgerError> {
    let bytes = view.get(Column::Blocks, &store::height_key(height))?;
    bytes.map(|bytes| store::decode(&bytes, "block", |why| view.damaged(why))).transpose()
}
