//! What a trainer does to a delta before it sends it: a = clip(Δ, C) + e, and
//! q = Q(top-k(a)) is sent. What was not sent, a − q, becomes the next residual e
//! only when the round counted the update (error feedback: Karimireddy et al.,
//! *Error Feedback Fixes SignSGD*, ICML 2019); else the next residual is a itself.
//!
//! Clipping stands before the residual is added. The task's norm bound is on q:
//! where the residual lifted it above, q shrinks and the rest stays behind.
//! Floating point is at home here: nodes never run this.

use crate::{
    Layout,
    clip::within_norm,
    fixed::power_of_two,
    layout::{LayoutError, Slot},
    support::Support,
    update::{Binding, Bits, TensorData, TensorUpdate, Update, UpdateView},
};
use twinfold_types::task::{Kept, TaskSpec};

/// Tries at shrinking below the norm bound, each by a tenth.
const SHRINK_TRIES: u32 = 100;

#[derive(Clone, Debug, PartialEq)]
pub struct Compressed {
    pub update: Update,
    /// a: the next residual when the update does not count.
    pub carried: Vec<f32>,
    /// a − q: the next residual when it does.
    pub rest: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompressError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("the task's model has {expected} values, the {what} has {got}")]
    Length { what: &'static str, expected: usize, got: usize },
    #[error("tensor {tensor:?}, value {index}: expected a finite change, got {value}")]
    NotFinite { tensor: String, index: usize, value: f32 },
    #[error("tensor {tensor:?} is not trained by this task, but value {index} changes")]
    Frozen { tensor: String, index: usize },
    #[error("the task's compression of {0} bits is none of 1, 2, 4, 8, 16 or 32")]
    Bits(u8),
    #[error("the task's updates are not masked")]
    Unmasked,
    #[error("the update stays above the task's norm bound of {0} steps")]
    Norm(u64),
}

/// Compresses a delta over the whole model, in canonical order. An empty
/// residual is zero. Where the task rounds by chance, `seed` says how.
pub fn compress(
    spec: &TaskSpec,
    binding: Binding,
    delta: &[f32],
    residual: &[f32],
    seed: u64,
) -> Result<Compressed, CompressError> {
    let bits = spec.compression.bits;
    let bits = Bits::of(bits).ok_or(CompressError::Bits(bits))?;
    let chosen = Chosen::of(spec, binding, delta, residual)?;
    let limit = spec.norm_bound as f64 * power_of_two(-i32::from(chosen.whole.norm_scale()));
    let norm = euclidean(&chosen.values);
    let mut shrink = if norm > limit { limit / norm } else { 1.0 };
    for _ in 0..SHRINK_TRIES {
        let rounder = spec.compression.stochastic.then_some(Stochastic(seed));
        let sent = quantise(chosen.layout(), binding, &chosen.values, shrink, bits, rounder);
        if is_within(&sent.update, chosen.layout(), spec.norm_bound) {
            let rest = chosen.rest(sent.values);
            return Ok(Compressed { update: sent.update, carried: chosen.carried, rest });
        }
        shrink *= 0.9;
    }
    Err(CompressError::Norm(spec.norm_bound))
}

/// A delta as the integers that a masked update is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// By the places that are sent, in units of the task's exponent.
    pub values: Vec<i32>,
    /// As in [`Compressed`].
    pub carried: Vec<f32>,
    pub rest: Vec<f32>,
}

/// The same for a masked round: one exponent for all, which the task states; what is out of the range stays
/// behind. Nobody checks a norm. With them the places that they stand at.
pub fn compress_masked(
    spec: &TaskSpec,
    binding: Binding,
    delta: &[f32],
    residual: &[f32],
    seed: u64,
) -> Result<(Integers, Layout), CompressError> {
    let masks = spec.masks.ok_or(CompressError::Unmasked)?;
    let chosen = Chosen::of(spec, binding, delta, residual)?;
    let most = spec.sent_value_max() as f64;
    let exponent = i32::from(masks.exponent);
    let (to_steps, to_real) = (power_of_two(exponent), power_of_two(-exponent));
    let whole = |shrink: f64| {
        let mut rounder = spec.compression.stochastic.then_some(Stochastic(seed));
        let round = |value: &f32| {
            let scaled = f64::from(*value) * to_steps * shrink;
            let whole = match &mut rounder {
                Some(rounder) => rounder.round(scaled),
                None => half_even(scaled),
            };
            whole.clamp(-most, most) as i32
        };
        chosen.values.iter().map(round).collect::<Vec<i32>>()
    };
    let mut values = whole(1.0);
    // Under noise the integers' own norm is bounded, residual and all: what is over stays behind.
    if let Some(noise) = masks.noise {
        let norm = noise.norm as f64;
        let mut shrink = (norm / (euclidean(&chosen.values) * to_steps)).min(1.0);
        for _ in 0..SHRINK_TRIES {
            if square(&values) <= u128::from(noise.norm) * u128::from(noise.norm) {
                break;
            }
            values = whole(shrink);
            shrink *= 0.9;
        }
        if square(&values) > u128::from(noise.norm) * u128::from(noise.norm) {
            return Err(CompressError::Norm(noise.norm));
        }
    }
    let rest = chosen.rest(values.iter().map(|q| f64::from(*q) * to_real).collect());
    let layout = chosen.layout().clone();
    Ok((Integers { values, carried: chosen.carried, rest }, layout))
}

fn square(values: &[i32]) -> u128 {
    values.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum()
}

/// What of a delta and a residual is to be sent.
struct Chosen {
    whole: Layout,
    support: Option<Support>,
    carried: Vec<f32>,
    /// The values that are sent, the others zero; or, where places are drawn, those at them alone.
    values: Vec<f32>,
}

impl Chosen {
    fn of(
        spec: &TaskSpec,
        binding: Binding,
        delta: &[f32],
        residual: &[f32],
    ) -> Result<Self, CompressError> {
        let whole = Layout::of(&spec.tensors)?;
        check_values(spec, &whole, "delta", delta)?;
        if !residual.is_empty() {
            check_values(spec, &whole, "residual", residual)?;
        }
        let unit = power_of_two(-i32::from(whole.norm_scale()));
        let carried = clip_and_add(delta, residual, spec.clip as f64 * unit);
        check_values(spec, &whole, "sum of delta and residual", &carried)?;
        let support = Support::of(spec, &whole, binding.task, &binding.base);
        let values = choose(spec.compression.kept, &whole, support.as_ref(), &carried);
        Ok(Self { whole, support, carried, values })
    }

    /// Of what is sent.
    fn layout(&self) -> &Layout {
        self.support.as_ref().map_or(&self.whole, Support::layout)
    }

    /// What is left when these values were sent.
    fn rest(&self, sent: Vec<f64>) -> Vec<f32> {
        let sent = match &self.support {
            Some(support) => support.scatter(&sent),
            None => sent,
        };
        let rest = self.carried.iter().zip(&sent);
        rest.map(|(a, q)| (f64::from(*a) - q) as f32).collect()
    }
}

fn check_values(
    spec: &TaskSpec,
    layout: &Layout,
    what: &'static str,
    values: &[f32],
) -> Result<(), CompressError> {
    if values.len() != layout.values() {
        return Err(CompressError::Length { what, expected: layout.values(), got: values.len() });
    }
    for slot in layout.slots() {
        let tensor = || spec.tensors[slot.tensor].name.clone();
        for (index, value) in values[slot.range()].iter().enumerate() {
            if !value.is_finite() {
                return Err(CompressError::NotFinite { tensor: tensor(), index, value: *value });
            }
            if !slot.trained && *value != 0.0 {
                return Err(CompressError::Frozen { tensor: tensor(), index });
            }
        }
    }
    Ok(())
}

fn euclidean(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

fn clip_and_add(delta: &[f32], residual: &[f32], bound: f64) -> Vec<f32> {
    let norm = euclidean(delta);
    let factor = if norm > bound { bound / norm } else { 1.0 };
    let residual = residual.iter().copied().chain(std::iter::repeat(0.0));
    let sums = delta.iter().zip(residual);
    sums.map(|(d, e)| (f64::from(*d) * factor + f64::from(e)) as f32).collect()
}

fn choose(kept: Kept, layout: &Layout, support: Option<&Support>, all: &[f32]) -> Vec<f32> {
    if let Some(support) = support {
        return support.gather(all);
    }
    let mut chosen = all.to_vec();
    match kept {
        Kept::All | Kept::Random { .. } => {}
        Kept::Top { ppm } => keep_largest(&mut chosen, layout, layout.kept_values(Some(ppm))),
        Kept::Above { milli } => keep_above(&mut chosen, layout, f64::from(milli) / 1e3),
    }
    chosen
}

/// Zeroes what is below so many times the root mean square of the trained values.
fn keep_above(values: &mut [f32], layout: &Layout, times: f64) {
    let least = times * euclidean(values) / (layout.trained_values().max(1) as f64).sqrt();
    values.iter_mut().filter(|value| f64::from(value.abs()) < least).for_each(|value| *value = 0.0);
}

/// Zeroes all but the `count` largest trained values; of equals the first stay.
fn keep_largest(values: &mut [f32], layout: &Layout, count: usize) {
    if count >= layout.trained_values() {
        return;
    }
    let mut order: Vec<u32> =
        layout.trained().flat_map(|slot| slot.start as u32..slot.range().end as u32).collect();
    let size = |index: &u32| values[*index as usize].abs();
    order.select_nth_unstable_by(count, |a, b| size(b).total_cmp(&size(a)).then(a.cmp(b)));
    for index in &order[count..] {
        values[*index as usize] = 0.0;
    }
}

struct Sent {
    update: Update,
    /// What the integers mean, over the whole model.
    values: Vec<f64>,
}

fn quantise(
    layout: &Layout,
    binding: Binding,
    chosen: &[f32],
    shrink: f64,
    bits: Bits,
    mut rounder: Option<Stochastic>,
) -> Sent {
    let mut values = vec![0.0; chosen.len()];
    let tensors = layout.trained().map(|slot| {
        let real: Vec<f64> = chosen[slot.range()].iter().map(|a| f64::from(*a) * shrink).collect();
        let exponent = exponent(&real, slot, bits);
        let (to_steps, to_real) = (power_of_two(exponent), power_of_two(-exponent));
        let limit = f64::from(bits.limit());
        let scaled = real.iter().map(|a| a * to_steps);
        let steps: Vec<i32> = match &mut rounder {
            _ if bits == Bits::B1 => scaled.map(sign).collect(),
            None => scaled.map(|a| half_even(a).clamp(-limit, limit) as i32).collect(),
            Some(rounder) => scaled.map(|a| rounder.round(a).clamp(-limit, limit) as i32).collect(),
        };
        for (value, q) in values[slot.range()].iter_mut().zip(&steps) {
            *value = f64::from(*q) * to_real;
        }
        TensorUpdate {
            index: slot.tensor as u32,
            len: slot.len as u32,
            exponent: exponent as i8,
            bits,
            data: TensorData::shortest(steps, bits),
        }
    });
    let tensors = tensors.collect();
    Sent { update: Update { binding, tensors }, values }
}

/// Of a value that top-k left out 0, else +1 or −1.
fn sign(value: f64) -> i32 {
    i32::from(value > 0.0) - i32::from(value < 0.0)
}

/// The finest exponent, at most the tensor's scale, at which the largest value
/// fits the bits; what does not even fit the coarsest is clamped.
fn exponent(values: &[f64], slot: &Slot, bits: Bits) -> i32 {
    let largest = values.iter().fold(0.0, |largest: f64, a| largest.max(a.abs()));
    let fits = |exponent: &i32| largest * power_of_two(*exponent) <= f64::from(bits.limit());
    let scale = i32::from(slot.scale);
    if bits == Bits::B1 {
        return sign_exponent(values).clamp(scale - 31, scale);
    }
    (scale - 31..=scale).rev().find(fits).unwrap_or(scale - 31)
}

/// Where a sign stands for a value: the power of two nearest to the mean magnitude of those sent
/// (sparse ternary compression, Sattler et al. 2019, with the mean rounded).
fn sign_exponent(values: &[f64]) -> i32 {
    let sent = values.iter().filter(|value| **value != 0.0);
    let mean = sent.clone().map(|value| value.abs()).sum::<f64>() / sent.count().max(1) as f64;
    // Nothing is sent of a tensor of zeros, whatever its exponent.
    if mean > 0.0 { -(mean.log2().round() as i32) } else { 0 }
}

/// The same check that every validator makes, over the same bytes.
fn is_within(update: &Update, layout: &Layout, bound: u64) -> bool {
    let bytes = update.encode();
    let view = UpdateView::parse(&bytes).expect("an update of ours parses");
    within_norm(&view, layout.norm_scale(), bound)
}

/// To the nearest integer, half to even: adding 1.5·2^52 leaves no bits for a
/// fraction, and the processor rounds. Far faster than a call where the baseline has
/// no instruction for it. From 2^51 on the value stays: it is clamped in any case.
fn half_even(value: f64) -> f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    if value.abs() < 2_251_799_813_685_248.0 { (value + MAGIC) - MAGIC } else { value }
}

/// Draws by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Stochastic(u64);

impl Stochastic {
    fn round(&mut self, value: f64) -> f64 {
        (value + self.uniform()).floor()
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * power_of_two(-53)
    }
}

#[cfg(test)]
mod tests {
    use super::half_even;

    #[test]
    fn the_fast_rounding_is_half_to_even_everywhere() {
        let edges = [0.5, 1.5, 2.5, 1e9 + 0.5, 2_147_483_647.5, 4.503_599e15, 1e300, f64::INFINITY];
        let near = (-4_000..4_000).map(|eighths| f64::from(eighths) / 8.0);
        for value in edges.into_iter().flat_map(|edge| [edge, -edge]).chain(near) {
            assert_eq!(half_even(value), value.round_ties_even(), "{value}");
        }
    }
}
