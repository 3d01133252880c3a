//! Scenes of sealing: what opens, what is refused, and the vectors of others.

use super::{
    ContentKey, Drawn, EncryptionSecret, Header, Opener, PREAMBLE_BYTES, SEALED_SEGMENT_BYTES,
    SealError, SealedWrap, Sealer, WrapError, WrapPlace,
    wrap::{open, seal},
};
use crate::{Digest, PublicKey, key::EncryptionKey, limits::SEGMENT_BYTES};
use proptest::prelude::*;

fn key(byte: u8) -> ContentKey {
    ContentKey::from_bytes(&[byte; 32])
}

fn drawn(byte: u8) -> Drawn {
    Drawn { prefix: [byte; 7], salt: [byte; 32] }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 256) as u8).collect()
}

fn sealed(key: &ContentKey, drawn: &Drawn, content: &[u8]) -> (Vec<u8>, Digest) {
    let (mut sealer, mut bytes) = Sealer::begin(key, drawn);
    let mut rest = content;
    while rest.len() > SEGMENT_BYTES {
        let (segment, after) = rest.split_first_chunk().unwrap();
        bytes.extend(sealer.segment(segment).unwrap());
        rest = after;
    }
    let (last, commitment) = sealer.finish(rest).unwrap();
    bytes.extend(last);
    (bytes, commitment)
}

fn opened(key: &ContentKey, sealed: &[u8]) -> Result<(Vec<u8>, Digest), SealError> {
    let (preamble, mut rest) = sealed.split_first_chunk().ok_or(SealError::Length)?;
    let (mut opener, mut plain) = (Opener::begin(key, preamble)?, vec![]);
    while rest.len() > SEALED_SEGMENT_BYTES {
        let (segment, after) = rest.split_first_chunk().unwrap();
        plain.extend_from_slice(&opener.segment(segment)?);
        rest = after;
    }
    let (last, commitment) = opener.finish(rest)?;
    plain.extend_from_slice(&last);
    Ok((plain, commitment))
}

#[test]
fn what_was_sealed_opens_whatever_its_length() {
    for length in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES] {
        let (bytes, commitment) = sealed(&key(1), &drawn(2), &content(length));
        let segments = length.div_ceil(SEGMENT_BYTES).max(1);
        assert_eq!(bytes.len(), PREAMBLE_BYTES + length + 16 * segments);
        assert_eq!(opened(&key(1), &bytes), Ok((content(length), commitment)), "{length} bytes");
    }
}

#[test]
fn segments_that_are_swapped_dropped_repeated_or_cut_are_refused() {
    let (bytes, _) = sealed(&key(1), &drawn(2), &content(3 * SEGMENT_BYTES + 9));
    let (preamble, rest) = bytes.split_at(PREAMBLE_BYTES);
    let segments: Vec<_> = rest.chunks(SEALED_SEGMENT_BYTES).collect();
    let with = |order: &[usize]| {
        let parts: Vec<_> = order.iter().flat_map(|at| segments[*at].to_vec()).collect();
        opened(&key(1), &[preamble, &parts].concat())
    };
    assert!(with(&[0, 1, 2, 3]).is_ok());
    assert_eq!(with(&[1, 0, 2, 3]).unwrap_err(), SealError::Segment(1));
    assert_eq!(with(&[0, 2, 3]).unwrap_err(), SealError::Segment(2));
    assert_eq!(with(&[0, 1, 1, 2, 3]).unwrap_err(), SealError::Segment(3));
    // Cut at a segment's end: the one that is last now was not sealed as the last.
    assert_eq!(with(&[0, 1, 2]).unwrap_err(), SealError::Segment(3));
    assert_eq!(with(&[]).unwrap_err(), SealError::Length);
    let (other, _) = sealed(&key(1), &drawn(3), &content(3 * SEGMENT_BYTES + 9));
    let mixed = [&other[..PREAMBLE_BYTES], rest].concat();
    assert_eq!(opened(&key(1), &mixed).unwrap_err(), SealError::Segment(1));
}

#[test]
fn an_empty_last_segment_is_no_second_form_of_a_content() {
    let (mut sealer, _) = Sealer::begin(&key(1), &drawn(2));
    sealer.segment(&[7; SEGMENT_BYTES]).unwrap();
    assert_eq!(sealer.finish(&[]).unwrap_err(), SealError::Length);
    let (sealer, _) = Sealer::begin(&key(1), &drawn(2));
    assert_eq!(sealer.finish(&[7; SEGMENT_BYTES + 1]).unwrap_err(), SealError::Length);
}

#[test]
fn another_key_is_refused_before_anything_is_opened() {
    let (bytes, _) = sealed(&key(1), &drawn(2), b"content");
    assert_eq!(opened(&key(2), &bytes).unwrap_err(), SealError::Key);
    assert_eq!(opened(&key(1), b"TFS2 and more").unwrap_err(), SealError::Length);
    let newer = [b"TFS2".as_slice(), &bytes[4..]].concat();
    assert_eq!(opened(&key(1), &newer).unwrap_err(), SealError::Magic);
}

#[test]
fn equal_contents_have_commitments_that_nobody_can_compare() {
    let (_, one) = sealed(&key(1), &drawn(2), b"yes");
    let (_, other) = sealed(&key(1), &drawn(3), b"yes");
    assert_ne!(one, other);
    assert_ne!(one, Digest(*blake3::hash(b"yes").as_bytes()));
    assert_eq!(one, Digest(*blake3::keyed_hash(&[2; 32], b"yes").as_bytes()));
}

#[test]
fn a_header_has_one_form() {
    let (bytes, _) = sealed(&key(1), &drawn(2), b"content");
    let header = &bytes[..43];
    assert_eq!(Header::decode(header).unwrap().encode(), header);
    assert_eq!(Header::decode(&header[..42]), Err(SealError::Length));
    assert_eq!(Header::decode(&bytes[..44]), Err(SealError::Length));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_flipped_bit_of_a_sealed_stream_is_taken(
        length in 0..3_000usize,
        at in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let (mut bytes, _) = sealed(&key(1), &drawn(2), &content(length));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(opened(&key(1), &bytes).is_err());
    }
}

const CHAIN: Digest = Digest([1; 32]);
const BLOB: Digest = Digest([2; 32]);

fn place<'a>(chain: &'a Digest, blob: &'a Digest) -> WrapPlace<'a> {
    WrapPlace { chain, blob }
}

fn wrapped(to: &EncryptionSecret) -> SealedWrap {
    let member = PublicKey([3; 32]);
    SealedWrap::new(&key(9), place(&CHAIN, &BLOB), member, to.public(), &[4; 32]).unwrap()
}

#[test]
fn a_wrap_opens_for_its_reader_and_at_its_place_only() {
    let (reader, other) =
        (EncryptionSecret::from_seed(&[5; 32]), EncryptionSecret::from_seed(&[6; 32]));
    let wrap = wrapped(&reader);
    let opens = |wrap: &SealedWrap, chain, blob, secret| {
        wrap.open(place(chain, blob), secret).map(|key| *key.bytes())
    };
    assert_eq!(opens(&wrap, &CHAIN, &BLOB, &reader), Ok([9; 32]));
    let elsewhere = Digest([7; 32]);
    assert_eq!(opens(&wrap, &CHAIN, &BLOB, &other), Err(WrapError::Refused));
    assert_eq!(opens(&wrap, &elsewhere, &BLOB, &reader), Err(WrapError::Refused));
    assert_eq!(opens(&wrap, &CHAIN, &elsewhere, &reader), Err(WrapError::Refused));
    let moved = SealedWrap { member: PublicKey([8; 32]), ..wrap };
    assert_eq!(opens(&moved, &CHAIN, &BLOB, &reader), Err(WrapError::Refused));
    for at in 0..48 {
        let mut bad = wrap;
        bad.wrapped[at] ^= 1;
        assert_eq!(opens(&bad, &CHAIN, &BLOB, &reader), Err(WrapError::Refused));
    }
}

#[test]
fn a_key_of_small_order_is_weak() {
    let strong = EncryptionSecret::from_seed(&[5; 32]).public();
    assert!(strong.is_strong());
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [EncryptionKey([0; 32]), EncryptionKey(one)] {
        assert!(!weak.is_strong());
        let refused =
            SealedWrap::new(&key(9), place(&CHAIN, &BLOB), PublicKey([3; 32]), weak, &[4; 32]);
        assert_eq!(refused.unwrap_err(), WrapError::WeakKey);
    }
}

/// RFC 9180, A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode.
#[test]
fn the_wrap_is_that_of_rfc_9180() {
    let bytes = |text: &str| hex::decode(text).unwrap();
    let array = |text: &str| <[u8; 32]>::try_from(bytes(text)).unwrap();
    let receiver = EncryptionSecret::from_seed(&array(
        "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
    ));
    let public = array("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
    assert_eq!(receiver.public(), EncryptionKey(public));
    let ephemeral = array("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let info = bytes("4f6465206f6e2061204772656369616e2055726e");
    let plain = bytes("4265617574792069732074727574682c20747275746820626561757479");
    let associated = bytes("436f756e742d30");
    let (enc, sealed) = seal(&public, &info, &plain, &associated, &ephemeral).unwrap();
    let expected = array("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
    assert_eq!(enc, expected);
    let expected = bytes(
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db\
         21993c62ce81883d2dd1b51a28",
    );
    assert_eq!(sealed, expected);
    assert_eq!(*open(&receiver, &enc, &info, &sealed, &associated).unwrap(), plain);
}
