//! What a bench says: one figure a line, for people or as JSON.

use serde::Serialize;

/// One figure. `reference` names a peer or a physical limit measured in the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub bench: &'static str,
    pub work: String,
    pub metric: String,
    pub value: f64,
    pub unit: &'static str,
    pub reference: Option<String>,
    pub reference_value: Option<f64>,
    /// The figure asked for, where one is, and whether it was reached.
    pub reach: Option<f64>,
    pub reached: Option<bool>,
}

pub struct Report {
    json: bool,
    only: String,
    header: bool,
}

impl Line {
    pub fn new(
        bench: &'static str,
        work: impl Into<String>,
        metric: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            bench,
            work: work.into(),
            metric: metric.into(),
            value,
            unit,
            reference: None,
            reference_value: None,
            reach: None,
            reached: None,
        }
    }

    /// Beside what was measured of something else; nothing when it was not.
    pub fn beside(mut self, name: &str, value: Option<f64>) -> Self {
        if let Some(value) = value {
            self.reference = Some(name.into());
            self.reference_value = Some(value);
        }
        self
    }

    /// With the figure asked for: to be reached from below or from above.
    pub fn reaching(mut self, reach: f64, at_least: bool) -> Self {
        let met = if at_least { self.value >= reach } else { self.value <= reach };
        (self.reach, self.reached) = (Some(reach), Some(met));
        self
    }
}

impl Report {
    pub fn new(json: bool, only: String) -> Self {
        Self { json, only, header: false }
    }

    /// Whether this work was asked for.
    pub fn wants(&self, work: &str) -> bool {
        work.contains(&self.only)
    }

    fn asked(&self, line: &Line) -> Option<(f64, String)> {
        let text = if line.reached? { "yes" } else { "no" };
        Some((line.reach?, text.into()))
    }

    /// Progress, and never a result: to stderr.
    pub fn note(&self, text: &str) {
        eprintln!("{text}");
    }

    pub fn line(&mut self, line: Line) -> color_eyre::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(&line)?);
            return Ok(());
        }
        if !self.header {
            self.header = true;
            println!(
                "{:<36} {:<32} {:>12} {:<6} {:>12} {:>7}  reference",
                "work", "metric", "value", "", "reference", "ratio"
            );
        }
        let (reference, ratio, name) = match (line.reference_value, &line.reference) {
            (Some(value), Some(name)) => {
                (figure(value), format!("{:.2}", line.value / value), name.as_str())
            }
            _ => match self.asked(&line) {
                Some((value, text)) => (figure(value), text, "asked for"),
                None => (String::new(), String::new(), ""),
            },
        };
        let text = format!(
            "{:<36} {:<32} {:>12} {:<6} {reference:>12} {ratio:>7}  {name}",
            line.work,
            line.metric,
            figure(line.value),
            line.unit
        );
        println!("{}", text.trim_end());
        Ok(())
    }
}

/// About four significant digits.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which a share of all lies, by nearest rank; NaN of nothing.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
