//! Scenes of blobs that are cut, lost in part, lied about and read again.

use super::*;
use crate::{Digest, limits::PIECE_BYTES};
use proptest::prelude::*;
use std::ops::Range;

const S: usize = PIECE_BYTES;

/// Bytes without a pattern that a piece could repeat.
pub(super) fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"content").finalize_xof().fill(&mut bytes);
    bytes
}

fn lengths(coding: Coding) -> Vec<usize> {
    let full = coding.stripe_bytes();
    let k = usize::from(coding.k());
    let mut lengths = vec![0, 1, 2, k, 2 * k + 1, 1_000, S - 1, S, S + 1];
    lengths.extend([full - 1, full, full + 1, 2 * full, 2 * full + S + 17]);
    lengths
}

/// Content coded in parts of one length: what is committed to, and the n fragments.
fn encode(content: &[u8], coding: Coding, part: usize) -> (Encoded, Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(coding);
    let mut fragments = vec![vec![]; usize::from(coding.n())];
    let mut add = |stripe: &Stripe<'_>| {
        fragments.iter_mut().zip(stripe.pieces()).for_each(|(all, piece)| all.extend(piece));
    };
    for mut part in content.chunks(part) {
        while let Some(stripe) = encoder.push(&mut part).unwrap() {
            add(&stripe);
        }
    }
    let encoded = encoder.finish();
    add(&encoded.last_stripe());
    (encoded, fragments)
}

fn pieces<'a>(
    layout: Layout,
    fragments: &'a [Vec<u8>],
    chosen: &[u16],
    run: &Range<u64>,
) -> Vec<Piece<'a>> {
    let range = layout.fragment_range(run).unwrap();
    let range = range.start as usize..range.end as usize;
    chosen.iter().map(|&index| (index, &fragments[usize::from(index)][range.clone()])).collect()
}

/// The stripes in runs of a length.
fn runs(layout: Layout, stripes: u64) -> Vec<Range<u64>> {
    let end = |start: u64| layout.stripes().min(start + stripes);
    (0..layout.stripes()).step_by(stripes as usize).map(|start| start..end(start)).collect()
}

fn decode(layout: Layout, fragments: &[Vec<u8>], chosen: &[u16]) -> Vec<u8> {
    decode_by(layout, fragments, chosen, layout.coding().run_stripes())
}

fn decode_by(layout: Layout, fragments: &[Vec<u8>], chosen: &[u16], stripes: u64) -> Vec<u8> {
    let mut decoder = Decoder::new(layout);
    let mut content = vec![];
    for run in runs(layout, stripes) {
        let pieces = pieces(layout, fragments, chosen, &run);
        decoder.content(run, &pieces).unwrap().iter().for_each(|part| content.extend(*part));
    }
    content
}

/// All sets of `count` fragments of n.
fn sets(n: u16, count: u16) -> Vec<Vec<u16>> {
    let members = |set: u32| (0..n).filter(|at| set >> at & 1 == 1).collect();
    (0..1u32 << n).filter(|set| set.count_ones() == u32::from(count)).map(members).collect()
}

fn verdict(id: BlobId, list: &FragmentList, content: &[u8]) -> Result<(), ReencodingError> {
    let mut check = Reencoding::new(id, list.clone()).unwrap();
    content.chunks(100_000).for_each(|part| check.push(part).unwrap());
    check.finish()
}

#[test]
fn whichever_fragments_are_lost_the_others_give_the_content_back() {
    for seats in [4, 7, 10] {
        let coding = Coding::fragments(seats).unwrap();
        // Of ten seats there are 210 sets to read from: every third length.
        for length in lengths(coding).into_iter().step_by(1 + seats / 10 * 2) {
            let bytes = content(length);
            let (encoded, fragments) = encode(&bytes, coding, 70_001);
            for chosen in sets(coding.n(), coding.k()) {
                let read = decode(encoded.layout(), &fragments, &chosen);
                assert!(read == bytes, "{length} bytes from {chosen:?} of {seats}");
            }
        }
    }
}

#[test]
fn every_lost_fragment_is_rebuilt_from_any_k_others() {
    for seats in [4, 7, 10] {
        let coding = Coding::fragments(seats).unwrap();
        let bytes = content(coding.stripe_bytes() + 12_345);
        let (encoded, fragments) = encode(&bytes, coding, bytes.len());
        let layout = encoded.layout();
        let (mut decoder, mut piece) = (Decoder::new(layout), vec![]);
        for chosen in sets(coding.n(), coding.k()) {
            for lost in (0..coding.n()).filter(|index| !chosen.contains(index)) {
                let mut rebuilt = vec![];
                for run in runs(layout, 1 + u64::from(lost % 2)) {
                    let others = pieces(layout, &fragments, &chosen, &run);
                    decoder.rebuild(run, &others, lost, &mut piece).unwrap();
                    rebuilt.extend_from_slice(&piece);
                }
                assert!(rebuilt == fragments[usize::from(lost)], "{lost} from {chosen:?}");
            }
        }
    }
}

#[test]
fn stripes_by_themselves_and_in_runs_give_the_same() {
    let coding = Coding::fragments(7).unwrap();
    let bytes = content(4 * coding.stripe_bytes() + 100_003);
    let (encoded, fragments) = encode(&bytes, coding, bytes.len());
    for chosen in [[4, 5, 6], [2, 3, 0]] {
        for stripes in 1..=5 {
            let read = decode_by(encoded.layout(), &fragments, &chosen, stripes);
            assert!(read == bytes, "{stripes} at once from {chosen:?}");
        }
    }
}

#[test]
fn committees_of_every_size_can_lose_all_fragments_that_they_may() {
    for seats in 1..=crate::limits::SEATS_MAX {
        let coding = Coding::fragments(seats).unwrap();
        let bytes = content(10_007);
        let (encoded, fragments) = encode(&bytes, coding, 4_096);
        let (n, k) = (coding.n(), coding.k());
        for chosen in [(0..k).collect::<Vec<_>>(), (n - k..n).rev().collect()] {
            assert!(decode(encoded.layout(), &fragments, &chosen) == bytes, "n = {seats}");
        }
        assert_eq!(verdict(encoded.id, &encoded.fragments, &bytes), Ok(()));
    }
}

#[test]
fn what_is_committed_to_is_the_hash_of_every_fragment_and_of_the_content() {
    for coding in [Coding::whole_copies(4), Coding::fragments(4), Coding::fragments(7)] {
        let coding = coding.unwrap();
        for length in lengths(coding) {
            let bytes = content(length);
            let (encoded, fragments) = encode(&bytes, coding, 1_000_000);
            assert_eq!(encoded.id.content.0, *blake3::hash(&bytes).as_bytes());
            assert!(encoded.id.is_supported());
            encoded.fragments.check(&encoded.id).unwrap();
            for (index, fragment) in fragments.iter().enumerate() {
                let index = index as u16;
                assert_eq!(fragment.len() as u64, encoded.layout().fragment_bytes());
                let hash = encoded.fragments.hash(index).unwrap();
                assert_eq!(hash.0, *blake3::hash(fragment).as_bytes());
                assert_eq!(encoded.groups(index), Some(&GroupHashes::of(fragment)));
            }
            assert_eq!(encoded.groups(coding.n()), None);
        }
    }
}

#[test]
fn whole_copies_have_the_identity_that_they_always_had() {
    let coding = Coding::whole_copies(4).unwrap();
    for length in lengths(coding) {
        let bytes = content(length);
        let (encoded, fragments) = encode(&bytes, coding, 50_000);
        assert_eq!(encoded.id, BlobId::whole_copies(&bytes, 4));
        assert!(fragments.iter().all(|copy| *copy == bytes));
        assert!(decode(encoded.layout(), &fragments, &[3]) == bytes);
    }
}

#[test]
fn a_node_may_hand_stripes_from_thread_to_thread() {
    fn is_send<T: Send>() {}
    is_send::<Encoder>();
    is_send::<Stripe<'_>>();
    is_send::<Decoder>();
    is_send::<Reencoding>();
}

/// A liar's commitment: it hashes what it gives out, and its identity fits.
fn committed(honest: &Encoded, fragments: &[Vec<u8>]) -> (BlobId, FragmentList) {
    let hash = |fragment: &Vec<u8>| Digest(*blake3::hash(fragment).as_bytes());
    let list = FragmentList(fragments.iter().map(hash).collect());
    let fragment_root = list.root(honest.layout().fragment_bytes());
    (BlobId { fragment_root, ..honest.id }, list)
}

#[test]
fn a_lying_encoder_is_found_whichever_fragments_one_read() {
    for seats in [4, 7] {
        let coding = Coding::fragments(seats).unwrap();
        let bytes = content(coding.stripe_bytes() + 1_001);
        let (honest, fragments) = encode(&bytes, coding, bytes.len());
        let last = honest.layout().fragment_bytes() as usize - 1;
        // In the data, in the parity, in the first stripe, in the last and in its padding.
        let places = [(0, 0), (coding.k() - 1, last), (coding.k(), 5), (coding.n() - 1, last)];
        for (fragment, at) in places {
            let mut false_ones = fragments.clone();
            false_ones[usize::from(fragment)][at] ^= 1;
            let (id, list) = committed(&honest, &false_ones);
            list.check(&id).expect("the liar is consistent");
            for chosen in sets(coding.n(), coding.k()) {
                let read = decode(honest.layout(), &false_ones, &chosen);
                let verdict = verdict(id, &list, &read);
                assert!(
                    matches!(verdict, Err(ReencodingError::Misencoded(_))),
                    "{fragment}, {at}, {chosen:?}: {verdict:?}"
                );
                if !chosen.contains(&fragment) {
                    assert_eq!(verdict, Err(Misencoded::Fragment { fragment }.into()));
                }
            }
        }
    }
}

#[test]
fn fragments_of_one_content_under_the_hash_of_another_are_found_too() {
    let coding = Coding::fragments(4).unwrap();
    let bytes = content(200_000);
    let (honest, fragments) = encode(&bytes, coding, bytes.len());
    let id = BlobId { content: Digest([7; 32]), ..honest.id };
    for chosen in sets(4, 2) {
        let read = decode(honest.layout(), &fragments, &chosen);
        assert_eq!(verdict(id, &honest.fragments, &read), Err(Misencoded::Content.into()));
    }
}

#[test]
fn a_check_that_was_not_fed_all_content_accuses_nobody() {
    let bytes = content(200_000);
    let (encoded, _) = encode(&bytes, Coding::fragments(4).unwrap(), bytes.len());
    for found in [0, 199_999] {
        let refused = ReencodingError::Length { expected: 200_000, found: found as u64 };
        assert_eq!(verdict(encoded.id, &encoded.fragments, &bytes[..found]), Err(refused));
    }
}

#[test]
fn another_list_than_the_identity_commits_to_is_refused() {
    for coding in [Coding::whole_copies(4), Coding::fragments(4)] {
        let (encoded, _) = encode(&content(1_000), coding.unwrap(), 1_000);
        let (id, list) = (encoded.id, encoded.fragments);
        for count in [0, 3, 5, 1_000] {
            let mut other = list.clone();
            other.0.resize(count, list.0[0]);
            assert_eq!(other.check(&id), Err(FragmentError::Count { n: 4, found: count }));
        }
        for at in 0..4 {
            let mut other = list.clone();
            other.0[at].0[31] ^= 1;
            assert_eq!(other.check(&id), Err(FragmentError::Root));
        }
        let longer = BlobId { length: id.length + 100, ..id };
        assert_eq!(list.check(&longer), Err(FragmentError::Root));
        let unknown = BlobId { k: 3, ..id };
        assert!(matches!(list.check(&unknown), Err(FragmentError::Layout(_))));
        assert!(!unknown.is_supported());
    }
}

#[test]
fn a_whole_copy_whose_leaves_differ_is_not_supported() {
    let copy = BlobId::whole_copies(b"content", 2);
    let list = FragmentList(vec![copy.content, Digest([7; 32])]);
    let id = BlobId { fragment_root: list.root(7), ..copy };
    assert!(copy.is_supported() && !id.is_supported());
    assert_eq!(list.check(&id), Err(FragmentError::Root));
}

#[test]
fn pieces_that_do_not_fit_are_refused_by_name() {
    let coding = Coding::fragments(4).unwrap();
    let (encoded, fragments) = encode(&content(300_000), coding, 300_000);
    let layout = encoded.layout();
    let mut decoder = Decoder::new(layout);
    let all = pieces(layout, &fragments, &[0, 1, 2, 3], &(0..1));
    let mut refused = |run, pieces: &[Piece<'_>]| {
        decoder.content(run, pieces).map(|parts| parts.len()).unwrap_err()
    };
    for (first, end) in [(3, 4), (0, 4), (0, 0), (1, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        let no_run = DecodeError::NoRun { first, end, stripes: 3, at_once: 32 };
        assert_eq!(refused(first..end, &all), no_run);
    }
    assert_eq!(refused(0..1, &all[..1]), DecodeError::TooFew { k: 2, found: 1 });
    assert_eq!(refused(0..1, &[]), DecodeError::TooFew { k: 2, found: 0 });
    assert_eq!(refused(0..1, &[all[1], all[1]]), DecodeError::Twice { fragment: 1 });
    let foreign = DecodeError::NoSuchFragment { fragment: 4, n: 4 };
    assert_eq!(refused(0..1, &[all[1], (4, all[0].1)]), foreign);
    let short = |expected, found| DecodeError::PieceLength { fragment: 2, expected, found };
    assert_eq!(refused(0..1, &[all[1], (2, &all[2].1[2..])]), short(S, S - 2));
    assert_eq!(refused(0..2, &[all[2], all[1]]), short(2 * S, S));
    assert_eq!(decoder.rebuild(0..1, &all, 4, &mut vec![]), Err(foreign));
    // After all that the decoder still works, with more pieces than it takes.
    let (first, second) = (all[0].1, all[1].1);
    assert_eq!(decoder.content(0..1, &all).unwrap(), [first, second]);
    assert_eq!(decoder.content(0..1, &all[1..]).unwrap(), [first, second]);
}

#[test]
fn a_run_is_bounded_however_long_the_content() {
    let coding = Coding::fragments(100).unwrap();
    let layout = Layout::new(coding.bytes_max(), coding).unwrap();
    let refused = Decoder::new(layout).content(0..2, &[]).unwrap_err();
    assert!(matches!(refused, DecodeError::NoRun { at_once: 1, .. }), "{refused}");
}

#[test]
fn content_over_the_limit_is_refused_and_nothing_of_it_taken() {
    let coding = Coding::whole_copies(1).unwrap();
    // Zeros that nobody touches take no memory.
    let long = vec![0; coding.bytes_max() as usize + 1];
    let (mut encoder, mut rest) = (Encoder::new(coding), &long[..]);
    assert!(matches!(encoder.push(&mut rest), Err(LayoutError::TooLong { .. })));
    assert_eq!(rest.len(), long.len());
    assert_eq!(encoder.finish().id, BlobId::whole_copies(b"", 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_content_in_any_parts_comes_back_from_any_fragments(
        seats in 1usize..=20,
        length in 0usize..1_500_000,
        part in 1usize..700_000,
        order in any::<prop::sample::Index>(),
    ) {
        let coding = Coding::fragments(seats).unwrap();
        let bytes = content(length);
        let (encoded, fragments) = encode(&bytes, coding, part);
        let start = order.index(seats) as u16;
        let chosen: Vec<_> = (0..coding.k()).map(|at| (start + at) % coding.n()).collect();
        prop_assert!(decode(encoded.layout(), &fragments, &chosen) == bytes);
        prop_assert_eq!(verdict(encoded.id, &encoded.fragments, &bytes), Ok(()));
    }
}
