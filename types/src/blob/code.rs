//! Reed–Solomon: from k equal data pieces to n − k of parity, and back. Which
//! points the code is evaluated at, and how it lays out words in a piece, is the
//! library's choice and thereby part of the format: its version is pinned, and
//! golden identities hold it.
//!
//! Callers check every count and length first; what the library refuses after that is a
//! mistake of ours.

use super::layout::Coding;
use reed_solomon_simd::{EncoderResult, ReedSolomonDecoder, ReedSolomonEncoder};

const CHECKED: &str = "counts and lengths of pieces were checked";

/// Makes parity, in working space that is kept from stripe to stripe.
pub(super) struct Code {
    k: usize,
    parity: usize,
    /// With the length of pieces it is set to.
    encoder: Option<(usize, ReedSolomonEncoder)>,
}

/// Restores data pieces, likewise.
pub(super) struct Restorer {
    k: usize,
    parity: usize,
    decoder: Option<(usize, ReedSolomonDecoder)>,
    restored: Vec<u8>,
}

/// The parity pieces of one stripe.
pub(super) enum Parity<'a> {
    /// There is none: whole copies, as many fragments as data, or empty pieces.
    None,
    /// Where the encoder left it.
    Fresh(EncoderResult<'a>),
    /// One after another.
    Kept(&'a [u8]),
}

/// How many data and parity pieces a stripe has.
fn counts(coding: Coding) -> (usize, usize) {
    let k = usize::from(coding.k());
    (k, if coding.is_whole() { 0 } else { usize::from(coding.n()) - k })
}

impl Code {
    pub(super) fn new(coding: Coding) -> Self {
        let (k, parity) = counts(coding);
        Self { k, parity, encoder: None }
    }

    /// Of k data pieces of `bytes` each.
    pub(super) fn parity<'p>(
        &mut self,
        bytes: usize,
        data: impl Iterator<Item = &'p [u8]>,
    ) -> Parity<'_> {
        if self.parity == 0 || bytes == 0 {
            return Parity::None;
        }
        let (set, encoder) = self.encoder.get_or_insert_with(|| {
            (bytes, ReedSolomonEncoder::new(self.k, self.parity, bytes).expect(CHECKED))
        });
        if *set != bytes {
            encoder.reset(self.k, self.parity, bytes).expect(CHECKED);
            *set = bytes;
        }
        data.for_each(|piece| encoder.add_original_shard(piece).expect(CHECKED));
        Parity::Fresh(encoder.encode().expect(CHECKED))
    }
}

impl Restorer {
    pub(super) fn new(coding: Coding) -> Self {
        let (k, parity) = counts(coding);
        Self { k, parity, decoder: None, restored: vec![] }
    }

    /// The missing ones of k data pieces of `bytes` each, one after another. Of data and parity
    /// together at least k are given.
    pub(super) fn missing(
        &mut self,
        bytes: usize,
        data: &[Option<&[u8]>],
        parity: &[Option<&[u8]>],
    ) -> &[u8] {
        self.restored.clear();
        let lost = data.iter().filter(|piece| piece.is_none()).count();
        if lost == 0 || bytes == 0 {
            return &[];
        }
        let (set, decoder) = self.decoder.get_or_insert_with(|| {
            (bytes, ReedSolomonDecoder::new(self.k, self.parity, bytes).expect(CHECKED))
        });
        if *set != bytes {
            decoder.reset(self.k, self.parity, bytes).expect(CHECKED);
            *set = bytes;
        }
        for (index, piece) in given(data) {
            decoder.add_original_shard(index, piece).expect(CHECKED);
        }
        for (index, piece) in given(parity).take(lost) {
            decoder.add_recovery_shard(index, piece).expect(CHECKED);
        }
        let result = decoder.decode().expect(CHECKED);
        result
            .restored_original_iter()
            .for_each(|(_, piece)| self.restored.extend_from_slice(piece));
        &self.restored
    }
}

fn given<'p>(pieces: &[Option<&'p [u8]>]) -> impl Iterator<Item = (usize, &'p [u8])> {
    pieces.iter().enumerate().filter_map(|(index, piece)| Some((index, (*piece)?)))
}

impl Parity<'_> {
    /// One of the parity pieces, `bytes` long.
    pub(super) fn piece(&self, index: usize, bytes: usize) -> &[u8] {
        match self {
            Parity::None => &[],
            Parity::Fresh(result) => result.recovery(index).expect(CHECKED),
            Parity::Kept(all) => &all[index * bytes..(index + 1) * bytes],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::scenes::content;
    use reed_solomon_simd::{
        engine::Naive,
        rate::{DefaultRateEncoder, RateEncoder},
    };

    /// What this machine's vector instructions compute is what plain arithmetic does.
    #[test]
    fn parity_is_the_same_on_every_processor() {
        for seats in [4, 7, 10, 31, 100] {
            let coding = Coding::fragments(seats).unwrap();
            let (k, count) = counts(coding);
            for bytes in [2, 62, 64, 66, 1_026] {
                let data = content(k * bytes);
                let mut plain =
                    DefaultRateEncoder::new(k, count, bytes, Naive::new(), None).unwrap();
                let pieces = || data.chunks_exact(bytes);
                pieces().for_each(|piece| plain.add_original_shard(piece).unwrap());
                let expected = plain.encode().unwrap();
                let mut code = Code::new(coding);
                let parity = code.parity(bytes, pieces());
                for (index, piece) in expected.recovery_iter().enumerate() {
                    assert_eq!(parity.piece(index, bytes), piece, "{index} of {seats}, {bytes}");
                }
            }
        }
    }
}
