//! Points and scalars between their bytes and the library.

pub use curve25519_dalek::{RistrettoPoint, Scalar, traits::VartimeMultiscalarMul};
use curve25519_dalek::{ristretto::CompressedRistretto, traits::IsIdentity};
use serde::Serialize;
use twinfold_types::{
    Digest,
    hash::Tag,
    task::masks::{MaskPoint, MaskScalar},
};

/// The point that bytes are the one encoding of.
pub fn point(bytes: &MaskPoint) -> Option<RistrettoPoint> {
    CompressedRistretto(bytes.0).decompress()
}

pub fn points(bytes: &[MaskPoint]) -> Option<Vec<RistrettoPoint>> {
    bytes.iter().map(point).collect()
}

pub fn bytes(point: &RistrettoPoint) -> MaskPoint {
    MaskPoint(point.compress().to_bytes())
}

pub fn is_identity(point: &RistrettoPoint) -> bool {
    point.is_identity()
}

/// The scalar that bytes are the one encoding of.
pub fn scalar(bytes: &MaskScalar) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes.0).into()
}

pub fn scalars(bytes: &[MaskScalar]) -> Option<Vec<Scalar>> {
    bytes.iter().map(scalar).collect()
}

pub fn scalar_bytes(scalar: &Scalar) -> MaskScalar {
    MaskScalar(scalar.to_bytes())
}

/// Where a member's shares are values of polynomials: 1 for the first.
pub fn place(index: usize) -> Scalar {
    Scalar::from(index as u64 + 1)
}

/// Scalars drawn from what a digest is of.
pub struct Drawn(blake3::OutputReader);

pub fn drawn(tag: Tag, of: &impl Serialize) -> Drawn {
    let seed = Digest::of(tag, of);
    Drawn(blake3::Hasher::new_keyed(&seed.0).finalize_xof())
}

impl Drawn {
    pub fn scalar(&mut self) -> Scalar {
        let mut wide = [0; 64];
        self.0.fill(&mut wide);
        Scalar::from_bytes_mod_order_wide(&wide)
    }

    pub fn scalars(&mut self, count: usize) -> Vec<Scalar> {
        std::iter::repeat_with(|| self.scalar()).take(count).collect()
    }
}
