//! Shares that members release, and what they come to.

use super::group::{self, RistrettoPoint, Scalar, VartimeMultiscalarMul};
use twinfold_types::{
    hash::Tag,
    task::masks::{MaskPoint, MaskScalar},
};

/// Whether shares are the ones committed to, all at once: Σ ρ·σ·G = Σ ρ·C with random ρ.
pub fn check_release(commitments: &[MaskPoint], shares: &[MaskScalar]) -> bool {
    if commitments.len() != shares.len() {
        return false;
    }
    let (Some(points), Some(scalars)) = (group::points(commitments), group::scalars(shares)) else {
        return false;
    };
    let chance = group::drawn(Tag::MaskDegree, &(commitments, shares)).scalars(shares.len());
    let sum: Scalar = chance.iter().zip(&scalars).map(|(by, share)| by * share).sum();
    RistrettoPoint::mul_base(&sum) == RistrettoPoint::vartime_multiscalar_mul(chance, points)
}

/// The secrets that members' shares come to. `places` are the members' indices, as many as are needed and
/// none twice; `released` what each of them released, one share for each dealer. Each was checked.
pub fn reconstruct(places: &[usize], released: &[Vec<MaskScalar>]) -> Option<Vec<MaskScalar>> {
    let parts = lagrange(places);
    let dealers = released.first()?.len();
    let secret = |dealer: usize| {
        let mut sum = Scalar::ZERO;
        for (part, shares) in parts.iter().zip(released) {
            sum += part * group::scalar(shares.get(dealer)?)?;
        }
        Some(group::scalar_bytes(&sum))
    };
    (0..dealers).map(secret).collect()
}

/// Lagrange's coefficients for the value at 0.
fn lagrange(places: &[usize]) -> Vec<Scalar> {
    let part = |me: &usize| {
        let others = places.iter().filter(|other| *other != me).map(|other| group::place(*other));
        let (mut over, mut under) = (Scalar::ONE, Scalar::ONE);
        for other in others {
            over *= other;
            under *= other - group::place(*me);
        }
        over * under.invert()
    };
    places.iter().map(part).collect()
}
