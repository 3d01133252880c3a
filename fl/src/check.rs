//! What every validator checks of an update before it counts: the same bytes get
//! the same answer everywhere, and a refused update changes nothing.

use crate::{
    FoldInput, Layout,
    clip::within_norm,
    layout::Slot,
    update::{Binding, Bits, HEADER_BYTES, TENSOR_HEADER_BYTES, TensorView, UpdateView},
};
use twinfold_types::{
    TaskId, limits,
    round::FoldRefusal,
    task::{Mode, TaskSpec},
};

/// Greatest payload that an update of the task can have.
pub fn update_bytes_max(spec: &TaskSpec, layout: &Layout) -> u64 {
    let bits = Bits::of(spec.compression.bits).unwrap_or(Bits::B32);
    let tensor = |slot: &Slot| TENSOR_HEADER_BYTES + bits.tensor_bytes_max(slot.len);
    (HEADER_BYTES + layout.trained().map(tensor).sum::<usize>()) as u64
}

/// The factor over 2^16 for an update of this age, in versions; `None` for one
/// that does not count any more. Synchronous rounds have one base, but for late updates.
pub fn staleness_factor(
    spec: &TaskSpec,
    version: u64,
    base_version: u64,
) -> Result<u32, FoldRefusal> {
    let age = version.checked_sub(base_version).ok_or(FoldRefusal::WrongBinding)?;
    let factors = match &spec.mode {
        Mode::Sync if age == 0 => return Ok(limits::FACTOR_ONE),
        Mode::Sync => &spec.late,
        Mode::Async { staleness, .. } => staleness,
    };
    let factor = usize::try_from(age).ok().and_then(|age| factors.get(age));
    factor.copied().ok_or(FoldRefusal::Stale)
}

/// Parses a payload and holds it against the task and its entry in the list.
pub fn check<'a>(
    spec: &TaskSpec,
    layout: &Layout,
    task: TaskId,
    input: &FoldInput,
    payload: &'a [u8],
) -> Result<UpdateView<'a>, FoldRefusal> {
    let update = UpdateView::parse(payload).map_err(|_| FoldRefusal::Malformed)?;
    if update.binding != (Binding { task, trainer: input.trainer, base: input.base_digest }) {
        return Err(FoldRefusal::WrongBinding);
    }
    check_shape(layout, &update)?;
    check_compression(spec, layout, &update)?;
    if !within_norm(&update, layout.norm_scale(), spec.norm_bound) {
        return Err(FoldRefusal::Norm);
    }
    Ok(update)
}

/// Exactly the trained tensors, with their lengths, no finer than the model.
fn check_shape(layout: &Layout, update: &UpdateView) -> Result<(), FoldRefusal> {
    let slot = |tensor: &TensorView| layout.slots().get(tensor.index as usize);
    if update.tensors.iter().any(|tensor| slot(tensor).is_some_and(|slot| !slot.trained)) {
        return Err(FoldRefusal::FrozenTensor);
    }
    if update.tensors.len() != layout.trained().count() {
        return Err(FoldRefusal::WrongShape);
    }
    for (tensor, slot) in update.tensors.iter().zip(layout.trained()) {
        if tensor.index as usize != slot.tensor || tensor.len as usize != slot.len {
            return Err(FoldRefusal::WrongShape);
        }
        // Alignment is a left shift by 0 to 31 and never loses a bit.
        let shift = i32::from(slot.scale) - i32::from(tensor.exponent);
        if !(0..=31).contains(&shift) {
            return Err(FoldRefusal::Malformed);
        }
    }
    Ok(())
}

fn check_compression(
    spec: &TaskSpec,
    layout: &Layout,
    update: &UpdateView,
) -> Result<(), FoldRefusal> {
    let compression = spec.compression;
    if update.tensors.iter().any(|tensor| tensor.bits as u8 > compression.bits) {
        return Err(FoldRefusal::Compression);
    }
    if let Some(ppm) = compression.top_ppm() {
        let sent: usize = update.tensors.iter().map(TensorView::nonzero).sum();
        if sent > layout.kept_values(Some(ppm)) {
            return Err(FoldRefusal::Compression);
        }
    }
    Ok(())
}
