//! What a trainer sends, and what it keeps back.

mod common;

use common::{Scene, folded, task, tensor};
use twinfold_fl::{
    compress::{CompressError, Compressed, compress},
    fixed::steps_to_f32,
    update::TensorData,
};
use twinfold_types::{
    model::TensorPolicy,
    task::{Compression, Kept},
};

const N: usize = 1_000;

fn scene(bits: u8, top_ppm: Option<u32>) -> Scene {
    let kept = top_ppm.map_or(Kept::All, |ppm| Kept::Top { ppm });
    let mut spec = task(vec![tensor("w", N as u64 - 10, 20), tensor("b", 10, 20)]);
    spec.compression = Compression { bits, kept, stochastic: false };
    Scene::new(spec, vec![0; N])
}

/// A delta with both signs and a wide range of magnitudes.
fn delta() -> Vec<f32> {
    (0..N).map(|i| ((i * 7_919 % 1_009) as f32 - 504.0) / 30_000.0).collect()
}

fn run(scene: &Scene, delta: &[f32], residual: &[f32]) -> Compressed {
    compress(&scene.spec, scene.binding(), delta, residual, 0).unwrap()
}

/// What the fold makes of the update: its values as reals.
fn received(mut scene: Scene, compressed: &Compressed) -> Vec<f32> {
    scene.send_bytes(1, scene.version, compressed.update.encode());
    let result = scene.fold();
    assert_eq!(result.outcomes, [folded(1)]);
    result.steps.unwrap().iter().map(|q| steps_to_f32(*q, 20)).collect()
}

#[test]
fn what_is_sent_and_what_is_kept_make_the_whole() {
    for (bits, top) in [(8, None), (16, None), (32, None), (8, Some(20_000)), (16, Some(500_000))] {
        let scene = scene(bits, top);
        let compressed = run(&scene, &delta(), &[]);
        let sent = received(scene, &compressed);
        assert_eq!(compressed.carried, delta(), "below the clip bound nothing changes");
        for ((sent, rest), all) in sent.iter().zip(&compressed.rest).zip(delta()) {
            assert!((sent + rest - all).abs() < 1e-6, "{sent} + {rest} is not {all}");
        }
    }
}

#[test]
fn thirty_two_bits_lose_less_than_a_step() {
    let compressed = run(&scene(32, None), &delta(), &[]);
    assert!(compressed.rest.iter().all(|rest| rest.abs() <= 0.5 / (1 << 20) as f32));
}

#[test]
fn top_k_keeps_the_largest_and_of_equals_the_first() {
    let scene = scene(8, Some(3_000));
    let mut delta = vec![0.01; N];
    delta[995] = -0.5;
    let compressed = run(&scene, &delta, &[]);
    let sent: Vec<_> = compressed.update.tensors.iter().map(|tensor| &tensor.data).collect();
    assert!(matches!(sent[0], TensorData::Sparse(pairs) if pairs.iter().map(|p| p.0).eq([0, 1])));
    assert!(matches!(sent[1], TensorData::Sparse(pairs) if pairs.len() == 1 && pairs[0].0 == 5));
    assert_eq!(compressed.rest[2], 0.01);
}

#[test]
fn the_delta_is_clipped_before_the_residual_is_added() {
    let mut scene = scene(32, None);
    scene.spec.clip = 1 << 20;
    let delta: Vec<f32> = (0..N).map(|i| if i < 4 { 3.0 } else { 0.0 }).collect();
    let mut residual = vec![0.0; N];
    residual[0] = 0.25;
    let compressed = run(&scene, &delta, &residual);
    assert_eq!(compressed.carried[..5], [0.75, 0.5, 0.5, 0.5, 0.0]);
}

#[test]
fn a_residual_that_outgrew_the_norm_bound_is_sent_in_parts() {
    let mut scene = scene(8, None);
    (scene.spec.clip, scene.spec.norm_bound) = (1 << 18, 1 << 20);
    let residual = vec![1.0; N];
    let compressed = run(&scene, &delta(), &residual);
    let rest: f32 = compressed.rest.iter().sum();
    assert!(rest > 900.0, "most stays behind, {rest}");
    let sent = received(scene, &compressed);
    let norm: f32 = sent.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!((0.8..=1.0).contains(&norm), "{norm}");
}

#[test]
fn error_feedback_delivers_everything_in_time() {
    let scene = scene(8, Some(50_000));
    let (mut residual, mut total) = (vec![], vec![0.0; N]);
    let rounds = 200;
    for _ in 0..rounds {
        let compressed = run(&scene, &delta(), &residual);
        let sent = received(self::scene(8, Some(50_000)), &compressed);
        total.iter_mut().zip(&sent).for_each(|(total, sent)| *total += sent);
        residual = compressed.rest;
    }
    for (total, delta) in total.iter().zip(delta()) {
        assert!((total / rounds as f32 - delta).abs() < 0.003, "{total} {delta}");
    }
}

#[test]
fn stochastic_rounding_is_seeded_and_unbiased() {
    let mut scene = scene(8, None);
    scene.spec.compression.stochastic = true;
    let mut delta = vec![0.001; N];
    delta[0] = 0.125;
    let send = |seed| compress(&scene.spec, scene.binding(), &delta, &[], seed).unwrap();
    assert_eq!(send(1), send(1));
    assert_ne!(send(1), send(2));
    let drift: f32 = send(1).rest[1..990].iter().sum::<f32>() / 990.0;
    assert!(drift.abs() < 0.0001, "{drift}");
}

#[test]
fn bad_values_are_named_with_their_tensor() {
    let scene = scene(8, None);
    let try_with = |spec: &Scene, delta: &[f32]| {
        compress(&spec.spec, spec.binding(), delta, &[], 0).unwrap_err()
    };
    for value in [f32::NAN, f32::INFINITY] {
        let mut delta = delta();
        delta[992] = value;
        let error = try_with(&scene, &delta);
        assert!(
            matches!(&error, CompressError::NotFinite { tensor, index: 2, .. } if tensor == "b")
        );
    }
    assert!(matches!(try_with(&scene, &[0.0]), CompressError::Length { expected: N, got: 1, .. }));
    let mut frozen = self::scene(8, None);
    frozen.spec.tensors[1].policy = TensorPolicy::Frozen;
    let error = try_with(&frozen, &delta());
    assert!(matches!(error, CompressError::Frozen { index: 0, .. }));
}

#[test]
fn a_threshold_sends_what_stands_out_and_keeps_the_rest() {
    let mut scene = scene(16, None);
    scene.spec.compression = "above:5:16".parse().unwrap();
    let mut loud = vec![0.001; N];
    (loud[3], loud[995]) = (0.5, -0.25);
    let sent = run(&scene, &loud, &[]);
    // The root mean square is near 0.018, and five times that 0.09.
    let received = received(scene, &sent);
    for (at, (got, rest)) in received.iter().zip(&sent.rest).enumerate() {
        let expected = if [3, 995].contains(&at) { loud[at] } else { 0.0 };
        assert!((got - expected).abs() < 1e-4, "value {at}: {got}");
        assert!((got + rest - loud[at]).abs() < 1e-6, "value {at}");
    }
}
