//! The places that a round's updates send where they are drawn by chance: one draw for everyone, from the
//! model that the round is against, which nobody knew before it was certified (random masks: Konečný et al.,
//! *Federated Learning: Strategies for Improving Communication Efficiency*, 2016). All updates then stand on
//! the same places, so that no place is sent, and rules compare them value by value as if these were the
//! whole model.

use crate::{Layout, layout::Slot, rule::Change};
use twinfold_types::{Digest, TaskId, hash::Tag, task::TaskSpec};

/// Of each trained tensor the places that are sent, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The places that are sent, as a model of their own.
    layout: Layout,
    /// In the whole model's canonical form, tensor by tensor.
    places: Vec<u32>,
    /// Values of the whole model.
    values: usize,
}

impl Support {
    /// Of updates against `base`; nothing where the task does not draw places.
    pub fn of(spec: &TaskSpec, layout: &Layout, task: TaskId, base: &Digest) -> Option<Self> {
        let ppm = spec.compression.random_ppm()?;
        let mut places = vec![];
        let mut lengths = vec![0; layout.slots().len()];
        for slot in layout.trained() {
            let kept = (slot.len as u64 * u64::from(ppm)).div_ceil(1_000_000) as usize;
            lengths[slot.tensor] = kept;
            let seed = Digest::of(Tag::Support, &(task, base, slot.tensor as u32));
            places.extend(draw(slot, kept, &seed));
        }
        let (layout, values) = (layout.with_lengths(&lengths), layout.values());
        Some(Self { layout, places, values })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The values at the places that are sent.
    pub fn gather(&self, whole: &[f32]) -> Vec<f32> {
        self.places.iter().map(|place| whole[*place as usize]).collect()
    }

    /// Values at those places, and zero everywhere else.
    pub fn scatter(&self, sent: &[f64]) -> Vec<f64> {
        let mut whole = vec![0.0; self.values];
        for (place, value) in self.places.iter().zip(sent) {
            whole[*place as usize] = *value;
        }
        whole
    }

    /// A change of those places as one of the whole model.
    pub fn spread(&self, change: &Change) -> Change {
        let mut whole = vec![0; self.values];
        let mut block = vec![0; crate::rule::BLOCK];
        for range in change.blocks() {
            let block = &mut block[..range.len()];
            change.read(range.clone(), block);
            for (place, step) in self.places[range].iter().zip(block) {
                whole[*place as usize] = *step;
            }
        }
        Change::Steps(whole)
    }
}

/// `kept` places of a tensor, each set of so many equally likely but for the draw's 2^−32: going through the
/// places, one is kept with the part of those still wanted among those still left (Knuth, *The Art of
/// Computer Programming*, volume 2, algorithm 3.4.2 S).
fn draw(slot: &Slot, kept: usize, seed: &Digest) -> impl Iterator<Item = u32> {
    let mut numbers = blake3::Hasher::new_keyed(&seed.0).finalize_xof();
    let (mut wanted, mut left, start) = (kept as u64, slot.len as u64, slot.start as u32);
    let (mut bytes, mut at) = ([0; 4_096], 4_096);
    (0..slot.len as u32).filter_map(move |place| {
        if at == bytes.len() {
            numbers.fill(&mut bytes);
            at = 0;
        }
        let number = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        at += 4;
        // A tensor has fewer than 2^30 values: the product stays below 2^62.
        let keep = (u64::from(number) * left) >> 32 < wanted;
        left -= 1;
        wanted -= u64::from(keep);
        keep.then_some(start + place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::model::{TensorPolicy, TensorSpec};

    fn slot(len: usize) -> Slot {
        Slot { tensor: 0, start: 100, len, scale: 20, trained: true }
    }

    fn places(len: usize, kept: usize, seed: u8) -> Vec<u32> {
        draw(&slot(len), kept, &Digest([seed; 32])).collect()
    }

    #[test]
    fn exactly_so_many_places_are_drawn_in_order_and_each_as_often() {
        let mut times = [0; 50];
        for seed in 0..200 {
            let drawn = places(50, 10, seed);
            assert_eq!(drawn.len(), 10);
            assert!(drawn.is_sorted_by(|a, b| a < b));
            drawn.iter().for_each(|place| times[*place as usize - 100] += 1);
        }
        // 40 on average; five standard deviations are 28.
        assert!(times.iter().all(|times| (12..=68).contains(times)), "{times:?}");
        assert_eq!(places(7, 7, 1), (100..107).collect::<Vec<_>>());
        assert_eq!(places(3_000, 1, 1).len(), 1);
        assert_ne!(places(3_000, 30, 1), places(3_000, 30, 2));
    }

    #[test]
    fn the_layout_of_what_is_sent_has_nothing_of_frozen_tensors() {
        let tensor = |name: &str, len, policy| {
            let name = name.to_string();
            TensorSpec { name, shape: vec![len], scale: 20, policy }
        };
        let tensors = [
            tensor("a", 10, TensorPolicy::Frozen),
            tensor("b", 40, TensorPolicy::Train),
            tensor("c", 3, TensorPolicy::Train),
        ];
        let layout = Layout::of(&tensors).unwrap();
        let lengths = layout.with_lengths(&[0, 4, 1]);
        let ranges: Vec<_> = lengths.trained().map(Slot::range).collect();
        assert_eq!((ranges, lengths.values()), (vec![0..4, 4..5], 5));
    }
}
