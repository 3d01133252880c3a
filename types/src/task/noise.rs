//! Declared noise, and what a trainer's updates have revealed under it: zero-concentrated differential privacy
//! (Bun and Steinke, TCC 2016). The ledger adds up ρ alone, in integers; it is about noise that trainers say
//! they add: nobody can see it in a masked update.
//!
//! Members are alike but for one whose update is another or all zeros (zeroing out: Kairouz, Liu and Steinke,
//! *The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation*, ICML 2021).
//! No amplification by sampling is claimed: who takes part is public.

use super::{Masks, TaskSpec};
use crate::limits;
use serde::{Deserialize, Serialize};

/// One of ρ.
pub const RHO_ONE: u64 = 1 << 32;
/// One of ln(1/δ).
const LOG_ONE: f64 = 65_536.0;

/// The noise of a masked task, and what each trainer may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Noise {
    /// Δ: greatest Euclidean norm of an update's integers, before noise.
    pub norm: u64,
    /// σ² of the discrete Gaussian that each member adds to each of its integers.
    pub variance: u64,
    /// ρ that a trainer may spend in the task, in 1/2^32.
    pub budget: u64,
    /// ln(1/δ) in 1/2^16: at which δ people are told ε.
    pub log_delta: u32,
}

impl Noise {
    /// ρ of one round for each of its members, in 1/2^32, rounded up: Δ² / (2·n·σ²), n the fewest whose noise
    /// is in the sum.
    ///
    /// A sum of n discrete Gaussians is nearly one: what it lacks adds τ·D/4 to ρ with
    /// τ = 10 Σ exp(−2π²·σ²·k/(k+1)) over k < n (theorem 5 of the paper). With σ² of 9 and more, n up to 128 and
    /// D below 2^29 that is below 2^−60: the one unit more is above it.
    pub fn cost(&self, members: u32) -> u64 {
        let square = u128::from(self.norm) * u128::from(self.norm);
        let rho = (square << 31).div_ceil(u128::from(self.variance) * u128::from(members.max(1)));
        u64::try_from(rho + 1).unwrap_or(u64::MAX)
    }

    /// ε at this noise's δ of so much ρ: ρ + 2√(ρ·ln(1/δ)).
    pub fn epsilon(&self, rho: u64) -> f64 {
        let (rho, log) = (rho as f64 / RHO_ONE as f64, f64::from(self.log_delta) / LOG_ONE);
        rho + 2.0 * (rho * log).sqrt()
    }

    /// δ.
    pub fn delta(&self) -> f64 {
        (-f64::from(self.log_delta) / LOG_ONE).exp()
    }

    /// No noise is as great as this, but by a chance of less than 2^−180.
    pub fn margin(&self) -> u64 {
        16 * (self.variance.isqrt() + 1)
    }

    /// The noise for a norm (in the units of the integers), a noise of `multiplier` times it in the sum of
    /// the fewest members, and a budget of ε at δ. The log is rounded up, ρ down.
    pub fn of(norm: u64, multiplier: f64, members: u32, epsilon: f64, delta: f64) -> Self {
        let variance = (norm as f64 * multiplier).powi(2) / f64::from(members.max(1));
        let log = -delta.ln();
        let root = (log + epsilon).sqrt() - log.sqrt();
        Self {
            norm,
            variance: variance.ceil() as u64,
            budget: (root * root * RHO_ONE as f64).floor() as u64,
            log_delta: (log * LOG_ONE).ceil() as u32,
        }
    }
}

impl TaskSpec {
    /// The declared noise, where there is some.
    pub fn noise(&self) -> Option<Noise> {
        self.masks.and_then(|masks| masks.noise)
    }

    /// ρ that a round costs each of its members; nothing without noise.
    pub fn round_cost(&self) -> u64 {
        self.noise().map_or(0, |noise| noise.cost(self.participants_min))
    }
}

/// Why the noise does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec, masks: Masks) -> Option<String> {
    let noise = masks.noise?;
    if spec.weight_max != 1 {
        return Some("with noise every update counts 1, so that all can change the sum alike: cap weights at 1".into());
    }
    if noise.norm == 0 || noise.norm >= 1 << 31 {
        return Some("the norm before noise must be positive and below 2^31".into());
    }
    if !(limits::NOISE_VARIANCE_MIN..=limits::NOISE_VARIANCE_MAX).contains(&noise.variance) {
        return Some(format!(
            "noise has a variance of {} to 2^40 for each member, this has {}: take finer values or another multiplier",
            limits::NOISE_VARIANCE_MIN,
            noise.variance
        ));
    }
    if noise.log_delta == 0 {
        return Some("δ must be below 1".into());
    }
    (noise.budget < spec.round_cost()).then(|| {
        format!(
            "one round costs ε = {:.3} and the budget is {:.3}: take more noise",
            noise.epsilon(spec.round_cost()),
            noise.epsilon(noise.budget)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_costs_what_the_formula_says_and_never_less() {
        // Noise of four times the norm in a sum of ten: 1 / (2·16).
        let noise = Noise { norm: 1_000, variance: 1_600_000, budget: 0, log_delta: 754_493 };
        assert_eq!(noise.cost(10), RHO_ONE / 32 + 1);
        assert_eq!(noise.cost(11), (RHO_ONE / 32 * 10).div_ceil(11) + 1);
        assert_eq!(noise.cost(0), noise.cost(1));
        let loud = Noise { norm: (1 << 31) - 1, variance: 1, ..noise };
        assert_eq!(loud.cost(1), u64::MAX, "more than there is");
    }

    #[test]
    fn a_budget_of_epsilon_is_spent_at_that_epsilon() {
        for (epsilon, delta) in [(1.0, 1e-5), (8.0, 1e-6), (0.1, 1e-9)] {
            let noise = Noise::of(5_000, 4.0, 10, epsilon, delta);
            assert_eq!(noise.variance, 40_000_000);
            let told = noise.epsilon(noise.budget);
            assert!((told - epsilon).abs() < 1e-3 * epsilon, "{told} of {epsilon}");
            assert!((noise.delta() / delta - 1.0).abs() < 1e-4 && noise.delta() <= delta);
        }
    }
}
