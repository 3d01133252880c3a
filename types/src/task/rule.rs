//! How the updates of a round become a model, and which settings a rule does not go with. The
//! rules themselves are in `twinfold-fl`, a file each.

use super::{Mode, TaskSpec};
use crate::{limits, model::model_values};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How updates become a model. All but the first and the last are for rounds in which some updates are
/// poisoned. Only the mean takes account of how many examples a trainer says it has.
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
    /// The point with the least sum of distances to all updates, by so many steps of Weiszfeld's
    /// method (RFA, Pillutla et al. 2022).
    GeometricMedian { steps: u8 },
    /// The mean by losses to the power of q, here in halves, so that trainers on whose data the model
    /// is bad count more (q-FedAvg, Li et al. 2020). The loss is a trainer's own word.
    QFedAvg {
        q_halves: u8,
        /// L, an estimate of the loss's smoothness, in 1/2^16; the paper takes 1 / learning rate.
        smoothness: u32,
    },
}

const MILLION: u64 = 1_000_000;
/// Of Weiszfeld's method, unless said otherwise: four come near enough in the paper.
const WEISZFELD_STEPS: u8 = 8;
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
            Self::Krum { faults, .. } => faults.saturating_mul(2).saturating_add(3),
            Self::Bulyan { faults } => faults.saturating_mul(4).saturating_add(3),
            _ => 1,
        }
    }

    /// Whether it adds up updates as they come, so that no two need be held together.
    pub fn is_sum(self) -> bool {
        matches!(self, Self::Mean | Self::QFedAvg { .. })
    }

    /// Most that one update can weigh in the sum.
    pub fn weight_max(self, spec: &TaskSpec) -> u64 {
        match self {
            Self::Mean => spec.weight_max.into(),
            Self::QFedAvg { .. } => limits::LOSS_WEIGHT_MAX,
            _ => 1,
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
    if rule.is_sum() {
        return loss_fault(rule).or_else(|| memory_fault(spec)).or_else(|| merge_fault(spec));
    }
    if !spec.late.is_empty() || matches!(spec.mode, Mode::Async { .. }) {
        return Some(format!(
            "{rule} needs synchronous rounds: a late update counts by a factor, for which the rule has no place"
        ));
    }
    if spec.compression.chooses_by_value() {
        return Some(format!(
            "{rule} needs all values: of updates that send their largest ones the median is zero nearly everywhere, and an update of zeros is nearest to all; use none, q8, q16 or randk"
        ));
    }
    bounds_fault(spec).or_else(|| memory_fault(spec)).or_else(|| merge_fault(spec))
}

fn loss_fault(rule: AggregationRule) -> Option<String> {
    match rule {
        AggregationRule::QFedAvg { q_halves, .. } if !matches!(q_halves, 0 | 1 | 2 | 4 | 6) => {
            Some("q is 0, 0.5, 1, 2 or 3".into())
        }
        AggregationRule::QFedAvg { smoothness: 0, .. } => Some("L must be positive".into()),
        _ => None,
    }
}

/// Across clusters, and across regions where there are any: their models are few and dense.
fn merge_fault(spec: &TaskSpec) -> Option<String> {
    match &spec.regions {
        None => merge_of_fault(spec.merge_rule, "clusters", usize::from(spec.clusters)),
        Some(regions) => {
            let inside = |size: &u16| {
                merge_of_fault(spec.merge_rule, "clusters of a region", usize::from(*size))
            };
            let across = merge_of_fault(spec.merge_rule, "regions", regions.sizes.len());
            regions.sizes.iter().find_map(inside).or(across)
        }
    }
}

fn merge_of_fault(rule: AggregationRule, what: &str, models: usize) -> Option<String> {
    match rule {
        AggregationRule::Mean => None,
        AggregationRule::Median | AggregationRule::TrimmedMean { .. } if models < 3 => {
            Some(format!("across {what} {rule} needs at least 3 of them"))
        }
        AggregationRule::Median => None,
        AggregationRule::TrimmedMean { beta_ppm } => {
            let none = AggregationRule::trimmed(beta_ppm, models) == 0;
            let half = u64::from(beta_ppm) * 2 >= MILLION;
            (none || half).then(|| {
                format!(
                    "across {models} {what} {rule} leaves out none, or half and more at each end"
                )
            })
        }
        _ => Some(format!("across clusters only mean, median and trimmed are known, not {rule}")),
    }
}

fn bounds_fault(spec: &TaskSpec) -> Option<String> {
    let (rule, least) = (spec.rule, spec.participants_min);
    match rule {
        AggregationRule::GeometricMedian { steps }
            if !(1..=limits::WEISZFELD_STEPS_MAX).contains(&steps) =>
        {
            Some(format!("a geometric median takes 1 to {} steps", limits::WEISZFELD_STEPS_MAX))
        }
        AggregationRule::GeometricMedian { .. } if spec.norm_bound >= 1 << 30 => {
            Some(format!("{rule} measures distances: the norm bound must be below 2^30 steps"))
        }
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
    /// Whether a round's updates are all held at once: the rule or the screen compares them.
    pub fn folds_together(&self) -> bool {
        !self.rule.is_sum() || !self.screen.is_off()
    }

    /// Most bytes of a round's updates that are held at once, sparse ones written out; 0 where they
    /// are folded batch by batch.
    pub fn held_bytes(&self) -> u64 {
        if !self.folds_together() {
            return 0;
        }
        let values = model_values(&self.tensors).unwrap_or(u64::MAX);
        let each = u64::from(self.compression.bits).div_ceil(8) + WRITTEN_OUT_BYTES;
        values.saturating_mul(each).saturating_mul(self.participants_max.into())
    }
}

fn memory_fault(spec: &TaskSpec) -> Option<String> {
    let most = spec.held_bytes();
    (most > limits::ROUND_HELD_BYTES_MAX).then(|| {
        format!(
            "{} holds all updates of a round at once, here up to {most} bytes; {} are allowed: take fewer participants or bits",
            if spec.rule.is_sum() { "comparing updates".into() } else { spec.rule.to_string() },
            limits::ROUND_HELD_BYTES_MAX
        )
    })
}

/// As it is read: `mean`, `median`, `trimmed:0.2`, `krum:1`, `multi-krum:1:3`, `bulyan:1`,
/// `geometric-median:8`, `qfedavg:0.5:10`.
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
            Self::GeometricMedian { steps } => write!(f, "geometric-median:{steps}"),
            Self::QFedAvg { q_halves, smoothness } => {
                let (q, l) = (f64::from(*q_halves) / 2.0, f64::from(*smoothness) / 65_536.0);
                write!(f, "qfedavg:{q}:{l}")
            }
        }
    }
}

impl FromStr for AggregationRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected mean, median, trimmed:SHARE, krum:FAULTS, multi-krum:FAULTS:CHOSEN, bulyan:FAULTS, geometric-median[:STEPS] or qfedavg:Q:L, got {text:?}"
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
            ["geometric-median"] => Ok(Self::GeometricMedian { steps: WEISZFELD_STEPS }),
            ["geometric-median", steps] => {
                Ok(Self::GeometricMedian { steps: steps.parse().map_err(|_| fault())? })
            }
            ["qfedavg", q, smoothness] => {
                let q_halves =
                    scaled(q, 2.0).and_then(|q| u8::try_from(q).ok()).ok_or_else(fault)?;
                let smoothness = scaled(smoothness, 65_536.0).ok_or_else(fault)?;
                Ok(Self::QFedAvg { q_halves, smoothness })
            }
            _ => Err(fault()),
        }
    }
}

/// A number in units of 1/`one`, the nearest of these.
fn scaled(text: &str, one: f64) -> Option<u32> {
    let number = (text.parse::<f64>().ok()? * one).round();
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
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
            "geometric-median:8",
            "qfedavg:0.5:10",
            "qfedavg:3:0.25",
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
            "geometric-median:300",
            "qfedavg:1",
            "qfedavg:-1:1",
            "qfedavg:NaN:1",
        ] {
            assert!(wrong.parse::<AggregationRule>().is_err(), "{wrong}");
        }
    }
}
