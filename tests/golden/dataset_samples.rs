//! Data sets.

use crate::samples::{availability, blob, digest, fragments, key};
use twinfold_types::{
    Action, Code, DatasetId, Event, Height, TimeMs, TxId,
    dataset::{
        AppendAction, AppendRule, Column, ColumnKind, Content, Dataset, DatasetAction, DatasetSpec,
        DatasetVersion,
        manifest::{Chunk, Manifest},
    },
    member::Role,
    state_key::{self, StateKey},
};

fn spec(rule: AppendRule) -> DatasetSpec {
    DatasetSpec {
        name: "digits".into(),
        description: "handwritten digits".into(),
        licence: "CC-BY-4.0".into(),
        rule,
    }
}

fn content() -> Content {
    let column =
        |name: &str, kind, shape: &[u64]| Column { name: name.into(), kind, shape: shape.into() };
    let columns = vec![
        column("x", ColumnKind::Real, &[8, 8]),
        column("label", ColumnKind::Integer, &[]),
        column("note", ColumnKind::Text, &[]),
        column("good", ColumnKind::Boolean, &[]),
    ];
    Content {
        length: 1_900,
        sha256: digest(3),
        blake3: digest(4),
        media_type: "text/csv".into(),
        columns: Some(columns),
        rows: Some(1_797),
    }
}

pub fn actions() -> Vec<(&'static str, Action)> {
    let append = AppendAction {
        dataset: "digits".into(),
        parent: Some(1),
        manifest: availability(),
        packs: vec![availability()],
        content: content(),
    };
    let (dataset, member) = ("digits".to_string(), key(2));
    let create = |rule| DatasetAction::Create(spec(rule));
    let actions = vec![
        ("create data set of one owner", create(AppendRule::Owner)),
        ("create data set with a list", create(AppendRule::Listed)),
        ("create data set for a role", create(AppendRule::Role(Role::Trainer))),
        ("append to data set", DatasetAction::Append(Box::new(append))),
        ("grant data set", DatasetAction::Grant { dataset: dataset.clone(), member }),
        ("revoke data set", DatasetAction::Revoke { dataset: dataset.clone(), member }),
        ("purge data set", DatasetAction::Purge { dataset, versions: 64 }),
    ];
    actions.into_iter().map(|(name, action)| (name, Action::Dataset(action))).collect()
}

pub fn events() -> Vec<(&'static str, Event)> {
    let (dataset, name) = (DatasetId(digest(5)), "digits".to_string());
    let appended = Event::DatasetAppended { dataset, name: name.clone(), version: 2, by: key(2) };
    let failed = |code| Event::ProposalFailed { id: TxId(digest(4)), code };
    vec![
        ("data set created", Event::DatasetCreated { dataset, name }),
        ("data set appended", appended),
        ("data set granted", Event::DatasetGranted { dataset, member: key(2) }),
        ("data set revoked", Event::DatasetRevoked { dataset, member: key(2) }),
        ("data set purged", Event::DatasetPurged { dataset, first: 3, last: 7 }),
        // Pins the places of the first and the last code.
        ("of code DatasetInvalid", failed(Code::DatasetInvalid)),
        ("of code TooManyDatasets", failed(Code::TooManyDatasets)),
        ("of code DatasetPurged", failed(Code::DatasetPurged)),
    ]
}

pub fn keys() -> Vec<(&'static str, StateKey)> {
    let id = DatasetId(digest(5));
    vec![
        ("data set", state_key::dataset("digits")),
        ("data set version", state_key::dataset_version(&id, 258)),
        ("data set grant", state_key::dataset_grant(&id, &key(2))),
        ("data set count", state_key::dataset_count(&key(1))),
    ]
}

pub fn dataset() -> Dataset {
    Dataset {
        id: DatasetId(digest(5)),
        owner: key(1),
        spec: spec(AppendRule::Listed),
        created: TimeMs(1_000),
        versions: 2,
        granted: 1,
        purged: 1,
    }
}

pub fn version() -> DatasetVersion {
    DatasetVersion {
        dataset: DatasetId(digest(5)),
        number: 2,
        parent: Some(1),
        by: key(2),
        tx: TxId(digest(6)),
        height: Height(8),
        time: TimeMs(2_000),
        manifest: blob(),
        packs: vec![fragments().0],
        content: content(),
    }
}

pub fn manifest() -> Manifest {
    let chunk = |offset, length| Chunk { pack: 0, offset, length, hash: digest(9) };
    let (old, new) = (fragments().0, blob());
    Manifest::new([(old, chunk(0, 600)), (new, chunk(1, 6)), (old, chunk(600, 400))])
}
