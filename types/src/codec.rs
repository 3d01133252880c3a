//! The one canonical encoding: bincode 2 in its legacy configuration
//! (little endian, fixed width, u32 variant tags, u64 lengths).
//!
//! Decoding is bounded by a byte limit before anything is allocated, refuses
//! trailing bytes, and refuses every form that does not encode back to the same
//! bytes (unsorted sets, for example), so a digest names one value only.

use crate::limits::DECODE_BYTES_MAX;
use bincode::{enc::write::Writer, error::EncodeError};
use serde::{Serialize, de::DeserializeOwned};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    #[error("{bytes} bytes are over the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("malformed: {0}")]
    Malformed(String),
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
    #[error("not the canonical encoding of its value")]
    NotCanonical,
}

fn config() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<DECODE_BYTES_MAX>()
}

/// Encodes a value. Panics only for types that cannot be encoded at all
/// (maps of unknown length), which is a mistake of ours.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::legacy())
        .expect("every type of ours has an encoding")
}

/// Appends a value's encoding to a buffer.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) {
    bincode::serde::encode_into_writer(value, Buffer(buffer), bincode::config::legacy())
        .expect("every type of ours has an encoding");
}

struct Buffer<'a>(&'a mut Vec<u8>);

impl Writer for Buffer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Length of a value's encoding, without making it.
pub fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut length = Length(0);
    bincode::serde::encode_into_writer(value, &mut length, bincode::config::legacy())
        .expect("every type of ours has an encoding");
    length.0
}

/// Counts what is written.
struct Length(usize);

impl Writer for &mut Length {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// Compares what is written with what is expected, and stops at the first difference.
struct Expected<'a>(&'a [u8]);

impl Writer for &mut Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 = self.0.strip_prefix(bytes).ok_or(EncodeError::UnexpectedEnd)?;
        Ok(())
    }
}

fn encodes_to<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let mut expected = Expected(bytes);
    let written =
        bincode::serde::encode_into_writer(value, &mut expected, bincode::config::legacy());
    written.is_ok() && expected.0.is_empty()
}

/// Decodes a value of at most `limit` encoded bytes.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit });
    }
    let (value, used) = bincode::serde::decode_from_slice::<T, _>(bytes, config())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if used != bytes.len() {
        return Err(CodecError::Trailing(bytes.len() - used));
    }
    if !encodes_to(&value, bytes) {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_value_survives_the_round_trip() {
        let value = (7u32, Some("text".to_string()), vec![1u64, 2]);
        let bytes = encode(&value);
        assert_eq!(decode::<(u32, Option<String>, Vec<u64>)>(&bytes, 100), Ok(value));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes, 100), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn an_unsorted_set_is_refused() {
        let bytes = encode(&vec![2u8, 1u8]);
        assert_eq!(decode::<BTreeSet<u8>>(&bytes, 100), Err(CodecError::NotCanonical));
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_without_allocating_it() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(matches!(decode::<Vec<u64>>(&bytes, 100), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn input_over_the_limit_is_refused() {
        let bytes = encode(&vec![0u8; 50]);
        assert_eq!(
            decode::<Vec<u8>>(&bytes, 57),
            Err(CodecError::TooLong { bytes: 58, limit: 57 })
        );
    }
}
