//! The sealed stream: STREAM after Hoang, Reyhanitabar, Rogaway and Vizár ("Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015) with
//! ChaCha20-Poly1305, a 32-bit counter and a mark on the last segment, so that memory is bounded and
//! a stream that was cut short, reordered or lengthened is refused.
//!
//! The preamble: magic 4 · nonce prefix 7 · commitment to the key 32, all in the clear and bound to
//! every segment; then the sealed salt (32 and a tag of 16), the first segment. Content follows in
//! segments of 64 KiB and their tags; the last is shorter or full, and empty only where the whole
//! content is.
//!
//! The cipher alone does not fix which key a ciphertext is for. The commitment does: nobody can
//! make one stream that two readers open to two contents.

use crate::{
    Digest,
    hash::Tag,
    limits::{SEALED_CONTENT_BYTES_MAX, SEGMENT_BYTES},
};
use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::Payload};
use std::fmt;
use zeroize::Zeroizing;

/// Names the format and its version.
const MAGIC: [u8; 4] = *b"TFS1";
const PREFIX_BYTES: usize = 7;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + PREFIX_BYTES + 32;
/// What comes before the first segment of content.
pub const PREAMBLE_BYTES: usize = HEADER_BYTES + 32 + TAG_BYTES;
/// A full segment as it is stored.
pub const SEALED_SEGMENT_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    #[error("not a sealed payload of a known version")]
    Magic,
    #[error("the sealed payload is cut short or too long")]
    Length,
    #[error("the key is not the one that this payload was sealed with")]
    Key,
    #[error("segment {0} was changed, moved or cut off")]
    Segment(u64),
    #[error("the content is larger than {SEALED_CONTENT_BYTES_MAX} bytes")]
    TooLarge,
}

/// What a payload is sealed with: drawn for it alone.
#[derive(Clone)]
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl ContentKey {
    /// From 32 bytes of good randomness (drawn by the caller).
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells nothing of the key, and fits no other.
    fn commitment(&self) -> Digest {
        Digest::of_bytes(Tag::ContentKey, self.bytes())
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentKey({})", self.commitment().short())
    }
}

/// What else the caller draws for one payload.
pub struct Drawn {
    pub prefix: [u8; PREFIX_BYTES],
    /// Of the commitment to the content: without it nobody can try guesses.
    pub salt: [u8; 32],
}

/// The part in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    prefix: [u8; PREFIX_BYTES],
    commitment: Digest,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (magic, rest) = bytes.split_at_mut(MAGIC.len());
        let (prefix, commitment) = rest.split_at_mut(PREFIX_BYTES);
        magic.copy_from_slice(&MAGIC);
        prefix.copy_from_slice(&self.prefix);
        commitment.copy_from_slice(&self.commitment.0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(SealError::Magic)?;
        let (prefix, rest) = rest.split_first_chunk().ok_or(SealError::Length)?;
        let commitment = rest.try_into().map_err(|_| SealError::Length)?;
        Ok(Self { prefix: *prefix, commitment: Digest(commitment) })
    }
}

/// Seals one content.
pub struct Sealer {
    stream: EncryptorBE32<ChaCha20Poly1305>,
    header: [u8; HEADER_BYTES],
    content: Content,
}

/// What of the content has gone by.
struct Content {
    /// Keyed by the salt.
    hasher: blake3::Hasher,
    segments: u64,
    bytes: u64,
}

impl Content {
    fn new(salt: &[u8; 32]) -> Self {
        Self { hasher: blake3::Hasher::new_keyed(salt), segments: 0, bytes: 0 }
    }

    fn take(&mut self, plain: &[u8]) -> Result<(), SealError> {
        self.hasher.update(plain);
        self.segments += 1;
        self.bytes += plain.len() as u64;
        if self.bytes > SEALED_CONTENT_BYTES_MAX { Err(SealError::TooLarge) } else { Ok(()) }
    }

    /// BLAKE3 of the content, keyed by the salt: what may stand in public.
    fn commitment(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// Whether a content can end with a segment of so many bytes: one way only for each content.
    fn may_end_with(&self, bytes: usize) -> bool {
        bytes <= SEGMENT_BYTES && (bytes > 0 || self.segments == 0)
    }
}

impl Sealer {
    /// The sealer, and the bytes that the sealed stream begins with.
    pub fn begin(key: &ContentKey, drawn: &Drawn) -> (Self, Vec<u8>) {
        let header = Header { prefix: drawn.prefix, commitment: key.commitment() }.encode();
        let mut stream = EncryptorBE32::from_aead(key.cipher(), &drawn.prefix.into());
        let salt = Payload { msg: &drawn.salt, aad: &header };
        let salt = stream.encrypt_next(salt).expect("the first of 2^32 segments");
        let preamble = [header.as_slice(), &salt].concat();
        (Self { stream, header, content: Content::new(&drawn.salt) }, preamble)
    }

    /// Seals a full segment after which more content comes.
    pub fn segment(&mut self, plain: &[u8; SEGMENT_BYTES]) -> Result<Vec<u8>, SealError> {
        self.content.take(plain)?;
        let payload = Payload { msg: plain, aad: &self.header };
        self.stream.encrypt_next(payload).map_err(|_| SealError::TooLarge)
    }

    /// Seals the rest, and gives the salted commitment to the whole content beside it.
    pub fn finish(mut self, plain: &[u8]) -> Result<(Vec<u8>, Digest), SealError> {
        if !self.content.may_end_with(plain.len()) {
            return Err(SealError::Length);
        }
        self.content.take(plain)?;
        let payload = Payload { msg: plain, aad: &self.header };
        let sealed = self.stream.encrypt_last(payload).map_err(|_| SealError::TooLarge)?;
        Ok((sealed, self.content.commitment()))
    }
}

/// Opens one sealed stream. Plain bytes come out only of a segment that is the sealer's own, in its
/// own place.
pub struct Opener {
    stream: DecryptorBE32<ChaCha20Poly1305>,
    header: [u8; HEADER_BYTES],
    content: Content,
}

impl Opener {
    pub fn begin(key: &ContentKey, preamble: &[u8; PREAMBLE_BYTES]) -> Result<Self, SealError> {
        let (header, salt) =
            preamble.split_first_chunk::<HEADER_BYTES>().ok_or(SealError::Length)?;
        let Header { prefix, commitment } = Header::decode(header)?;
        if commitment != key.commitment() {
            return Err(SealError::Key);
        }
        let mut stream = DecryptorBE32::from_aead(key.cipher(), &prefix.into());
        let payload = Payload { msg: salt, aad: header };
        let salt = stream.decrypt_next(payload).map(Zeroizing::new);
        let salt = salt.map_err(|_| SealError::Segment(0))?;
        let salt = salt.as_slice().try_into().map_err(|_| SealError::Length)?;
        Ok(Self { stream, header: *header, content: Content::new(salt) })
    }

    /// Opens a full segment after which more comes.
    pub fn segment(
        &mut self,
        sealed: &[u8; SEALED_SEGMENT_BYTES],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let number = self.content.segments + 1;
        let payload = Payload { msg: sealed, aad: &self.header };
        let plain = self.stream.decrypt_next(payload).map_err(|_| SealError::Segment(number))?;
        self.content.take(&plain)?;
        Ok(Zeroizing::new(plain))
    }

    /// Opens the rest; beside it stands the commitment that the content must have.
    pub fn finish(mut self, sealed: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Digest), SealError> {
        let plain_bytes = sealed.len().checked_sub(TAG_BYTES).ok_or(SealError::Length)?;
        if !self.content.may_end_with(plain_bytes) {
            return Err(SealError::Length);
        }
        let number = self.content.segments + 1;
        let payload = Payload { msg: sealed, aad: &self.header };
        let plain = self.stream.decrypt_last(payload).map_err(|_| SealError::Segment(number))?;
        self.content.take(&plain)?;
        Ok((Zeroizing::new(plain), self.content.commitment()))
    }
}
