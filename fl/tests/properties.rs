//! What must hold for every list of updates and every string of bytes.

mod common;

use common::{Scene, dense, task, tensor};
use proptest::{collection::vec, prelude::*};
use twinfold_fl::update::{Bits, TensorData, TensorUpdate, Update, UpdateView, decode_target};

const LEN: u32 = 40;

fn bits() -> impl Strategy<Value = Bits> {
    prop_oneof![Just(Bits::B2), Just(Bits::B4), Just(Bits::B8), Just(Bits::B16), Just(Bits::B32)]
}

fn tensor_update(index: u32) -> impl Strategy<Value = TensorUpdate> {
    (bits(), 14i8..=20, vec(-127i32..=127, LEN as usize), any::<bool>(), 1usize..6).prop_map(
        move |(bits, exponent, values, is_sparse, every)| {
            let most = bits.limit();
            let values: Vec<_> = values.into_iter().map(|q| q.clamp(-most, most)).collect();
            if !is_sparse {
                return dense(index, exponent, bits, &values);
            }
            let kept = |at: usize| at.is_multiple_of(4 * every);
            let values = (0..).zip(values).map(|(at, q)| if kept(at) { q } else { 0 });
            let data = TensorData::shortest(values.collect(), bits);
            TensorUpdate { index, len: LEN, exponent, bits, data }
        },
    )
}

fn updates() -> impl Strategy<Value = Vec<(u32, Vec<TensorUpdate>)>> {
    let one = (1u32..10_000, (tensor_update(0), tensor_update(1)));
    vec(one.prop_map(|(weight, (a, b))| (weight, vec![a, b])), 1..12)
}

fn scene() -> Scene {
    let base = (0..2 * LEN as i32).map(|i| i * 1_000 - 7).collect();
    Scene::new(task(vec![tensor("a", LEN.into(), 20), tensor("b", LEN.into(), 20)]), base)
}

proptest! {
    #[test]
    fn any_order_of_updates_gives_the_same_bits(list in updates(), seed: u64) {
        let mut first = scene();
        list.iter().for_each(|(weight, tensors)| first.send(*weight, tensors.clone()));
        let mut order: Vec<_> = (0..list.len()).collect();
        order.sort_by_key(|i| (*i as u64 + 1).wrapping_mul(seed | 1));
        let mut second = scene();
        for index in order {
            second.inputs.push(first.inputs[index]);
            second.payloads.push(first.payloads[index].clone());
        }
        let (first, second) = (first.fold(), second.fold());
        prop_assert_eq!(first.steps, second.steps);
        prop_assert_eq!(first.weight, second.weight);
    }

    #[test]
    fn the_fold_agrees_with_plain_wide_arithmetic(list in updates()) {
        let mut scene = scene();
        list.iter().for_each(|(weight, tensors)| scene.send(*weight, tensors.clone()));
        let total: i128 = list.iter().map(|(weight, _)| i128::from(*weight)).sum();
        let mut sums = vec![0i128; 2 * LEN as usize];
        for (weight, tensors) in &list {
            for tensor in tensors {
                let pairs: Vec<_> = match &tensor.data {
                    TensorData::Dense(values) => (0..).zip(values.iter().copied()).collect(),
                    TensorData::Sparse(pairs) => pairs.clone(),
                };
                for (index, q) in pairs {
                    let value = i128::from(q) * (1 << (20 - tensor.exponent));
                    sums[(tensor.index * LEN + index) as usize] += value * i128::from(*weight);
                }
            }
        }
        let steps = scene.fold().steps.unwrap();
        for ((step, base), sum) in steps.iter().zip(&scene.base).zip(sums) {
            let error = 2 * (sum - i128::from(step - base) * total).abs();
            prop_assert!(error <= total);
            prop_assert!(error < total || (step - base) & 1 == 0);
        }
    }

    #[test]
    fn an_update_survives_the_round_trip(list in updates()) {
        for (_, tensors) in list {
            let update = Update { binding: scene().binding(), tensors };
            let bytes = update.encode();
            prop_assert_eq!(UpdateView::parse(&bytes).unwrap().to_update(), update);
        }
    }

    #[test]
    fn the_parser_never_panics_on_random_bytes(bytes in vec(any::<u8>(), 0..400)) {
        decode_target(&bytes);
        let mut tagged = b"TFU2".to_vec();
        tagged.extend(bytes);
        decode_target(&tagged);
    }

    #[test]
    fn the_parser_never_panics_on_damaged_updates(
        list in updates(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        let update = Update { binding: scene().binding(), tensors: list[0].1.clone() };
        let mut bytes = update.encode();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        decode_target(&bytes);
        let cut = cut.index(bytes.len());
        decode_target(&bytes[..cut]);
        // The fold itself takes whatever comes.
        let mut scene = scene();
        scene.send_bytes(1, scene.version, bytes);
        scene.fold();
    }
}
