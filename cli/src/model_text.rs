//! Words for where a model stands, where it is from and what it holds.

use twinfold_types::{
    model::{Level, ModelSource},
    store::FileForm,
};

pub fn level_text(level: Level) -> String {
    match level {
        Level::Global => "the global model".into(),
        Level::Cluster(cluster) => format!("cluster {cluster}"),
        Level::Region(region) => format!("region {region}"),
    }
}

pub fn source_text(source: &ModelSource) -> String {
    match source {
        ModelSource::Initial { by, .. } => format!("first model, by {}", by.short()),
        ModelSource::Published { by, about, .. } => {
            format!("release {}, published by {}", about.version, by.short())
        }
        ModelSource::Round { round, folded, weight, .. } => {
            format!("round {round}: {folded} updates, weight {weight}")
        }
        ModelSource::Merge { number, weights, .. } => {
            format!("merge {number} of {} clusters", weights.len())
        }
    }
}

pub fn form_text(form: &FileForm) -> String {
    match form {
        FileForm::Safetensors { tensors, values } => {
            format!("safetensors, {tensors} tensors, {values} values")
        }
        FileForm::Onnx(onnx) => {
            let opset = |(domain, version): &(String, u64)| {
                let domain = if domain.is_empty() { "ai.onnx" } else { domain };
                format!("{domain} {version}")
            };
            let opsets: Vec<_> = onnx.opsets.iter().map(opset).collect();
            format!(
                "ONNX of IR version {} ({}), {} initialisers, {} values",
                onnx.ir_version,
                opsets.join(", "),
                onnx.initialisers,
                onnx.values
            )
        }
    }
}
