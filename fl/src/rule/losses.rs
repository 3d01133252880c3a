//! q-FedAvg (Li, Sanjabi, Beirami and Smith, *Fair Resource Allocation in Federated Learning*, ICLR
//! 2020): trainers on whose data the model is bad count more, by the q-th power of their loss.
//!
//! With F the loss of the base on a trainer's own data, d its change and L the smoothness, the model
//! moves by Σ F^q·d / Σ (F^q + q·F^(q−1)·L·‖d‖²): the paper's step, divided by L above and below. It
//! bears no liar: the loss is a trainer's own word, and one that says 16 counts most. All is integer in
//! 1/2^16; powers are cut off below, and a loss of 0 counts as 1/2^16.
#![deny(clippy::float_arithmetic)]

use twinfold_types::limits::{LOSS_MAX, LOSS_WEIGHT_MAX};

/// F^q, and F^q + q·F^(q−1)·L·‖d‖², in 1/2^16. `square_norm` is ‖d‖² in steps of 2^−scale.
pub fn weigh(q_halves: u8, smoothness: u32, loss: u32, square_norm: u128, scale: u8) -> (u32, u64) {
    let loss = u64::from(loss.clamp(1, LOSS_MAX));
    // The power, and the derivative's factor q·F^(q−1).
    let (power, slope) = match q_halves {
        0 => (1 << 16, 0),
        1 => ((loss << 16).isqrt(), ((1u64 << 48) / loss).isqrt() / 2),
        2 => (loss, 1 << 16),
        4 => ((loss * loss) >> 16, 2 * loss),
        _ => ((loss * loss * loss) >> 32, (3 * loss * loss) >> 16),
    };
    let power = power.clamp(1, LOSS_WEIGHT_MAX);
    // slope < 2^32, L < 2^32 and ‖d‖² < 2^62.
    let steep = u128::from(slope) * u128::from(smoothness) * square_norm;
    let steep = steep >> (16 + 2 * u32::from(scale));
    let part = u64::try_from(steep).unwrap_or(u64::MAX).saturating_add(power);
    (power as u32, part.min(PART_MAX))
}

/// So that a round's parts stay in i64.
const PART_MAX: u64 = 1 << 50;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u32 = 1 << 16;

    #[test]
    fn a_power_of_zero_is_the_mean_of_all_alike() {
        assert_eq!(weigh(0, 10 * ONE, 5 * ONE, 1 << 50, 20), (ONE, u64::from(ONE)));
    }

    #[test]
    fn losses_count_by_their_powers() {
        let power = |q_halves, loss| weigh(q_halves, ONE, loss, 0, 20).0;
        assert_eq!([1, 2, 4, 6].map(|q| power(q, 4 * ONE)), [2 * ONE, 4 * ONE, 16 * ONE, 64 * ONE]);
        assert_eq!(power(6, u32::MAX), 1 << 28, "more than 16 is 16");
        assert_eq!(power(6, 0), 1, "none counts nothing");
    }

    /// q = 2, F = 3, L = 10, ‖d‖² = 0.25: 9 + 2 · 3 · 10 · 0.25 = 24.
    #[test]
    fn the_divisor_grows_with_the_change() {
        let (power, part) = weigh(4, 10 * ONE, 3 * ONE, 1 << 38, 20);
        assert_eq!((power, part), (9 * ONE, 24 * u64::from(ONE)));
        assert_eq!(weigh(6, u32::MAX, u32::MAX, 1 << 62, 0).1, PART_MAX);
    }
}
