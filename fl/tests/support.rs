//! Places drawn for everyone: the same at trainers and validators, under every rule, and nothing lost.

mod common;

use common::{Scene, dense, refused, task, tensor};
use twinfold_fl::{Layout, compress::compress, support::Support, update::Bits};
use twinfold_types::{
    Digest,
    round::{FoldRefusal, Outcome},
    task::{Kept, Mode},
};

fn scene(rule: &str, participants: u32) -> Scene {
    let mut spec = task(vec![tensor("w", 40, 20), tensor("b", 4, 16)]);
    (spec.rule, spec.participants_min) = (rule.parse().unwrap(), participants);
    (spec.compression.bits, spec.compression.kept) = (16, Kept::Random { ppm: 250_000 });
    Scene::new(spec, vec![7; 44])
}

fn layout(scene: &Scene) -> Layout {
    Layout::of(&scene.spec.tensors).unwrap()
}

/// A trainer's change of every value, compressed as trainers do it; what stays behind.
fn send(scene: &mut Scene, delta: &[f32], residual: &[f32]) -> Vec<f32> {
    let sent = compress(&scene.spec, scene.binding(), delta, residual, 1).unwrap();
    let lengths: Vec<_> = sent.update.tensors.iter().map(|tensor| tensor.len).collect();
    assert_eq!(lengths, [10, 1], "a quarter of each tensor");
    scene.send(1, sent.update.tensors);
    sent.rest
}

#[test]
fn every_rule_takes_them_and_moves_the_drawn_places_alone() {
    for rule in ["mean", "median", "trimmed:0.2", "krum:1", "bulyan:0", "geometric-median"] {
        let mut scene = scene(rule, 5);
        for _ in 0..5 {
            send(&mut scene, &[0.25; 44], &[]);
        }
        let support =
            Support::of(&scene.spec, &layout(&scene), common::TASK, &scene.binding().base);
        let drawn = support.unwrap().scatter(&[1.0; 11]);
        let steps = scene.fold().steps.unwrap();
        for (at, (step, drawn)) in steps.iter().zip(drawn).enumerate() {
            let quarter = if at < 40 { 1 << 18 } else { 1 << 14 };
            assert_eq!(*step, 7 + i32::from(drawn > 0.0) * quarter, "{rule}, value {at}");
        }
    }
}

#[test]
fn what_is_not_drawn_stays_with_the_trainer_and_comes_when_it_is() {
    let mut scene = scene("mean", 1);
    let delta: Vec<f32> = (0..44).map(|at| (at as f32 - 20.5) / 64.0).collect();
    let (mut rest, rounds) = (vec![], 60);
    // Every model draws other places, so every one of them is drawn by and by.
    for _ in 0..rounds {
        rest = send(&mut scene, &delta, &rest);
        scene.base = scene.fold().steps.unwrap();
        (scene.inputs, scene.payloads) = (vec![], vec![]);
    }
    for (at, (step, change)) in scene.base.iter().zip(&delta).enumerate() {
        let one = if at < 40 { 1_048_576.0 } else { 65_536.0 };
        let arrived = f64::from(step - 7) / one;
        assert!(arrived != 0.0, "value {at} was never drawn");
        let all = arrived + f64::from(rest[at]);
        assert!((all - f64::from(change * rounds as f32)).abs() < 1e-2, "value {at}: {all}");
    }
}

#[test]
fn another_base_draws_other_places_and_other_lengths_are_refused() {
    let scene = scene("mean", 1);
    let of = |base: &Digest| Support::of(&scene.spec, &layout(&scene), common::TASK, base).unwrap();
    assert_eq!(of(&Digest([1; 32])), of(&Digest([1; 32])));
    assert_ne!(of(&Digest([1; 32])), of(&Digest([2; 32])));
    let mut whole = scene;
    let values = [1; 44];
    let tensors =
        vec![dense(0, 20, Bits::B16, &values[..40]), dense(1, 16, Bits::B16, &values[40..])];
    whole.send(1, tensors);
    let folded = whole.fold();
    assert_eq!(folded.outcomes, [refused(FoldRefusal::WrongShape)]);
    assert!(folded.outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Folded { .. })));
}

#[test]
fn updates_with_several_bases_have_no_places_in_common() {
    let mut spec = scene("mean", 1).spec;
    spec.late = vec![1 << 16, 1 << 15];
    assert!(spec.fault().unwrap().contains("one base"));
    spec.late.clear();
    spec.mode = Mode::Async { buffer: 1, staleness: vec![1 << 16], mix: None };
    assert!(spec.fault().unwrap().contains("one base"));
}

/// Whatever draws otherwise folds otherwise: rounds of before could not be recomputed.
#[test]
fn the_draw_is_frozen() {
    let scene = scene("mean", 1);
    let support =
        Support::of(&scene.spec, &layout(&scene), common::TASK, &Digest([1; 32])).unwrap();
    let drawn = support.scatter(&[1.0; 11]);
    let places: Vec<_> = (0..44).filter(|at| drawn[*at] == 1.0).collect();
    assert_eq!(places, [0, 2, 3, 13, 14, 15, 24, 27, 38, 39, 43]);
}
