//! The model store: a safetensors and an ONNX file are published with what is to be said of them,
//! found by it, measured, deprecated, and come back to the bit. The exports are held to what
//! others wrote: CycloneDX's own validator and the `model-signing` package.

use crate::lab::{
    Lab,
    files::{f32s, flip, onnx, safetensors},
    http,
    members::{TRAINERS, public, secret},
    python::python,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const FAILED: i32 = 1;

/// Validates a document strictly against the schema of CycloneDX 1.6.
const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)
";

#[test]
fn a_model_is_published_found_and_exported_for_other_tools() {
    let lab = Lab::start();
    let weights = path(&lab, "weights.safetensors");
    std::fs::write(&weights, safetensors(&[("w", "F32", &[300], f32s(&[0.5; 300]))])).unwrap();
    let graph = path(&lab, "graph.onnx");
    std::fs::write(&graph, onnx(&[0.25; 1_000], &[])).unwrap();
    let base = publish(&lab, &weights, "base", "--description 300-halves --tag signals --tag base");
    let line = format!("--version 1.2.0-rc.1 --parent {base} --dataset optdigits@1 --tag signals");
    let derived = publish(&lab, &graph, "adder", &line);

    searches_find_what_fits(&lab, &base, &derived);
    files_come_back_to_the_bit(&lab, &[(&base, &weights), (&derived, &graph)]);
    what_is_said_later_is_shown(&lab, &base, &derived);
    exports_please_their_own_validators(&lab, &[&base, &derived]);
    a_signature_is_verified_by_the_package(&lab, &derived, &graph);
    what_is_none_or_not_allowed_is_refused(&lab, &base);
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.folder().join(name)
}

fn publish(lab: &Lab, file: &Path, name: &str, more: &str) -> String {
    let line = format!(
        "--json --key olaf model publish {{}} --name {name} --scenario sensing --licence Apache-2.0 {more}"
    );
    let said = lab.twinfold(&line, &[&file.display()]).ok().json();
    said["model"].as_str().expect("the model's identity").into()
}

fn searches_find_what_fits(lab: &Lab, base: &str, derived: &str) {
    let found = |words: &str| -> Vec<String> {
        let said = lab.twinfold(&format!("--json model search {words}"), &[]).ok().json();
        let rows = said.as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().into()).collect()
    };
    assert_eq!(found(""), [derived, base]);
    assert_eq!(found("--tag signals --scenario sensing --licence Apache-2.0"), [derived, base]);
    assert_eq!(found("--limit 1"), [derived]);
    assert_eq!(found("HALVES"), [base]);
    assert_eq!(found("--kind onnx"), [derived]);
    assert_eq!(found("--tag base --kind onnx"), [""; 0]);
    assert_eq!(found("nothing-like-it"), [""; 0]);
    lab.twinfold("model search --kind pickle", &[]).refused(1, &["safetensors, onnx"]);
    // Page by page, as the API gives it.
    let url = format!("{}/v1/models/search?limit=1", lab.url(1));
    let first = http::get(&url).json();
    let next = first["next"].as_str().expect("another page");
    let second = http::get(&format!("{url}&after={next}")).json();
    assert_eq!(
        (&first["rows"][0]["id"], &second["rows"][0]["id"]),
        (&derived.into(), &base.into())
    );
}

fn files_come_back_to_the_bit(lab: &Lab, published: &[(&str, &Path)]) {
    for (id, file) in published {
        let copy = path(lab, "copy");
        lab.twinfold("model get {} --original -o {}", &[id, &copy.display()]).ok();
        let content = std::fs::read(file).unwrap();
        assert!(std::fs::read(&copy).unwrap() == content);
        let url = format!("{}/v1/models/{id}/file", lab.url(2));
        let answer = http::get_signed(&url, &secret("ann"), &lab.chain(), 0);
        assert_eq!(answer.body, content);
    }
    let [(base, _), (derived, _)] = published else { panic!() };
    // What tasks start from is exact too; an ONNX file has none of it.
    let copy = path(lab, "steps.safetensors");
    lab.twinfold("model get {} -o {}", &[base, &copy.display()]).ok();
    lab.twinfold("model get {} -o {}", &[derived, &copy.display()]).refused(USAGE, &["--original"]);
    let url = format!("{}/v1/models/{derived}/content", lab.url(0));
    http::get_signed(&url, &secret("ann"), &lab.chain(), 0).refused(400, &["canonical form"]);
    for id in [base, derived] {
        lab.twinfold("model verify {} --recompute", &[id]).ok();
    }
}

fn what_is_said_later_is_shown(lab: &Lab, base: &str, derived: &str) {
    let metric = "--key {} model metric add {} --name accuracy --value 0.953 --dataset held-out@2";
    lab.twinfold(metric, &[&TRAINERS[0], &derived]).ok();
    lab.twinfold("--key ann model metric add {} --name drift --value -1.5", &[&derived]).ok();
    let deprecate = "--key {} model deprecate {} --reason superseded --successor {}";
    lab.twinfold(deprecate, &[&"tess", &base, &derived]).refused(REFUSED, &["roles"]);
    lab.twinfold(deprecate, &[&"olaf", &base, &derived]).ok();

    let shown = lab.twinfold("--json model show {}", &[&derived]).ok().json();
    let metrics = &shown["metrics"];
    assert_eq!(metrics[0]["metric"]["value"], 953_000);
    assert_eq!(metrics[0]["by"], public(TRAINERS[0]).to_string());
    assert_eq!(metrics[1]["organisation"], "board");
    let text = lab.twinfold("model show {}", &[&derived]).ok().out;
    for said in ["1.2.0-rc.1", "Apache-2.0", "optdigits@1", "length", "Add", "0.953", "-1.5"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(text.contains(base), "its parent: {text}");
    let text = lab.twinfold("model show {}", &[&base]).ok().out;
    assert!(text.contains("superseded") && text.contains(derived), "{text}");
    let left = lab.twinfold("--json model search", &[]).ok().json();
    assert_eq!(left.as_array().unwrap().len(), 1, "the deprecated one is left out: {left}");
    let all = lab.twinfold("--json model search --deprecated", &[]).ok().json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let lineage = lab.twinfold("--json model lineage {}", &[&derived]).ok().json();
    assert_eq!(lineage["models"].as_array().unwrap().len(), 2);
}

fn exports_please_their_own_validators(lab: &Lab, models: &[&str]) {
    for model in models {
        let file = path(lab, "bom.json");
        lab.twinfold("model bom {} -o {}", &[model, &file.display()]).ok();
        let said = run_python(&["-c", VALIDATE, &file.display().to_string()]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        // The validator does look: it refuses one with a kind of component that there is not.
        let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(document["metadata"]["component"]["bom-ref"], *model);
        document["metadata"]["component"]["type"] = "neural-thing".into();
        std::fs::write(&file, document.to_string()).unwrap();
        assert!(!run_python(&["-c", VALIDATE, &file.display().to_string()]).status.success());
        let card = lab.twinfold("model card {}", &[model]).ok().out;
        assert!(card.starts_with("---\n") && card.contains("license: \"Apache-2.0\""), "{card}");
    }
}

fn a_signature_is_verified_by_the_package(lab: &Lab, model: &str, file: &Path) {
    let (key, signature) = (path(lab, "sign.pem"), path(lab, "model.sig"));
    lab.twinfold("model signing-key {}", &[&key.display()]).ok();
    lab.twinfold("model signing-key {}", &[&key.display()]).refused(USAGE, &["exists already"]);
    let verify = |file: &Path| {
        let words = [
            "-m",
            "model_signing",
            "verify",
            "key",
            &file.display().to_string(),
            "--signature",
            &signature.display().to_string(),
            "--public_key",
            &format!("{}.pub", key.display()),
        ];
        run_python(&words)
    };
    for what in [model, &file.display().to_string()] {
        let line = "model sign {} --signing-key {} -o {}";
        lab.twinfold(line, &[&what, &key.display(), &signature.display()]).ok();
        let said = verify(file);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    let other = path(lab, "other.onnx");
    std::fs::copy(file, &other).unwrap();
    flip(&other, 200);
    assert!(!verify(&other).status.success(), "another file has this signature");
}

fn run_python(words: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(python()).args(words);
    command.output().expect("Python starts")
}

fn what_is_none_or_not_allowed_is_refused(lab: &Lab, base: &str) {
    let file = path(lab, "bad.onnx");
    let line = "--key olaf model publish {} --name bad";
    let refused = |bytes: &[u8], words: &[&str]| {
        std::fs::write(&file, bytes).unwrap();
        lab.twinfold(line, &[&file.display()]).refused(FAILED, words);
    };
    refused(b"\x80\x02}q\x00.", &["pickle", "safetensors.torch.save_file"]);
    refused(b"PK\x03\x04....archive/data.pkl", &["zip archive", "torch.onnx.export"]);
    let whole = onnx(&[0.25; 8], &[]);
    refused(&whole[..whole.len() / 2], &["not a whole ONNX file"]);
    // TensorProto.data_location = EXTERNAL.
    refused(&onnx(&[0.25; 8], &[0x70, 1]), &["\"w\"", "in another file"]);
    let half = safetensors(&[("w", "F16", &[2], vec![0; 4])]);
    refused(&half, &["F16", "--file-only"]);
    std::fs::write(&file, half).unwrap();
    let with = |more: &str| lab.twinfold(&format!("{line} {more}"), &[&file.display()]);
    with("--file-only --version 1.0").refused(USAGE, &["1.2.0"]);
    with("--file-only --dataset digits").refused(USAGE, &["NAME@VERSION"]);
    with(&format!("--file-only --parent {}", "00".repeat(32))).refused(REFUSED, &["no such model"]);
    with("--file-only").ok();
    with("--file-only").refused(REFUSED, &["already published"]);
    let other = "--key ann model publish {} --file-only --name bad --version 2.0.0";
    lab.twinfold(other, &[&file.display()]).refused(REFUSED, &["another organisation"]);
    lab.twinfold("--key ann model metric add {} --name x --value 1e5", &[&base])
        .refused(USAGE, &["six places"]);
}
