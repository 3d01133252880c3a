//! The payload of an update: which model it is against, and per trained tensor
//! the integers that were sent.
//!
//! ```text
//! magic "TFU1" · task 32 · trainer 32 · digest of the base model 32 · tensors u32
//! per tensor, in ascending order of its index:
//!   index u32 · values u64 · exponent i8 · bits u8 (8, 16 or 32) · encoding u8
//!   encoding 0, dense:  values × bits
//!   encoding 1, sparse: count u32 · count gaps · count values × bits
//! ```
//! Numbers are little endian. An integer q stands for q·2^−exponent. A gap is the
//! number of values left out before this one, as a minimal LEB128 number; a sparse
//! value is never zero, and a sparse tensor is never longer than the dense one. So
//! the payload of a task has a known greatest size, and a list of sent values has
//! one sparse form and one dense form. Nothing may follow the last tensor.

mod varint;
mod view;

pub(crate) use view::lane;
pub use view::{DataView, TensorView, UpdateError, UpdateView, decode_target};

use twinfold_types::{Digest, PublicKey, TaskId};

/// Version of the format, at the start of each payload.
pub const MAGIC: [u8; 4] = *b"TFU1";
/// Bytes before the first tensor.
pub const HEADER_BYTES: usize = 4 + 3 * 32 + 4;
/// Bytes of a tensor before its data.
pub const TENSOR_HEADER_BYTES: usize = 4 + 8 + 1 + 1 + 1;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;

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
    B8 = 8,
    B16 = 16,
    B32 = 32,
}

impl Bits {
    pub fn of(bits: u8) -> Option<Self> {
        [Bits::B8, Bits::B16, Bits::B32].into_iter().find(|b| *b as u8 == bits)
    }
    pub fn bytes(self) -> usize {
        self as usize / 8
    }
    /// Greatest magnitude a trainer sends: symmetric, so that −q is a value too.
    pub fn limit(self) -> i32 {
        i32::MAX >> (32 - self as u32)
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

/// Stops counting as soon as the sparse form is as long as the dense one.
fn is_shorter_sparse(values: &[i32], bits: Bits) -> bool {
    let dense = values.len() * bits.bytes();
    let (mut bytes, mut gap) = (4, 0);
    for q in values {
        if *q == 0 {
            gap += 1;
            continue;
        }
        bytes += varint::length(gap) + bits.bytes();
        gap = 0;
        if bytes >= dense {
            return false;
        }
    }
    bytes < dense
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
                gaps(pairs).for_each(|gap| varint::put(out, gap));
                pairs.iter().for_each(|(_, q)| put(out, *q, self.bits));
            }
        }
    }
}

/// The low bytes of each value; its sign is in the highest of them.
fn put_all(out: &mut Vec<u8>, values: &[i32], bits: Bits) {
    let unfit = values.iter().find(|q| !fits(**q, bits));
    assert!(unfit.is_none(), "{unfit:?} does not fit {} bits", bits as u8);
    match bits {
        Bits::B8 => out.extend(values.iter().map(|q| *q as u8)),
        Bits::B16 => put_words(out, values, |q| (q as i16).to_le_bytes()),
        Bits::B32 => put_words(out, values, i32::to_le_bytes),
    }
}

fn put_words<const W: usize>(out: &mut Vec<u8>, values: &[i32], word: impl Fn(i32) -> [u8; W]) {
    let start = out.len();
    out.resize(start + values.len() * W, 0);
    for (place, q) in out[start..].as_chunks_mut::<W>().0.iter_mut().zip(values) {
        *place = word(*q);
    }
}

fn fits(q: i32, bits: Bits) -> bool {
    let unused = 32 - bits as u32;
    (q << unused) >> unused == q
}

fn put(out: &mut Vec<u8>, q: i32, bits: Bits) {
    assert!(fits(q, bits), "{q} does not fit {} bits", bits as u8);
    out.extend_from_slice(&q.to_le_bytes()[..bits.bytes()]);
}
