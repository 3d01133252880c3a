//! What a publisher says of a model, and what it may say.

use crate::{Digest, limits};
use serde::{Deserialize, Serialize};

/// What a publisher says of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelAbout {
    pub name: String,
    /// Semantic version 2.0.0, such as `1.2.0` or `2.0.0-rc.1`; once for each name.
    pub version: String,
    pub description: String,
    /// SPDX licence expression; empty where none is stated.
    pub licence: String,
    pub tags: Vec<String>,
    /// What it is for; empty where none is stated.
    pub scenario: String,
    /// Data sets that it was trained on, as `NAME@VERSION`.
    pub datasets: Vec<String>,
    /// SHA-256 of the file as it was given.
    pub sha256: Digest,
    pub form: FileForm,
}

/// What kind of file was given, and what it holds, as its publisher's program read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileForm {
    Safetensors { tensors: u32, values: u64 },
    Onnx(OnnxForm),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnnxForm {
    pub ir_version: u64,
    /// Domain (empty: ONNX's own) and version of each set of operators.
    pub opsets: Vec<(String, u64)>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Operators used, as `NAME` or `DOMAIN:NAME`, and how often.
    pub operators: Vec<(String, u64)>,
    pub initialisers: u32,
    /// Of all initialisers together.
    pub values: u64,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Port {
    pub name: String,
    /// Such as `float32`.
    pub element: String,
    /// Each side: a number, a name, or `?`.
    pub shape: Vec<String>,
}

/// The kinds by name, as they are searched for.
pub const KINDS: [&str; 2] = ["safetensors", "onnx"];

impl FileForm {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Safetensors { .. } => KINDS[0],
            Self::Onnx(_) => KINDS[1],
        }
    }

    fn fault(&self) -> Option<String> {
        let Self::Onnx(onnx) = self else { return None };
        let OnnxForm { opsets, inputs, outputs, operators, .. } = onnx;
        let (lists, max) = (
            [opsets.len(), inputs.len(), outputs.len(), operators.len()],
            limits::MODEL_FORM_ROWS_MAX,
        );
        if lists.iter().any(|rows| *rows > max) {
            return Some(format!("more than {max} operator sets, inputs, outputs or operators"));
        }
        let sides = |port: &Port| port.shape.len() > limits::TENSOR_DIMENSIONS_MAX;
        let wide = inputs.iter().chain(outputs).find(|port| sides(port))?;
        Some(format!("input or output {:?} has {} dimensions", wide.name, wide.shape.len()))
    }
}

impl ModelAbout {
    /// Why it is not acceptable, if it is not.
    pub fn fault(&self) -> Option<String> {
        let Self { name, version, description, licence, tags, scenario, datasets, form, .. } = self;
        if !is_label(name) {
            return Some("a name takes 1 to 128 bytes, and no control characters".into());
        }
        if !is_semantic_version(version) {
            return Some(format!(
                "version {version:?}: expected a semantic version such as 1.2.0 of at most {} bytes",
                limits::VERSION_BYTES_MAX
            ));
        }
        if description.len() > limits::DESCRIPTION_BYTES_MAX {
            return Some(format!(
                "the description has {} bytes; at most {} are taken",
                description.len(),
                limits::DESCRIPTION_BYTES_MAX
            ));
        }
        if !licence.is_empty() && (!is_label(licence) || !licence.is_ascii()) {
            return Some(format!("licence {licence:?}: expected an SPDX expression"));
        }
        if !scenario.is_empty() && !is_label(scenario) {
            return Some("a scenario takes at most 128 bytes, and no control characters".into());
        }
        list_fault("tag", tags, limits::MODEL_TAGS_MAX, is_label)
            .or_else(|| list_fault("data set", datasets, limits::MODEL_DATASETS_MAX, is_dataset))
            .or_else(|| form.fault())
            .or_else(|| self.size_fault())
    }

    fn size_fault(&self) -> Option<String> {
        let (bytes, max) = (crate::codec::encode(self).len(), limits::MODEL_ABOUT_BYTES_MAX);
        (bytes > max).then(|| format!("{bytes} bytes are said of the model; at most {max} fit"))
    }
}

fn list_fault(
    what: &str,
    list: &[String],
    max: usize,
    good: impl Fn(&str) -> bool,
) -> Option<String> {
    if list.len() > max {
        return Some(format!("{} times {what}; at most {max} are taken", list.len()));
    }
    if let Some(bad) = list.iter().find(|text| !good(text)) {
        let hint = if what == "tag" { "1 to 128 bytes" } else { "NAME@VERSION" };
        return Some(format!("{what} {bad:?}: expected {hint}, and no control characters"));
    }
    let twice = list.iter().enumerate().find(|(at, text)| list[..*at].contains(text));
    twice.map(|(_, text)| format!("{what} {text:?} stands twice"))
}

/// A text of one line.
pub(super) fn is_label(text: &str) -> bool {
    (1..=limits::NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// `NAME@VERSION`.
pub fn is_dataset(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    is_label(text) && parts.is_some_and(|(name, version)| !name.is_empty() && !version.is_empty())
}

/// Whether a text is a version by semver.org 2.0.0.
pub fn is_semantic_version(text: &str) -> bool {
    if text.len() > limits::VERSION_BYTES_MAX {
        return false;
    }
    let (rest, build) =
        text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|part| word(part) && (!digits(part) || number(part)))
        })
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_semver_org() {
        for good in
            ["0.0.0", "1.2.3", "10.20.30", "1.0.0-rc.1", "1.0.0-0a.--", "1.0.0+01.sha", "1.0.0-x+y"]
        {
            assert!(is_semantic_version(good), "{good}");
        }
        let long = format!("1.0.0-{}", "a".repeat(limits::VERSION_BYTES_MAX));
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "v1.2.3",
            "1.2.x",
            "1.2.3-a..b",
            &long,
        ] {
            assert!(!is_semantic_version(bad), "{bad}");
        }
    }

    fn about() -> ModelAbout {
        ModelAbout {
            name: "digits".into(),
            version: "1.0.0".into(),
            description: String::new(),
            licence: "Apache-2.0".into(),
            tags: vec!["vision".into()],
            scenario: "handwriting".into(),
            datasets: vec!["optdigits@1".into()],
            sha256: Digest::ZERO,
            form: FileForm::Safetensors { tensors: 2, values: 650 },
        }
    }

    #[test]
    fn what_is_said_of_a_model_is_bounded_and_the_fault_is_named() {
        assert_eq!(about().fault(), None);
        let fault = |change: &dyn Fn(&mut ModelAbout)| {
            let mut changed = about();
            change(&mut changed);
            changed.fault().expect("a fault")
        };
        assert!(fault(&|about| about.name.clear()).contains("name"));
        assert!(fault(&|about| about.version = "1".into()).contains("1.2.0"));
        assert!(fault(&|about| about.licence = "MIT\n".into()).contains("SPDX"));
        assert!(fault(&|about| about.tags.push("vision".into())).contains("twice"));
        assert!(fault(&|about| about.tags = vec!["t".into(); 99]).contains("99"));
        assert!(fault(&|about| about.datasets = vec!["digits".into()]).contains("NAME@VERSION"));
        assert!(fault(&|about| about.description = "x".repeat(3_000)).contains("3000"));
        let port =
            |name: &str| Port { name: name.into(), element: "float32".into(), shape: vec![] };
        let onnx = |inputs| {
            let (outputs, operators) = (vec![], vec![]);
            let opsets = vec![(String::new(), 17)];
            FileForm::Onnx(OnnxForm {
                ir_version: 8,
                opsets,
                inputs,
                outputs,
                operators,
                initialisers: 0,
                values: 0,
            })
        };
        assert!(fault(&|about| about.form = onnx(vec![port("x"); 257])).contains("256"));
        assert!(
            fault(&|about| about.form = onnx(vec![port(&"x".repeat(17_000))])).contains("bytes")
        );
    }
}
