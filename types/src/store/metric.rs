//! Figures of models, and whose word they are.

use super::{about::is_label, is_dataset};
use crate::{Height, PublicKey, TimeMs, TxId, model::ModelId};
use serde::{Deserialize, Serialize};

/// The sender measured a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureAction {
    pub model: ModelId,
    pub metric: Metric,
}

/// One figure of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Metric {
    /// Such as `accuracy`.
    pub name: String,
    pub value: MetricValue,
    /// On what it was measured, as `NAME@VERSION`; empty where that is not stated.
    pub dataset: String,
}

impl Metric {
    /// Why it is not acceptable, if it is not.
    pub fn fault(&self) -> Option<String> {
        if !is_label(&self.name) {
            return Some("a metric's name takes 1 to 128 bytes, and no control characters".into());
        }
        let named = self.dataset.is_empty() || is_dataset(&self.dataset);
        (!named).then(|| format!("data set {:?}: expected NAME@VERSION", self.dataset))
    }
}

/// A figure in millionths: exact, and the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct MetricValue(pub i64);

const MILLIONTHS: u64 = 1_000_000;

impl std::fmt::Display for MetricValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, size) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let fraction = format!("{:06}", size % MILLIONTHS);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{}{point}{fraction}", size / MILLIONTHS)
    }
}

impl std::str::FromStr for MetricValue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected a decimal number with at most six places after the point, got {text:?}"
            )
        };
        let (negative, size) = match text.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, text),
        };
        let (whole, fraction) = size.split_once('.').unwrap_or((size, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(fault());
        }
        let places: i64 = format!("{fraction:0<6}").parse().map_err(|_| fault())?;
        let whole: i64 = whole.parse().map_err(|_| fault())?;
        let value =
            whole.checked_mul(MILLIONTHS as i64).and_then(|whole| whole.checked_add(places));
        let value = value.ok_or_else(fault)?;
        Ok(Self(if negative { -value } else { value }))
    }
}

/// A figure, and whose word it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricRecord {
    pub metric: Metric,
    pub by: PublicKey,
    /// Of who measured, at that time.
    pub organisation: String,
    pub tx: TxId,
    pub height: Height,
    pub time: TimeMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_written_exactly() {
        for (text, value) in
            [("0.953", 953_000), ("-2", -2_000_000), ("0.000001", 1), ("-0.5", -500_000)]
        {
            assert_eq!(text.parse(), Ok(MetricValue(value)));
            assert_eq!(MetricValue(value).to_string(), text);
        }
        assert_eq!(MetricValue(i64::MIN).to_string(), "-9223372036854.775808");
        for bad in ["", "-", ".5", "1.", "1e3", "0.0000001", "9223372036855", "--1", "1.-5", "+1"] {
            assert!(bad.parse::<MetricValue>().is_err(), "{bad}");
        }
    }
}
