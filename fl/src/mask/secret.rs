//! What one trainer holds for one masked round: everything follows from 32 random bytes, which it keeps
//! until the round has ended.

use super::{
    deal::{self, Agreed},
    group::{self, Drawn, RistrettoPoint, Scalar},
};
use std::fmt;
use twinfold_types::{
    hash::Tag,
    round::RoundKey,
    task::masks::{
        Complaint, Deal, DealtShares, MaskKeys, MaskScalar, Masking, SealedShares, threshold,
    },
};

/// Of one trainer in one round. Never use the bytes twice.
#[derive(Clone, PartialEq, Eq)]
pub struct RoundSecret {
    bytes: [u8; 32],
    round: RoundKey,
}

impl fmt::Debug for RoundSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoundSecret({:?})", self.keys().pair)
    }
}

/// What a member holds of one dealer's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub pair: MaskScalar,
    pub own: MaskScalar,
}

impl RoundSecret {
    /// `bytes` must be random, and drawn for this round alone.
    pub fn new(bytes: [u8; 32], round: RoundKey) -> Self {
        Self { bytes, round }
    }

    fn drawn(&self, what: u8) -> Drawn {
        group::drawn(Tag::MaskSecret, &(self.bytes, self.round, what))
    }

    fn sealing(&self) -> Scalar {
        self.drawn(0).scalar()
    }

    /// s: by it a mask is agreed with each other dealer.
    pub(super) fn pair(&self) -> Scalar {
        self.drawn(1).scalar()
    }

    /// b: from it the own mask is drawn.
    pub(super) fn own(&self) -> Scalar {
        self.drawn(2).scalar()
    }

    pub fn keys(&self) -> MaskKeys {
        let times_g = |scalar| group::bytes(&RistrettoPoint::mul_base(&scalar));
        MaskKeys { sealing: times_g(self.sealing()), pair: times_g(self.pair()) }
    }

    /// Shares for every member, of which `me` is one. Nothing where a key is no point, which the ledger
    /// does not take.
    pub fn deal(&self, members: &[MaskKeys], me: usize) -> Option<Deal> {
        let needed = threshold(members.len());
        let pair = self.drawn(1).scalars(needed);
        let own = self.drawn(2).scalars(needed);
        let mut deal = Deal {
            own_key: group::bytes(&RistrettoPoint::mul_base(&own[0])),
            pair: vec![],
            own: vec![],
            sealed: vec![],
        };
        for (member, keys) in members.iter().enumerate() {
            let shares = [&pair, &own].map(|polynomial| value_at(polynomial, member));
            let [pair, own] = shares.map(|share| RistrettoPoint::mul_base(&share));
            deal.pair.push(group::bytes(&pair));
            deal.own.push(group::bytes(&own));
            let agreed = Agreed(self.sealing() * group::point(&keys.sealing)?);
            let plain = shares.map(|share| group::scalar_bytes(&share).0);
            deal.sealed.push(agreed.seal(&self.round, me, member, &plain));
        }
        Some(deal)
    }

    fn agreed(&self, other: &MaskKeys) -> Option<Agreed> {
        Some(Agreed(self.sealing() * group::point(&other.sealing)?))
    }

    /// The shares that a dealer gave to `me`, where they are what it committed to.
    pub fn open(&self, dealer: &MaskKeys, me: usize, dealt: &DealtShares) -> Option<Shares> {
        let agreed = self.agreed(dealer)?;
        let DealtShares { dealer, pair, own, sealed } = dealt;
        deal::open(&agreed, &self.round, *dealer as usize, me, sealed, &[*pair, *own])
    }

    /// Shows that what a dealer gave to `me` are no such shares.
    pub fn complain(&self, members: &[MaskKeys], me: usize, dealer: usize) -> Option<Complaint> {
        let agreed = self.agreed(members.get(dealer)?)?;
        let nonce = (self.bytes, self.round, 3u8, dealer as u64);
        let nonce = group::drawn(Tag::MaskSecret, &nonce).scalar();
        deal::complain(&self.round, members, me, dealer, self.sealing(), nonce, &agreed)
    }

    /// The shares to release, one for each dealer in order; `shares` are those that the dealers gave.
    pub fn released(masking: &Masking, shares: &[Shares]) -> Vec<MaskScalar> {
        let of_dealers = masking.dealers().zip(shares);
        of_dealers
            .map(|((_, dealer), shares)| if dealer.sent { shares.own } else { shares.pair })
            .collect()
    }

    pub fn round(&self) -> &RoundKey {
        &self.round
    }

    /// The random bytes, to be kept.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

/// A polynomial's value for a member; the secret is its value at 0.
fn value_at(coefficients: &[Scalar], member: usize) -> Scalar {
    let x = group::place(member);
    coefficients.iter().rev().fold(Scalar::ZERO, |value, coefficient| value * x + coefficient)
}

impl Agreed {
    fn seal(
        &self,
        round: &RoundKey,
        dealer: usize,
        member: usize,
        plain: &[[u8; 32]; 2],
    ) -> SealedShares {
        let mut sealed = self.pad(round, dealer, member);
        sealed.iter_mut().zip(plain.as_flattened()).for_each(|(to, plain)| *to ^= plain);
        SealedShares(sealed)
    }
}
