//! Masks on an update's integers, and off their sum. A masked update is its words alone, one for each value
//! that is sent, in the task's order: little endian, of as many bytes as hold every sum. Any bytes of the
//! right length are a masked update; that it is of the right length, execution sees to.

use super::{
    group::{self, RistrettoPoint, Scalar},
    secret::RoundSecret,
};
use crate::{Layout, layout::Slot, rule::Change, rule::Sums};
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use twinfold_types::{
    Digest,
    hash::Tag,
    round::RoundKey,
    task::{TaskSpec, masks::Masking},
};

/// Bytes of a mask that are drawn at a time: they stay in the processor's first cache.
const DRAWN_BYTES: usize = 24 << 10;

/// Words added up, modulo 2^b.
pub struct Words {
    bytes: usize,
    /// Of each trained value.
    sums: Vec<u64>,
}

/// Whether a mask is added or taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

impl Sign {
    fn other(self) -> Self {
        match self {
            Sign::Plus => Sign::Minus,
            Sign::Minus => Sign::Plus,
        }
    }
}

impl Words {
    /// Zeros; nothing where the task has no masks.
    pub fn new(spec: &TaskSpec, layout: &Layout) -> Option<Self> {
        spec.masks?;
        Some(Self { bytes: spec.mask_word_bytes()?, sums: vec![0; layout.trained_values()] })
    }

    /// Adds a masked update, which has the right length.
    pub fn add(&mut self, update: &[u8]) {
        assert_eq!(update.len(), self.bytes * self.sums.len(), "execution checks the length");
        let Self { bytes, sums } = self;
        add(sums, update, *bytes, Sign::Plus);
    }

    /// Takes the masks off: the own masks of those whose update was added, and what these agreed on with
    /// dealers whose update was not.
    pub fn unmask(&mut self, masking: &Masking) {
        let secrets: Vec<_> = masking.dealers().zip(&masking.secrets).collect();
        for ((index, dealer), secret) in &secrets {
            let secret = group::scalar(secret).expect("execution made it");
            if dealer.sent {
                self.draw(&own_seed(&masking.round, *index, &secret), Sign::Minus);
                continue;
            }
            for ((other, keys), _) in secrets.iter().filter(|((_, other), _)| other.sent) {
                let key = group::point(&keys.keys.pair).expect("execution checked it");
                let (seed, sign) = pair(&masking.round, *other, *index, &(secret * key));
                self.draw(&seed, sign.other());
            }
        }
    }

    fn draw(&mut self, seed: &Digest, sign: Sign) {
        let mut stream = ChaCha20::new(&seed.0.into(), &[0; 12].into());
        let Self { bytes, sums } = self;
        let mut drawn = [0; DRAWN_BYTES];
        // 24 kB are a whole number of words of any length.
        for words in sums.chunks_mut(DRAWN_BYTES / *bytes) {
            let drawn = &mut drawn[..words.len() * *bytes];
            drawn.fill(0);
            stream.apply_keystream(drawn);
            add(words, drawn, *bytes, sign);
        }
    }

    /// The sum as a change: no honest value's weighted sum is over `weight` times the greatest that one may
    /// be, so what is more is cut to that.
    pub fn into_change(self, spec: &TaskSpec, layout: &Layout, weight: u64) -> Change {
        let exponent = spec.masks.map_or(0, |masks| masks.exponent);
        let most = (weight * spec.masked_value_max()) as i64;
        let unused = 64 - 8 * self.bytes as u32;
        let (mut sums, mut words) = (vec![0; layout.values()], self.sums.iter());
        for slot in layout.trained() {
            let shift = slot.scale - exponent;
            for (sum, word) in sums[slot.range()].iter_mut().zip(&mut words) {
                let signed = ((word << unused) as i64) >> unused;
                *sum = signed.clamp(-most, most) << shift;
            }
        }
        Change::Quotient { sums: Sums::Whole(sums), divisor: weight }
    }
}

fn add(sums: &mut [u64], words: &[u8], bytes: usize, sign: Sign) {
    match bytes {
        2 => add_words::<2>(sums, words, sign),
        3 => add_words::<3>(sums, words, sign),
        4 => add_words::<4>(sums, words, sign),
        6 => add_words::<6>(sums, words, sign),
        _ => add_words::<8>(sums, words, sign),
    }
}

fn add_words<const W: usize>(sums: &mut [u64], words: &[u8], sign: Sign) {
    let word = |bytes: &[u8; W]| {
        let mut wide = [0; 8];
        wide[..W].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    let pairs = sums.iter_mut().zip(words.as_chunks::<W>().0);
    match sign {
        Sign::Plus => pairs.for_each(|(sum, bytes)| *sum = sum.wrapping_add(word(bytes))),
        Sign::Minus => pairs.for_each(|(sum, bytes)| *sum = sum.wrapping_sub(word(bytes))),
    }
}

/// Of a dealer's own mask.
fn own_seed(round: &RoundKey, dealer: usize, secret: &Scalar) -> Digest {
    Digest::of(Tag::MaskOwn, &(round, dealer as u64, group::scalar_bytes(secret)))
}

/// The mask between two dealers, and its sign for the first named.
fn pair(round: &RoundKey, me: usize, other: usize, agreed: &RistrettoPoint) -> (Digest, Sign) {
    let places = (me.min(other) as u64, me.max(other) as u64);
    let seed = Digest::of(Tag::MaskPair, &(round, places, group::bytes(agreed)));
    (seed, if me < other { Sign::Plus } else { Sign::Minus })
}

/// A trainer's integers times its weight, masked: what it sends. The list of dealers must be final.
pub fn mask(
    spec: &TaskSpec,
    layout: &Layout,
    secret: &RoundSecret,
    masking: &Masking,
    me: usize,
    integers: &[i32],
    weight: u32,
) -> Option<Vec<u8>> {
    let mut words = Words::new(spec, layout)?;
    let trained = layout.trained().map(Slot::range).flat_map(|range| &integers[range]);
    for (word, q) in words.sums.iter_mut().zip(trained) {
        *word = (i64::from(*q) * i64::from(weight)) as u64;
    }
    words.draw(&own_seed(&masking.round, me, &secret.own()), Sign::Plus);
    for (other, dealer) in masking.dealers().filter(|(other, _)| *other != me) {
        let agreed = secret.pair() * group::point(&dealer.keys.pair)?;
        let (seed, sign) = pair(&masking.round, me, other, &agreed);
        words.draw(&seed, sign);
    }
    let Words { bytes, sums } = words;
    Some(sums.iter().flat_map(|word| word.to_le_bytes().into_iter().take(bytes)).collect())
}
