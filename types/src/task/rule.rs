//! How the updates of a round become a model, and which settings a rule does not go with. The
//! rules themselves are in `twinfold-fl`, a file each.

use super::{Mode, TaskSpec};
use crate::{limits, model::model_values};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How updates become a model. All but the mean are for rounds in which some updates are
/// poisoned; they take no account of how many examples a trainer says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AggregationRule {
    /// Weighted mean by examples (FedAvg, McMahan et al. 2017).
    Mean,
    /// Coordinate by coordinate the median (Yin et al. 2018).
    Median,
    /// Coordinate by coordinate the mean without the ⌊β·n⌋ smallest and largest of n, β in
    /// millionths (Yin et al. 2018).
    TrimmedMean { beta_ppm: u32 },
    /// The update nearest to its n − f − 2 nearest, f being the faults that are borne; or the mean
    /// of so many of those (Krum and Multi-Krum, Blanchard et al. 2017).
    Krum { faults: u32, chosen: u32 },
    /// Of n updates n − 2f are chosen one after the other as Krum does; then coordinate by coordinate
    /// the mean of the n − 4f that are nearest to their median (Bulyan, El Mhamdi et al. 2018).
    Bulyan { faults: u32 },
}

const MILLION: u64 = 1_000_000;
/// Of a value of a sparse update, beside what was sent.
const WRITTEN_OUT_BYTES: u64 = 4;

impl AggregationRule {
    /// Whether a trainer's examples are its update's weight; else every update counts 1.
    pub fn is_weighted(self) -> bool {
        self == Self::Mean
    }

    /// Fewest updates from which the rule gives a model.
    pub fn updates_min(self) -> u32 {
        match self {
            Self::Mean | Self::Median | Self::TrimmedMean { .. } => 1,
            Self::Krum { faults, .. } => faults.saturating_mul(2).saturating_add(3),
            Self::Bulyan { faults } => faults.saturating_mul(4).saturating_add(3),
        }
    }

    /// Whether all pairs of updates are compared.
    fn compares_pairs(self) -> bool {
        matches!(self, Self::Krum { .. } | Self::Bulyan { .. })
    }

    /// Values that the trimmed mean leaves out at each end, of so many.
    pub fn trimmed(beta_ppm: u32, updates: usize) -> usize {
        (u64::from(beta_ppm) * updates as u64 / MILLION) as usize
    }
}

/// Why the rule does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let rule = spec.rule;
    if rule.is_weighted() {
        return None;
    }
    if matches!(spec.mode, Mode::Async { .. }) {
        return Some(format!(
            "{rule} needs synchronous rounds: a late update counts by a factor, for which the rule has no place"
        ));
    }
    if spec.compression.top_ppm.is_some() {
        return Some(format!(
            "{rule} needs all values: of updates that send their largest ones the median is zero nearly everywhere, and an update of zeros is nearest to all; use none, q8 or q16"
        ));
    }
    bounds_fault(spec).or_else(|| memory_fault(spec))
}

fn bounds_fault(spec: &TaskSpec) -> Option<String> {
    let (rule, least) = (spec.rule, spec.participants_min);
    match rule {
        AggregationRule::TrimmedMean { beta_ppm } if u64::from(beta_ppm) * 2 >= MILLION => {
            Some("a trimmed mean leaves out less than half at each end".into())
        }
        AggregationRule::TrimmedMean { beta_ppm }
            if AggregationRule::trimmed(beta_ppm, least as usize) == 0 =>
        {
            Some(format!(
                "{rule} leaves nobody out of {least} updates: raise the share or the least number of participants"
            ))
        }
        _ if least < rule.updates_min() => Some(format!(
            "{rule} needs at least {} updates, the task takes {least} for enough",
            rule.updates_min()
        )),
        AggregationRule::Krum { faults, chosen } if chosen == 0 || chosen > least - faults - 2 => {
            Some(format!(
                "{rule} chooses 1 to {} updates (n − f − 2 of the least number of participants)",
                least - faults - 2
            ))
        }
        _ if rule.compares_pairs() && spec.compression.bits > 16 => {
            Some(format!("{rule} compares all pairs of updates: send 8 or 16 bits"))
        }
        _ if rule.compares_pairs() && spec.participants_max > limits::KRUM_PARTICIPANTS_MAX => {
            Some(format!(
                "{rule} compares all pairs of updates: at most {} participants",
                limits::KRUM_PARTICIPANTS_MAX
            ))
        }
        _ => None,
    }
}

impl TaskSpec {
    /// Most bytes of a round's updates that are held at once, sparse ones written out; 0 where they
    /// are folded batch by batch.
    pub fn held_bytes(&self) -> u64 {
        if self.rule.is_weighted() {
            return 0;
        }
        let values = model_values(&self.tensors).unwrap_or(u64::MAX);
        let each = u64::from(self.compression.bits) / 8 + WRITTEN_OUT_BYTES;
        values.saturating_mul(each).saturating_mul(self.participants_max.into())
    }
}

fn memory_fault(spec: &TaskSpec) -> Option<String> {
    let most = spec.held_bytes();
    (most > limits::ROUND_HELD_BYTES_MAX).then(|| {
        format!(
            "{} holds all updates of a round at once, here up to {most} bytes; {} are allowed: take fewer participants or bits",
            spec.rule,
            limits::ROUND_HELD_BYTES_MAX
        )
    })
}

/// As it is read: `mean`, `median`, `trimmed:0.2`, `krum:1`, `multi-krum:1:3`, `bulyan:1`.
impl fmt::Display for AggregationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::Median => f.write_str("median"),
            Self::TrimmedMean { beta_ppm } => {
                let digits = format!("{:06}", beta_ppm % 1_000_000);
                let digits = digits.trim_end_matches('0');
                let digits = if digits.is_empty() { "0" } else { digits };
                write!(f, "trimmed:{}.{digits}", beta_ppm / 1_000_000)
            }
            Self::Krum { faults, chosen: 1 } => write!(f, "krum:{faults}"),
            Self::Bulyan { faults } => write!(f, "bulyan:{faults}"),
            Self::Krum { faults, chosen } => write!(f, "multi-krum:{faults}:{chosen}"),
        }
    }
}

impl FromStr for AggregationRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected mean, median, trimmed:SHARE, krum:FAULTS, multi-krum:FAULTS:CHOSEN or bulyan:FAULTS, got {text:?}"
            )
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| fault());
        match text.split(':').collect::<Vec<_>>()[..] {
            ["mean"] => Ok(Self::Mean),
            ["median"] => Ok(Self::Median),
            ["trimmed", share] => {
                let beta_ppm = millionths(share).ok_or_else(fault)?;
                Ok(Self::TrimmedMean { beta_ppm })
            }
            ["krum", faults] => Ok(Self::Krum { faults: number(faults)?, chosen: 1 }),
            ["multi-krum", faults, chosen] => {
                Ok(Self::Krum { faults: number(faults)?, chosen: number(chosen)? })
            }
            ["bulyan", faults] => Ok(Self::Bulyan { faults: number(faults)? }),
            _ => Err(fault()),
        }
    }
}

/// A share below 1 with up to six digits, exactly.
fn millionths(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0.").or_else(|| text.strip_prefix('.'))?;
    let known = !digits.is_empty() && digits.len() <= 6;
    let number: u32 =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    known.then(|| number * 10u32.pow(6 - digits.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in [
            "mean",
            "median",
            "trimmed:0.2",
            "trimmed:0.000001",
            "krum:1",
            "multi-krum:2:3",
            "bulyan:1",
        ] {
            assert_eq!(text.parse::<AggregationRule>().unwrap().to_string(), text);
        }
        assert_eq!("trimmed:.25".parse(), Ok(AggregationRule::TrimmedMean { beta_ppm: 250_000 }));
        for wrong in [
            "",
            "Mean",
            "trimmed",
            "trimmed:2",
            "trimmed:0.1234567",
            "trimmed:0.",
            "krum",
            "krum:x",
            "multi-krum:1",
        ] {
            assert!(wrong.parse::<AggregationRule>().is_err(), "{wrong}");
        }
    }
}
