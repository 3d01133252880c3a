//! The rules and the payload format, frozen: `TWINFOLD_BLESS=1` rewrites the
//! files, which is an explicit change of the format.

mod common;

use common::{Scene, dense, hex, sparse, task, tensor};
use serde_json::{Value, json};
use std::{env, fs, path::PathBuf};
use twinfold_fl::update::Bits;
use twinfold_types::{
    limits::FACTOR_ONE,
    task::{Mode, Screen},
};

fn check(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    if env::var_os("TWINFOLD_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs; TWINFOLD_BLESS=1 accepts:\n{text}", path.display());
}

fn model() -> Scene {
    let spec = task(vec![tensor("w", 4, 20), tensor("b", 2, 16)]);
    Scene::new(spec, vec![1_000, -1_000, i32::MAX, i32::MIN, 0, 77])
}

fn plain() -> Scene {
    let mut scene = model();
    scene.send(3, vec![dense(0, 20, Bits::B8, &[1, -2, 3, -4]), dense(1, 16, Bits::B8, &[5, 6])]);
    scene.send(2, vec![dense(0, 18, Bits::B16, &[300, 1, 0, 1]), dense(1, 9, Bits::B8, &[1, -1])]);
    scene.send(
        10_000,
        vec![sparse(0, 4, 19, Bits::B32, &[(1, -70_000)]), dense(1, 16, Bits::B32, &[1_000, -999])],
    );
    scene
}

fn stale() -> Scene {
    let mut scene = model();
    let staleness = vec![FACTOR_ONE, 46_341, 37_837];
    scene.spec.mode = Mode::Async { buffer: 8, staleness, mix: None };
    for (weight, base_version) in [(3, 3), (5, 2), (7, 1), (9, 0), (11, 4)] {
        let b = dense(1, 16, Bits::B8, &[100, -100]);
        let update = scene.update(vec![dense(0, 20, Bits::B8, &[1, 3, -5, 127]), b]);
        scene.send_bytes(weight, base_version, update.encode());
    }
    scene
}

fn faulty() -> Scene {
    let mut scene = model();
    scene.send(
        1,
        vec![dense(0, 20, Bits::B32, &[1 << 25, 0, 0, 0]), dense(1, 16, Bits::B8, &[0; 2])],
    );
    scene.send(2, vec![dense(0, 20, Bits::B8, &[7, 7, 7, 7]), dense(1, 16, Bits::B8, &[0; 2])]);
    scene.send(3, vec![dense(0, 20, Bits::B8, &[7, 7, 7, 7])]);
    scene.send_bytes(4, 3, b"TFU2".to_vec());
    scene
}

fn record(name: &str, scene: &Scene) -> Value {
    let folded = scene.fold();
    let inputs = scene.inputs.iter().zip(&scene.payloads).map(|(input, payload)| {
        json!({
            "weight": input.weight,
            "base_version": input.base_version,
            "payload": hex(payload),
        })
    });
    json!({
        "name": name,
        "tensors": scene.spec.tensors,
        "mode": scene.spec.mode,
        "norm_bound": scene.spec.norm_bound,
        "base": scene.base,
        "base_version": scene.version,
        "inputs": inputs.collect::<Vec<_>>(),
        "steps": folded.steps,
        "outcomes": folded.outcomes,
        "weight": folded.weight,
        "saturations": folded.saturations,
    })
}

#[test]
fn the_mean_rule_gives_the_frozen_results() {
    let scenes = [("plain", plain()), ("stale", stale()), ("faulty", faulty())];
    let records: Vec<_> = scenes.iter().map(|(name, scene)| record(name, scene)).collect();
    let text = serde_json::to_string_pretty(&records).unwrap();
    check("mean_rule.json", &(text + "\n"));
}

/// Seven updates in mixed encodings and exponents, one of them far away, and one that is malformed.
fn poisoned(rule: &str) -> Scene {
    let mut scene = model();
    scene.spec.rule = rule.parse().unwrap();
    (scene.spec.compression.bits, scene.spec.participants_min) = (16, 7);
    assert_eq!(scene.spec.fault(), None);
    for at in 0..6 {
        let w = dense(0, 20, Bits::B16, &[at, 300 - at, -7 * at, at * at]);
        scene.send(1 + at as u32, vec![w, dense(1, 15, Bits::B8, &[at, -at])]);
    }
    let far =
        vec![dense(0, 11, Bits::B16, &[9_000, -9_000, 1, 2]), sparse(1, 2, 16, Bits::B8, &[])];
    scene.send(10_000, far);
    scene.send_bytes(4, 3, b"TFU2".to_vec());
    scene
}

#[test]
fn the_rules_that_bear_liars_give_the_frozen_results() {
    let rules = [
        "median",
        "trimmed:0.2",
        "krum:1",
        "multi-krum:2:3",
        "bulyan:1",
        "geometric-median:8",
        "qfedavg:0.5:10",
        "qfedavg:3:10",
    ];
    let records: Vec<_> = rules.iter().map(|rule| record(rule, &poisoned(rule))).collect();
    let text = serde_json::to_string_pretty(&records).unwrap();
    check("robust_rules.json", &(text + "\n"));
}

/// Three rounds of the plain scene under each optimiser; what it remembers, in its bytes.
#[test]
fn server_optimisers_give_the_frozen_results() {
    let servers = [
        "fedavgm:lr=1,momentum=0.9",
        "fedadagrad:lr=0.1,beta1=0,tau=0.001",
        "fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.001",
        "fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.001,correct",
        "fedyogi:lr=0.01,beta1=0.9,beta2=0.99,tau=0.001",
    ];
    let record = |text: &&str| {
        let mut scene = plain();
        (scene.spec.server, scene.spec.merge_every) = (text.parse().unwrap(), 3);
        assert_eq!(scene.spec.fault(), None);
        let rounds = (0..3).map(|_| {
            let folded = scene.fold();
            let memory = folded.memory.as_ref().map(|memory| hex(&memory.encode()));
            scene.memory = folded.memory;
            json!({ "steps": folded.steps, "saturations": folded.saturations, "memory": memory })
        });
        json!({ "server": text, "rounds": rounds.collect::<Vec<_>>() })
    };
    let records: Vec<_> = servers.iter().map(record).collect();
    check("server_optimisers.json", &(serde_json::to_string_pretty(&records).unwrap() + "\n"));
}

/// The poisoned scene, screened.
#[test]
fn a_screen_gives_the_frozen_results() {
    let screened = |clip_ppm, cosine_ppm| {
        let mut scene = poisoned("mean");
        scene.spec.screen = Screen { clip_ppm, cosine_ppm };
        assert_eq!(scene.spec.fault(), None);
        scene
    };
    let records = [
        record("clip 1", &screened(Some(1_000_000), None)),
        record("clip 0.3", &screened(Some(300_000), None)),
        record("clip 2, cosine 0.5", &screened(Some(2_000_000), Some(500_000))),
    ];
    check("screen.json", &(serde_json::to_string_pretty(&records).unwrap() + "\n"));
}

#[test]
fn payloads_encode_to_the_frozen_bytes() {
    let (plain, stale, mut few_bits) = (plain(), stale(), model());
    few_bits
        .send(1, vec![dense(0, 14, Bits::B4, &[7, -8, 0, 3]), dense(1, 16, Bits::B2, &[1, -1])]);
    few_bits.send(
        1,
        vec![sparse(0, 4, 9, Bits::B1, &[(0, -1), (3, 1)]), dense(1, 3, Bits::B1, &[1, -1])],
    );
    let named = [
        ("dense_8", &plain.payloads[0]),
        ("dense_16_and_8", &plain.payloads[1]),
        ("sparse_and_dense_32", &plain.payloads[2]),
        ("stale", &stale.payloads[1]),
        ("few_bits", &few_bits.payloads[0]),
        ("signs", &few_bits.payloads[1]),
    ];
    let text: String =
        named.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    check("update_payload.hex", &text);
}
