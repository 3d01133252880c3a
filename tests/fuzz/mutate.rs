//! Mutations of a corpus, a pure function of (seed, target, round).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inputs stay small: the decoders' bounds are met by lengths that lie, not by bulk.
const BYTES_MAX: usize = 64 << 10;

/// What damages length fields, counters and tags.
const EXTREMES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];

pub fn mutated(corpus: &[Vec<u8>], seed: u64, target: &str, round: u64) -> Vec<u8> {
    let mut name = 0u64;
    target.bytes().for_each(|byte| name = name.wrapping_mul(31).wrapping_add(byte.into()));
    let mut key = [0; 32];
    for (place, part) in key.chunks_exact_mut(8).zip([seed, name, round, 0]) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    let mut draw = ChaCha8Rng::from_seed(key);
    let mut bytes = corpus[draw.random_range(0..corpus.len())].clone();
    for _ in 0..draw.random_range(1..=4) {
        step(&mut bytes, corpus, &mut draw);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn step(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], draw: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(draw.random());
        return;
    }
    let at = draw.random_range(0..bytes.len());
    match draw.random_range(0..8) {
        0 | 1 => bytes[at] ^= 1 << draw.random_range(0..8),
        2 => bytes[at] = draw.random(),
        3 => bytes.truncate(at),
        4 => extreme(&mut bytes[at..], draw),
        5 => splice(bytes, at, &corpus[draw.random_range(0..corpus.len())], draw),
        6 => {
            let end = draw.random_range(at..=bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            let end = draw.random_range(at..=bytes.len());
            bytes.drain(at..end);
        }
    }
}

/// A little-endian extreme of 1, 2, 4 or 8 bytes, or a value one off what stands there.
fn extreme(bytes: &mut [u8], draw: &mut ChaCha8Rng) {
    let width = [1, 2, 4, 8][draw.random_range(0..4)].min(bytes.len());
    let mut whole = [0; 8];
    whole[..width].copy_from_slice(&bytes[..width]);
    let here = u64::from_le_bytes(whole);
    let value = match draw.random_range(0..4) {
        0 => here.wrapping_add(1),
        1 => here.wrapping_sub(1),
        _ => EXTREMES[draw.random_range(0..EXTREMES.len())],
    };
    bytes[..width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// A stretch of another sample over what stands here.
fn splice(bytes: &mut Vec<u8>, at: usize, other: &[u8], draw: &mut ChaCha8Rng) {
    if other.is_empty() {
        return;
    }
    let from = draw.random_range(0..other.len());
    let to = draw.random_range(from..=other.len());
    let end = (at + to - from).min(bytes.len());
    bytes.splice(at..end, other[from..to].iter().copied());
}
