use crate::kit::*;
use twinfold_types::{
    Action, Code, Digest, Event,
    model::{Level, ModelSource},
    tx::PublishAction,
};

fn publish(chain: &Chain, name: &str) -> PublishAction {
    PublishAction {
        name: name.into(),
        description: "from elsewhere".into(),
        tensors: chain.spec().tensors,
        model: Digest([8; 32]),
        payload: chain.availability(2_600, 3),
    }
}

fn publish_code(change: impl FnOnce(&Chain, &mut PublishAction)) -> Code {
    let mut chain = Chain::new();
    let mut action = publish(&chain, "base");
    change(&chain, &mut action);
    chain.code(TRAINER, Action::PublishModel(Box::new(action)))
}

#[test]
fn a_published_model_is_found_by_name_digest_and_list() {
    let mut chain = Chain::new();
    let action = publish(&chain, "first");
    let events = chain.ok(TRAINER, Action::PublishModel(Box::new(action)));
    let Event::ModelPublished { model: first, .. } = events[1] else { panic!("{events:?}") };
    let action = publish(&chain, "second");
    chain.ok(ADMIN, Action::PublishModel(Box::new(action)));
    let list = chain.reader.models(None, Level::Global, None, 10).unwrap();
    let versions: Vec<_> = list.iter().map(|(_, record)| record.version).collect();
    assert_eq!(versions, [1, 0]);
    assert!(matches!(&list[1].1.source, ModelSource::Published { name, .. } if name == "first"));
    let before = chain.reader.models(None, Level::Global, Some(1), 10).unwrap();
    assert_eq!(before[0].0, first);
    assert_eq!(chain.reader.model_by_digest(&Digest([8; 32])).unwrap(), Some(first));
    assert_eq!(chain.reader.model_by_digest(&Digest([9; 32])).unwrap(), None);
}

#[test]
fn a_name_is_published_once() {
    let mut chain = Chain::new();
    let action = publish(&chain, "base");
    chain.ok(TRAINER, Action::PublishModel(Box::new(action.clone())));
    assert_eq!(chain.code(ADMIN, Action::PublishModel(Box::new(action))), Code::ModelExists);
}

#[test]
fn a_model_with_a_wrong_size_name_or_certificate_is_refused() {
    assert_eq!(publish_code(|_, action| action.name.clear()), Code::ModelInvalid);
    assert_eq!(publish_code(|_, action| action.tensors.clear()), Code::ModelInvalid);
    let size = |chain: &Chain, action: &mut PublishAction| {
        action.payload = chain.availability(2_599, 3);
    };
    assert_eq!(publish_code(size), Code::ModelInvalid);
    let quorum = |chain: &Chain, action: &mut PublishAction| {
        action.payload = chain.availability(2_600, 2);
    };
    assert_eq!(publish_code(quorum), Code::AvailabilityInvalid);
}
