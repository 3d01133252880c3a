//! The discrete Gaussian, drawn exactly (Canonne, Kamath and Steinke, *The Discrete Gaussian for Differential
//! Privacy*, NeurIPS 2020, algorithms 1 to 3): integers only, no approximation of a real number anywhere.

/// Where bits come from; they must be good, and secret.
pub type Random<'r> = &'r mut dyn FnMut() -> u64;

/// Adds a number with P(x) ∝ exp(−x² / 2σ²) to each value. σ² is positive and at most 2^40.
pub fn add_noise(values: &mut [i32], variance: u64, random: Random<'_>) {
    for value in values {
        let noise = gaussian(variance, random).clamp(i32::MIN.into(), i32::MAX.into());
        *value = value.saturating_add(noise as i32);
    }
}

/// Algorithm 3.
fn gaussian(variance: u64, random: Random<'_>) -> i64 {
    let scale = variance.isqrt() + 1;
    let (variance, t) = (u128::from(variance), u128::from(scale));
    loop {
        let drawn = laplace(scale, random);
        // (|y| − σ²/t)² / 2σ² = (|y|·t − σ²)² / (2σ²·t²). With t ≤ 2^20 + 1 and |y| below 2^27 all fits 128
        // bits; a Laplace number of scale t is not so great in the life of the universe.
        let apart = (u128::from(drawn.unsigned_abs()) * t).abs_diff(variance);
        if bernoulli_exp(apart * apart, 2 * variance * t * t, random) {
            return drawn;
        }
    }
}

/// Algorithm 2, with t = scale and s = 1: P(y) ∝ exp(−|y| / t).
fn laplace(scale: u64, random: Random<'_>) -> i64 {
    loop {
        let part = below(scale.into(), random) as u64;
        if !bernoulli_exp(part.into(), scale.into(), random) {
            continue;
        }
        let mut whole = 0;
        while bernoulli_exp(1, 1, random) {
            whole += 1;
        }
        let size = (part + scale * whole) as i64;
        match random() & 1 {
            1 if size == 0 => continue,
            1 => return -size,
            _ => return size,
        }
    }
}

/// Algorithm 1: true with probability exp(−over/under).
fn bernoulli_exp(over: u128, under: u128, random: Random<'_>) -> bool {
    // exp(−γ) is exp(−1) once for each whole of γ, and exp of the rest.
    for _ in 0..over / under {
        if !bernoulli_exp_below_one(1, 1, random) {
            return false;
        }
    }
    bernoulli_exp_below_one(over % under, under, random)
}

/// For over ≤ under.
fn bernoulli_exp_below_one(over: u128, under: u128, random: Random<'_>) -> bool {
    let mut k = 1;
    // True with probability over / (under·k).
    while below(under * k, random) < over {
        k += 1;
    }
    k % 2 == 1
}

/// Uniform below a bound, by rejection.
fn below(bound: u128, random: Random<'_>) -> u128 {
    let bits = u128::BITS - (bound - 1).leading_zeros();
    let mask = if bits == 0 { 0 } else { u128::MAX >> (u128::BITS - bits) };
    loop {
        let high = if bits > 64 { u128::from(random()) << 64 } else { 0 };
        let low = if bits > 0 { u128::from(random()) } else { 0 };
        let drawn = (high | low) & mask;
        if drawn < bound {
            return drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64: for a test good enough.
    fn random(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    /// Each number as often as the distribution has it: a chi-square over the middle and the rest.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own arithmetic")]
    fn numbers_come_as_often_as_they_should() {
        for variance in [1u64, 9, 50] {
            let draws = 200_000;
            let mut random = random(variance);
            let width = 3 * variance.isqrt() as i64;
            let mut times = vec![0u32; 2 * width as usize + 2];
            for _ in 0..draws {
                let x = gaussian(variance, &mut random);
                let place = if x.abs() > width { 2 * width + 1 } else { x + width };
                times[place as usize] += 1;
            }
            let density = |x: i64| (-(x as f64).powi(2) / (2.0 * variance as f64)).exp();
            let all: f64 = (-1_000..=1_000).map(density).sum();
            let mut expected: Vec<f64> = (-width..=width).map(|x| density(x) / all).collect();
            expected.push(1.0 - expected.iter().sum::<f64>());
            let chi: f64 = times
                .iter()
                .zip(&expected)
                .map(|(times, share)| {
                    let mean = share * f64::from(draws);
                    (f64::from(*times) - mean).powi(2) / mean
                })
                .sum();
            // Mean and standard deviation of chi-square with k degrees: k and √(2k). Six of them.
            let degrees = expected.len() as f64 - 1.0;
            assert!(
                chi < degrees + 6.0 * (2.0 * degrees).sqrt(),
                "{chi} of {degrees} at {variance}"
            );
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own arithmetic")]
    fn the_greatest_variance_is_drawn_too() {
        let (mut random, variance) = (random(7), 1u64 << 40);
        let draws = 20_000;
        let mut values = vec![5; draws];
        add_noise(&mut values, variance, &mut random);
        let square: f64 = values.iter().map(|x| (f64::from(*x) - 5.0).powi(2)).sum();
        let found = square / draws as f64 / variance as f64;
        // The mean of so many squares is within √(2/20,000) = 1 % of one, times five.
        assert!((0.95..1.05).contains(&found), "{found}");
    }
}
