//! Rounds as validators fold them.

mod common;

use common::{Scene, dense, folded, refused, sparse, task, tensor};
use twinfold_fl::{merge, update::Bits};
use twinfold_types::{
    Digest,
    limits::FACTOR_ONE,
    model::TensorPolicy,
    round::FoldRefusal,
    task::{AggregationRule, Compression, Mode},
};

fn two_tensors() -> Scene {
    let spec = task(vec![tensor("w", 4, 20), tensor("b", 2, 16)]);
    Scene::new(spec, vec![100, -100, 0, 7, 5, -5])
}

/// An update of one for every value.
fn ones(scene: &mut Scene, weight: u32) {
    scene.send(weight, vec![dense(0, 20, Bits::B8, &[1; 4]), dense(1, 16, Bits::B8, &[1; 2])]);
}

#[test]
fn the_mean_is_weighted_by_examples_and_rounded_once() {
    let mut scene = two_tensors();
    scene.send(3, vec![dense(0, 20, Bits::B8, &[1, 2, -1, 0]), dense(1, 16, Bits::B8, &[8, -8])]);
    scene.send(1, vec![dense(0, 20, Bits::B16, &[3, 0, -1, 2]), dense(1, 15, Bits::B32, &[2, -2])]);
    let result = scene.fold();
    // (3·1+3)/4 = 1.5 → 2, 6/4 = 1.5 → 2, −1, 2/4 = 0.5 → 0; (3·8+2·2)/4 = 7.
    assert_eq!(result.steps, Some(vec![102, -98, -1, 7, 12, -12]));
    assert_eq!(result.outcomes, [folded(3), folded(1)]);
    assert_eq!((result.weight, result.saturations), (4, 0));
}

#[test]
fn dense_and_sparse_forms_of_an_update_fold_alike() {
    let values = [0, 0, 0, 9];
    let mut scene = two_tensors();
    scene.send(5, vec![dense(0, 18, Bits::B32, &values), dense(1, 16, Bits::B8, &[0, 1])]);
    let by_dense = scene.fold();
    let mut scene = two_tensors();
    scene.send(5, vec![sparse(0, 4, 18, Bits::B32, &[(3, 9)]), dense(1, 16, Bits::B8, &[0, 1])]);
    assert_eq!(scene.fold(), by_dense);
    assert_eq!(by_dense.steps.unwrap()[3], 7 + 9 * 4);
}

#[test]
fn more_updates_than_one_pass_takes_are_all_counted() {
    let mut scene = two_tensors();
    for weight in 1..=11 {
        let value = 12 - weight as i32;
        let tensors = vec![dense(0, 20, Bits::B8, &[value; 4]), dense(1, 16, Bits::B16, &[66, 0])];
        scene.send(weight, tensors);
    }
    let sum: i64 = (1..=11).map(|w| w * (12 - w)).sum();
    let mean = twinfold_fl::fixed::divide_half_even(sum, 66) as i32;
    let result = scene.fold();
    assert_eq!(result.weight, 66);
    assert_eq!(result.steps, Some(vec![100 + mean, mean - 100, mean, 7 + mean, 71, -5]));
}

#[test]
fn a_refused_update_changes_nothing_and_is_named_by_its_index() {
    let good = {
        let mut scene = two_tensors();
        ones(&mut scene, 2);
        scene.fold()
    };
    let w = || dense(0, 20, Bits::B8, &[1; 4]);
    let b = || dense(1, 16, Bits::B8, &[1; 2]);
    let norm = 1 << 24;
    let cases: Vec<(_, Vec<_>)> = vec![
        (FoldRefusal::WrongShape, vec![w()]),
        (FoldRefusal::WrongShape, vec![dense(0, 20, Bits::B8, &[1; 5]), b()]),
        (FoldRefusal::WrongShape, vec![w(), b(), dense(2, 20, Bits::B8, &[1])]),
        (FoldRefusal::Malformed, vec![dense(0, 21, Bits::B8, &[1; 4]), b()]),
        (FoldRefusal::Malformed, vec![dense(0, -12, Bits::B8, &[1; 4]), b()]),
        (FoldRefusal::Norm, vec![dense(0, 20, Bits::B32, &[norm, 1, 0, 0]), b()]),
        (FoldRefusal::Norm, vec![dense(0, -11, Bits::B8, &[1; 4]), b()]),
        (FoldRefusal::Norm, vec![w(), dense(1, 16, Bits::B32, &[i32::MIN, 0])]),
    ];
    for (refusal, tensors) in cases {
        let mut scene = two_tensors();
        scene.send(9, tensors);
        ones(&mut scene, 2);
        let result = scene.fold();
        assert_eq!(result.outcomes, [refused(refusal), folded(2)]);
        assert_eq!((result.steps, result.weight), (good.steps.clone(), good.weight));
    }
}

#[test]
fn the_norm_is_exact_in_steps_of_the_finest_scale() {
    // One step of `b` at 2^−16 is 16 steps of the unit 2^−20.
    let bound = 50;
    let send = |w: i32, b: i32| {
        let mut scene = two_tensors();
        (scene.spec.norm_bound, scene.spec.clip) = (bound, 1);
        let tensors = vec![dense(0, 20, Bits::B8, &[w, 0, 0, 0]), dense(1, 16, Bits::B8, &[b, 0])];
        scene.send(1, tensors);
        scene.fold().outcomes[0]
    };
    // 14² + 48² = 50²
    assert_eq!(send(14, 3), folded(1));
    assert_eq!(send(15, 3), refused(FoldRefusal::Norm));
    assert_eq!(send(0, 4), refused(FoldRefusal::Norm));
    assert_eq!(send(-50, 0), folded(1));
}

#[test]
fn an_update_for_another_task_trainer_or_base_is_refused() {
    type Change = fn(&mut twinfold_fl::update::Binding);
    let changes: [Change; 3] = [
        |binding| binding.task.0 = Digest([1; 32]),
        |binding| binding.trainer.0 = [9; 32],
        |binding| binding.base = Digest([1; 32]),
    ];
    for change in changes {
        let mut scene = two_tensors();
        let mut update =
            scene.update(vec![dense(0, 20, Bits::B8, &[1; 4]), dense(1, 16, Bits::B8, &[1; 2])]);
        change(&mut update.binding);
        scene.send_bytes(1, scene.version, update.encode());
        let result = scene.fold();
        assert_eq!(result.outcomes, [refused(FoldRefusal::WrongBinding)]);
        assert_eq!((result.steps, result.weight), (None, 0));
    }
}

#[test]
fn random_bytes_and_nothing_at_all_are_malformed() {
    let mut scene = two_tensors();
    scene.send_bytes(1, scene.version, vec![]);
    scene.send_bytes(1, scene.version, vec![0xa5; 300]);
    assert_eq!(scene.fold().outcomes, [refused(FoldRefusal::Malformed); 2]);
}

/// x ← x + α·s·(x_τ + Δ − x), with one rounding: α a half, s a half for one version behind.
#[test]
fn a_mixed_update_draws_the_model_towards_its_own() {
    let mut scene = Scene::new(task(vec![tensor("w", 3, 20)]), vec![1_000, 1_000, -7]);
    let staleness = vec![FACTOR_ONE, FACTOR_ONE / 2];
    scene.spec.participants_max = 1;
    scene.spec.mode = Mode::Async { buffer: 1, staleness, mix: Some(FACTOR_ONE / 2) };
    assert_eq!(scene.spec.fault(), None);
    let delta = vec![dense(0, 20, Bits::B16, &[100, -100, 1])];
    scene.send(10, delta.clone());
    let fresh = scene.fold();
    assert_eq!(fresh.steps.unwrap(), [1_050, 950, -7], "half of the change, 0.5 to even");
    assert_eq!((fresh.outcomes, fresh.weight), (vec![folded(10)], 10));
    // The same against a version in which the first value was 600.
    scene.inputs[0].base_version -= 1;
    scene.against = Some(vec![600, 1_000, -7]);
    assert_eq!(scene.fold().steps.unwrap(), [925, 975, -7]);
    scene.payloads[0].clear();
    let none = scene.fold();
    assert_eq!((none.steps, none.outcomes), (None, vec![refused(FoldRefusal::Malformed)]));
}

#[test]
fn a_frozen_tensor_keeps_its_values_and_takes_no_update() {
    let mut scene = two_tensors();
    scene.spec.tensors[1].policy = TensorPolicy::Frozen;
    ones(&mut scene, 1);
    scene.send(2, vec![dense(0, 20, Bits::B8, &[4; 4])]);
    let result = scene.fold();
    assert_eq!(result.outcomes, [refused(FoldRefusal::FrozenTensor), folded(2)]);
    assert_eq!(result.steps, Some(vec![104, -96, 4, 11, 5, -5]));
}

#[test]
fn more_bits_or_values_than_the_task_allows_are_refused() {
    let mut scene = two_tensors();
    scene.spec.compression = Compression::top(500_000, 16);
    let b = || dense(1, 16, Bits::B8, &[0, 0]);
    scene.send(1, vec![dense(0, 20, Bits::B32, &[1, 0, 0, 0]), b()]);
    scene.send(1, vec![dense(0, 20, Bits::B16, &[1, 1, 1, 1]), b()]);
    scene.send(1, vec![dense(0, 20, Bits::B16, &[1, 1, 0, 1]), b()]);
    let refusal = refused(FoldRefusal::Compression);
    assert_eq!(scene.fold().outcomes, [refusal, refusal, folded(1)]);
}

#[test]
fn a_buffer_weighs_updates_down_by_their_age() {
    let mut scene = two_tensors();
    let staleness = vec![FACTOR_ONE, FACTOR_ONE / 2];
    scene.spec.mode = Mode::Async { buffer: 4, staleness, mix: None };
    let payload = |scene: &Scene| {
        let tensors = vec![dense(0, 20, Bits::B8, &[3; 4]), dense(1, 16, Bits::B8, &[1, -1])];
        scene.update(tensors).encode()
    };
    for base_version in [3, 2, 1, 4] {
        let payload = payload(&scene);
        scene.send_bytes(1, base_version, payload);
    }
    let result = scene.fold();
    let (stale, early) = (refused(FoldRefusal::Stale), refused(FoldRefusal::WrongBinding));
    assert_eq!(result.outcomes, [folded(1), folded(1), stale, early]);
    // 3 and half-even(1.5) = 2 make 5/2 → 2; 1 and half-even(0.5) = 0 make 1/2 → 0.
    assert_eq!(result.steps, Some(vec![102, -98, 2, 9, 5, -5]));
    assert_eq!(result.weight, 2);
}

#[test]
fn a_synchronous_round_has_one_base() {
    let mut scene = two_tensors();
    let tensors = vec![dense(0, 20, Bits::B8, &[3; 4]), dense(1, 16, Bits::B8, &[1, -1])];
    let payload = scene.update(tensors).encode();
    scene.send_bytes(1, 2, payload);
    assert_eq!(scene.fold().outcomes, [refused(FoldRefusal::Stale)]);
}

#[test]
fn values_that_leave_the_range_are_clamped_and_counted() {
    let mut scene = two_tensors();
    scene.base = vec![i32::MAX, i32::MIN, 0, 0, 0, 0];
    scene.send(1, vec![dense(0, 20, Bits::B8, &[1, -1, 1, 1]), dense(1, 16, Bits::B8, &[0, 1])]);
    let result = scene.fold();
    assert_eq!(result.steps, Some(vec![i32::MAX, i32::MIN, 1, 1, 0, 1]));
    assert_eq!(result.saturations, 2);
}

/// The task's own check admits N·w·B up to 2^63; the sums must hold there.
#[test]
fn sums_hold_at_the_bounds_a_task_may_state() {
    let bound = (1u64 << 31) - 1;
    for (count, weight) in [(1u32, u32::MAX), (1_024, (1 << 22) - 1), (1_000, 4_294_967)] {
        let mut spec = task(vec![tensor("w", 2, 0)]);
        (spec.participants_max, spec.weight_max, spec.norm_bound) = (count, weight, bound);
        let product = u128::from(count) * u128::from(weight) * u128::from(bound);
        assert!(product < 1 << 63 && product > (1 << 63) - (1 << 55), "close to the edge");
        for sign in [1, -1] {
            let mut scene = Scene::new(spec.clone(), vec![0, 1]);
            for _ in 0..count {
                scene.send(weight, vec![dense(0, 0, Bits::B32, &[sign * bound as i32, 0])]);
            }
            let result = scene.fold();
            assert_eq!(result.steps, Some(vec![sign * bound as i32, 1]));
            assert_eq!(result.weight, u64::from(count) * u64::from(weight));
        }
    }
}

#[test]
fn clusters_merge_by_weight_with_one_division() {
    let (a, b) = (vec![4, -4, 7, i32::MAX], vec![1, -1, 7, i32::MAX]);
    let merged = merge(AggregationRule::Mean, &[(&a, 1), (&b, 1)]);
    assert_eq!(merged.steps, [2, -2, 7, i32::MAX]);
    assert_eq!(merge(AggregationRule::Mean, &[(&a, 3), (&b, 0)]).steps, a);
    assert_eq!(
        merge(AggregationRule::Mean, &[(&a, 0), (&b, 0)]),
        merged,
        "no weight at all: all alike"
    );
    let heavy = (1 << 31) - 1;
    assert_eq!(
        merge(AggregationRule::Mean, &[(&a, heavy), (&b, heavy)]),
        merged,
        "at the bound of a merge"
    );
}

#[test]
fn a_late_update_counts_by_the_tasks_table_and_not_at_all_beyond_it() {
    let mut spec = task(vec![tensor("w", 2, 20)]);
    spec.late = vec![1 << 16, 1 << 15];
    let mut scene = Scene::new(spec, vec![0; 2]);
    let payload = |scene: &Scene| scene.update(vec![dense(0, 20, Bits::B16, &[100, -50])]).encode();
    for behind in [0, 1, 2] {
        let payload = payload(&scene);
        scene.send_bytes(1, scene.version - behind, payload);
    }
    let round = scene.fold();
    assert_eq!(round.outcomes, [folded(1), folded(1), refused(FoldRefusal::Stale)]);
    // The mean of the whole and of half of it.
    assert_eq!(round.steps, Some(vec![75, -38]));
    scene.spec.late.clear();
    let stale = refused(FoldRefusal::Stale);
    assert_eq!(scene.fold().outcomes, [folded(1), stale, stale]);
}
