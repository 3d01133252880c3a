use super::*;
use twinfold_types::{
    BlobId, Height, PublicKey, TxId,
    model::{Level, ModelRecord},
    store::{Deprecation, FileForm, Metric, MetricValue},
};

fn dossier(description: &str) -> Dossier {
    let about = ModelAbout {
        name: "digits".into(),
        version: "1.2.0".into(),
        description: description.into(),
        licence: "Apache-2.0".into(),
        tags: vec!["a|b".into()],
        scenario: "handwriting".into(),
        datasets: vec!["optdigits@1".into()],
        sha256: Digest([5; 32]),
        form: FileForm::Safetensors { tensors: 2, values: 650 },
    };
    let by = PublicKey([1; 32]);
    let (tx, file) = (TxId(Digest([2; 32])), BlobId::whole_copies(b"file", 4));
    let source = ModelSource::Published { tx, by, about: Box::new(about), file };
    let parent = ModelId(Digest([9; 32]));
    let record = ModelRecord {
        task: None,
        level: Level::Global,
        version: 3,
        digest: Digest([6; 32]),
        tensors: Digest([7; 32]),
        parents: vec![parent],
        source,
        blob: None,
        height: Height(8),
        time: TimeMs(1_000),
    };
    let (height, time) = (Height(9), TimeMs(5_000));
    let metric = Metric {
        name: "accuracy".into(),
        value: MetricValue(953_000),
        dataset: "held-out@2".into(),
    };
    let organisation = "hospital".to_string();
    Dossier {
        view: ModelView {
            id: record.id(),
            name: "digits".into(),
            record,
            deprecation: Some(Deprecation {
                by,
                reason: "drifts".into(),
                successor: None,
                height,
                time,
            }),
        },
        metrics: vec![MetricRecord { metric, by, organisation, tx, height, time: TimeMs(4_000) }],
        parents: vec![Parent { id: parent, label: Some("base 1.0.0".into()) }],
        chain: Digest([3; 32]),
    }
}

#[test]
fn a_card_has_all_that_is_said_and_texts_stay_texts() {
    let card = card(&dossier("fine\n---\n# Not a heading\n<script>"));
    for said in [
        "license: \"Apache-2.0\"",
        "# digits 1.2.0",
        "**Deprecated:** drifts",
        "> \\# Not a heading",
        "&lt;script&gt;",
        "a\\|b",
        "| accuracy | 0.953 | held-out@2 | hospital",
        "made from base 1.0.0",
    ] {
        assert!(card.contains(said), "{said}: {card}");
    }
    assert_eq!(card.lines().filter(|line| *line == "---").count(), 2);
    assert_eq!(card.lines().filter(|line| line.starts_with("# ")).count(), 1);
}

#[test]
fn a_bom_names_the_file_the_data_and_who_measured() {
    let dossier = dossier("fine");
    let document = bom(&dossier);
    assert_eq!(document, bom(&dossier));
    let component = &document["metadata"]["component"];
    assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:05.000Z");
    assert_eq!(document["version"], 3);
    assert_eq!(component["hashes"][0]["content"], "05".repeat(32));
    assert_eq!(component["licenses"][0]["expression"], "Apache-2.0");
    assert_eq!(
        component["modelCard"]["modelParameters"]["datasets"][0]["ref"],
        "dataset:optdigits@1"
    );
    assert_eq!(document["components"][0]["bom-ref"], "dataset:optdigits@1");
    let figure = &component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0];
    assert_eq!((&figure["value"], &figure["slice"]), (&"0.953".into(), &"held-out@2".into()));
    let whose = component["modelCard"]["properties"][0]["value"].as_str().unwrap();
    assert!(whose.contains("hospital") && whose.contains(&"01".repeat(32)), "{whose}");
}

#[test]
fn a_signing_key_comes_back_from_its_file_and_others_are_refused() {
    let (key, pem) = SigningKey::generate().unwrap();
    let again = SigningKey::from_pem(&pem).unwrap();
    assert_eq!(again.public_pem(), key.public_pem());
    let bundle = sign(&again, "m.onnx", &Digest([5; 32])).unwrap();
    assert_eq!(bundle["dsseEnvelope"]["payloadType"], "application/vnd.in-toto+json");
    for bad in ["", "-----BEGIN PRIVATE KEY-----\n", &pem.replacen("M", "!", 1), &key.public_pem()]
    {
        let error = SigningKey::from_pem(bad).err().unwrap().to_string();
        assert!(error.contains("signing-key"), "{error}");
    }
}
