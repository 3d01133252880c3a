//! Values of 1 to 32 bits one beside the other, and the places of sparse ones as a Golomb-Rice code
//! (Golomb 1966; Rice and Plaunt 1971). Bits fill bytes from the lowest; what is left of the last
//! byte is zero.

use super::Bits;

pub fn bytes_of(count: usize, bits: Bits) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// The value at a place. One bit says a sign: 0 is +1, and 1 is −1; more are two's complement.
#[inline]
pub fn value(bytes: &[u8], at: usize, bits: Bits) -> i32 {
    let wide = |from: usize, count: usize| {
        let mut word = [0; 4];
        word[4 - count..].copy_from_slice(&bytes[from..from + count]);
        i32::from_le_bytes(word) >> (32 - 8 * count)
    };
    match bits {
        Bits::B1 => 1 - 2 * i32::from(bytes[at / 8] >> (at % 8) & 1),
        Bits::B2 => i32::from((bytes[at / 4] << (6 - 2 * (at % 4))) as i8 >> 6),
        Bits::B4 => i32::from((bytes[at / 2] << (4 - 4 * (at % 2))) as i8 >> 4),
        Bits::B8 => wide(at, 1),
        Bits::B16 => wide(2 * at, 2),
        Bits::B32 => wide(4 * at, 4),
    }
}

/// Whether the bits after so many values are zero.
pub fn ends_clean(bytes: &[u8], count: usize, bits: Bits) -> bool {
    let used = (count * bits as usize) % 8;
    used == 0 || bytes.last().is_none_or(|last| last >> used == 0)
}

pub fn put_values(out: &mut Vec<u8>, values: impl Iterator<Item = i32>, bits: Bits) {
    let mut writer = Writer::new(out);
    for q in values {
        assert!(bits.holds(q), "{q} does not fit {} bits", bits as u8);
        let coded = if bits == Bits::B1 { u32::from(q < 0) } else { q as u32 };
        writer.put(coded, bits as u32);
    }
    writer.finish();
}

/// The code's parameter for so many places among `len`: a gap's lowest bits, which are written as they
/// are. The best one where places are drawn by chance.
pub fn rice(len: usize, count: usize) -> u32 {
    let (len, count) = (len as u64, count.max(1) as u64);
    // 0.962 of half a gap more than the mean one: log2 of it is near the best (Kiely 2004).
    let mean_64 = len.saturating_sub(count) * 64 / count;
    ((mean_64 + 32) * 62 / 64 / 64).checked_ilog2().unwrap_or(0)
}

/// Bits of one gap.
pub fn gap_bits(gap: u32, rice: u32) -> usize {
    (gap >> rice) as usize + 1 + rice as usize
}

pub fn put_gaps(out: &mut Vec<u8>, gaps: impl Iterator<Item = u32>, rice: u32) {
    let mut writer = Writer::new(out);
    for gap in gaps {
        (0..gap >> rice).for_each(|_| writer.put(1, 1));
        writer.put(0, 1);
        writer.put(gap, rice);
    }
    writer.finish();
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    word: u64,
    used: u32,
}

impl<'o> Writer<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, word: 0, used: 0 }
    }

    /// The lowest `count` bits, at most 32.
    fn put(&mut self, bits: u32, count: u32) {
        let mask = (1u64 << count) - 1;
        self.word |= (u64::from(bits) & mask) << self.used;
        self.used += count;
        while self.used >= 8 {
            self.out.push(self.word as u8);
            self.word >>= 8;
            self.used -= 8;
        }
    }

    fn finish(self) {
        if self.used > 0 {
            self.out.push(self.word as u8);
        }
    }
}

/// Reads gaps; says how many bytes they took.
#[derive(Clone, Copy)]
pub struct Gaps<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
    rice: u32,
}

impl<'a> Gaps<'a> {
    pub fn new(bytes: &'a [u8], rice: u32) -> Self {
        Self { bytes, at: 0, rice }
    }

    /// The next gap; `None` where the bytes end or it is over u32.
    #[inline]
    pub fn next(&mut self) -> Option<u32> {
        let mut high = 0u64;
        loop {
            let (window, bits) = self.window();
            if bits == 0 {
                return None;
            }
            let ones = (!window).trailing_zeros().min(bits);
            high += u64::from(ones);
            self.at += ones as usize;
            if ones < bits {
                self.at += 1;
                break;
            }
        }
        let (window, bits) = self.window();
        if bits < self.rice {
            return None;
        }
        self.at += self.rice as usize;
        let low = window & ((1 << self.rice) - 1);
        u32::try_from(high << self.rice | low).ok()
    }

    /// The next bits, the first lowest, and how many: more than 32 but at the end.
    #[inline]
    fn window(&self) -> (u64, u32) {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let taken = rest.len().min(8);
        let mut word = [0; 8];
        word[..taken].copy_from_slice(&rest[..taken]);
        let passed = (self.at % 8) as u32;
        (u64::from_le_bytes(word) >> passed, (8 * taken as u32).saturating_sub(passed))
    }

    /// Bytes read so far; `None` where what is left of the last one is not zero.
    pub fn finish(self) -> Option<usize> {
        let used = self.at.div_ceil(8);
        let clean = self.at.is_multiple_of(8) || self.bytes[used - 1] >> (self.at % 8) == 0;
        clean.then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Bits; 6] = [Bits::B1, Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];

    proptest! {
        #[test]
        fn values_come_back(raw in proptest::collection::vec(any::<i32>(), 1..40), bits in prop::sample::select(ALL.to_vec())) {
            let fit = |q: i32| match bits {
                Bits::B1 => if q < 0 { -1 } else { 1 },
                bits => q >> (32 - bits as u32),
            };
            let values: Vec<_> = raw.into_iter().map(fit).collect();
            let mut bytes = vec![];
            put_values(&mut bytes, values.iter().copied(), bits);
            prop_assert_eq!(bytes.len(), bytes_of(values.len(), bits));
            prop_assert!(ends_clean(&bytes, values.len(), bits));
            let read: Vec<_> = (0..values.len()).map(|at| value(&bytes, at, bits)).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn gaps_come_back_and_take_what_was_said(gaps in proptest::collection::vec(0u32..5_000, 0..40), rice in 0u32..12) {
            let mut bytes = vec![];
            put_gaps(&mut bytes, gaps.iter().copied(), rice);
            let bits: usize = gaps.iter().map(|gap| gap_bits(*gap, rice)).sum();
            prop_assert_eq!(bytes.len(), bits.div_ceil(8));
            let mut reader = Gaps::new(&bytes, rice);
            let read: Vec<_> = gaps.iter().map_while(|_| reader.next()).collect();
            prop_assert_eq!(read, gaps);
            prop_assert_eq!(reader.finish(), Some(bytes.len()));
        }
    }

    /// One value in a hundred: 8.08 bits a place are the least that any code can take on average.
    #[test]
    fn a_place_takes_little_more_than_it_must() {
        assert_eq!(
            [(300, 300), (300, 150), (30_000, 300), (1 << 29, 1)]
                .map(|(len, count)| rice(len, count)),
            [0, 0, 6, 28]
        );
        let places = (0..100_000u32).filter(|at| at.wrapping_mul(2_654_435_761) >> 8 < 167_772);
        let mut next = 0;
        let gaps: Vec<_> = places.map(|at| (at - next, next = at + 1).0).collect();
        let rice = rice(100_000, gaps.len());
        let bits: usize = gaps.iter().map(|gap| gap_bits(*gap, rice)).sum();
        let each = bits as f64 / gaps.len() as f64;
        assert!((7.0..8.4).contains(&each), "{each} bits for each of {}", gaps.len());
    }

    #[test]
    fn endless_and_cut_off_gaps_are_none() {
        assert_eq!(Gaps::new(&[0xff; 9], 0).next(), None);
        assert_eq!(Gaps::new(&[], 3).next(), None);
        let mut dirty = Gaps::new(&[0b0000_0100], 0);
        assert_eq!((dirty.next(), dirty.finish()), (Some(0), None));
    }
}
