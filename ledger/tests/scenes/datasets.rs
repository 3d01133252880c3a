use crate::kit::*;
use twinfold_types::{
    Action, BlobId, Code, Digest, Event,
    blob::BlobReference,
    dataset::{
        AppendAction, AppendRule, Column, ColumnKind, Content, Dataset, DatasetAction, DatasetSpec,
        DatasetVersion,
    },
    limits,
    member::Role,
    state_key,
};

const NAME: &str = "digits";
/// Who owns the data set, and two who do not.
const OWNER: u8 = OPERATOR;
const ALICE: u8 = TRAINER;
const BOB: u8 = TRAINER + 1;

fn create(rule: AppendRule) -> Action {
    let spec = DatasetSpec {
        name: NAME.into(),
        description: String::new(),
        licence: "CC0-1.0".into(),
        rule,
    };
    Action::Dataset(DatasetAction::Create(spec))
}

fn content() -> Content {
    Content {
        length: 900,
        sha256: Digest([1; 32]),
        blake3: Digest([2; 32]),
        media_type: "text/csv".into(),
        columns: None,
        rows: Some(9),
    }
}

fn payload(chain: &Chain, number: u8) -> twinfold_types::AvailabilityCertificate {
    chain.availability_of(BlobId::of_whole_copies(900, Digest([number; 32]), 4), 3)
}

fn appending(chain: &Chain, parent: Option<u64>) -> AppendAction {
    AppendAction {
        dataset: NAME.into(),
        parent,
        manifest: payload(chain, 21),
        packs: vec![payload(chain, 22)],
        content: content(),
    }
}

fn append(chain: &mut Chain, by: u8, parent: Option<u64>) -> Code {
    let action = appending(chain, parent);
    chain.code(by, Action::Dataset(DatasetAction::Append(Box::new(action))))
}

fn grant(member: u8) -> Action {
    Action::Dataset(DatasetAction::Grant { dataset: NAME.into(), member: public(member) })
}

fn revoke(member: u8) -> Action {
    Action::Dataset(DatasetAction::Revoke { dataset: NAME.into(), member: public(member) })
}

fn with_dataset(rule: AppendRule) -> Chain {
    let mut chain = Chain::new();
    chain.ok(OWNER, create(rule));
    chain
}

fn dataset(chain: &Chain) -> Dataset {
    chain.reader.get(&state_key::dataset(NAME)).unwrap().unwrap()
}

#[test]
fn every_version_says_who_made_it_from_what_and_where_it_is() {
    let mut chain = with_dataset(AppendRule::Owner);
    assert_eq!(append(&mut chain, OWNER, None), Code::Ok);
    let action = appending(&chain, Some(1));
    let receipt = chain.apply(OWNER, Action::Dataset(DatasetAction::Append(Box::new(action))));
    assert_eq!(append(&mut chain, OWNER, Some(1)), Code::Ok);

    let dataset = dataset(&chain);
    assert_eq!((dataset.versions, dataset.owner), (3, public(OWNER)));
    let appended = &receipt.events[0];
    assert!(matches!(appended, Event::DatasetAppended { version: 2, name, .. } if name == NAME));
    let key = state_key::dataset_version(&dataset.id, 2);
    let version: DatasetVersion = chain.reader.get(&key).unwrap().unwrap();
    assert_eq!((version.number, version.parent), (2, Some(1)));
    assert_eq!((version.by, Some(version.tx)), (public(OWNER), receipt.tx));
    assert_eq!((version.height, version.content), (receipt.height, content()));
    assert_eq!(version.manifest, payload(&chain, 21).blob);
    assert_eq!(version.packs, [payload(&chain, 22).blob]);
    let versions = chain.reader.all::<DatasetVersion>(&state_key::dataset_versions(&dataset.id));
    let parents: Vec<_> = versions.unwrap().iter().map(|version| version.parent).collect();
    assert_eq!(parents, [None, Some(1), Some(1)]);
}

#[test]
fn who_is_not_granted_it_appends_nothing_and_who_is_revoked_no_more() {
    let mut chain = with_dataset(AppendRule::Listed);
    assert_eq!(append(&mut chain, OWNER, None), Code::Ok);
    assert_eq!(append(&mut chain, ALICE, Some(1)), Code::AppendNotPermitted);
    assert_eq!(chain.code(ALICE, grant(ALICE)), Code::NotPermitted);
    assert_eq!(chain.code(ADMIN, grant(ALICE)), Code::NotPermitted);
    assert_eq!(chain.code(OWNER, grant(STRANGER)), Code::MemberUnknown);
    chain.ok(OWNER, grant(ALICE));
    assert_eq!(chain.code(OWNER, grant(ALICE)), Code::GrantExists);
    assert_eq!(append(&mut chain, ALICE, Some(1)), Code::Ok);
    assert_eq!(append(&mut chain, BOB, Some(1)), Code::AppendNotPermitted);
    assert_eq!(dataset(&chain).granted, 1);

    chain.ok(OWNER, revoke(ALICE));
    assert_eq!(chain.code(OWNER, revoke(ALICE)), Code::GrantUnknown);
    assert_eq!(append(&mut chain, ALICE, Some(2)), Code::AppendNotPermitted);
    assert_eq!((dataset(&chain).granted, dataset(&chain).versions), (0, 2));
}

#[test]
fn a_rule_without_a_list_takes_no_grants_and_a_role_needs_none() {
    let mut chain = with_dataset(AppendRule::Owner);
    assert_eq!(chain.code(OWNER, grant(ALICE)), Code::GrantsNotUsed);
    assert_eq!(append(&mut chain, ALICE, None), Code::AppendNotPermitted);
    let mut chain = with_dataset(AppendRule::Role(Role::Trainer));
    assert_eq!(append(&mut chain, ALICE, None), Code::Ok);
    assert_eq!(append(&mut chain, OTHER_OPERATOR, Some(1)), Code::AppendNotPermitted);
    assert_eq!(append(&mut chain, AUDITOR, Some(1)), Code::NotPermitted);
    assert_eq!(append(&mut chain, STRANGER, Some(1)), Code::UnknownSender);
}

#[test]
fn a_version_is_made_from_one_there_is() {
    let mut chain = with_dataset(AppendRule::Owner);
    assert_eq!(append(&mut chain, OWNER, Some(1)), Code::DatasetParentUnknown);
    assert_eq!(append(&mut chain, OWNER, None), Code::Ok);
    for parent in [None, Some(0), Some(2), Some(u64::MAX)] {
        assert_eq!(append(&mut chain, OWNER, parent), Code::DatasetParentUnknown, "{parent:?}");
    }
}

#[test]
fn a_name_is_given_once_and_must_be_one() {
    let mut chain = with_dataset(AppendRule::Owner);
    assert_eq!(chain.code(ALICE, create(AppendRule::Owner)), Code::DatasetNameTaken);
    for name in ["", "a/b", "..", &"x".repeat(129)] {
        let spec = DatasetSpec {
            name: name.into(),
            description: String::new(),
            licence: String::new(),
            rule: AppendRule::Owner,
        };
        let action = Action::Dataset(DatasetAction::Create(spec));
        assert_eq!(chain.code(ALICE, action), Code::DatasetInvalid, "{name:?}");
    }
    let unknown = AppendAction { dataset: "other".into(), ..appending(&chain, None) };
    let action = Action::Dataset(DatasetAction::Append(Box::new(unknown)));
    assert_eq!(chain.code(OWNER, action), Code::DatasetUnknown);
}

#[test]
fn what_is_out_of_bounds_or_not_certified_is_refused_and_leaves_no_reference() {
    let refused = |change: &dyn Fn(&Chain, &mut AppendAction)| {
        let mut chain = with_dataset(AppendRule::Owner);
        let mut action = appending(&chain, None);
        change(&chain, &mut action);
        let code = chain.code(OWNER, Action::Dataset(DatasetAction::Append(Box::new(action))));
        assert_eq!(chain.reference(&payload(&chain, 21).blob), None);
        code
    };
    let column = |name: &str| Column { name: name.into(), kind: ColumnKind::Real, shape: vec![] };
    let too_many = limits::DATASET_COLUMNS_MAX + 1;
    assert_eq!(
        refused(&|_, action| action.content.length = limits::DATASET_BYTES_MAX + 1),
        Code::DatasetInvalid
    );
    assert_eq!(refused(&|_, action| action.content.media_type.clear()), Code::DatasetInvalid);
    assert_eq!(
        refused(&|_, action| action.content.columns = Some(vec![column("a"), column("a")])),
        Code::DatasetInvalid
    );
    let wide: Vec<_> = (0..too_many).map(|number| column(&number.to_string())).collect();
    assert_eq!(
        refused(&|_, action| action.content.columns = Some(wide.clone())),
        Code::DatasetInvalid
    );
    assert_eq!(
        refused(&|chain, action| {
            action.packs = vec![payload(chain, 22); limits::DATASET_PACKS_NEW_MAX + 1];
        }),
        Code::DatasetInvalid
    );
    let long = |bytes| BlobId::of_whole_copies(bytes, Digest([22; 32]), 4);
    assert_eq!(
        refused(&|chain, action| {
            let pack = long(limits::DATASET_PACK_BYTES_MAX + 1);
            action.packs = vec![chain.availability_of(pack, 3)];
        }),
        Code::DatasetInvalid
    );
    assert_eq!(
        refused(&|chain, action| {
            let manifest = long(limits::MANIFEST_BYTES_MAX as u64 + 1);
            action.manifest = chain.availability_of(manifest, 3);
        }),
        Code::DatasetInvalid
    );
    // Two receipts are no quorum, whichever payload has no more.
    assert_eq!(
        refused(&|_, action| action.packs[0].receipts.truncate(2)),
        Code::AvailabilityInvalid
    );
    assert_eq!(
        refused(&|_, action| action.manifest.receipts.truncate(2)),
        Code::AvailabilityInvalid
    );
}

#[test]
fn the_state_lists_what_the_ledger_names_and_how_many_reasons_keep_it() {
    let mut chain = with_dataset(AppendRule::Owner);
    append(&mut chain, OWNER, None);
    let first = chain.reader.head().height;
    append(&mut chain, OWNER, Some(1));
    let pack = chain.reference(&payload(&chain, 22).blob).unwrap();
    assert_eq!((pack.reasons, pack.height, pack.by), (2, first, public(OWNER)));
    assert_eq!(pack.organisation, chain.genesis.members[3].organisation);
}

/// From the newest on, by the owner alone; what another version, or a hold, keeps too stays.
#[test]
fn a_purge_gives_up_content_from_the_newest_version_on() {
    let mut chain = with_dataset(AppendRule::Listed);
    chain.ok(OWNER, grant(ALICE));
    let version = |chain: &Chain, parent, numbers: [u8; 2]| AppendAction {
        manifest: payload(chain, numbers[0]),
        packs: vec![payload(chain, numbers[1])],
        ..appending(chain, parent)
    };
    // The third brings the pack of the first again.
    for (parent, numbers) in [(None, [31, 32]), (Some(1), [33, 34]), (Some(2), [35, 32])] {
        let action = DatasetAction::Append(Box::new(version(&chain, parent, numbers)));
        chain.ok(ALICE, Action::Dataset(action));
    }
    let kept = |chain: &Chain| {
        let kept = |number: &u8| {
            let digest = payload(chain, *number).blob.digest();
            let key = state_key::blob_reference(&digest);
            chain.reader.get::<BlobReference>(&key).unwrap().is_some()
        };
        (31..36).filter(kept).collect::<Vec<u8>>()
    };
    assert_eq!(kept(&chain), [31, 32, 33, 34, 35]);
    let purge = |versions| Action::Dataset(DatasetAction::Purge { dataset: NAME.into(), versions });
    assert_eq!(chain.code(ALICE, purge(1)), Code::NotPermitted);
    for wrong in [0, 4, 65] {
        assert_eq!(chain.code(OWNER, purge(wrong)), Code::DatasetPurged);
    }
    let events = chain.ok(OWNER, purge(2));
    let Event::DatasetPurged { first, last, .. } = events[0] else { panic!("{events:?}") };
    assert_eq!((first, last), (2, 3));
    assert_eq!(kept(&chain), [31, 32], "the first version keeps its pack");
    assert!(dataset(&chain).is_purged(2) && !dataset(&chain).is_purged(1));
    let late = DatasetAction::Append(Box::new(version(&chain, Some(1), [36, 37])));
    assert_eq!(chain.code(ALICE, Action::Dataset(late)), Code::DatasetPurged);
    chain.ok(OWNER, purge(1));
    assert_eq!(kept(&chain), [] as [u8; 0]);
    assert_eq!(chain.code(OWNER, purge(1)), Code::DatasetPurged);
}
