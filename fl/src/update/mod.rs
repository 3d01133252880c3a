//! The payload of an update: which model it is against, and per trained tensor
//! the integers that were sent.
//!
//! ```text
//! magic "TFU2" · task 32 · trainer 32 · digest of the base model 32 · tensors u32
//! per tensor, in ascending order of its index:
//!   index u32 · values u64 · exponent i8 · bits u8 (1, 2, 4, 8, 16 or 32) · encoding u8
//!   encoding 0, dense:  the values
//!   encoding 1, sparse: count u32 · count gaps · count values
//! ```
//! Numbers are little endian. An integer q stands for q·2^−exponent. Values and gaps are packed
//! (`packed`). A gap is the number of values left out before this one, Golomb-Rice coded with the
//! parameter that the counts give; a sparse value is never zero, and a sparse tensor is never longer
//! than the dense one, or, with one bit, which has no zero, than the dense one of two. So
//! the payload of a task has a known greatest size, and a list of sent values has
//! one sparse form and one dense form. Nothing may follow the last tensor.

mod packed;
mod view;

pub(crate) use view::lane;
pub use view::{DataView, TensorView, UpdateError, UpdateView, decode_target};

use twinfold_types::{Digest, PublicKey, TaskId};

/// Version of the format, at the start of each payload.
pub const MAGIC: [u8; 4] = *b"TFU2";
/// Bytes before the first tensor.
pub const HEADER_BYTES: usize = 4 + 3 * 32 + 4;
/// Bytes of a tensor before its data.
pub const TENSOR_HEADER_BYTES: usize = 4 + 8 + 1 + 1 + 1;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const SPARSE_COUNT_BYTES: usize = 4;

/// What an update is for: it counts nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub task: TaskId,
    pub trainer: PublicKey,
    /// Digest of the cluster model that the delta is against.
    pub base: Digest,
}

/// Bits of a sent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bits {
    /// A sign: +1 or −1, no zero.
    B1 = 1,
    B2 = 2,
    B4 = 4,
    B8 = 8,
    B16 = 16,
    B32 = 32,
}

impl Bits {
    pub fn of(bits: u8) -> Option<Self> {
        use Bits::{B1, B2, B4, B8, B16, B32};
        [B1, B2, B4, B8, B16, B32].into_iter().find(|b| *b as u8 == bits)
    }

    /// Greatest magnitude a trainer sends: symmetric, so that −q is a value too.
    pub fn limit(self) -> i32 {
        (i32::MAX >> (32 - self as u32)).max(1)
    }

    /// Whether a value can be sent.
    pub fn holds(self, q: i32) -> bool {
        let unused = 32 - self as u32;
        match self {
            Bits::B1 => q.abs() == 1,
            _ => (q << unused) >> unused == q,
        }
    }

    /// Bytes of so many values.
    pub fn bytes_of(self, count: usize) -> usize {
        packed::bytes_of(count, self)
    }

    /// Most bytes of a tensor, after its header.
    pub fn tensor_bytes_max(self, len: usize) -> usize {
        match self {
            // Sparse, with a bit for each place and one for each value; two paddings.
            Bits::B1 => SPARSE_COUNT_BYTES + Bits::B2.bytes_of(len) + 2,
            _ => self.bytes_of(len),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub binding: Binding,
    pub tensors: Vec<TensorUpdate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorUpdate {
    /// Index in the task's list of tensors.
    pub index: u32,
    /// Values of the tensor.
    pub len: u32,
    pub exponent: i8,
    pub bits: Bits,
    pub data: TensorData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorData {
    Dense(Vec<i32>),
    /// (index, value) in ascending order of indices, no value zero.
    Sparse(Vec<(u32, i32)>),
}

impl TensorData {
    /// The shorter encoding of a tensor's values; dense when both are equal.
    pub fn shortest(values: Vec<i32>, bits: Bits) -> Self {
        if !is_shorter_sparse(&values, bits) {
            return TensorData::Dense(values);
        }
        let sparse = (0u32..).zip(values).filter(|(_, q)| *q != 0);
        TensorData::Sparse(sparse.collect())
    }
}

fn is_shorter_sparse(values: &[i32], bits: Bits) -> bool {
    let sent = values.iter().filter(|q| **q != 0).count();
    if bits == Bits::B1 {
        return sent < values.len();
    }
    let dense = bits.bytes_of(values.len());
    let least = SPARSE_COUNT_BYTES + bits.bytes_of(sent);
    if least >= dense {
        return false;
    }
    let rice = packed::rice(values.len(), sent);
    let (mut gap_bits, mut gap) = (0, 0);
    for q in values {
        if *q == 0 {
            gap += 1;
            continue;
        }
        gap_bits += packed::gap_bits(gap, rice);
        gap = 0;
    }
    least + gap_bits.div_ceil(8) < dense
}

fn gaps(pairs: &[(u32, i32)]) -> impl Iterator<Item = u32> {
    let mut next = 0;
    pairs.iter().map(move |(index, _)| {
        let gap = index - next;
        next = index + 1;
        gap
    })
}

impl Update {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.binding.task.0.0);
        out.extend_from_slice(&self.binding.trainer.0);
        out.extend_from_slice(&self.binding.base.0);
        out.extend_from_slice(&(self.tensors.len() as u32).to_le_bytes());
        for tensor in &self.tensors {
            tensor.encode(&mut out);
        }
        out
    }
}

impl TensorUpdate {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&u64::from(self.len).to_le_bytes());
        out.push(self.exponent as u8);
        out.push(self.bits as u8);
        match &self.data {
            TensorData::Dense(values) => {
                out.push(DENSE);
                put_all(out, values, self.bits);
            }
            TensorData::Sparse(pairs) => {
                out.push(SPARSE);
                out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
                let rice = packed::rice(self.len as usize, pairs.len());
                packed::put_gaps(out, gaps(pairs), rice);
                packed::put_values(out, pairs.iter().map(|(_, q)| *q), self.bits);
            }
        }
    }
}

/// Whole bytes at once, which is what most updates are.
fn put_all(out: &mut Vec<u8>, values: &[i32], bits: Bits) {
    let unfit = values.iter().find(|q| !bits.holds(**q));
    assert!(unfit.is_none(), "{unfit:?} does not fit {} bits", bits as u8);
    match bits {
        Bits::B8 => out.extend(values.iter().map(|q| *q as u8)),
        Bits::B16 => put_words(out, values, |q| (q as i16).to_le_bytes()),
        Bits::B32 => put_words(out, values, i32::to_le_bytes),
        Bits::B1 | Bits::B2 | Bits::B4 => packed::put_values(out, values.iter().copied(), bits),
    }
}

fn put_words<const W: usize>(out: &mut Vec<u8>, values: &[i32], word: impl Fn(i32) -> [u8; W]) {
    let start = out.len();
    out.resize(start + values.len() * W, 0);
    for (place, q) in out[start..].as_chunks_mut::<W>().0.iter_mut().zip(values) {
        *place = word(*q);
    }
}
