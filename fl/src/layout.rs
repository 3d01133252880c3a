//! Where each tensor's values stand in a model's canonical form: one tensor after
//! the other, in the task's order, four little-endian bytes a value.

use twinfold_types::{
    limits,
    model::{TensorPolicy, TensorSpec, tensors_fault},
};

/// One tensor's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index in the task's list.
    pub tensor: usize,
    /// First value in the canonical form.
    pub start: usize,
    pub len: usize,
    pub scale: u8,
    pub trained: bool,
}

impl Slot {
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

/// The places of all tensors of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: Vec<Slot>,
    values: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("the list of tensors is refused: {0}")]
    Tensors(String),
    #[error("the model's tensors take {expected} bytes in canonical form, got {got}")]
    Length { expected: usize, got: usize },
}

impl Layout {
    pub fn of(tensors: &[TensorSpec]) -> Result<Self, LayoutError> {
        if let Some(fault) = tensors_fault(tensors) {
            return Err(LayoutError::Tensors(fault));
        }
        let mut values = 0;
        let slots = tensors.iter().enumerate().map(|(tensor, spec)| {
            // The check above bounds the sum of all sizes.
            let len = spec.shape.iter().product::<u64>() as usize;
            let start = values;
            values += len;
            let trained = spec.policy == TensorPolicy::Train;
            Slot { tensor, start, len, scale: spec.scale, trained }
        });
        let slots = slots.collect();
        Ok(Self { slots, values })
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub fn trained(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.trained)
    }

    /// Values of the whole model.
    pub fn values(&self) -> usize {
        self.values
    }

    pub fn trained_values(&self) -> usize {
        self.trained().map(|slot| slot.len).sum()
    }

    /// The finest scale among the trained tensors: the unit of norms.
    pub fn norm_scale(&self) -> u8 {
        self.trained().map(|slot| slot.scale).max().unwrap_or(0)
    }

    /// The same tensors with other lengths, by their place in the task's list.
    pub(crate) fn with_lengths(&self, lengths: &[usize]) -> Self {
        let mut values = 0;
        let slots = self.slots.iter().zip(lengths).map(|(slot, len)| {
            let start = values;
            values += len;
            Slot { start, len: *len, ..*slot }
        });
        let slots = slots.collect();
        Self { slots, values }
    }

    /// Values that top-k keeps: the share rounded up, so at least one.
    pub fn kept_values(&self, top_ppm: Option<u32>) -> usize {
        let all = self.trained_values();
        let Some(ppm) = top_ppm else { return all };
        let kept = (all as u64 * u64::from(ppm)).div_ceil(1_000_000);
        (kept as usize).min(all)
    }
}

const _: () = assert!(limits::MODEL_VALUES_MAX < u32::MAX as u64 && usize::BITS >= 64);

/// A model's canonical form.
pub fn canonical_bytes(steps: &[i32]) -> Vec<u8> {
    let mut bytes = vec![0; steps.len() * 4];
    for (place, step) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(steps) {
        *place = step.to_le_bytes();
    }
    bytes
}

/// The steps of a model with these tensors.
pub fn steps_from_canonical(bytes: &[u8], tensors: &[TensorSpec]) -> Result<Vec<i32>, LayoutError> {
    let expected = Layout::of(tensors)?.values() * 4;
    if bytes.len() != expected {
        return Err(LayoutError::Length { expected, got: bytes.len() });
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|step| i32::from_le_bytes(*step)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[u64], policy: TensorPolicy) -> TensorSpec {
        TensorSpec { name: name.into(), shape: shape.to_vec(), scale: 20, policy }
    }

    #[test]
    fn tensors_stand_one_after_the_other() {
        let tensors = [
            tensor("a", &[2, 3], TensorPolicy::Train),
            tensor("b", &[], TensorPolicy::Frozen),
            tensor("c", &[4], TensorPolicy::Train),
        ];
        let layout = Layout::of(&tensors).unwrap();
        let ranges: Vec<_> = layout.slots().iter().map(Slot::range).collect();
        assert_eq!(ranges, [0..6, 6..7, 7..11]);
        assert_eq!((layout.values(), layout.trained_values()), (11, 10));
        assert_eq!(layout.kept_values(Some(150_000)), 2);
        assert_eq!(layout.kept_values(Some(1)), 1);
        assert_eq!(layout.kept_values(None), 10);
    }

    #[test]
    fn the_canonical_form_has_exactly_its_length() {
        let tensors = [tensor("a", &[3], TensorPolicy::Train)];
        let bytes = canonical_bytes(&[1, -2, i32::MIN]);
        assert_eq!(bytes, [1, 0, 0, 0, 254, 255, 255, 255, 0, 0, 0, 128]);
        assert_eq!(steps_from_canonical(&bytes, &tensors), Ok(vec![1, -2, i32::MIN]));
        let error = steps_from_canonical(&bytes[..11], &tensors);
        assert_eq!(error, Err(LayoutError::Length { expected: 12, got: 11 }));
    }
}
