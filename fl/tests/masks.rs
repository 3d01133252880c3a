//! A masked round from keys to sum, with members that fall silent and members that cheat.

mod common;

use common::{TASK, folded, task, tensor};
use std::convert::Infallible;
use twinfold_fl::{
    Base, FoldInput, Folded, Layout, fold_round,
    mask::{
        self, RoundSecret, check_complaint, check_deal, check_keys, check_release, reconstruct,
        secret::Shares,
    },
};
use twinfold_types::{
    ClusterId, Digest, PublicKey, RoundNumber,
    hash::Tag,
    round::RoundKey,
    task::{
        Compression, Masks, TaskSpec,
        masks::{Deal, DealtShares, MaskKeys, MaskPoint, MaskScalar, MaskStage, Masker, Masking},
    },
};

const ROUND: RoundKey = RoundKey { task: TASK, cluster: ClusterId(0), round: RoundNumber(5) };
const VALUES: usize = 40;

fn spec(weight_max: u32) -> TaskSpec {
    let spec = TaskSpec {
        participants_min: 8,
        participants_max: 12,
        weight_max,
        extensions_max: 0,
        compression: Compression::dense(16),
        masks: Some(Masks { exponent: 16, noise: None }),
        ..task(vec![tensor("a", 30, 20), tensor("b", 10, 16)])
    };
    assert_eq!(spec.fault(), None);
    spec
}

/// Members of one round with their secrets.
struct Group {
    secrets: Vec<RoundSecret>,
    keys: Vec<MaskKeys>,
    deals: Vec<Deal>,
    masking: Masking,
}

impl Group {
    /// All join; those named do not deal.
    fn new(members: usize, silent: &[usize]) -> Self {
        let secret = |index: usize| RoundSecret::new([index as u8 + 1; 32], ROUND);
        let secrets: Vec<_> = (0..members).map(secret).collect();
        let keys: Vec<_> = secrets.iter().map(RoundSecret::keys).collect();
        let deals = secrets.iter().enumerate();
        let deals: Vec<_> =
            deals.map(|(index, secret)| secret.deal(&keys, index).unwrap()).collect();
        let member = |(index, keys): (usize, &MaskKeys)| Masker {
            trainer: PublicKey([index as u8; 32]),
            keys: *keys,
            dealt: !silent.contains(&index),
            sent: false,
            released: false,
        };
        let masking = Masking {
            stage: MaskStage::Updating,
            members: keys.iter().enumerate().map(member).collect(),
            ..Masking::new(ROUND)
        };
        Self { secrets, keys, deals, masking }
    }

    fn dealt(&self, dealer: usize, to: usize) -> DealtShares {
        let deal = &self.deals[dealer];
        DealtShares {
            dealer: dealer as u32,
            pair: deal.pair[to],
            own: deal.own[to],
            sealed: deal.sealed[to],
        }
    }

    fn open(&self, me: usize) -> Vec<Shares> {
        let dealers = self.masking.dealers();
        let open = |(dealer, _): (usize, &Masker)| {
            self.secrets[me].open(&self.keys[dealer], me, &self.dealt(dealer, me)).unwrap()
        };
        dealers.map(open).collect()
    }

    fn commitments(&self, me: usize) -> Vec<MaskPoint> {
        let of = |(index, dealer): (usize, &Masker)| match dealer.sent {
            true => self.deals[index].own[me],
            false => self.deals[index].pair[me],
        };
        self.masking.dealers().map(of).collect()
    }

    /// Masks each sender's integers, unmasks by what the releasers hold, and folds.
    fn run(
        &mut self,
        spec: &TaskSpec,
        sent: &[(usize, u32, Vec<i32>)],
        releasers: &[usize],
    ) -> Folded {
        let layout = Layout::of(&spec.tensors).unwrap();
        let (mut inputs, mut payloads) = (vec![], vec![]);
        for (index, weight, integers) in sent {
            let secret = &self.secrets[*index];
            let masked =
                mask::mask(spec, &layout, secret, &self.masking, *index, integers, *weight);
            payloads.push(masked.unwrap());
            assert_eq!(Some(payloads.last().unwrap().len() as u64), spec.masked_bytes());
            inputs.push(FoldInput {
                trainer: self.masking.members[*index].trainer,
                payload: Digest::of(Tag::Blob, &(*index as u64)),
                weight: *weight,
                loss: 0,
                base_version: 3,
                base_digest: Digest::ZERO,
            });
        }
        for (index, ..) in sent {
            self.masking.members[*index].sent = true;
        }
        self.masking.stage = MaskStage::Releasing;
        let released: Vec<_> = releasers
            .iter()
            .map(|me| {
                let shares = RoundSecret::released(&self.masking, &self.open(*me));
                assert!(check_release(&self.commitments(*me), &shares));
                shares
            })
            .collect();
        let needed = self.masking.threshold();
        self.masking.secrets = reconstruct(&releasers[..needed], &released[..needed]).unwrap();
        let base = Base {
            cluster: ClusterId(0),
            steps: &[100; VALUES],
            version: 3,
            memory: None,
            against: None,
            masking: Some(&self.masking),
        };
        let result: Result<_, Infallible> =
            fold_round(spec, TASK, base, &inputs, &mut payloads.as_slice());
        result.unwrap_or_else(|never| match never {})
    }
}

fn integers(seed: i32) -> Vec<i32> {
    (0..VALUES as i32).map(|at| (seed * 7_919 + at * 104_729) % 32_767).collect()
}

/// By sums anyone can follow: half-even(Σ w·q·2^(S − e) / Σ w).
fn expected(spec: &TaskSpec, sent: &[(usize, u32, Vec<i32>)]) -> Vec<i32> {
    let weight: i64 = sent.iter().map(|(_, weight, _)| i64::from(*weight)).sum();
    let value = |at: usize| {
        let scale = if at < 30 { spec.tensors[0].scale } else { spec.tensors[1].scale };
        let sum: i64 = sent.iter().map(|(_, w, q)| i64::from(*w) * i64::from(q[at])).sum();
        let sum = sum << (scale - 16);
        let floor = sum.div_euclid(weight);
        let twice = 2 * sum.rem_euclid(weight);
        let up = twice > weight || (twice == weight && floor % 2 != 0);
        100 + (floor + i64::from(up)) as i32
    };
    (0..VALUES).map(value).collect()
}

fn senders(indices: impl Iterator<Item = usize>) -> Vec<(usize, u32, Vec<i32>)> {
    indices.map(|index| (index, 1 + index as u32 * 31, integers(index as i32 + 1))).collect()
}

#[test]
fn what_all_masked_comes_to_their_mean_whoever_releases() {
    let spec = spec(1_000);
    let sent = senders(0..12);
    let first = Group::new(12, &[]).run(&spec, &sent, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(first.steps, Some(expected(&spec, &sent)));
    assert_eq!(first.outcomes[3], folded(94));
    let last = Group::new(12, &[]).run(&spec, &sent, &[11, 3, 10, 9, 4, 5, 8, 7, 6]);
    assert_eq!(first, last);
}

#[test]
fn a_third_may_fall_silent_at_any_stage_and_the_others_come_to_their_mean() {
    let spec = spec(1_000);
    // 0 never dealt; 4 and 7 dealt and sent nothing, and 7 still releases.
    let sent = senders((1..12).filter(|index| ![4, 7].contains(index)));
    let folded = Group::new(12, &[0]).run(&spec, &sent, &[1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert_eq!(folded.steps, Some(expected(&spec, &sent)));
}

#[test]
fn words_are_as_short_as_sums_allow() {
    let bytes = |weight_max| spec(weight_max).mask_word_bytes();
    // 12 · w · 32,767 < 2^(b − 1).
    assert_eq!(
        (bytes(1), bytes(21), bytes(22), bytes(5_461)),
        (Some(3), Some(3), Some(4), Some(4))
    );
    assert_eq!((bytes(5_462), bytes(357_000_000), bytes(358_000_000)), (Some(6), Some(6), Some(8)));
    for weight_max in [1, 22, 5_462] {
        let spec = spec(weight_max);
        let sent: Vec<_> =
            (0..12).map(|index| (index, weight_max, vec![-32_767; VALUES])).collect();
        let folded = Group::new(12, &[]).run(&spec, &sent, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            folded.steps,
            Some(expected(&spec, &sent)),
            "the least that honest ones add up to"
        );
    }
}

/// One trainer's bytes are the same whatever it sends, up to a mask that is as good as chance: here, that no
/// bit of many is set more often than chance has it, for updates of zeros.
#[test]
fn what_validators_hold_of_an_update_looks_like_chance() {
    let spec = TaskSpec { tensors: vec![tensor("a", 20_000, 20)], ..spec(1) };
    let layout = Layout::of(&spec.tensors).unwrap();
    let group = Group::new(12, &[]);
    let masked = |value| {
        let (secret, integers) = (&group.secrets[2], vec![value; 20_000]);
        mask::mask(&spec, &layout, secret, &group.masking, 2, &integers, 1).unwrap()
    };
    let zeros = masked(0);
    let mut ones = [0u32; 24];
    for word in zeros.as_chunks::<3>().0 {
        let word = u32::from_le_bytes([word[0], word[1], word[2], 0]);
        (0..24).for_each(|bit| ones[bit] += word >> bit & 1);
    }
    // 10,000 on average, five standard deviations are 354.
    assert!(ones.iter().all(|ones| (9_646..=10_354).contains(ones)), "{ones:?}");
    let apart = masked(5);
    assert!(zeros.iter().zip(&apart).any(|(a, b)| a != b));
}

/// A leader that holds an update back until the list is final gets its sender's pair secret from everyone,
/// and from nobody a share of its own mask: the update stays masked by that.
#[test]
fn of_each_dealer_one_secret_is_released_and_never_both() {
    let spec = spec(1);
    let mut group = Group::new(12, &[]);
    let sent = senders((0..12).filter(|index| *index != 4)).into_iter();
    let sent: Vec<_> = sent.map(|(index, _, integers)| (index, 1, integers)).collect();
    let releasers = [0, 1, 2, 3, 5, 6, 7, 8, 9];
    group.run(&spec, &sent, &releasers);
    for me in releasers {
        let held = group.open(me);
        for (dealer, released) in RoundSecret::released(&group.masking, &held).iter().enumerate() {
            let Shares { pair, own } = held[dealer];
            let (told, kept) = if dealer == 4 { (pair, own) } else { (own, pair) };
            assert!(*released == told && *released != kept);
        }
    }
    let own = releasers.map(|me| vec![group.open(me)[4].own]);
    let own = reconstruct(&releasers, &own).unwrap()[0];
    assert_ne!(own, group.masking.secrets[4]);
}

#[test]
fn shares_below_the_threshold_do_not_come_to_the_secret() {
    let group = Group::new(9, &[]);
    let own = |me: usize| vec![group.open(me)[0].own];
    let whole = reconstruct(&[0, 1, 2, 3, 4, 5, 6], &[0, 1, 2, 3, 4, 5, 6].map(own)).unwrap();
    let other = reconstruct(&[8, 1, 7, 3, 4, 5, 6], &[8, 1, 7, 3, 4, 5, 6].map(own)).unwrap();
    assert_eq!(whole, other);
    let fewer = reconstruct(&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4, 5].map(own)).unwrap();
    assert_ne!(whole, fewer);
}

#[test]
fn a_deal_is_taken_only_if_all_shares_are_of_one_polynomial_and_of_the_keys() {
    let group = Group::new(9, &[]);
    let check = |deal: &Deal| check_deal(&ROUND, &group.keys, 2, deal);
    let good = group.deals[2].clone();
    assert!(check(&good));
    assert!(!check_deal(&ROUND, &group.keys, 3, &good), "another's keys");
    let mut moved = good.clone();
    moved.pair[8] = good.pair[7];
    assert!(!check(&moved), "one share off the polynomial");
    let mut swapped = good.clone();
    swapped.own.swap(0, 1);
    assert!(!check(&swapped));
    let mut other_key = good.clone();
    other_key.own_key = good.pair[0];
    assert!(!check(&other_key));
    let mut short = good.clone();
    short.sealed.pop();
    assert!(!check(&short));
    let mut no_point = good.clone();
    no_point.own[3] = MaskPoint([0xff; 32]);
    assert!(!check(&no_point));
    // Of too high a degree: one that needs all nine.
    let wide = RoundSecret::new([77; 32], ROUND);
    let keys: Vec<_> = (0..12).map(|index| RoundSecret::new([index; 32], ROUND).keys()).collect();
    let mut high = wide.deal(&keys, 2).unwrap();
    high.pair.truncate(9);
    high.own.truncate(9);
    high.sealed.truncate(9);
    let mut members = group.keys.clone();
    members[2] = wide.keys();
    assert!(!check_deal(&ROUND, &members, 2, &high), "9 shares of a polynomial that needs 9 of 12");
}

#[test]
fn a_false_share_is_shown_and_a_good_one_cannot_be() {
    let mut group = Group::new(9, &[]);
    let (dealer, me) = (5, 1);
    let honest = group.secrets[me].complain(&group.keys, me, dealer).unwrap();
    let check = |group: &Group, by: usize, complaint| {
        check_complaint(&ROUND, &group.keys, by, &group.deals[dealer], complaint)
    };
    assert!(!check(&group, me, &honest), "the share was good: nobody is accused");
    group.deals[dealer].sealed[me].0[40] ^= 1;
    assert!(group.secrets[me].open(&group.keys[dealer], me, &group.dealt(dealer, me)).is_none());
    assert!(check(&group, me, &honest));
    assert!(!check(&group, 2, &honest), "said by another");
    // Whoever makes the agreed point up can read anything into the deal: the proof forbids it.
    let mut forged = honest;
    forged.agreed = group.keys[3].pair;
    assert!(!check(&group, me, &forged));
    let mut wrong = honest;
    wrong.response = MaskScalar([1; 32]);
    assert!(!check(&group, me, &wrong));
}

#[test]
fn a_wrong_share_is_not_taken() {
    let group = Group::new(9, &[]);
    let shares = RoundSecret::released(&group.masking, &group.open(4));
    let commitments = group.commitments(4);
    assert!(check_release(&commitments, &shares));
    let mut wrong = shares.clone();
    wrong[2] = shares[3];
    assert!(!check_release(&commitments, &wrong));
    assert!(!check_release(&commitments, &shares[1..]));
    wrong[2] = MaskScalar([0xff; 32]);
    assert!(!check_release(&commitments, &wrong), "no scalar");
    let own: Vec<_> = group.open(4).iter().map(|shares| shares.own).collect();
    assert!(!check_release(&commitments, &own), "of the own masks, while nobody has sent");
}

#[test]
fn keys_are_points_and_not_nothing() {
    let keys = RoundSecret::new([3; 32], ROUND).keys();
    assert!(check_keys(&keys));
    assert!(!check_keys(&MaskKeys { sealing: MaskPoint([0; 32]), ..keys }));
    assert!(!check_keys(&MaskKeys { pair: MaskPoint([0xee; 32]), ..keys }));
    let other = RoundKey { round: RoundNumber(6), ..ROUND };
    assert_ne!(keys, RoundSecret::new([3; 32], other).keys(), "each round has its own");
}

/// What trainers of other versions, and verifiers in years, must come to as well.
#[test]
fn masked_words_are_frozen() {
    let spec = spec(1);
    let layout = Layout::of(&spec.tensors).unwrap();
    let group = Group::new(9, &[3]);
    let integers: Vec<i32> = (0..VALUES as i32).map(|at| at * 100 - 2_000).collect();
    let words =
        mask::mask(&spec, &layout, &group.secrets[1], &group.masking, 1, &integers, 1).unwrap();
    assert_eq!(common::hex(&words[..24]), "37c50d57c21edafca011bca56099666df649bfaec5fa477c");
}
