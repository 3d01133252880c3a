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

/// Gaps 2, 0 and 200, values 5, −5 and 7. Six low bits of a gap are written as they are, before them
/// its rest as ones and a zero: 7, 7 and 10 bits, three bytes.
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
    assert_eq!(bytes.len(), GAPS_AT + 3 + 3);
    // From the lowest: 0 010000, 0 000000, 1110 000100.
    assert_eq!(bytes[GAPS_AT..], [0b0000_0100, 0b1100_0000, 0b0010_0001, 5, 251, 7]);
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
    let error = error(|bytes| bytes[3] = b'1');
    assert_eq!(error, UpdateError::Magic(*b"TFU1"));
    assert!(error.to_string().contains("TFU2"));
}

#[test]
fn bits_after_the_gaps_or_the_values_a_zero_and_a_far_position_are_refused() {
    let zero = error(|bytes| bytes[GAPS_AT + 4] = 0);
    assert_eq!(zero, UpdateError::Zero { index: 0 });
    // The third gap becomes 456.
    let far = error(|bytes| bytes[GAPS_AT + 1..GAPS_AT + 3].copy_from_slice(&[0xc0, 0b1000_0111]));
    assert!(matches!(far, UpdateError::Position { .. } | UpdateError::Gap { .. }), "{far}");
    // Four gaps take 28 bits.
    let pairs = [(2, 5), (3, -5), (10, 1), (20, 1)];
    let mut bytes = scene().update(vec![sparse(0, 300, 20, Bits::B4, &pairs)]).encode();
    assert!(UpdateView::parse(&bytes).is_ok());
    let last_gap = bytes.len() - 3;
    bytes[last_gap] |= 0x80;
    assert_eq!(UpdateView::parse(&bytes), Err(UpdateError::Gap { index: 0 }));
    let mut odd = scene().update(vec![dense(0, 20, Bits::B2, &[1, -1, 0])]).encode();
    assert_eq!(odd.last(), Some(&0b0000_1101));
    *odd.last_mut().unwrap() |= 0x40;
    assert_eq!(UpdateView::parse(&odd), Err(UpdateError::Padding { index: 0 }));
}

/// A sign has no zero, so a tensor with one is sparse whatever it takes.
#[test]
fn signs_are_sparse_where_a_value_is_left_out() {
    let all = TensorData::shortest(vec![1, -1, -1], Bits::B1);
    assert!(matches!(all, TensorData::Dense(_)));
    for every in 1..9 {
        let values: Vec<_> = (0..300).map(|at| i32::from(at % 10 < every)).collect();
        let data = TensorData::shortest(values, Bits::B1);
        assert!(matches!(data, TensorData::Sparse(_)));
        let mut update = scene().update(vec![dense(0, 20, Bits::B1, &[1])]);
        (update.tensors[0].len, update.tensors[0].data) = (300, data);
        let bytes = update.encode();
        assert!(bytes.len() <= HEADER_BYTES + TENSOR_HEADER_BYTES + Bits::B1.tensor_bytes_max(300));
        assert_eq!(UpdateView::parse(&bytes).unwrap().to_update(), update);
    }
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
