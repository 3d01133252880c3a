//! A transaction with its signature: shared, and never changed once it is made.
//!
//! A copy is another handle on the same content, so that pool, blocks and messages hold one
//! transaction once. What was worked out of the content stays with it: its identity, its
//! encoded length, and that the strict rule accepted its signature.

use crate::{
    AvailabilityCertificate, Digest, Signature, TimeMs, TxId, codec,
    key::Verifier,
    limits,
    sealed::SealedAction,
    tx::{Action, TxBody, TxError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

#[derive(Clone)]
pub struct SignedTx(Arc<Signed>);

/// What a [`SignedTx`] gives to read.
pub struct Signed {
    pub body: TxBody,
    pub signature: Signature,
    id: OnceLock<TxId>,
    encoded_bytes: OnceLock<usize>,
    /// The chain for which every check that needs no state was passed.
    checked: OnceLock<Digest>,
}

/// The encoded form: the body, then the signature.
#[derive(Serialize)]
#[serde(rename = "SignedTx")]
struct Written<'a> {
    body: &'a TxBody,
    signature: &'a Signature,
}

#[derive(Deserialize)]
#[serde(rename = "SignedTx")]
struct Read {
    body: TxBody,
    signature: Signature,
}

impl SignedTx {
    pub fn new(body: TxBody, signature: Signature) -> Self {
        let (id, encoded_bytes, checked) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Signed { body, signature, id, encoded_bytes, checked }))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, TxError> {
        Ok(codec::decode(bytes, limits::TX_BYTES_MAX)?)
    }

    pub fn id(&self) -> TxId {
        *self.id.get_or_init(|| self.body.id())
    }

    /// Length of the canonical encoding.
    pub fn encoded_bytes(&self) -> usize {
        *self.encoded_bytes.get_or_init(|| codec::encoded_bytes(self))
    }

    /// The checks that need no state: chain, window, signature. Passed once is passed for
    /// good, since nothing of the transaction can change.
    pub fn check(&self, chain: &Digest, verifier: &dyn Verifier) -> Result<(), TxError> {
        if self.checked.get() == Some(chain) {
            return Ok(());
        }
        let body = &self.body;
        if body.chain != *chain {
            return Err(TxError::WrongChain { tx_chain: body.chain, our_chain: *chain });
        }
        let width = body.valid_until.0.checked_sub(body.valid_from.0);
        if !width.is_some_and(|width| width > 0 && width <= limits::TX_VALIDITY_MS_MAX) {
            return Err(TxError::Window {
                from: body.valid_from,
                until: body.valid_until,
                max: limits::TX_VALIDITY_MS_MAX,
            });
        }
        if !verifier.verify(&body.sender, &body.statement(&self.id()), &self.signature) {
            return Err(TxError::Signature { sender: body.sender });
        }
        self.checked.get_or_init(|| *chain);
        Ok(())
    }

    /// Whether a block of this time may carry the transaction.
    pub fn is_valid_at(&self, time: TimeMs) -> bool {
        self.body.valid_from <= time && time <= self.body.valid_until
    }

    /// Bytes that each seat stores of what the transaction names.
    pub fn payload_bytes(&self) -> u64 {
        // Of an identity of no known form nothing is stored.
        let bytes = |payload: &AvailabilityCertificate| {
            payload.blob.layout().map_or(u64::MAX, |layout| layout.fragment_bytes())
        };
        self.payloads().into_iter().map(bytes).fold(0, u64::saturating_add)
    }

    /// The payloads that the transaction names.
    pub fn payloads(&self) -> Vec<&AvailabilityCertificate> {
        match &self.body.action {
            Action::Update(update) => vec![&update.payload],
            Action::PublishModel(publish) => publish.payloads().collect(),
            Action::CreateTask(spec) => vec![&spec.initial],
            Action::Sealed(SealedAction::Register(sealed)) => vec![&sealed.payload],
            _ => vec![],
        }
    }
}

impl Deref for SignedTx {
    type Target = Signed;
    fn deref(&self) -> &Signed {
        &self.0
    }
}

impl PartialEq for SignedTx {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.signature == other.signature && self.body == other.body)
    }
}

impl Eq for SignedTx {}

impl fmt::Debug for SignedTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, signature) = (&self.body, &self.signature);
        f.debug_struct("SignedTx").field("body", body).field("signature", signature).finish()
    }
}

impl Serialize for SignedTx {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { body: &self.body, signature: &self.signature }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignedTx {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { body, signature } = Read::deserialize(deserializer)?;
        Ok(Self::new(body, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SecretKey, TaskId,
        key::{Signer, Statement, StrictEd25519},
    };

    struct Nothing;

    impl Verifier for Nothing {
        fn verify(&self, _: &crate::PublicKey, _: &Statement, _: &Signature) -> bool {
            false
        }
    }

    fn tx() -> SignedTx {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = TxBody {
            chain: Digest::ZERO,
            sender: key.public_key(),
            nonce: 1,
            valid_from: TimeMs(0),
            valid_until: TimeMs(10),
            action: Action::CloseTask(TaskId(Digest::ZERO)),
        };
        body.sign(&key)
    }

    #[test]
    fn a_good_signature_is_checked_once_for_all_copies_and_a_bad_one_every_time() {
        let good = tx();
        assert!(good.check(&Digest::ZERO, &Nothing).is_err());
        assert!(good.check(&Digest::ZERO, &StrictEd25519).is_ok());
        assert!(good.clone().check(&Digest::ZERO, &Nothing).is_ok());
        let bad = SignedTx::new(good.body.clone(), Signature([7; 64]));
        assert!(bad.check(&Digest::ZERO, &StrictEd25519).is_err());
        assert!(bad.check(&Digest::ZERO, &StrictEd25519).is_err());
        assert!(good.check(&Digest([1; 32]), &StrictEd25519).is_err(), "another chain");
    }

    #[test]
    fn what_is_kept_is_what_the_content_says() {
        let tx = tx();
        assert_eq!(tx.encoded_bytes(), codec::encode(&tx).len());
        assert_eq!(tx.id(), tx.body.id());
        assert_eq!(SignedTx::decode(&codec::encode(&tx)), Ok(tx));
    }
}
