//! The way down. Where the task asks for it, a cluster's model moves by a compressed change, which is short to
//! tell to whoever has the model before; what is left out goes into the next change (error feedback at the
//! server: Tang, Yu, Lian, Zhang and Liu, *DoubleSqueeze*, ICML 2019). All in integers.
//!
//! Between any two models of a task, what one is more than the other has a payload: that of an update (TFU2),
//! bound to the older one, which gives the newer one to the bit.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout,
    fixed::add_saturating,
    layout::Slot,
    update::{Binding, Bits, TensorData, TensorUpdate, Update, UpdateView},
};
use twinfold_types::{
    Digest, PublicKey, TaskId,
    task::{Compression, Kept},
};

/// Nobody's: a change between models is signed by no trainer.
const NOBODY: PublicKey = PublicKey([0; 32]);

/// Replaces the step from `base` to `next` by what is sent of it and of the rest that was left before; `rest`,
/// one for each trained value, becomes what is left now. How many values were clamped.
pub fn send(
    down: Compression,
    layout: &Layout,
    base: &[i32],
    next: &mut [i32],
    rest: &mut [i32],
) -> u64 {
    let places = || layout.trained().flat_map(Slot::range);
    let mut wanted: Vec<i64> = places()
        .zip(rest.iter())
        .map(|(at, rest)| i64::from(next[at]) - i64::from(base[at]) + i64::from(*rest))
        .collect();
    let all = wanted.clone();
    if let Kept::Top { ppm } = down.kept {
        keep_largest(&mut wanted, layout, layout.kept_values(Some(ppm)));
    }
    let mut start = 0;
    for slot in layout.trained() {
        quantise(&mut wanted[start..start + slot.len], down.bits);
        start += slot.len;
    }
    let mut clamped = 0;
    for (((at, sent), all), rest) in places().zip(&wanted).zip(&all).zip(rest) {
        let (step, over) = add_saturating(base[at], *sent);
        clamped += u64::from(over);
        next[at] = step;
        *rest = (all - sent).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    }
    clamped
}

/// Zeroes all but the `count` largest, as real numbers; of equals the first stay.
fn keep_largest(values: &mut [i64], layout: &Layout, count: usize) {
    if count >= values.len() {
        return;
    }
    let finest = layout.norm_scale();
    let shifts = layout
        .trained()
        .flat_map(|slot| std::iter::repeat_n(u32::from(finest - slot.scale), slot.len));
    // A wanted change is below 2^33, a scale at most 30: 64 bits hold it.
    let sizes: Vec<u64> =
        values.iter().zip(shifts).map(|(value, shift)| value.unsigned_abs() << shift).collect();
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.select_nth_unstable_by_key(count, |at| (std::cmp::Reverse(sizes[*at as usize]), *at));
    order[count..].iter().for_each(|at| values[*at as usize] = 0);
}

/// Rounds to the finest multiples of a power of two of which the largest value fits the bits, half to even.
fn quantise(values: &mut [i64], bits: u8) {
    let most = (1i64 << (bits - 1)) - 1;
    let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0) as i64;
    let shift = (0..=33).find(|shift| half_even(largest, *shift) <= most).unwrap_or(33);
    values.iter_mut().for_each(|value| *value = half_even(*value, shift) << shift);
}

/// value / 2^shift.
fn half_even(value: i64, shift: u32) -> i64 {
    if shift == 0 {
        return value;
    }
    let (floor, half) = (value >> shift, 1i64 << (shift - 1));
    let part = value & ((1i64 << shift) - 1);
    floor + i64::from(part > half || (part == half && floor & 1 == 1))
}

/// What `to` is more than `from`, as short as it can be told; nothing where it is no 32-bit number.
pub fn encode(
    layout: &Layout,
    task: TaskId,
    base: Digest,
    from: &[i32],
    to: &[i32],
) -> Option<Vec<u8>> {
    let mut tensors = vec![];
    for slot in layout.slots() {
        let pairs = from.get(slot.range())?.iter().zip(to.get(slot.range())?);
        let apart: Option<Vec<i32>> = pairs.map(|(from, to)| to.checked_sub(*from)).collect();
        let apart = apart?;
        // A payload has a tensor at least.
        if slot.tensor == 0 || apart.iter().any(|value| *value != 0) {
            tensors.push(tensor(slot, apart)?);
        }
    }
    Some(Update { binding: Binding { task, trainer: NOBODY, base }, tensors }.encode())
}

fn tensor(slot: &Slot, mut apart: Vec<i32>) -> Option<TensorUpdate> {
    let together = apart.iter().fold(0, |all, value| all | value);
    let shift = if together == 0 { 0 } else { together.trailing_zeros() };
    apart.iter_mut().for_each(|value| *value >>= shift);
    let all = [Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];
    let bits = all.into_iter().find(|bits| apart.iter().all(|value| bits.holds(*value)))?;
    Some(TensorUpdate {
        index: slot.tensor as u32,
        len: slot.len as u32,
        exponent: i8::try_from(i32::from(slot.scale) - shift as i32).ok()?,
        bits,
        data: TensorData::shortest(apart, bits),
    })
}

/// Moves a model by such a payload; false where it is none for this model. The caller holds the result
/// against its digest.
pub fn apply(
    layout: &Layout,
    task: TaskId,
    base: Digest,
    payload: &[u8],
    steps: &mut [i32],
) -> bool {
    let Ok(update) = UpdateView::parse(payload) else { return false };
    if update.binding != (Binding { task, trainer: NOBODY, base }) || steps.len() != layout.values()
    {
        return false;
    }
    for tensor in &update.tensors {
        let Some(slot) = layout.slots().get(tensor.index as usize) else { return false };
        let shift = i32::from(slot.scale) - i32::from(tensor.exponent);
        if tensor.len as usize != slot.len || !(0..=31).contains(&shift) {
            return false;
        }
        let steps = &mut steps[slot.range()];
        tensor.for_each(|at, q| steps[at] = steps[at].wrapping_add(q.wrapping_shl(shift as u32)));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::model::{TensorPolicy, TensorSpec};

    fn layout() -> Layout {
        let tensor = |name: &str, len, scale, policy| TensorSpec {
            name: name.into(),
            shape: vec![len],
            scale,
            policy,
        };
        Layout::of(&[
            tensor("a", 6, 20, TensorPolicy::Train),
            tensor("still", 2, 20, TensorPolicy::Frozen),
            tensor("b", 2, 10, TensorPolicy::Train),
        ])
        .unwrap()
    }

    const TASK: TaskId = TaskId(Digest([7; 32]));
    const BASE: Digest = Digest([3; 32]);

    fn moved(payload: &[u8], from: &[i32]) -> Option<Vec<i32>> {
        let mut steps = from.to_vec();
        apply(&layout(), TASK, BASE, payload, &mut steps).then_some(steps)
    }

    #[test]
    fn a_change_leads_from_one_model_to_the_other_to_the_bit() {
        let from = [5, 0, -9, i32::MAX, 1, 2, 7, 7, 1 << 20, 3];
        for to in [
            from,
            [6, 0, -9, i32::MAX - 1, 1, 2, 7, 7, 1 << 20, 3],
            [5 + 256, 0, -9 - 512, i32::MAX, 1, 2, 7, 7, 0, 3],
            [i32::MAX, i32::MIN, 0, 0, 0, 0, 7, 7, 0, 0],
        ] {
            let payload = encode(&layout(), TASK, BASE, &from, &to).unwrap();
            assert_eq!(moved(&payload, &from), Some(to.to_vec()), "{to:?}");
        }
        let far = [i32::MIN, 0, -9, i32::MIN, 1, 2, 7, 7, 0, 0];
        assert_eq!(encode(&layout(), TASK, BASE, &from, &far), None, "over 32 bits apart");
    }

    #[test]
    fn what_is_told_of_another_model_is_refused() {
        let payload = encode(&layout(), TASK, BASE, &[0; 10], &[4; 10]).unwrap();
        let mut steps = [0; 10];
        assert!(apply(&layout(), TASK, BASE, &payload, &mut steps));
        assert!(!apply(&layout(), TASK, Digest([4; 32]), &payload, &mut steps));
        assert!(!apply(&layout(), TaskId(BASE), BASE, &payload, &mut steps));
        assert!(!apply(&layout(), TASK, BASE, &payload[1..], &mut steps));
    }

    #[test]
    fn what_is_left_out_comes_with_the_next_change() {
        let (layout, down) = (layout(), Compression::top(250_000, 4));
        let (base, mut rest) = ([0; 10], vec![0; 8]);
        // Two of eight are kept: 1,000 in the first tensor, and 900 of the second, which is a thousand
        // times as much.
        let mut next = [1_000, 30, 0, 0, 0, 0, 0, 0, 900, 0];
        assert_eq!(send(down, &layout, &base, &mut next, &mut rest), 0);
        // Four bits are ±7: in steps of 256, and 128.
        assert_eq!(next, [1_024, 0, 0, 0, 0, 0, 0, 0, 896, 0]);
        assert_eq!(rest, [-24, 30, 0, 0, 0, 0, 4, 0]);
        // Of what is left the 4 of the second tensor is the most, and then 30, in steps of eight.
        let mut again = next;
        send(down, &layout, &next, &mut again, &mut rest);
        assert_eq!(again, [1_024, 32, 0, 0, 0, 0, 0, 0, 900, 0]);
        assert_eq!(rest, [-24, -2, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let found = [5, 6, 7, -5, -6, -7, 2, -2].map(|value| half_even(value, 2));
        assert_eq!(found, [1, 2, 2, -1, -2, -2, 0, 0]);
        assert_eq!(half_even(-3, 0), -3);
    }
}
