//! Reading a payload in place. Parsing checks the whole structure and allocates
//! nothing but the list of tensors, which the input's length bounds.

use super::{Binding, Bits, DENSE, MAGIC, SPARSE, TensorData, TensorUpdate, Update, packed};
use twinfold_types::{Digest, PublicKey, TaskId, limits};

/// Why bytes are no update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    #[error("expected \"TFU2\" at the start, got {0:02x?}: not an update of this version")]
    Magic([u8; 4]),
    #[error("the payload ends at byte {at}, {needed} more were expected")]
    Truncated { at: usize, needed: usize },
    #[error("{0} tensors; 1 to {max} are allowed", max = limits::TENSORS_MAX)]
    TensorCount(u32),
    #[error("tensor {index} stands after tensor {previous}: indices must ascend")]
    TensorOrder { previous: u32, index: u32 },
    #[error("tensor {index} has {values} values; 1 to {max} are allowed", max = limits::MODEL_VALUES_MAX)]
    TensorLength { index: u32, values: u64 },
    #[error("tensor {index}: {bits} bits; 1, 2, 4, 8, 16 or 32 are allowed")]
    Bits { index: u32, bits: u8 },
    #[error("tensor {index}: encoding {encoding}; 0 (dense) or 1 (sparse) are allowed")]
    Encoding { index: u32, encoding: u8 },
    #[error(
        "tensor {index}: a gap is cut off or too large, or its last byte is not filled with zeros"
    )]
    Gap { index: u32 },
    #[error("tensor {index}: after the values the last byte is not filled with zeros")]
    Padding { index: u32 },
    #[error("tensor {index}: a sparse value lies beyond its {values} values")]
    Position { index: u32, values: u32 },
    #[error("tensor {index}: a sparse value is zero")]
    Zero { index: u32 },
    #[error("tensor {index}: the sparse form is longer than allowed")]
    SparseTooLong { index: u32 },
    #[error("{0} bytes left over after the last tensor")]
    Trailing(usize),
}

/// An update in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateView<'a> {
    pub binding: Binding,
    pub tensors: Vec<TensorView<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorView<'a> {
    pub index: u32,
    pub len: u32,
    pub exponent: i8,
    pub bits: Bits,
    pub data: DataView<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataView<'a> {
    Dense { values: &'a [u8] },
    Sparse { count: u32, gaps: &'a [u8], values: &'a [u8] },
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], UpdateError> {
        let left = &self.bytes[self.at..];
        let needed = count.saturating_sub(left.len());
        let Some(taken) = left.get(..count) else {
            return Err(UpdateError::Truncated { at: self.bytes.len(), needed });
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UpdateError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, UpdateError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn digest(&mut self) -> Result<Digest, UpdateError> {
        Ok(Digest(self.array()?))
    }

    /// Checks `count` gaps and returns their bytes.
    fn gaps(&mut self, count: u32, index: u32, values: u32) -> Result<&'a [u8], UpdateError> {
        let left = &self.bytes[self.at..];
        let mut gaps = packed::Gaps::new(left, packed::rice(values as usize, count as usize));
        let mut next = 0u64;
        for _ in 0..count {
            let gap = gaps.next().ok_or(UpdateError::Gap { index })?;
            next += u64::from(gap) + 1;
            if next > u64::from(values) {
                return Err(UpdateError::Position { index, values });
            }
        }
        let used = gaps.finish().ok_or(UpdateError::Gap { index })?;
        self.take(used)
    }

    /// Packed values, with nothing after them in their last byte.
    fn values(&mut self, count: u32, index: u32, bits: Bits) -> Result<&'a [u8], UpdateError> {
        let values = self.take(bits.bytes_of(count as usize))?;
        match packed::ends_clean(values, count as usize, bits) {
            true => Ok(values),
            false => Err(UpdateError::Padding { index }),
        }
    }

    fn tensor(&mut self) -> Result<TensorView<'a>, UpdateError> {
        let index = self.u32()?;
        let values = u64::from_le_bytes(self.array()?);
        let [exponent, bits, encoding] = self.array()?;
        if values == 0 || values > limits::MODEL_VALUES_MAX {
            return Err(UpdateError::TensorLength { index, values });
        }
        let len = values as u32;
        let bits = Bits::of(bits).ok_or(UpdateError::Bits { index, bits })?;
        let data = match encoding {
            DENSE => DataView::Dense { values: self.values(len, index, bits)? },
            SPARSE => self.sparse(index, len, bits)?,
            _ => return Err(UpdateError::Encoding { index, encoding }),
        };
        Ok(TensorView { index, len, exponent: exponent as i8, bits, data })
    }

    fn sparse(&mut self, index: u32, len: u32, bits: Bits) -> Result<DataView<'a>, UpdateError> {
        let start = self.at;
        let count = self.u32()?;
        let gaps = self.gaps(count, index, len)?;
        let values = self.values(count, index, bits)?;
        if (0..count as usize).any(|at| packed::value(values, at, bits) == 0) {
            return Err(UpdateError::Zero { index });
        }
        if self.at - start > bits.tensor_bytes_max(len as usize) {
            return Err(UpdateError::SparseTooLong { index });
        }
        Ok(DataView::Sparse { count, gaps, values })
    }
}

impl<'a> UpdateView<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, UpdateError> {
        let mut reader = Reader { bytes, at: 0 };
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(UpdateError::Magic(magic));
        }
        let (task, trainer) = (TaskId(reader.digest()?), PublicKey(reader.array()?));
        let binding = Binding { task, trainer, base: reader.digest()? };
        let count = reader.u32()?;
        if count == 0 || count as usize > limits::TENSORS_MAX {
            return Err(UpdateError::TensorCount(count));
        }
        let mut tensors: Vec<TensorView> = vec![];
        for _ in 0..count {
            let tensor = reader.tensor()?;
            if let Some(last) = tensors.last().filter(|last| last.index >= tensor.index) {
                let (previous, index) = (last.index, tensor.index);
                return Err(UpdateError::TensorOrder { previous, index });
            }
            tensors.push(tensor);
        }
        match bytes.len() - reader.at {
            0 => Ok(Self { binding, tensors }),
            left => Err(UpdateError::Trailing(left)),
        }
    }

    pub fn to_update(&self) -> Update {
        let tensors = self.tensors.iter().map(|tensor| tensor.owned()).collect();
        Update { binding: self.binding, tensors }
    }
}

impl<'a> TensorView<'a> {
    /// The values sent, packed, and how many.
    pub fn values(&self) -> (&'a [u8], usize) {
        match self.data {
            DataView::Dense { values } => (values, self.len as usize),
            DataView::Sparse { count, values, .. } => (values, count as usize),
        }
    }

    /// Values sent that are not zero.
    pub fn nonzero(&self) -> usize {
        match self.data {
            DataView::Sparse { count, .. } => count as usize,
            DataView::Dense { .. } => {
                let mut count = 0;
                self.for_each(|_, q| count += usize::from(q != 0));
                count
            }
        }
    }

    /// Calls `each` with every (index, value) sent, in order.
    pub fn for_each(&self, mut each: impl FnMut(usize, i32)) {
        let (values, count) = self.values();
        match (self.data, self.bits) {
            (DataView::Dense { .. }, Bits::B8) => dense::<1>(values, each),
            (DataView::Dense { .. }, Bits::B16) => dense::<2>(values, each),
            (DataView::Dense { .. }, Bits::B32) => dense::<4>(values, each),
            (DataView::Dense { .. }, bits) => {
                (0..count).for_each(|at| each(at, packed::value(values, at, bits)));
            }
            (DataView::Sparse { gaps, .. }, bits) => {
                let positions = Positions::new(gaps, self.len as usize, count);
                let sent = positions.zip(0..count);
                sent.for_each(|(index, at)| each(index, packed::value(values, at, bits)));
            }
        }
    }

    fn owned(&self) -> TensorUpdate {
        let mut pairs = vec![];
        self.for_each(|index, q| pairs.push((index as u32, q)));
        let data = match self.data {
            DataView::Dense { .. } => TensorData::Dense(pairs.iter().map(|(_, q)| *q).collect()),
            DataView::Sparse { .. } => TensorData::Sparse(pairs),
        };
        let TensorView { index, len, exponent, bits, .. } = *self;
        TensorUpdate { index, len, exponent, bits, data }
    }
}

/// A little-endian signed number of W bytes, 1, 2 or 4.
#[inline(always)]
pub(crate) fn lane<const W: usize>(bytes: &[u8; W]) -> i32 {
    let mut wide = [0; 4];
    wide[4 - W..].copy_from_slice(bytes);
    i32::from_le_bytes(wide) >> (32 - 8 * W)
}

#[inline(always)]
fn dense<const W: usize>(values: &[u8], mut each: impl FnMut(usize, i32)) {
    let values = values.as_chunks::<W>().0.iter().map(lane);
    values.enumerate().for_each(|(index, q)| each(index, q));
}

/// Positions of sparse values, from gaps that were checked.
struct Positions<'a> {
    gaps: packed::Gaps<'a>,
    next: usize,
}

impl<'a> Positions<'a> {
    fn new(gaps: &'a [u8], len: usize, count: usize) -> Self {
        Self { gaps: packed::Gaps::new(gaps, packed::rice(len, count)), next: 0 }
    }
}

impl Iterator for Positions<'_> {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        let position = self.next + self.gaps.next()? as usize;
        self.next = position + 1;
        Some(position)
    }
}

/// For fuzzing: any bytes are either refused or encode back to themselves.
pub fn decode_target(bytes: &[u8]) {
    if let Ok(view) = UpdateView::parse(bytes) {
        assert_eq!(view.to_update().encode(), bytes, "not canonical");
    }
}
