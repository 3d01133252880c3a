//! Masked rounds: validators see the sum of a cluster's updates and nothing of any single one (secure
//! aggregation by double masking: Bonawitz et al., *Practical Secure Aggregation for Privacy-Preserving
//! Machine Learning*, CCS 2017). The ledger stands where the paper has the server: what everyone must see
//! alike is a row of the state, under a quorum's signatures.
//!
//! A round goes through [`MaskStage`]s, each until all have spoken or its deadline. The arithmetic is in
//! `twinfold-fl`.

use super::{AggregationRule, Kept, Mode, Noise, TaskSpec, noise};
use crate::{
    PublicKey,
    hash::hex_array,
    limits,
    model::{TensorPolicy, model_values},
    round::RoundKey,
};
use serde::{Deserialize, Serialize};

/// How a task's rounds are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Masks {
    /// All updates are integers of this exponent: a value is q·2^−exponent, |q| < 2^(bits − 1) with the bits
    /// of the task's compression.
    pub exponent: u8,
    /// What members add to their integers before the masks, where they do.
    pub noise: Option<Noise>,
}

/// An element of the group ristretto255 (RFC 9496), encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MaskPoint(#[serde(with = "hex_array")] pub [u8; 32]);

/// An integer below that group's order, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MaskScalar(#[serde(with = "hex_array")] pub [u8; 32]);

/// A share of each of a dealer's two secrets, readable by one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedShares(#[serde(with = "hex_array")] pub [u8; 64]);

#[cfg(feature = "openapi")]
mod schema {
    use super::{MaskPoint, MaskScalar, SealedShares};
    use crate::hash::hex_string;
    use utoipa::openapi::{RefOr, Schema};

    impl utoipa::PartialSchema for MaskPoint {
        fn schema() -> RefOr<Schema> {
            hex_string(32)
        }
    }
    impl utoipa::ToSchema for MaskPoint {}
    impl utoipa::PartialSchema for MaskScalar {
        fn schema() -> RefOr<Schema> {
            hex_string(32)
        }
    }
    impl utoipa::ToSchema for MaskScalar {}
    impl utoipa::PartialSchema for SealedShares {
        fn schema() -> RefOr<Schema> {
            hex_string(64)
        }
    }
    impl utoipa::ToSchema for SealedShares {}
}

/// A trainer's keys for one round, both fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MaskKeys {
    /// Shares are sealed to it.
    pub sealing: MaskPoint,
    /// s·G: by s a mask is agreed with each other member.
    pub pair: MaskPoint,
}

/// What a member says in a masked round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskAction {
    pub round: RoundKey,
    pub step: MaskStep,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaskStep {
    /// It takes part.
    Keys(MaskKeys),
    /// It shares its secrets among all members.
    Deal(Box<Deal>),
    /// It was dealt a false share.
    Complain(Complaint),
    /// It releases its shares, one for each dealer in order: of the own mask's secret where the dealer's
    /// update is in the list, of the pair secret where it is not.
    Release(Vec<MaskScalar>),
}

/// A dealer's secrets, shared: member i (from 1 on) holds both polynomials' values at i. The lists have one
/// item for each member, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// b·G: from b the dealer's own mask is drawn.
    pub own_key: MaskPoint,
    /// Shares of s, and of b, each times G.
    pub pair: Vec<MaskPoint>,
    pub own: Vec<MaskPoint>,
    pub sealed: Vec<SealedShares>,
}

/// Shows the point that dealer and complainer agreed on, so that everyone reads the shares, and that it is
/// that point (Chaum and Pedersen, *Wallet Databases with Observers*, CRYPTO 1992).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Index of the member accused.
    pub dealer: u32,
    pub agreed: MaskPoint,
    pub challenge: MaskScalar,
    pub response: MaskScalar,
}

/// Where a masked round stands, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MaskStage {
    /// Trainers join with their keys.
    Joining,
    /// The members are known; each deals its shares.
    Dealing,
    /// The dealers are known; each sends its masked update.
    Updating,
    /// The list of updates is final; members release shares.
    Releasing,
    /// The secrets are known that the sum is unmasked by.
    Unmasked,
}

/// One member of a masked round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Masker {
    pub trainer: PublicKey,
    pub keys: MaskKeys,
    pub dealt: bool,
    /// Its update is in the list.
    pub sent: bool,
    pub released: bool,
}

/// A masked round as the state keeps it: what a trainer must see under a quorum's signatures before it
/// deals, masks or releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Masking {
    pub round: RoundKey,
    pub stage: MaskStage,
    /// In the order in which they joined; a member's index is its place here.
    pub members: Vec<Masker>,
    /// Once unmasked, one for each dealer in order: b of those whose update is in the list, s of the others.
    pub secrets: Vec<MaskScalar>,
}

/// What a dealer gave to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DealtShares {
    pub dealer: u32,
    /// The shares times G.
    pub pair: MaskPoint,
    pub own: MaskPoint,
    pub sealed: SealedShares,
}

impl Deal {
    /// What the dealer gave to a member.
    pub fn to(&self, dealer: u32, member: u32) -> Option<DealtShares> {
        let member = member as usize;
        let (pair, own) = (*self.pair.get(member)?, *self.own.get(member)?);
        Some(DealtShares { dealer, pair, own, sealed: *self.sealed.get(member)? })
    }
}

/// Shares of n members from which a secret is made again: ⌊2n/3⌋ + 1. Fewer say nothing of it.
pub fn threshold(members: usize) -> usize {
    2 * members / 3 + 1
}

impl Masking {
    pub fn new(round: RoundKey) -> Self {
        Self { round, stage: MaskStage::Joining, members: vec![], secrets: vec![] }
    }

    pub fn index_of(&self, trainer: &PublicKey) -> Option<usize> {
        self.members.iter().position(|member| member.trainer == *trainer)
    }

    /// Shares that are needed.
    pub fn threshold(&self) -> usize {
        threshold(self.members.len())
    }

    /// Those who dealt, with their indices.
    pub fn dealers(&self) -> impl Iterator<Item = (usize, &Masker)> {
        self.members.iter().enumerate().filter(|(_, member)| member.dealt)
    }
}

impl TaskSpec {
    /// Greatest |q| of an update that is to be masked, before noise.
    pub fn sent_value_max(&self) -> u64 {
        (1 << (self.compression.bits - 1)) - 1
    }

    /// The same with noise.
    pub fn masked_value_max(&self) -> u64 {
        self.sent_value_max() + self.noise().map_or(0, |noise| noise.margin())
    }

    /// Bytes of a word of a masked update: the fewest of 2, 3, 4, 6 and 8 whose modulus 2^b holds every sum,
    /// N·w·|q| < 2^(b−1). None does where the product is 2^63 and more.
    pub fn mask_word_bytes(&self) -> Option<usize> {
        let factors = [u64::from(self.weight_max), self.masked_value_max()];
        let most = factors
            .iter()
            .try_fold(u64::from(self.participants_max), |most, factor| most.checked_mul(*factor))?;
        [2, 3, 4, 6, 8].into_iter().find(|bytes| most < 1 << (8 * bytes - 1))
    }

    /// Values that an update sends where places are drawn or all are sent.
    pub fn sent_values(&self) -> u64 {
        let trained = self.tensors.iter().filter(|tensor| tensor.policy == TensorPolicy::Train);
        let lengths = trained.map(|tensor| tensor.shape.iter().product::<u64>());
        match self.compression.kept {
            Kept::Random { ppm } => {
                lengths.map(|len| (len * u64::from(ppm)).div_ceil(1_000_000)).sum()
            }
            _ => lengths.sum(),
        }
    }

    /// Length of a masked update.
    pub fn masked_bytes(&self) -> Option<u64> {
        Some(self.sent_values() * self.mask_word_bytes()? as u64)
    }

    /// Bytes of masks that are drawn again at most to unmask a round: of n members' own, and between a third
    /// of them that may be missing and the others.
    fn unmasking_bytes(&self) -> Option<u64> {
        let n = u64::from(self.participants_max);
        let missing = n - threshold(n as usize).min(n as usize) as u64;
        let masks = (n - missing).checked_mul(1 + missing)?.checked_add(missing * missing)?;
        masks.checked_mul(self.masked_bytes()?)
    }
}

/// Why the masks do not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let masks = spec.masks?;
    let (min, max) = (spec.participants_min, spec.participants_max);
    if min < limits::MASKED_MIN || max > limits::MASKED_MAX {
        return Some(format!(
            "a masked round has {} to {} participants, so that a sum says little of one of them",
            limits::MASKED_MIN,
            limits::MASKED_MAX
        ));
    }
    let plain = spec.rule == AggregationRule::Mean && spec.screen.is_off();
    if !plain {
        return Some(
            "masked updates are not seen: only the rule mean, and no screen, goes with masks"
                .into(),
        );
    }
    if spec.contributions {
        return Some("masked updates are not seen: what each had in the sum cannot be told".into());
    }
    if spec.mode != Mode::Sync || !spec.late.is_empty() || spec.extensions_max > 0 {
        return Some(
            "masks are for one round and one list: take synchronous rounds, no late updates and no extensions".into(),
        );
    }
    if spec.selection.is_some() {
        return Some(
            "in a masked round those take part who join with keys: take no selection".into(),
        );
    }
    if spec.compression.chooses_by_value() || spec.compression.bits < 2 {
        return Some(
            "masked updates have all the same places and are added up: take none, q2 to q16 or randk".into(),
        );
    }
    arithmetic_fault(spec, masks)
}

fn arithmetic_fault(spec: &TaskSpec, masks: Masks) -> Option<String> {
    let trained = spec.tensors.iter().filter(|tensor| tensor.policy == TensorPolicy::Train);
    for tensor in trained {
        let Some(shift) = tensor.scale.checked_sub(masks.exponent) else {
            return Some(format!(
                "masked values are steps of 2^-{}, finer than tensor {:?}, which has 2^-{}",
                masks.exponent, tensor.name, tensor.scale
            ));
        };
        if spec.masked_value_max() >> (31 - shift) > 0 {
            return Some(format!(
                "masked values of {} bits in steps of 2^-{} leave the range of tensor {:?}",
                spec.compression.bits, masks.exponent, tensor.name
            ));
        }
        let most = u64::from(spec.participants_max) * u64::from(spec.weight_max);
        let most = most.checked_mul(spec.masked_value_max() << shift);
        if most.is_none_or(|most| most >= 1 << 63) {
            return Some(
                "participants × weight × greatest masked value must stay below 2^63: lower one"
                    .into(),
            );
        }
    }
    if model_values(&spec.tensors).is_none() || spec.mask_word_bytes().is_none() {
        return Some(
            "a sum of masked updates does not fit 64 bits: lower the cap of weights".into(),
        );
    }
    if let Some(fault) = noise::fault(spec, masks) {
        return Some(fault);
    }
    let bytes = spec.unmasking_bytes();
    bytes.is_none_or(|bytes| bytes > limits::UNMASKING_BYTES_MAX).then(|| {
        format!(
            "unmasking could take {} bytes of masks, {} are allowed: take fewer participants or values",
            bytes.map_or("2^64 and more".into(), |bytes| bytes.to_string()),
            limits::UNMASKING_BYTES_MAX
        )
    })
}
