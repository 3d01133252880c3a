use crate::train::{Pending, Settlement, StateError, TrainerState};
use std::{fs, path::Path};
use twinfold_types::{
    Digest, PublicKey, RoundNumber, TaskId,
    round::{FoldRefusal, Metrics, Outcome},
};

const TASK: TaskId = TaskId(Digest([1; 32]));
const TRAINER: PublicKey = PublicKey([2; 32]);

fn open(path: &Path) -> Result<TrainerState, StateError> {
    TrainerState::open(path, TASK, TRAINER, 3)
}

fn pending() -> Pending {
    Pending {
        round: Some(RoundNumber(4)),
        base_version: 6,
        examples: 10,
        metrics: Metrics { loss: 5, accuracy: Some(6) },
        transaction: None,
        payload: vec![9; 20],
        carried: vec![1.0, 2.0, f32::MIN_POSITIVE],
        rest: vec![0.25, 0.5, -0.0],
        control: vec![0.125],
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trainer.state");
    (folder, path)
}

#[test]
fn a_killed_trainer_finds_the_update_it_began() {
    let (_folder, path) = file();
    let mut state = open(&path).unwrap();
    assert_eq!((state.sequence(), state.pending()), (0, None));
    state.begin(pending()).unwrap();
    drop(state);

    let mut state = open(&path).unwrap();
    assert_eq!((state.sequence(), state.pending()), (1, Some(&pending())));
    assert!(state.residual(6, None).is_empty(), "not before the outcome is known");
    state.set_transaction(vec![7; 5]).unwrap();
    drop(state);

    let state = open(&path).unwrap();
    assert_eq!(state.pending().unwrap().transaction, Some(vec![7; 5]));
}

#[test]
fn the_residual_moves_as_the_outcome_says() {
    let outcomes = [
        (Some(Outcome::Folded { weight: 3 }), pending().rest),
        (Some(Outcome::Folded { weight: 0 }), pending().carried),
        (Some(Outcome::Refused(FoldRefusal::Norm)), pending().carried),
        (None, pending().carried),
    ];
    for (outcome, residual) in outcomes {
        let (_folder, path) = file();
        let mut state = open(&path).unwrap();
        state.begin(pending()).unwrap();
        state.settle(Settlement::of(outcome)).unwrap();
        drop(state);
        let state = open(&path).unwrap();
        assert_eq!(state.residual(6, None), residual, "{outcome:?}");
        assert_eq!((state.pending(), state.sequence()), (None, 1));
    }
}

#[test]
fn a_residual_of_an_old_base_is_dropped() {
    let (_folder, path) = file();
    let mut state = open(&path).unwrap();
    state.begin(pending()).unwrap();
    state.settle(Settlement::Counted).unwrap();
    assert_eq!(state.residual(8, Some(2)), pending().rest);
    assert!(state.residual(9, Some(2)).is_empty());
}

#[test]
fn one_update_at_a_time() {
    let (_folder, path) = file();
    let mut state = open(&path).unwrap();
    assert!(matches!(state.settle(Settlement::Counted), Err(StateError::NothingPending)));
    assert!(matches!(state.set_transaction(vec![]), Err(StateError::NothingPending)));
    state.begin(pending()).unwrap();
    assert!(matches!(state.begin(pending()), Err(StateError::Pending)));
    assert!(matches!(open(&path), Err(StateError::Locked(_))), "nor two trainers");
}

#[test]
fn a_damaged_or_foreign_file_is_refused_by_name() {
    let (_folder, path) = file();
    let mut state = open(&path).unwrap();
    state.begin(pending()).unwrap();
    drop(state);
    let other = TrainerState::open(&path, TASK, PublicKey([3; 32]), 3).unwrap_err();
    assert!(matches!(other, StateError::Other { .. }), "{other}");

    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(open(&path), Err(StateError::Damaged { .. })), "byte {at}");
        fs::write(&path, &bytes[..at]).unwrap();
        assert!(matches!(open(&path), Err(StateError::Damaged { .. })), "cut at {at}");
    }
    fs::write(&path, &bytes).unwrap();
    assert!(open(&path).is_ok());
}
