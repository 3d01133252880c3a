//! What each update had in the change of its round: the same by every rule, order and coding.

mod common;

use common::{Scene, dense, task, tensor};
use twinfold_fl::update::Bits;
use twinfold_types::{
    round::Contribution,
    task::{AggregationRule, Screen},
};

fn scene(rule: &str, scales: [u8; 2], least: u32) -> Scene {
    let mut spec = task(vec![tensor("w", 2, scales[0]), tensor("b", 1, scales[1])]);
    (spec.contributions, spec.participants_min) = (true, least);
    (spec.rule, spec.compression.bits) = (rule.parse().unwrap(), 16);
    Scene::new(spec, vec![0; 3])
}

fn send(scene: &mut Scene, weight: u32, values: [i32; 3]) {
    let [w, b] = [&values[..2], &values[2..]];
    let exponents = [0, 1].map(|at: usize| scene.spec.tensors[at].scale as i8);
    let tensors = vec![dense(0, exponents[0], Bits::B16, w), dense(1, exponents[1], Bits::B16, b)];
    scene.send(weight, tensors);
}

fn of(norm: u64, cosine_ppm: i32, share_ppm: i32) -> Contribution {
    Contribution { norm, cosine_ppm, share_ppm }
}

#[test]
fn shares_go_by_weight_and_direction_and_come_to_one() {
    let mut scene = scene("mean", [20, 20], 1);
    // The mean by weights 3, 1 and 2 is (2, 1, 0) of hundreds.
    send(&mut scene, 3, [400, 0, 0]);
    send(&mut scene, 1, [0, 600, 0]);
    send(&mut scene, 2, [0, 0, 0]);
    let folded = scene.fold();
    assert_eq!(folded.steps, Some(vec![200, 100, 0]));
    // w·⟨Δ, change⟩: 3 · 80,000 and 1 · 60,000 of 300,000.
    assert_eq!(
        folded.contributions,
        [of(400, 894_427, 800_000), of(600, 447_213, 200_000), of(0, 0, 0)]
    );
}

#[test]
fn who_pulls_the_other_way_has_less_than_nothing_and_the_refused_are_not_there() {
    let mut scene = scene("mean", [20, 20], 1);
    send(&mut scene, 1, [300, 0, 0]);
    scene.send_bytes(1, scene.version, vec![1, 2, 3]);
    send(&mut scene, 1, [-100, 0, 0]);
    let folded = scene.fold();
    assert_eq!(folded.outcomes.len(), 3);
    assert_eq!(
        folded.contributions,
        [of(300, 1_000_000, 1_500_000), of(100, -1_000_000, -500_000)]
    );
}

#[test]
fn a_finer_tensor_counts_in_its_own_steps() {
    // A step of the second tensor is a sixteenth of one of the first.
    let mut scene = scene("mean", [16, 20], 1);
    send(&mut scene, 1, [3, 0, 64]);
    let folded = scene.fold();
    // √((3 · 16)² + 64²).
    assert_eq!(folded.contributions, [of(80, 1_000_000, 1_000_000)]);
}

#[test]
fn a_rule_that_takes_few_gives_the_others_no_share() {
    let mut scene = scene("krum:1", [20, 20], 5);
    for at in 0..5 {
        send(&mut scene, 1, [100 + at, 50, if at == 4 { 9_000 } else { 0 }]);
    }
    assert_eq!(scene.fold().contributions.len(), 1);
    // The same updates by their median: each counts, the far one by little more than its direction.
    scene.spec.rule = AggregationRule::Median;
    let contributions = scene.fold().contributions;
    assert_eq!(contributions.len(), 5);
    assert!(contributions[4].cosine_ppm < 20_000, "{contributions:?}");
    let all: i32 = contributions.iter().map(|contribution| contribution.share_ppm).sum();
    assert!((999_990..=1_000_000).contains(&all), "{all}");
}

#[test]
fn a_norm_that_is_cut_counts_as_it_was_cut() {
    let mut scene = scene("mean", [20, 20], 3);
    scene.spec.screen = Screen { clip_ppm: Some(1_000_000), cosine_ppm: None };
    for length in [100, 100, 800] {
        send(&mut scene, 1, [length, 0, 0]);
    }
    let contributions = scene.fold().contributions;
    let norms: Vec<_> = contributions.iter().map(|contribution| contribution.norm).collect();
    assert_eq!(norms, [100; 3]);
}

#[test]
fn neither_order_nor_coding_nor_the_number_read_at_once_changes_any() {
    let updates: Vec<[i32; 3]> =
        (0..40).map(|at| [at * 37 % 101 - 50, at * 53 % 97 - 40, at * 11 % 89]).collect();
    let mut forward = scene("mean", [20, 20], 1);
    updates.iter().for_each(|update| send(&mut forward, 5, *update));
    let mut wide = scene("mean", [20, 20], 1);
    wide.spec.compression.bits = 32;
    for [a, b, c] in &updates {
        wide.send(5, vec![dense(0, 20, Bits::B32, &[*a, *b]), dense(1, 20, Bits::B8, &[*c])]);
    }
    let there = forward.fold();
    assert_eq!(there.contributions.len(), 40);
    assert_eq!(there.contributions, wide.fold().contributions);
    let mut back = scene("mean", [20, 20], 1);
    updates.iter().rev().for_each(|update| send(&mut back, 5, *update));
    let mut contributions = back.fold().contributions;
    contributions.reverse();
    assert_eq!(there.contributions, contributions);
}
