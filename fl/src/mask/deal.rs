//! A dealer's shares, as others check them.

use super::{
    group::{self, Drawn, RistrettoPoint, Scalar, VartimeMultiscalarMul},
    secret::Shares,
};
use twinfold_types::{
    Digest,
    hash::Tag,
    round::RoundKey,
    task::masks::{Complaint, Deal, MaskKeys, MaskPoint, MaskScalar, SealedShares, threshold},
};

/// Whether both keys are points, and not the one that everybody knows the secret of.
pub fn check_keys(keys: &MaskKeys) -> bool {
    let good = |key: &MaskPoint| group::point(key).is_some_and(|key| !group::is_identity(&key));
    good(&keys.sealing) && good(&keys.pair)
}

/// Whether a dealer's commitments are to shares of the secrets behind its keys, of which ⌊2n/3⌋ + 1 are
/// needed and enough. What is sealed is not looked into: who cannot open it complains.
pub fn check_deal(round: &RoundKey, members: &[MaskKeys], dealer: usize, deal: &Deal) -> bool {
    let Some(keys) = members.get(dealer) else { return false };
    let lengths = [deal.pair.len(), deal.own.len(), deal.sealed.len()];
    if lengths != [members.len(); 3] {
        return false;
    }
    let (Some(pair_key), Some(own_key)) = (group::point(&keys.pair), group::point(&deal.own_key))
    else {
        return false;
    };
    let (Some(pair), Some(own)) = (group::points(&deal.pair), group::points(&deal.own)) else {
        return false;
    };
    let mut chance = group::drawn(Tag::MaskDegree, &(round, members, dealer as u64, deal));
    let mut scalars = dual_word(members.len(), &mut chance);
    scalars.extend(dual_word(members.len(), &mut chance));
    let points = [vec![pair_key], pair, vec![own_key], own].concat();
    group::is_identity(&RistrettoPoint::vartime_multiscalar_mul(scalars, points))
        && !group::is_identity(&own_key)
}

/// A random word w with Σ w(x)·p(x) = 0 over x = 0..=n for every polynomial p of degree below the threshold,
/// and by chance of 2^−252 alone for others: w(x) = f(x) / Π (x − y), f random of degree n − threshold.
fn dual_word(members: usize, chance: &mut Drawn) -> Vec<Scalar> {
    let coefficients = chance.scalars(members - threshold(members).min(members) + 1);
    // Π over y ≠ x of (x − y) is x!·(n − x)!, with the sign of n − x.
    let mut factorials = vec![Scalar::ONE];
    for x in 1..=members {
        factorials.push(factorials[x - 1] * Scalar::from(x as u64));
    }
    let mut inverses = factorials;
    Scalar::invert_batch_alloc(&mut inverses);
    let word = (0..=members).map(|x| {
        let at = Scalar::from(x as u64);
        let f = coefficients.iter().rev().fold(Scalar::ZERO, |value, next| value * at + next);
        let w = f * inverses[x] * inverses[members - x];
        if (members - x).is_multiple_of(2) { w } else { -w }
    });
    word.collect()
}

/// The point that two members agree on by their sealing keys.
pub(super) struct Agreed(pub RistrettoPoint);

impl Agreed {
    /// What a dealer's shares for a member are hidden under; used once.
    pub(super) fn pad(&self, round: &RoundKey, dealer: usize, member: usize) -> [u8; 64] {
        let of = (group::bytes(&self.0), round, dealer as u64, member as u64);
        let mut pad = [0; 64];
        let seed = Digest::of(Tag::MaskShares, &of);
        blake3::Hasher::new_keyed(&seed.0).finalize_xof().fill(&mut pad);
        pad
    }
}

/// Opens shares and holds them against the commitments to them.
pub(super) fn open(
    agreed: &Agreed,
    round: &RoundKey,
    dealer: usize,
    member: usize,
    sealed: &SealedShares,
    commitments: &[MaskPoint; 2],
) -> Option<Shares> {
    let mut plain = agreed.pad(round, dealer, member);
    plain.iter_mut().zip(sealed.0).for_each(|(to, sealed)| *to ^= sealed);
    let (pair, own) = plain.split_first_chunk::<32>()?;
    let shares = Shares { pair: MaskScalar(*pair), own: MaskScalar(own.try_into().ok()?) };
    let good = |share: &MaskScalar, commitment: &MaskPoint| {
        let share = group::scalar(share);
        share.is_some_and(|share| group::bytes(&RistrettoPoint::mul_base(&share)) == *commitment)
    };
    (good(&shares.pair, &commitments[0]) && good(&shares.own, &commitments[1])).then_some(shares)
}

pub(super) fn complain(
    round: &RoundKey,
    members: &[MaskKeys],
    me: usize,
    dealer: usize,
    sealing: Scalar,
    nonce: Scalar,
    agreed: &Agreed,
) -> Option<Complaint> {
    let of_dealer = group::point(&members.get(dealer)?.sealing)?;
    let announced = [RistrettoPoint::mul_base(&nonce), nonce * of_dealer];
    let agreed = group::bytes(&agreed.0);
    let challenge = challenge(round, members, me, dealer, &agreed, &announced)?;
    let response = group::scalar_bytes(&(nonce + challenge * sealing));
    let challenge = group::scalar_bytes(&challenge);
    Some(Complaint { dealer: dealer as u32, agreed, challenge, response })
}

fn challenge(
    round: &RoundKey,
    members: &[MaskKeys],
    by: usize,
    dealer: usize,
    agreed: &MaskPoint,
    announced: &[RistrettoPoint; 2],
) -> Option<Scalar> {
    let announced = announced.each_ref().map(group::bytes);
    let keys = (members.get(by)?, members.get(dealer)?);
    let of = (round, by as u64, dealer as u64, keys, agreed, announced);
    Some(group::drawn(Tag::MaskProof, &of).scalar())
}

/// Whether a complaint shows that the dealer gave member `by` what it had not committed to.
pub fn check_complaint(
    round: &RoundKey,
    members: &[MaskKeys],
    by: usize,
    deal: &Deal,
    complaint: &Complaint,
) -> bool {
    agreed_in(round, members, by, complaint).is_some_and(|agreed| {
        let dealer = complaint.dealer as usize;
        let dealt = (deal.sealed.get(by), deal.pair.get(by), deal.own.get(by));
        let (Some(sealed), Some(pair), Some(own)) = dealt else { return false };
        open(&agreed, round, dealer, by, sealed, &[*pair, *own]).is_none()
    })
}

/// The agreed point that a complaint shows, if it is that.
fn agreed_in(
    round: &RoundKey,
    members: &[MaskKeys],
    by: usize,
    complaint: &Complaint,
) -> Option<Agreed> {
    let dealer = complaint.dealer as usize;
    let of_dealer = group::point(&members.get(dealer)?.sealing)?;
    let own = group::point(&members.get(by)?.sealing)?;
    let agreed = group::point(&complaint.agreed)?;
    let (e, z) = (group::scalar(&complaint.challenge)?, group::scalar(&complaint.response)?);
    let announced = [
        RistrettoPoint::vartime_double_scalar_mul_basepoint(&-e, &own, &z),
        RistrettoPoint::vartime_multiscalar_mul([z, -e], [of_dealer, agreed]),
    ];
    let told = challenge(round, members, by, dealer, &complaint.agreed, &announced)?;
    (told == e).then_some(Agreed(agreed))
}
