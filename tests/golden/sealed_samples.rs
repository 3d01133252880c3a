//! The samples of sealed payloads and encryption keys.

use super::samples::{availability, blob, digest, key};
use twinfold_types::{
    Digest, Event, Height, TimeMs,
    sealed::{
        ContentKey, Drawn, EncryptionSecret, RegisterSealed, SealedAction, SealedRecord,
        SealedWrap, Sealer, WrapPlace,
    },
    state_key::{self, StateKey},
    tx::Action,
};

pub fn content_key() -> ContentKey {
    ContentKey::from_bytes(&[9; 32])
}

pub fn encryption(byte: u8) -> EncryptionSecret {
    EncryptionSecret::from_seed(&[byte; 32])
}

/// A content of one short segment, sealed, and the commitment to it.
pub fn sealed_stream() -> (Vec<u8>, Digest) {
    let (sealer, mut bytes) =
        Sealer::begin(&content_key(), &Drawn { prefix: [3; 7], salt: [4; 32] });
    let (last, commitment) = sealer.finish(b"beats per minute: 71").expect("one segment");
    bytes.extend(last);
    (bytes, commitment)
}

pub fn wrap() -> SealedWrap {
    let (chain, blob) = (digest(1), blob().digest());
    let place = WrapPlace { chain: &chain, blob: &blob };
    SealedWrap::new(&content_key(), place, key(2), encryption(5).public(), &[6; 32])
        .expect("a strong key")
}

pub fn sealed_record() -> SealedRecord {
    SealedRecord {
        owner: key(1),
        blob: blob(),
        commitment: sealed_stream().1,
        wraps: 2,
        height: Height(8),
        time: TimeMs(2_000),
        destroyed: Some(TimeMs(3_000)),
    }
}

pub fn sealed_actions() -> Vec<(&'static str, Action)> {
    let (blob, commitment) = (blob().digest(), sealed_stream().1);
    let register = RegisterSealed { payload: availability(), commitment };
    let actions = [
        ("register sealed", SealedAction::Register(Box::new(register))),
        ("grant sealed", SealedAction::Grant { blob, wraps: vec![wrap()] }),
        ("revoke sealed", SealedAction::Revoke { blob, members: vec![key(2)] }),
        ("destroy sealed", SealedAction::Destroy(blob)),
    ];
    let set = ("set encryption key", Action::SetEncryptionKey(encryption(5).public()));
    let sealed = actions.into_iter().map(|(name, action)| (name, Action::Sealed(action)));
    std::iter::once(set).chain(sealed).collect()
}

pub fn sealed_events() -> Vec<(&'static str, Event)> {
    let (blob, owner, members) = (blob().digest(), key(1), vec![key(2)]);
    vec![
        ("encryption key set", Event::EncryptionKeySet { member: owner }),
        ("sealed registered", Event::SealedRegistered { blob, owner }),
        ("sealed granted", Event::SealedGranted { blob, members: members.clone() }),
        ("sealed revoked", Event::SealedRevoked { blob, members }),
        ("sealed destroyed", Event::SealedDestroyed { blob, wraps: 2 }),
    ]
}

pub fn sealed_keys() -> Vec<(&'static str, StateKey)> {
    let (blob, member) = (blob().digest(), key(2));
    vec![
        ("encryption key", state_key::encryption_key(&member)),
        ("sealed", state_key::sealed(&blob)),
        ("sealed wrap", state_key::sealed_wrap(&blob, &member)),
    ]
}
