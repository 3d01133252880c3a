//! A CycloneDX 1.6 ML-BOM: the model with its card, the data sets and models behind it. The same
//! model with the same things said of it gives the same document.

use super::Dossier;
use crate::{model_text::level_text, render};
use serde_json::{Map, Value, json};
use twinfold_types::{
    model::ModelSource,
    store::{FileForm, MetricRecord, ModelAbout, Port},
};

pub fn bom(dossier: &Dossier) -> Value {
    let (view, id) = (&dossier.view, dossier.view.id.to_string());
    let about = dossier.about();
    let datasets = about.map_or(&[][..], |about| &about.datasets);
    let parents: Vec<_> = dossier.parents.iter().map(|parent| parent.id.to_string()).collect();
    // What is said later makes a later version of the same document.
    let version = 1 + dossier.metrics.len() + usize::from(view.deprecation.is_some());
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(dossier),
        "version": version,
        "metadata": {
            "timestamp": render::time(dossier.newest()).replace(' ', "T"),
            "tools": { "components": [{
                "type": "application",
                "name": "twinfold",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": model(dossier),
        },
        "components": datasets.iter().map(|text| dataset(text)).collect::<Vec<_>>(),
        "dependencies": [{
            "ref": id,
            "dependsOn": datasets.iter().map(|text| dataset_ref(text)).chain(parents).collect::<Vec<_>>(),
        }],
    })
}

/// A UUID of the custom kind (8) of the model's identity.
fn serial_number(dossier: &Dossier) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&dossier.view.id.0.0[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

fn dataset_ref(text: &str) -> String {
    format!("dataset:{text}")
}

fn dataset(text: &str) -> Value {
    let (name, version) = text.rsplit_once('@').unwrap_or((text, ""));
    json!({
        "type": "data",
        "bom-ref": dataset_ref(text),
        "name": name,
        "version": version,
        "data": [{ "type": "dataset", "name": name }],
    })
}

fn model(dossier: &Dossier) -> Value {
    let (view, record) = (&dossier.view, &dossier.view.record);
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": view.id.to_string(),
        "name": view.name,
        "version": dossier.version(),
        "modelCard": model_card(dossier),
        "properties": properties(dossier),
    });
    let mut set = |name: &str, value: Value| component[name] = value;
    if let ModelSource::Published { about, file, .. } = &record.source {
        set(
            "hashes",
            json!([
                { "alg": "SHA-256", "content": about.sha256.to_string() },
                { "alg": "BLAKE3", "content": file.content.to_string() },
            ]),
        );
        if !about.description.is_empty() {
            set("description", json!(about.description));
        }
        if !about.licence.is_empty() {
            set("licenses", json!([{ "expression": about.licence }]));
        }
        if !about.tags.is_empty() {
            set("tags", json!(about.tags));
        }
    }
    if !dossier.parents.is_empty() {
        let ancestor = |parent: &super::Parent| {
            let id = parent.id.to_string();
            let name = parent.label.as_deref().unwrap_or(&id);
            json!({ "type": "machine-learning-model", "bom-ref": id, "name": name })
        };
        let ancestors: Vec<_> = dossier.parents.iter().map(ancestor).collect();
        set("pedigree", json!({ "ancestors": ancestors }));
    }
    component
}

fn model_card(dossier: &Dossier) -> Value {
    let mut card = Map::new();
    if let Some(about) = dossier.about() {
        card.insert("modelParameters".into(), parameters(about));
        if !about.scenario.is_empty() {
            card.insert("considerations".into(), json!({ "useCases": [about.scenario] }));
        }
    }
    if !dossier.metrics.is_empty() {
        let figures: Vec<_> = dossier.metrics.iter().map(figure).collect();
        card.insert("quantitativeAnalysis".into(), json!({ "performanceMetrics": figures }));
        // The standard has no place for who measured.
        let whose = dossier.metrics.iter().map(|record| {
            let (metric, by) = (&record.metric, record.by);
            let on = if metric.dataset.is_empty() { "" } else { " on " };
            let text = format!(
                "{} {}{on}{} by {} ({by}), transaction {}",
                metric.name, metric.value, metric.dataset, record.organisation, record.tx
            );
            property("twinfold:measured", text)
        });
        card.insert("properties".into(), whose.collect());
    }
    card.into()
}

fn parameters(about: &ModelAbout) -> Value {
    let mut parameters = Map::new();
    if !about.datasets.is_empty() {
        let named = about.datasets.iter().map(|text| json!({ "ref": dataset_ref(text) }));
        parameters.insert("datasets".into(), named.collect());
    }
    if let FileForm::Onnx(onnx) = &about.form {
        let format = |port: &Port| json!({ "format": format!("{}: {}[{}]", port.name, port.element, port.shape.join(", ")) });
        parameters.insert("inputs".into(), onnx.inputs.iter().map(format).collect());
        parameters.insert("outputs".into(), onnx.outputs.iter().map(format).collect());
    }
    parameters.into()
}

fn figure(record: &MetricRecord) -> Value {
    let metric = &record.metric;
    let mut figure = json!({ "type": metric.name, "value": metric.value.to_string() });
    if !metric.dataset.is_empty() {
        figure["slice"] = json!(metric.dataset);
    }
    figure
}

fn property(name: &str, value: String) -> Value {
    json!({ "name": name, "value": value })
}

fn properties(dossier: &Dossier) -> Vec<Value> {
    let record = &dossier.view.record;
    let mut properties = vec![
        property("twinfold:chain", dossier.chain.to_string()),
        property("twinfold:model", dossier.view.id.to_string()),
        property("twinfold:digest", record.digest.to_string()),
        property("twinfold:block", record.height.to_string()),
    ];
    let mut add = |name: &str, value: String| properties.push(property(name, value));
    if let Some(task) = record.task {
        add("twinfold:task", task.to_string());
        add("twinfold:level", level_text(record.level));
    }
    match &record.source {
        ModelSource::Initial { by, .. } => add("twinfold:signed-by", by.to_string()),
        ModelSource::Published { by, about, file, .. } => {
            add("twinfold:signed-by", by.to_string());
            add("twinfold:file", file.digest().to_string());
            add("twinfold:kind", about.form.kind().into());
            if let FileForm::Onnx(onnx) = &about.form {
                for (operator, times) in &onnx.operators {
                    add("twinfold:operator", format!("{operator} {times}"));
                }
            }
        }
        ModelSource::Round { round, folded, weight, .. } => {
            add("twinfold:round", round.to_string());
            add("twinfold:updates", folded.to_string());
            add("twinfold:examples", weight.to_string());
        }
        ModelSource::Merge { number, .. } => add("twinfold:merge", number.to_string()),
    }
    if let Some(deprecation) = &dossier.view.deprecation {
        add("twinfold:deprecated", deprecation.reason.clone());
        if let Some(successor) = deprecation.successor {
            add("twinfold:successor", successor.to_string());
        }
    }
    properties
}
