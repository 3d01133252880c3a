//! What a cluster does with the change that its rule gives: add it, or take it for a gradient of an
//! optimiser that remembers (Reddi et al., *Adaptive Federated Optimization*, ICLR 2021; momentum:
//! Hsu et al., *Measuring the Effects of Non-Identical Data Distribution*, 2019). The arithmetic is in
//! `twinfold-fl`.

use super::{Compression, Real, TaskSpec};
use crate::{limits, model::model_values};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerOptimiser {
    /// The change is added.
    #[default]
    None,
    /// m ← momentum·m + Δ; x ← x + rate·m.
    FedAvgM { rate: Real, momentum: Real },
    /// v ← v + Δ².
    FedAdagrad(Adaptive),
    /// v ← β₂·v + (1 − β₂)·Δ².
    FedAdam(Adaptive),
    /// v ← v − (1 − β₂)·Δ²·sign(v − Δ²).
    FedYogi(Adaptive),
}

/// m ← β₁·m + (1 − β₁)·Δ; x ← x + rate·m / (√v + τ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Adaptive {
    pub rate: Real,
    pub beta1: Real,
    /// Adagrad has no use for it.
    pub beta2: Real,
    /// τ: how little a value must have changed for its step not to grow any more.
    pub tau: Real,
    /// Whether m and v are divided by 1 − β₁ᵗ and 1 − β₂ᵗ after t rounds (Kingma and Ba 2015).
    pub correct: bool,
}

/// What becomes of the change that a cluster's rule gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepping {
    pub server: ServerOptimiser,
    /// What of the model's step comes down to trainers, where that is not all; the rest comes with later ones.
    pub down: Option<Compression>,
}

impl Stepping {
    /// Whether a cluster remembers anything from round to round.
    pub fn remembers(&self) -> bool {
        !self.server.is_none() || self.down.is_some()
    }

    /// Bytes that it remembers for each trained value.
    pub fn remembered_bytes(&self) -> u64 {
        let moments = match (self.server.is_none(), self.server.adaptive().is_some()) {
            (true, _) => 0,
            (false, second) => 8 << u32::from(second),
        };
        moments + if self.down.is_some() { 4 } else { 0 }
    }
}

impl TaskSpec {
    pub fn stepping(&self) -> Stepping {
        Stepping { server: self.server, down: self.down }
    }
}

/// Smallest τ: squares of changes are kept down to 2^−200.
const TAU_MIN: f64 = 1e-30;
const RATE_MAX: f64 = 1e6;
/// Beside the numbers.
const HEADER_BYTES_MAX: u64 = 1_024;

impl ServerOptimiser {
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    pub fn adaptive(&self) -> Option<&Adaptive> {
        match self {
            Self::None | Self::FedAvgM { .. } => None,
            Self::FedAdagrad(adaptive) | Self::FedAdam(adaptive) | Self::FedYogi(adaptive) => {
                Some(adaptive)
            }
        }
    }

    fn settings_fault(&self) -> Option<String> {
        let share = |name: &str, beta: Real| {
            (!(0.0..1.0).contains(&beta.get())).then(|| format!("{name} is 0 or more and below 1"))
        };
        let rate = |rate: Real| {
            let rate = rate.get();
            (!(rate > 0.0 && rate <= RATE_MAX))
                .then(|| "lr is above 0 and at most 1,000,000".into())
        };
        match self {
            Self::None => None,
            Self::FedAvgM { rate: lr, momentum } => {
                rate(*lr).or_else(|| share("momentum", *momentum))
            }
            Self::FedAdagrad(adaptive) | Self::FedAdam(adaptive) | Self::FedYogi(adaptive) => {
                let tau = adaptive.tau.get();
                rate(adaptive.rate)
                    .or_else(|| share("beta1", adaptive.beta1))
                    .or_else(|| share("beta2", adaptive.beta2))
                    .or_else(|| {
                        (!(tau >= TAU_MIN && tau.is_finite()))
                            .then(|| "tau is 1e-30 or more".into())
                    })
            }
        }
    }
}

/// Why the optimiser does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let server = &spec.server;
    if !server.is_none() && spec.clusters > 1 && spec.merge_every < 2 {
        return Some(format!(
            "{server} remembers from round to round, and a merge of clusters makes it forget: take a merge period of 2 or more, or one cluster"
        ));
    }
    server.settings_fault().map(|fault| format!("{server}: {fault}")).or_else(|| size_fault(spec))
}

/// What it remembers goes from node to node like a model.
fn size_fault(spec: &TaskSpec) -> Option<String> {
    let each = spec.stepping().remembered_bytes();
    let bytes = model_values(&spec.tensors).and_then(|values| values.checked_mul(each));
    let fits = bytes.is_some_and(|bytes| bytes <= limits::BLOB_BYTES_MAX - HEADER_BYTES_MAX);
    (!fits).then(|| "a cluster remembers more than a node takes: the model is too large".into())
}

/// As it is read: `fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.001,correct`.
impl fmt::Display for ServerOptimiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => return f.write_str("none"),
            Self::FedAvgM { rate, momentum } => {
                return write!(f, "fedavgm:lr={},momentum={}", rate.get(), momentum.get());
            }
            Self::FedAdagrad(_) => f.write_str("fedadagrad")?,
            Self::FedAdam(_) => f.write_str("fedadam")?,
            Self::FedYogi(_) => f.write_str("fedyogi")?,
        }
        let Some(Adaptive { rate, beta1, beta2, tau, correct }) = self.adaptive() else {
            return Ok(());
        };
        write!(f, ":lr={},beta1={}", rate.get(), beta1.get())?;
        if !matches!(self, Self::FedAdagrad(_)) {
            write!(f, ",beta2={}", beta2.get())?;
        }
        write!(f, ",tau={}{}", tau.get(), if *correct { ",correct" } else { "" })
    }
}

/// Settings as they are given; what is missing has a default.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    rate: Option<f64>,
    momentum: Option<f64>,
    beta1: Option<f64>,
    beta2: Option<f64>,
    tau: Option<f64>,
    correct: bool,
}

impl Given {
    fn read(text: &str) -> Option<Self> {
        let mut given = Self::default();
        for setting in text.split(',') {
            let Some((name, value)) = setting.split_once('=') else {
                (setting == "correct" && !given.correct).then(|| given.correct = true)?;
                continue;
            };
            let place = match name {
                "lr" => &mut given.rate,
                "momentum" => &mut given.momentum,
                "beta1" => &mut given.beta1,
                "beta2" => &mut given.beta2,
                "tau" => &mut given.tau,
                _ => return None,
            };
            let value = value.parse::<f64>().ok().filter(|value| value.is_finite())?;
            place.replace(value).is_none().then_some(())?;
        }
        Some(given)
    }

    fn adaptive(self, rate: f64, beta1: f64, decays: bool) -> Option<Adaptive> {
        let fits = self.momentum.is_none() && (decays || self.beta2.is_none());
        fits.then(|| Adaptive {
            rate: Real::new(self.rate.unwrap_or(rate)),
            beta1: Real::new(self.beta1.unwrap_or(beta1)),
            beta2: Real::new(if decays { self.beta2.unwrap_or(0.99) } else { 0.0 }),
            tau: Real::new(self.tau.unwrap_or(1e-3)),
            correct: self.correct,
        })
    }

    fn momentum(self) -> Option<ServerOptimiser> {
        let none = self.beta1.or(self.beta2).or(self.tau).is_none() && !self.correct;
        let (rate, momentum) = (self.rate.unwrap_or(1.0), self.momentum.unwrap_or(0.9));
        let (rate, momentum) = (Real::new(rate), Real::new(momentum));
        none.then_some(ServerOptimiser::FedAvgM { rate, momentum })
    }
}

impl FromStr for ServerOptimiser {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected none, fedavgm[:lr=1,momentum=0.9], fedadagrad[:lr=0.1,beta1=0,tau=0.001], fedadam[:lr=0.1,beta1=0.9,beta2=0.99,tau=0.001] or fedyogi with these, the last three also with correct; got {text:?}"
            )
        };
        let (name, given) = match text.split_once(':') {
            Some((name, settings)) => (name, Given::read(settings).ok_or_else(fault)?),
            None => (text, Given::default()),
        };
        let read = match name {
            "none" => (name == text).then_some(Self::None),
            "fedavgm" => given.momentum(),
            "fedadagrad" => given.adaptive(0.1, 0.0, false).map(Self::FedAdagrad),
            "fedadam" => given.adaptive(0.1, 0.9, true).map(Self::FedAdam),
            "fedyogi" => given.adaptive(0.01, 0.9, true).map(Self::FedYogi),
            _ => None,
        };
        let server = read.ok_or_else(fault)?;
        match server.settings_fault() {
            Some(fault) => Err(fault),
            None => Ok(server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimisers_are_read_as_they_are_written() {
        for text in [
            "none",
            "fedavgm:lr=1,momentum=0.9",
            "fedadagrad:lr=0.1,beta1=0,tau=0.001",
            "fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.000000001,correct",
            "fedyogi:lr=0.01,beta1=0.9,beta2=0.99,tau=0.001",
        ] {
            assert_eq!(text.parse::<ServerOptimiser>().unwrap().to_string(), text);
        }
        let read = |text: &str| text.parse::<ServerOptimiser>();
        assert_eq!(read("fedavgm"), read("fedavgm:momentum=0.9"));
        assert_eq!(read("fedyogi:correct").unwrap().to_string().matches("correct").count(), 1);
        for wrong in [
            "",
            "adam",
            "none:lr=1",
            "fedavgm:tau=1",
            "fedavgm:lr=1,lr=1",
            "fedadagrad:beta2=0.9",
            "fedadam:momentum=0.9",
            "fedadam:beta1=1",
            "fedadam:lr=NaN",
            "fedadam:lr=0",
            "fedadam:tau=0",
            "fedadam:",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
