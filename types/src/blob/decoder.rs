//! Any k pieces of a run of stripes in, their content or a lost piece out. Nothing is decoded
//! where the k data pieces are at hand. Pieces are taken for what they are said to be:
//! whoever got them from elsewhere checks them first ([`super::GroupHashes`]), and whether
//! the encoder was honest is another question ([`super::Reencoding`]).
//!
//! The code works word by word, so that the pieces of stripes that follow each other are
//! decoded as one. That matters: finding out what to do about lost fragments costs as
//! much for one word as for megabytes. A run is at most [`super::Coding::run_stripes`] long.

use super::{
    code::{Code, Restorer},
    layout::Layout,
};
use crate::limits::PIECE_BYTES;
use std::ops::Range;

/// A fragment's number and its part of a run ([`Layout::fragment_range`]).
pub type Piece<'a> = (u16, &'a [u8]);

pub struct Decoder {
    layout: Layout,
    code: Code,
    restorer: Restorer,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("stripes {first} to {end} are no run: of {stripes}, at most {at_once} at once")]
    NoRun { first: u64, end: u64, stripes: u64, at_once: u64 },
    #[error("there is no fragment {fragment}: there are {n}")]
    NoSuchFragment { fragment: u16, n: u16 },
    #[error("two pieces of fragment {fragment}")]
    Twice { fragment: u16 },
    #[error("the piece of fragment {fragment} has {found} bytes instead of {expected}")]
    PieceLength { fragment: u16, expected: usize, found: usize },
    #[error("{found} pieces where {k} are needed: fetch more fragments")]
    TooFew { k: u16, found: usize },
}

impl Decoder {
    pub fn new(layout: Layout) -> Self {
        let coding = layout.coding();
        Self { layout, code: Code::new(coding), restorer: Restorer::new(coding) }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The content of a run, without padding, in parts one after another.
    pub fn content<'a>(
        &'a mut self,
        run: Range<u64>,
        pieces: &[Piece<'a>],
    ) -> Result<Vec<&'a [u8]>, DecodeError> {
        let data = data(&self.layout, &mut self.restorer, &run, pieces)?;
        let mut parts = Vec::with_capacity(data.len() * (run.end - run.start) as usize);
        for (at, stripe) in run.enumerate() {
            let mut left = self.layout.content_bytes(stripe).unwrap_or(0);
            for fragment in &data {
                let rest = &fragment[at * PIECE_BYTES..];
                let part = &rest[..rest.len().min(PIECE_BYTES).min(left)];
                left -= part.len();
                parts.push(part);
            }
        }
        parts.retain(|part| !part.is_empty());
        Ok(parts)
    }

    /// One fragment's piece of a run, from the pieces of others.
    pub fn rebuild(
        &mut self,
        run: Range<u64>,
        pieces: &[Piece<'_>],
        fragment: u16,
        into: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let coding = self.layout.coding();
        if fragment >= coding.n() {
            return Err(DecodeError::NoSuchFragment { fragment, n: coding.n() });
        }
        let data = data(&self.layout, &mut self.restorer, &run, pieces)?;
        into.clear();
        let index = usize::from(fragment);
        match data.get(if coding.is_whole() { 0 } else { index }) {
            Some(piece) => into.extend_from_slice(piece),
            None => {
                let bytes = data[0].len();
                let parity = self.code.parity(bytes, data.into_iter());
                into.extend_from_slice(parity.piece(index - usize::from(coding.k()), bytes));
            }
        }
        Ok(())
    }
}

/// The k data pieces of a run.
fn data<'a>(
    layout: &Layout,
    restorer: &'a mut Restorer,
    run: &Range<u64>,
    pieces: &[Piece<'a>],
) -> Result<Vec<&'a [u8]>, DecodeError> {
    let bytes = run_bytes(layout, run)?;
    let given = by_fragment(layout, bytes, pieces)?;
    if layout.coding().is_whole() {
        return Ok(given.into_iter().flatten().take(1).collect());
    }
    let (data, parity) = given.split_at(usize::from(layout.coding().k()));
    let mut restored = restorer.missing(bytes, data, parity).chunks_exact(bytes.max(1));
    let next = |piece: &Option<&'a [u8]>| piece.or_else(|| restored.next()).unwrap_or(&[]);
    Ok(data.iter().map(next).collect())
}

/// Length of each fragment's piece of a run.
fn run_bytes(layout: &Layout, run: &Range<u64>) -> Result<usize, DecodeError> {
    let (stripes, at_once) = (layout.stripes(), layout.coding().run_stripes());
    let range = layout.fragment_range(run).filter(|_| run.end - run.start <= at_once);
    let no_run = DecodeError::NoRun { first: run.start, end: run.end, stripes, at_once };
    range.map(|range| (range.end - range.start) as usize).ok_or(no_run)
}

/// A place for each fragment; at least k are taken, all by pieces of the run's length.
fn by_fragment<'a>(
    layout: &Layout,
    expected: usize,
    pieces: &[Piece<'a>],
) -> Result<Vec<Option<&'a [u8]>>, DecodeError> {
    let (n, k) = (layout.coding().n(), layout.coding().k());
    let mut places = vec![None; usize::from(n)];
    for &(fragment, piece) in pieces {
        let place = places
            .get_mut(usize::from(fragment))
            .ok_or(DecodeError::NoSuchFragment { fragment, n })?;
        if piece.len() != expected {
            return Err(DecodeError::PieceLength { fragment, expected, found: piece.len() });
        }
        if place.replace(piece).is_some() {
            return Err(DecodeError::Twice { fragment });
        }
    }
    if pieces.len() < usize::from(k) {
        return Err(DecodeError::TooFew { k, found: pieces.len() });
    }
    Ok(places)
}
