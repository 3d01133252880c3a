//! One model as the difference to another of the same tensors: the wrapping difference of each step,
//! small ones near zero by zigzag, their bytes sorted by significance, compressed by Zstandard. Where
//! few values changed, or by little, most bytes are zero. Nothing here is trusted: whoever reads holds
//! the model against its digest.

use std::io::{Error, ErrorKind, Read};
use twinfold_types::{Digest, limits};

const MAGIC: &[u8; 8] = b"TFMDEL01";
/// Magic, the parent's digest, the length of the content.
const HEADER_BYTES: usize = 8 + 32 + 8;
const LEVEL: i32 = 3;

/// `None` where it is not shorter than three quarters of the whole, or the two do not fit.
pub fn encode(parent: &Digest, base: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    if base.len() != content.len() || !content.len().is_multiple_of(4) {
        return None;
    }
    let compressed = zstd::bulk::compress(&planes(base, content), LEVEL).ok()?;
    if HEADER_BYTES + compressed.len() > content.len() / 4 * 3 {
        return None;
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&parent.0);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&compressed);
    Some(bytes)
}

/// Whose difference a file is: its header alone is read.
pub fn parent(file: &mut impl Read) -> std::io::Result<Digest> {
    let mut front = Vec::new();
    file.take(HEADER_BYTES as u64).read_to_end(&mut front)?;
    header(&front).map(|(parent, ..)| parent)
}

/// The content, of the parent's.
pub fn apply(bytes: &[u8], base: &[u8]) -> std::io::Result<Vec<u8>> {
    let (_, length, compressed) = header(bytes)?;
    if length != base.len() as u64 || length > limits::BLOB_BYTES_MAX {
        return Err(damaged("its length is another than its parent's"));
    }
    let mut planes = Vec::new();
    // No more than that is ever unpacked.
    let decoder = zstd::Decoder::new(compressed)?;
    let unpacked = decoder.take(length + 1).read_to_end(&mut planes);
    if unpacked.is_err() || planes.len() as u64 != length {
        return Err(damaged("it cannot be unpacked"));
    }
    Ok(added(base, &planes))
}

fn header(bytes: &[u8]) -> std::io::Result<(Digest, u64, &[u8])> {
    let (header, compressed) =
        bytes.split_at_checked(HEADER_BYTES).ok_or_else(|| damaged("it is cut off"))?;
    let (magic, header) = header.split_at(MAGIC.len());
    let (parent, length) = header.split_at(32);
    if magic != MAGIC {
        return Err(damaged("no difference begins so"));
    }
    let parent = Digest(parent.try_into().expect("32 bytes"));
    Ok((parent, u64::from_le_bytes(length.try_into().expect("8 bytes")), compressed))
}

/// Differences of the steps, their lowest bytes first, then the next, and so on.
fn planes(base: &[u8], content: &[u8]) -> Vec<u8> {
    let steps = content.len() / 4;
    let mut planes = vec![0; content.len()];
    for (at, (old, new)) in words(base).zip(words(content)).enumerate() {
        let difference = new.wrapping_sub(old);
        let zigzag = ((difference << 1) ^ (difference >> 31)).to_le_bytes();
        for (plane, byte) in zigzag.into_iter().enumerate() {
            planes[plane * steps + at] = byte;
        }
    }
    planes
}

fn added(base: &[u8], planes: &[u8]) -> Vec<u8> {
    let steps = planes.len() / 4;
    let mut content = Vec::with_capacity(planes.len());
    for (at, old) in words(base).enumerate() {
        let zigzag = u32::from_le_bytes([0, 1, 2, 3].map(|plane| planes[plane * steps + at]));
        let difference = (zigzag >> 1) as i32 ^ -((zigzag & 1) as i32);
        content.extend_from_slice(&old.wrapping_add(difference).to_le_bytes());
    }
    content
}

fn words(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word))
}

pub fn damaged(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: Digest = Digest([5; 32]);

    fn bytes(steps: &[i32]) -> Vec<u8> {
        steps.iter().flat_map(|step| step.to_le_bytes()).collect()
    }

    #[test]
    fn the_ends_of_the_range_survive() {
        let base = bytes(&[i32::MAX, i32::MIN, 0, -1].repeat(100));
        let content = bytes(&[i32::MIN, i32::MAX, 1, 0].repeat(100));
        let delta = encode(&PARENT, &base, &content).unwrap();
        assert_eq!(parent(&mut &delta[..]).unwrap(), PARENT);
        assert_eq!(apply(&delta, &base).unwrap(), content);
    }

    #[test]
    fn what_saves_nothing_or_does_not_fit_is_none() {
        let noise: Vec<i32> = (0..1_000).map(|at: i32| at.wrapping_mul(0x5bd1_e995)).collect();
        let noise: Vec<i32> = noise.iter().map(|step| step ^ (step << 7)).collect();
        assert_eq!(encode(&PARENT, &bytes(&vec![0; 1_000]), &bytes(&noise)), None);
        assert_eq!(encode(&PARENT, &bytes(&[1, 2]), &bytes(&[1])), None);
    }

    /// A file that says it unpacks to little and unpacks to much is given up after that little.
    #[test]
    fn a_bomb_is_not_unpacked() {
        let base = bytes(&[0; 16]);
        let mut bomb =
            encode(&PARENT, &bytes(&vec![0; 1 << 20]), &bytes(&vec![0; 1 << 20])).unwrap();
        bomb[40..48].copy_from_slice(&(base.len() as u64).to_le_bytes());
        assert!(apply(&bomb, &base).is_err());
    }

    proptest! {
        #[test]
        fn any_small_change_comes_back(
            base in proptest::collection::vec(any::<i32>(), 300..400),
            change in -2_000i32..2_000,
        ) {
            let content: Vec<i32> = base.iter().map(|step| step.wrapping_add(change)).collect();
            let (base, content) = (bytes(&base), bytes(&content));
            let delta = encode(&PARENT, &base, &content).unwrap();
            prop_assert_eq!(apply(&delta, &base).unwrap(), content);
        }
    }
}
