//! A model card: Markdown with a YAML head, as model hubs show it. Texts are other people's: none
//! may end the head, open a heading or become markup.

use super::Dossier;
use crate::{
    model_text::{form_text, level_text, source_text},
    render::time,
};
use std::fmt::Write as _;
use twinfold_types::{
    model::ModelSource,
    store::{FileForm, ModelAbout, OnnxForm},
};

pub fn card(dossier: &Dossier) -> String {
    let view = &dossier.view;
    let mut text = head(dossier);
    // Writing to a text cannot fail.
    let _ = write!(text, "\n# {} {}\n", cell(&view.name), cell(&dossier.version()));
    if let Some(deprecation) = &view.deprecation {
        let instead = deprecation.successor.map(|id| format!(" Use `{id}` instead."));
        let reason = cell(&deprecation.reason);
        let _ = write!(text, "\n**Deprecated:** {reason}.{}\n", instead.unwrap_or_default());
    }
    if let Some(about) = dossier.about() {
        said(&mut text, about);
    }
    if !dossier.metrics.is_empty() {
        text += "\n## Metrics\n\n| metric | value | data set | measured by | at |\n|---|---|---|---|---|\n";
        for record in &dossier.metrics {
            let (metric, by) = (&record.metric, record.by);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} (`{by}`) | {} |",
                cell(&metric.name),
                metric.value,
                cell(&metric.dataset),
                cell(&record.organisation),
                time(record.time),
            );
        }
    }
    lineage(&mut text, dossier);
    text
}

/// JSON's texts are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn head(dossier: &Dossier) -> String {
    let mut text = format!(
        "---\nmodel_name: {}\nversion: {}\ntwinfold_model: {}\n",
        quoted(&dossier.view.name),
        quoted(&dossier.version()),
        quoted(&dossier.view.id.to_string()),
    );
    if let Some(about) = dossier.about() {
        if !about.licence.is_empty() {
            let _ = writeln!(text, "license: {}", quoted(&about.licence));
        }
        for (name, list) in [("tags", &about.tags), ("datasets", &about.datasets)] {
            if !list.is_empty() {
                let list: Vec<_> = list.iter().map(|item| quoted(item)).collect();
                let _ = writeln!(text, "{name}: [{}]", list.join(", "));
            }
        }
    }
    text + "---\n"
}

fn said(text: &mut String, about: &ModelAbout) {
    for line in about.description.lines() {
        let _ = write!(text, "\n> {}", cell(line));
    }
    if !about.description.is_empty() {
        text.push('\n');
    }
    *text += "\n| | |\n|---|---|\n";
    let rows = [
        ("scenario", cell(&about.scenario)),
        ("licence", cell(&about.licence)),
        ("tags", cell(&about.tags.join(", "))),
        ("data sets", cell(&about.datasets.join(", "))),
        ("holds", cell(&form_text(&about.form))),
        ("SHA-256 of the file", format!("`{}`", about.sha256)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    if let FileForm::Onnx(onnx) = &about.form {
        graph(text, onnx);
    }
}

fn graph(text: &mut String, onnx: &OnnxForm) {
    *text += "\n## Graph\n\n| | name | element | shape |\n|---|---|---|---|\n";
    for (way, ports) in [("input", &onnx.inputs), ("output", &onnx.outputs)] {
        for port in ports {
            let (name, shape) = (cell(&port.name), cell(&port.shape.join(" × ")));
            let _ = writeln!(text, "| {way} | {name} | {} | {shape} |", cell(&port.element));
        }
    }
    let operators = onnx.operators.iter().map(|(name, times)| format!("{} {times}×", cell(name)));
    let _ = write!(text, "\nOperators: {}.\n", operators.collect::<Vec<_>>().join(", "));
}

fn lineage(text: &mut String, dossier: &Dossier) {
    let record = &dossier.view.record;
    *text += "\n## Lineage\n\n";
    let _ = writeln!(text, "- model `{}` of chain `{}`", dossier.view.id, dossier.chain);
    if let Some(task) = record.task {
        let name = cell(&dossier.view.name);
        let _ = writeln!(text, "- task {name} (`{task}`), {}", level_text(record.level));
    }
    let _ = writeln!(text, "- {}", cell(&source_text(&record.source)));
    if let ModelSource::Published { by, .. } | ModelSource::Initial { by, .. } = &record.source {
        let _ = writeln!(text, "- signed by `{by}`");
    }
    for parent in &dossier.parents {
        let label = parent.label.as_deref().unwrap_or("model");
        let _ = writeln!(text, "- made from {} (`{}`)", cell(label), parent.id);
    }
    let _ = writeln!(text, "- block {} at {}", record.height, time(record.time));
    let _ = write!(
        text,
        "\n`twinfold model verify {}` proves this from the chain's genesis file.\n",
        dossier.view.id
    );
}

/// A text as one line that is nothing but text.
fn cell(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => line.extend(['\\', letter]),
            '<' => line.push_str("&lt;"),
            '>' => line.push_str("&gt;"),
            '&' => line.push_str("&amp;"),
            other if other.is_control() => line.push(' '),
            other => line.push(other),
        }
    }
    line
}
