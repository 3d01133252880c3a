//! Fixed point: every place where a bit can be lost, with its rounding named.
//!
//! Rounding is half to even throughout. Values are steps of 2^−S; nothing here
//! depends on the order of operations.

use twinfold_types::limits::FACTOR_ONE;

/// Why a real number is no step.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RangeError {
    #[error("expected a finite number, got {0}")]
    NotFinite(f64),
    #[error("{value} is outside ±2^{}: take a smaller scale than {scale} for this tensor", 31 - i32::from(*.scale))]
    TooLarge { value: f64, scale: u8 },
}

/// numerator / divisor, half to even. The divisor is positive.
#[inline]
pub fn divide_half_even(numerator: i64, divisor: i64) -> i64 {
    assert!(divisor > 0, "divisor {divisor}");
    let (floor, rest) = (numerator.div_euclid(divisor), numerator.rem_euclid(divisor));
    // 0 ≤ rest < divisor: comparing with what is missing cannot overflow.
    match rest.cmp(&(divisor - rest)) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal => floor + (floor & 1),
        std::cmp::Ordering::Greater => floor + 1,
    }
}

/// value · factor / 2^16, half to even, for |value| < 2^46 and factor ≤ 2^16.
/// The factor 2^16 leaves the value untouched.
#[inline]
pub fn scale_half_even(value: i64, factor: u32) -> i64 {
    debug_assert!(factor <= FACTOR_ONE && value.unsigned_abs() < 1 << 46);
    let product = value * i64::from(factor);
    let (floor, rest) = (product >> 16, product & 0xffff);
    floor + i64::from(rest > 0x8000 || (rest == 0x8000 && floor & 1 == 1))
}

/// base + change, and whether it had to be clamped to the range of i32.
#[inline]
pub fn add_saturating(base: i32, change: i64) -> (i32, bool) {
    // A change beyond i64 − i32 is itself far outside: saturating keeps the sign.
    let sum = i64::from(base).saturating_add(change);
    let clamped = sum.clamp(i32::MIN.into(), i32::MAX.into());
    (clamped as i32, clamped != sum)
}

/// 2^exponent, exact, for −1022 ≤ exponent ≤ 1023.
#[inline]
pub fn power_of_two(exponent: i32) -> f64 {
    assert!((-1022..=1023).contains(&exponent), "2^{exponent} is no normal f64");
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// f32(steps · 2^−scale): one rounding, in the conversion; the product is exact.
#[inline]
pub fn steps_to_f32(steps: i32, scale: u8) -> f32 {
    steps as f32 * power_of_two(-i32::from(scale)) as f32
}

/// steps · 2^−scale, exact.
#[inline]
pub fn steps_to_f64(steps: i32, scale: u8) -> f64 {
    f64::from(steps) * power_of_two(-i32::from(scale))
}

/// value · 2^scale to the nearest step, half to even.
#[inline]
pub fn real_to_steps(value: f64, scale: u8) -> Result<i32, RangeError> {
    if !value.is_finite() {
        return Err(RangeError::NotFinite(value));
    }
    let steps = (value * power_of_two(scale.into())).round_ties_even();
    if steps < f64::from(i32::MIN) || steps > f64::from(i32::MAX) {
        return Err(RangeError::TooLarge { value, scale });
    }
    Ok(steps as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let cases = [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 2, 0), (-1, 2, 0)];
        for (numerator, divisor, result) in cases {
            assert_eq!(divide_half_even(numerator, divisor), result, "{numerator}/{divisor}");
        }
        assert_eq!(divide_half_even(i64::MIN, 1), i64::MIN);
        assert_eq!(divide_half_even(i64::MAX, i64::MAX), 1);
        assert_eq!(divide_half_even(i64::MIN, i64::MAX), -1);
    }

    #[test]
    fn the_factor_one_leaves_a_value_untouched() {
        for value in [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)] {
            assert_eq!(scale_half_even(value, FACTOR_ONE), value);
            assert_eq!(scale_half_even(value, 0), 0);
        }
        assert_eq!(scale_half_even(3, FACTOR_ONE / 2), 2);
        assert_eq!(scale_half_even(-3, FACTOR_ONE / 2), -2);
        assert_eq!(scale_half_even(1, FACTOR_ONE / 2), 0);
    }

    #[test]
    fn sums_beyond_the_range_are_clamped_and_said_so() {
        assert_eq!(add_saturating(i32::MAX, 1), (i32::MAX, true));
        assert_eq!(add_saturating(i32::MIN, i64::MIN), (i32::MIN, true));
        assert_eq!(add_saturating(5, -7), (-2, false));
    }

    #[test]
    fn an_f32_has_24_bits_and_rounds_once() {
        assert_eq!(steps_to_f32((1 << 24) + 1, 0), 16_777_216.0);
        assert_eq!(steps_to_f32((1 << 24) + 3, 20), 16_777_220.0 / 1_048_576.0);
        assert_eq!(real_to_steps(0.5 + 1.5, 20), Ok(2 << 20));
        assert_eq!(real_to_steps(2.5, 0), Ok(2));
        assert_eq!(real_to_steps(-3.5, 0), Ok(-4));
    }

    #[test]
    fn what_is_no_step_is_refused() {
        assert!(matches!(real_to_steps(f64::NAN, 20), Err(RangeError::NotFinite(_))));
        assert!(matches!(real_to_steps(f64::INFINITY, 20), Err(RangeError::NotFinite(_))));
        let error = real_to_steps(2048.0, 20).unwrap_err();
        assert!(error.to_string().contains("±2^11"), "{error}");
        assert_eq!(real_to_steps(-2048.0, 20), Ok(i32::MIN));
    }

    proptest! {
        #[test]
        fn division_agrees_with_wide_arithmetic(n: i64, d in 1i64..) {
            let (n, d) = (i128::from(n), i128::from(d));
            let twice = |q: i128| (2 * (n - q * d)).abs();
            let got = i128::from(divide_half_even(n as i64, d as i64));
            prop_assert!(twice(got) <= d);
            if twice(got) == d {
                prop_assert!(got & 1 == 0);
            }
        }

        #[test]
        fn scaling_agrees_with_division(value in -(1i64 << 45)..1 << 45, factor in 0..=FACTOR_ONE) {
            let wide = divide_half_even(value * i64::from(factor), 1 << 16);
            prop_assert_eq!(scale_half_even(value, factor), wide);
        }

        #[test]
        fn steps_survive_the_way_through_f64(steps: i32, scale in 0u8..=30) {
            prop_assert_eq!(real_to_steps(steps_to_f64(steps, scale), scale), Ok(steps));
        }
    }
}
