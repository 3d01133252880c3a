use crate::kit::*;
use twinfold_types::{
    Action, Code, Digest, Event, PublicKey, limits,
    model::{Level, ModelId, ModelSource},
    state_key,
    store::{
        DeprecateAction, Deprecation, MeasureAction, Metric, MetricRecord, MetricValue,
        PublishAction,
    },
};

fn publish(action: PublishAction) -> Action {
    Action::PublishModel(Box::new(action))
}

fn publish_code(change: impl FnOnce(&Chain, &mut PublishAction)) -> Code {
    let mut chain = Chain::new();
    let mut action = chain.publishing("base");
    change(&chain, &mut action);
    chain.code(TRAINER, publish(action))
}

/// Publishes a model of this name as the trainer.
fn published(chain: &mut Chain, name: &str) -> ModelId {
    let action = chain.publishing(name);
    let events = chain.ok(TRAINER, publish(action));
    let Event::ModelPublished { model, .. } = events[1] else { panic!("{events:?}") };
    model
}

fn deprecate(model: ModelId, successor: Option<ModelId>) -> Action {
    let reason = "drifts in winter".to_string();
    Action::DeprecateModel(Box::new(DeprecateAction { model, reason, successor }))
}

fn measure(model: ModelId, name: &str) -> Action {
    let value = MetricValue(953_000);
    let metric = Metric { name: name.into(), value, dataset: "held-out@2".into() };
    Action::MeasureModel(Box::new(MeasureAction { model, metric }))
}

#[test]
fn a_published_model_is_found_by_name_digest_and_list() {
    let mut chain = Chain::new();
    let first = published(&mut chain, "first");
    let action = chain.publishing("second");
    chain.ok(ADMIN, publish(action));
    let list = chain.reader.models(None, Level::Global, None, 10).unwrap();
    let versions: Vec<_> = list.iter().map(|(_, record)| record.version).collect();
    assert_eq!(versions, [1, 0]);
    let ModelSource::Published { about, .. } = &list[1].1.source else { panic!() };
    assert_eq!((about.name.as_str(), about.version.as_str()), ("first", "1.0.0"));
    let before = chain.reader.models(None, Level::Global, Some(1), 10).unwrap();
    assert_eq!(before[0].0, first);
    assert_eq!(chain.reader.model_by_digest(&Digest([8; 32])).unwrap(), Some(first));
    assert_eq!(chain.reader.model_by_digest(&Digest([9; 32])).unwrap(), None);
}

#[test]
fn a_version_is_published_once_and_a_name_stays_with_its_organisation() {
    let mut chain = Chain::new();
    published(&mut chain, "base");
    let again = chain.publishing("base");
    assert_eq!(chain.code(TRAINER, publish(again)), Code::ModelExists);
    let mut next = chain.publishing("base");
    next.about.version = "1.1.0".into();
    assert_eq!(chain.code(OTHER_OPERATOR, publish(next.clone())), Code::OtherOrganisation);
    assert_eq!(chain.code(OPERATOR, publish(next)), Code::Ok);
}

#[test]
fn a_file_without_a_canonical_form_names_its_parents() {
    let mut chain = Chain::new();
    let base = published(&mut chain, "base");
    let mut derived = chain.publishing("derived");
    (derived.parents, derived.steps) = (vec![base], None);
    chain.ok(TRAINER, publish(derived.clone()));
    let (_, record) = chain.reader.models(None, Level::Global, None, 1).unwrap().remove(0);
    assert_eq!((record.parents.as_slice(), record.blob), (&[base][..], None));
    assert_eq!(record.file_only(), Some(&derived.file.blob));
    assert_eq!(record.digest, derived.file.blob.content);
    derived.about.name = "other".into();
    derived.parents = vec![base, ModelId(Digest([9; 32]))];
    assert_eq!(chain.code(TRAINER, publish(derived.clone())), Code::ModelUnknown);
    derived.parents = vec![base, base];
    assert_eq!(chain.code(TRAINER, publish(derived)), Code::ModelInvalid);
}

#[test]
fn a_model_with_a_wrong_size_name_or_certificate_is_refused() {
    assert_eq!(publish_code(|_, action| action.about.name.clear()), Code::ModelInvalid);
    assert_eq!(publish_code(|_, action| action.about.version.clear()), Code::ModelInvalid);
    let no_tensors = |_: &Chain, action: &mut PublishAction| {
        action.steps.as_mut().unwrap().tensors.clear();
    };
    assert_eq!(publish_code(no_tensors), Code::ModelInvalid);
    let size = |chain: &Chain, action: &mut PublishAction| {
        action.steps.as_mut().unwrap().payload = chain.availability(2_599, 3);
    };
    assert_eq!(publish_code(size), Code::ModelInvalid);
    let quorum = |chain: &Chain, action: &mut PublishAction| {
        action.steps.as_mut().unwrap().payload = chain.availability(2_600, 2);
    };
    assert_eq!(publish_code(quorum), Code::AvailabilityInvalid);
    let file = |chain: &Chain, action: &mut PublishAction| {
        action.file = chain.availability(2_900, 2);
    };
    assert_eq!(publish_code(file), Code::AvailabilityInvalid);
}

#[test]
fn its_publisher_or_an_admin_deprecates_a_model() {
    let mut chain = Chain::new();
    let (old, new) = (published(&mut chain, "old"), published(&mut chain, "new"));
    assert_eq!(chain.code(OPERATOR, deprecate(old, Some(new))), Code::NotPermitted);
    assert_eq!(chain.code(TRAINER, deprecate(old, Some(old))), Code::NoteInvalid);
    let nowhere = ModelId(Digest([9; 32]));
    assert_eq!(chain.code(TRAINER, deprecate(old, Some(nowhere))), Code::ModelUnknown);
    assert_eq!(chain.code(TRAINER, deprecate(nowhere, None)), Code::ModelUnknown);
    let stands = |chain: &Chain| -> Option<Deprecation> {
        chain.reader.get(&state_key::deprecation(&old)).unwrap()
    };
    assert_eq!(stands(&chain), None);
    chain.ok(TRAINER, deprecate(old, None));
    let events = chain.ok(ADMIN, deprecate(old, Some(new)));
    assert_eq!(events, [Event::ModelDeprecated { model: old, successor: Some(new) }]);
    let standing = stands(&chain).unwrap();
    assert_eq!((standing.by, standing.successor), (public(ADMIN), Some(new)));
}

#[test]
fn metrics_are_appended_with_who_measured_and_nobody_takes_all_places() {
    let mut chain = Chain::new();
    let model = published(&mut chain, "base");
    chain.ok(AUDITOR, measure(model, "accuracy"));
    for _ in 0..limits::MEMBER_METRICS_MAX {
        chain.ok(TRAINER, measure(model, "loss"));
    }
    assert_eq!(chain.code(TRAINER, measure(model, "loss")), Code::TooManyMetrics);
    chain.ok(ADMIN, measure(model, "recall"));
    let found: Vec<MetricRecord> = chain.reader.all(&state_key::metrics_of(&model)).unwrap();
    let by = |at: usize| -> (PublicKey, &str) { (found[at].by, found[at].metric.name.as_str()) };
    assert_eq!(found.len(), limits::MEMBER_METRICS_MAX as usize + 2);
    assert_eq!(by(0), (public(AUDITOR), "accuracy"));
    assert_eq!(by(found.len() - 1), (public(ADMIN), "recall"));
    assert_eq!(chain.code(AUDITOR, measure(ModelId(Digest([9; 32])), "loss")), Code::ModelUnknown);
    assert_eq!(chain.code(AUDITOR, measure(model, "")), Code::NoteInvalid);
}
