use crate::kit::*;
use twinfold_types::{
    Action, BlobDigest, BlobId, Code, Digest, Event, PublicKey,
    key::EncryptionKey,
    limits,
    sealed::{
        ContentKey, EncryptionSecret, RegisterSealed, SealedAction, SealedRecord, SealedWrap,
        WrapPlace,
    },
    state_key,
};

fn encryption(number: u8) -> EncryptionSecret {
    EncryptionSecret::from_seed(&[number; 32])
}

fn set_key(number: u8) -> Action {
    Action::SetEncryptionKey(encryption(number).public())
}

fn register(chain: &Chain, content: u8) -> (BlobDigest, Action) {
    let size = chain.reader.committee().size();
    let blob = BlobId::of_whole_copies(900, Digest([content; 32]), size);
    let payload = chain.availability_of(blob, 3);
    let register = RegisterSealed { payload, commitment: Digest([1; 32]) };
    (blob.digest(), Action::Sealed(SealedAction::Register(Box::new(register))))
}

fn wrap(chain: &Chain, blob: &BlobDigest, member: u8, to: u8) -> SealedWrap {
    let (place, key) = (WrapPlace { chain: &chain.chain, blob }, ContentKey::from_bytes(&[5; 32]));
    SealedWrap::new(&key, place, public(member), encryption(to).public(), &[member; 32]).unwrap()
}

fn grant(blob: BlobDigest, mut wraps: Vec<SealedWrap>) -> Action {
    wraps.sort_by_key(|wrap| wrap.member);
    Action::Sealed(SealedAction::Grant { blob, wraps })
}

fn revoke(blob: BlobDigest, member: u8) -> Action {
    Action::Sealed(SealedAction::Revoke { blob, members: vec![public(member)] })
}

fn destroy(blob: BlobDigest) -> Action {
    Action::Sealed(SealedAction::Destroy(blob))
}

fn record(chain: &Chain, blob: &BlobDigest) -> SealedRecord {
    chain.reader.get(&state_key::sealed(blob)).unwrap().unwrap()
}

fn wrap_of(chain: &Chain, blob: &BlobDigest, member: &PublicKey) -> Option<SealedWrap> {
    chain.reader.get(&state_key::sealed_wrap(blob, member)).unwrap()
}

/// A trainer's sealed payload; the trainer beside it and the auditor have encryption keys.
fn sealed() -> (Chain, BlobDigest) {
    let mut chain = Chain::new();
    chain.ok(TRAINER + 1, set_key(TRAINER + 1));
    chain.ok(AUDITOR, set_key(AUDITOR));
    let (blob, action) = register(&chain, 7);
    let events = chain.ok(TRAINER, action);
    assert_eq!(events, [Event::SealedRegistered { blob, owner: public(TRAINER) }]);
    (chain, blob)
}

#[test]
fn a_member_has_one_encryption_key_and_it_goes_with_the_member() {
    let mut chain = Chain::new();
    let key = |chain: &Chain| -> Option<EncryptionKey> {
        chain.reader.get(&state_key::encryption_key(&public(TRAINER))).unwrap()
    };
    assert_eq!(chain.code(STRANGER, set_key(1)), Code::UnknownSender);
    let weak = Action::SetEncryptionKey(EncryptionKey([0; 32]));
    assert_eq!(chain.code(TRAINER, weak), Code::EncryptionKeyInvalid);
    let events = chain.ok(TRAINER, set_key(1));
    assert_eq!(events, [Event::EncryptionKeySet { member: public(TRAINER) }]);
    chain.ok(TRAINER, set_key(2));
    assert_eq!(key(&chain), Some(encryption(2).public()));
    chain.ok(OPERATOR, Action::RemoveTrainer(public(TRAINER)));
    assert_eq!(key(&chain), None);
}

#[test]
fn who_is_granted_a_wrap_can_read_until_it_is_revoked() {
    let (mut chain, blob) = sealed();
    let both =
        vec![wrap(&chain, &blob, TRAINER + 1, TRAINER + 1), wrap(&chain, &blob, AUDITOR, AUDITOR)];
    chain.ok(TRAINER, grant(blob, both));
    assert_eq!(record(&chain, &blob).wraps, 2);
    let found = wrap_of(&chain, &blob, &public(AUDITOR)).unwrap();
    let place = WrapPlace { chain: &chain.chain, blob: &blob };
    assert_eq!(found.open(place, &encryption(AUDITOR)).unwrap().bytes(), &[5; 32]);

    chain.ok(TRAINER, revoke(blob, AUDITOR));
    assert_eq!(wrap_of(&chain, &blob, &public(AUDITOR)), None);
    assert_eq!(record(&chain, &blob).wraps, 1);
    assert_eq!(chain.code(TRAINER, revoke(blob, AUDITOR)), Code::WrapUnknown);
}

#[test]
fn who_rotated_its_key_is_given_the_wrap_anew_and_is_counted_once() {
    let (mut chain, blob) = sealed();
    let action = grant(blob, vec![wrap(&chain, &blob, AUDITOR, AUDITOR)]);
    chain.ok(TRAINER, action);
    chain.ok(AUDITOR, set_key(99));
    let old = grant(blob, vec![wrap(&chain, &blob, AUDITOR, AUDITOR)]);
    assert_eq!(chain.code(TRAINER, old), Code::EncryptionKeyOther);
    let action = grant(blob, vec![wrap(&chain, &blob, AUDITOR, 99)]);
    chain.ok(TRAINER, action);
    assert_eq!(record(&chain, &blob).wraps, 1);
    let found = wrap_of(&chain, &blob, &public(AUDITOR)).unwrap();
    assert_eq!(found.to, encryption(99).public());
}

#[test]
fn only_the_owner_gives_takes_and_purges() {
    let (mut chain, blob) = sealed();
    let (_, again) = register(&chain, 7);
    assert_eq!(chain.code(AUDITOR, again), Code::SealedExists);
    for sender in [AUDITOR, ADMIN, TRAINER + 1] {
        let action = grant(blob, vec![wrap(&chain, &blob, AUDITOR, AUDITOR)]);
        assert_eq!(chain.code(sender, action), Code::SealedNotOwner);
        assert_eq!(chain.code(sender, revoke(blob, AUDITOR)), Code::SealedNotOwner);
        assert_eq!(chain.code(sender, destroy(blob)), Code::SealedNotOwner);
    }
    chain.ok(OPERATOR, Action::RemoveTrainer(public(TRAINER)));
    assert_eq!(chain.code(AUDITOR, destroy(blob)), Code::SealedNotOwner);
    chain.ok(ADMIN, destroy(blob));
}

#[test]
fn a_purge_leaves_no_wrap_and_is_for_good() {
    let (mut chain, blob) = sealed();
    let (other, action) = register(&chain, 8);
    chain.ok(TRAINER, action);
    for blob in [blob, other] {
        let action = grant(blob, vec![wrap(&chain, &blob, AUDITOR, AUDITOR)]);
        chain.ok(TRAINER, action);
    }
    let events = chain.ok(TRAINER, destroy(blob));
    assert_eq!(events, [Event::SealedDestroyed { blob, wraps: 1 }]);
    assert_eq!(wrap_of(&chain, &blob, &public(AUDITOR)), None);
    let record = record(&chain, &blob);
    assert_eq!((record.wraps, record.destroyed.is_some()), (0, true));
    let action = grant(blob, vec![wrap(&chain, &blob, AUDITOR, AUDITOR)]);
    assert_eq!(chain.code(TRAINER, action), Code::SealedDestroyed);
    assert_eq!(chain.code(TRAINER, destroy(blob)), Code::SealedDestroyed);
    let (_, again) = register(&chain, 7);
    assert_eq!(chain.code(TRAINER, again), Code::SealedExists);
    assert!(wrap_of(&chain, &other, &public(AUDITOR)).is_some(), "another payload stays");
}

#[test]
fn a_list_of_readers_has_one_form_and_a_limit() {
    let (mut chain, blob) = sealed();
    assert_eq!(chain.code(TRAINER, grant(blob, vec![])), Code::WrapsInvalid);
    let one = wrap(&chain, &blob, AUDITOR, AUDITOR);
    assert_eq!(chain.code(TRAINER, grant(blob, vec![one, one])), Code::WrapsInvalid);
    let many = (0..=limits::SEALED_WRAPS_PER_TX_MAX as u8).map(|byte| PublicKey([byte; 32]));
    let many = SealedAction::Revoke { blob, members: many.collect() };
    assert_eq!(chain.code(TRAINER, Action::Sealed(many)), Code::WrapsInvalid);
    let stranger = grant(blob, vec![wrap(&chain, &blob, STRANGER, STRANGER)]);
    assert_eq!(chain.code(TRAINER, stranger), Code::MemberUnknown);
    let keyless = grant(blob, vec![wrap(&chain, &blob, OPERATOR, OPERATOR)]);
    assert_eq!(chain.code(TRAINER, keyless), Code::EncryptionKeyOther);
    let unknown = Digest([77; 32]);
    let action = grant(unknown, vec![wrap(&chain, &unknown, AUDITOR, AUDITOR)]);
    assert_eq!(chain.code(TRAINER, action), Code::SealedUnknown);
}

#[test]
fn a_refused_grant_leaves_no_wrap_of_those_before_it() {
    let (mut chain, blob) = sealed();
    let mut wraps =
        vec![wrap(&chain, &blob, AUDITOR, AUDITOR), wrap(&chain, &blob, TRAINER + 1, 1)];
    wraps.sort_by_key(|wrap| wrap.member);
    assert_eq!(chain.code(TRAINER, grant(blob, wraps)), Code::EncryptionKeyOther);
    assert_eq!(wrap_of(&chain, &blob, &public(AUDITOR)), None);
    assert_eq!(record(&chain, &blob).wraps, 0);
}

#[test]
fn a_sealed_payload_is_registered_only_with_a_certificate() {
    let mut chain = Chain::new();
    let size = chain.reader.committee().size();
    let blob = BlobId::of_whole_copies(900, Digest([7; 32]), size);
    let payload = chain.availability_of(blob, 2);
    let register = RegisterSealed { payload, commitment: Digest([1; 32]) };
    let action = Action::Sealed(SealedAction::Register(Box::new(register)));
    assert_eq!(chain.code(TRAINER, action), Code::AvailabilityInvalid);
}

#[test]
fn a_members_encryption_key_is_proved_with_the_member() {
    let (mut chain, _) = sealed();
    chain.certify();
    let prove = |number| chain.reader.prove_encryption_key(&public(number)).unwrap();
    let bundle = prove(AUDITOR);
    bundle.verify(&chain.genesis, &NONE).unwrap();
    let key = state_key::encryption_key(&public(AUDITOR));
    let expected = twinfold_types::codec::encode(&encryption(AUDITOR).public());
    assert_eq!(bundle.state(&key), Some(Some(expected.as_slice())));
    assert!(bundle.state(&state_key::member(&public(AUDITOR))).unwrap().is_some());
    let none = prove(OPERATOR);
    none.verify(&chain.genesis, &NONE).unwrap();
    assert_eq!(none.state(&state_key::encryption_key(&public(OPERATOR))), Some(None));
}
