//! The payload format refuses every second form of a value, by name.

mod common;

use common::{Scene, dense, sparse, task, tensor};
use twinfold_fl::{
    Layout,
    check::update_bytes_max,
    update::{Bits, HEADER_BYTES, TENSOR_HEADER_BYTES, TensorData, UpdateError, UpdateView},
};

const COUNT_AT: usize = HEADER_BYTES + TENSOR_HEADER_BYTES;
const GAPS_AT: usize = COUNT_AT + 4;

fn scene() -> Scene {
    Scene::new(task(vec![tensor("w", 300, 20)]), vec![0; 300])
}

/// Gaps 2, 0 and 200 (two bytes), values 5, −5 and 7.
fn payload() -> Vec<u8> {
    let pairs = [(2, 5), (3, -5), (204, 7)];
    scene().update(vec![sparse(0, 300, 20, Bits::B8, &pairs)]).encode()
}

fn error(change: impl FnOnce(&mut Vec<u8>)) -> UpdateError {
    let mut bytes = payload();
    change(&mut bytes);
    UpdateView::parse(&bytes).unwrap_err()
}

#[test]
fn the_bytes_are_as_described() {
    let bytes = payload();
    assert_eq!(bytes.len(), GAPS_AT + 4 + 3);
    assert_eq!(bytes[GAPS_AT..], [2, 0, 200, 1, 5, 251, 7]);
    assert!(UpdateView::parse(&bytes).is_ok());
}

#[test]
fn every_prefix_and_every_longer_string_is_refused() {
    let bytes = payload();
    for cut in 0..bytes.len() {
        assert!(UpdateView::parse(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(error(|bytes| bytes.push(0)), UpdateError::Trailing(1));
}

#[test]
fn another_version_is_named() {
    let error = error(|bytes| bytes[3] = b'2');
    assert_eq!(error, UpdateError::Magic(*b"TFU2"));
    assert!(error.to_string().contains("TFU1"));
}

#[test]
fn second_forms_of_a_gap_a_zero_and_a_far_position_are_refused() {
    let minimal = error(|bytes| bytes[GAPS_AT + 3] = 0);
    assert_eq!(minimal, UpdateError::Gap { index: 0 });
    let zero = error(|bytes| bytes[GAPS_AT + 4] = 0);
    assert_eq!(zero, UpdateError::Zero { index: 0 });
    let far = error(|bytes| bytes[GAPS_AT + 3] = 2);
    assert_eq!(far, UpdateError::Position { index: 0, values: 300 });
}

#[test]
fn lengths_beyond_the_input_are_refused_without_allocating_them() {
    let huge = |at: usize| error(move |bytes| bytes[at..at + 4].fill(0xff));
    assert_eq!(huge(HEADER_BYTES - 4), UpdateError::TensorCount(u32::MAX));
    assert!(matches!(huge(COUNT_AT), UpdateError::Gap { .. } | UpdateError::Position { .. }));
    let values = error(|bytes| bytes[HEADER_BYTES + 4..HEADER_BYTES + 12].fill(0xff));
    assert_eq!(values, UpdateError::TensorLength { index: 0, values: u64::MAX });
    let none = error(|bytes| bytes[HEADER_BYTES - 4..HEADER_BYTES].fill(0));
    assert_eq!(none, UpdateError::TensorCount(0));
}

#[test]
fn unknown_bits_and_encodings_are_refused() {
    assert_eq!(error(|b| b[COUNT_AT - 2] = 12), UpdateError::Bits { index: 0, bits: 12 });
    let encoding = error(|b| b[COUNT_AT - 1] = 2);
    assert_eq!(encoding, UpdateError::Encoding { index: 0, encoding: 2 });
}

#[test]
fn tensors_stand_in_ascending_order_and_once() {
    for (first, second) in [(1, 0), (1, 1)] {
        let tensor = |index| dense(index, 20, Bits::B8, &[1]);
        let bytes = scene().update(vec![tensor(first), tensor(second)]).encode();
        let order = UpdateError::TensorOrder { previous: first, index: second };
        assert_eq!(UpdateView::parse(&bytes), Err(order));
    }
}

#[test]
fn a_sparse_form_longer_than_the_dense_one_is_refused() {
    let pairs: Vec<_> = (0..300).map(|i| (i, 1)).collect();
    let bytes = scene().update(vec![sparse(0, 300, 20, Bits::B8, &pairs)]).encode();
    assert_eq!(UpdateView::parse(&bytes), Err(UpdateError::SparseTooLong { index: 0 }));
    let values = pairs.iter().map(|(_, q)| *q).collect();
    assert!(matches!(TensorData::shortest(values, Bits::B8), TensorData::Dense(_)));
}

#[test]
fn no_update_of_a_task_is_longer_than_its_bound() {
    let scene = scene();
    let layout = Layout::of(&scene.spec.tensors).unwrap();
    let dense = scene.update(vec![dense(0, 20, Bits::B32, &[-1; 300])]).encode();
    assert_eq!(dense.len() as u64, update_bytes_max(&scene.spec, &layout));
}
