//! A content key for one reader: HPKE (RFC 9180) in its base mode with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and ChaCha20-Poly1305. Chain and payload stand in `info`, the reader's member key in
//! the associated data: a wrap that was moved to another payload, chain or member does not open.
//! Who made it, the signature of the transaction says that carries it.

use super::stream::ContentKey;
use crate::{BlobDigest, Digest, PublicKey, hash::hex_array, key::EncryptionKey};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, fmt};
use zeroize::Zeroizing;

const CONTEXT: &[u8] = b"twinfold 1 sealed key";
/// A content key and its tag.
const WRAPPED_BYTES: usize = 48;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WrapError {
    #[error("the encryption key is weak: no secret can be agreed with it")]
    WeakKey,
    #[error("the wrap does not open: it is another payload's or reader's, or was changed")]
    Refused,
}

/// The secret half of an encryption key: the 32 bytes that RFC 9180's DeriveKeyPair is given.
#[derive(Clone)]
pub struct EncryptionSecret(Zeroizing<[u8; 32]>);

impl EncryptionSecret {
    /// From 32 bytes of good randomness (drawn by the caller).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// The 32 bytes to store, encrypted or owner-only.
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.0
    }

    pub fn public(&self) -> EncryptionKey {
        let (_, public) = X25519HkdfSha256::derive_keypair(self.0.as_slice());
        EncryptionKey(public.to_bytes().into())
    }
}

impl fmt::Debug for EncryptionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionSecret({:?})", self.public())
    }
}

impl EncryptionKey {
    /// False for the few keys with which everyone agrees on nothing (small order): such a key is
    /// refused when it is registered.
    pub fn is_strong(&self) -> bool {
        seal(&self.0, &[], &[], &[], &[1; 32]).is_ok()
    }
}

/// What a wrap is bound to.
#[derive(Clone, Copy, Debug)]
pub struct WrapPlace<'a> {
    pub chain: &'a Digest,
    pub blob: &'a BlobDigest,
}

impl WrapPlace<'_> {
    fn info(&self) -> Vec<u8> {
        [CONTEXT, &self.chain.0, &self.blob.0].concat()
    }
}

/// The content key of one payload for one of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedWrap {
    pub member: PublicKey,
    /// Which of the member's encryption keys it is for.
    pub to: EncryptionKey,
    /// The sender's half of the agreement.
    #[serde(with = "hex_array")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub enc: [u8; 32],
    #[serde(with = "hex_array")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub wrapped: [u8; WRAPPED_BYTES],
}

impl SealedWrap {
    /// `ephemeral` must be fresh and random.
    pub fn new(
        key: &ContentKey,
        place: WrapPlace<'_>,
        member: PublicKey,
        to: EncryptionKey,
        ephemeral: &[u8; 32],
    ) -> Result<Self, WrapError> {
        let (enc, wrapped) = seal(&to.0, &place.info(), key.bytes(), &member.0, ephemeral)?;
        let wrapped = wrapped.try_into().map_err(|_| WrapError::Refused)?;
        Ok(Self { member, to, enc, wrapped })
    }

    pub fn open(
        &self,
        place: WrapPlace<'_>,
        secret: &EncryptionSecret,
    ) -> Result<ContentKey, WrapError> {
        let plain = open(secret, &self.enc, &place.info(), &self.wrapped, &self.member.0)?;
        let bytes = plain.as_slice().try_into().map_err(|_| WrapError::Refused)?;
        Ok(ContentKey::from_bytes(bytes))
    }
}

/// SealBase of RFC 9180, its ephemeral key derived from bytes that the caller drew.
pub(super) fn seal(
    to: &[u8; 32],
    info: &[u8],
    plain: &[u8],
    associated: &[u8],
    ephemeral: &[u8; 32],
) -> Result<([u8; 32], Vec<u8>), WrapError> {
    let weak = |_| WrapError::WeakKey;
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(to).map_err(weak)?;
    let (enc, sealed) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &to,
            info,
            plain,
            associated,
            &mut Given(Zeroizing::new(*ephemeral)),
        )
        .map_err(weak)?;
    Ok((enc.to_bytes().into(), sealed))
}

/// OpenBase of RFC 9180.
pub(super) fn open(
    secret: &EncryptionSecret,
    enc: &[u8; 32],
    info: &[u8],
    sealed: &[u8],
    associated: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let refused = |_| WrapError::Refused;
    let (secret, _) = X25519HkdfSha256::derive_keypair(secret.seed().as_slice());
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(refused)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &enc,
        info,
        sealed,
        associated,
    )
    .map(Zeroizing::new)
    .map_err(refused)
}

/// Bytes that were drawn elsewhere, in the shape in which the library asks for them: it takes 32,
/// once.
struct Given(Zeroizing<[u8; 32]>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("an ephemeral key is drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("an ephemeral key is drawn as bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(self.0.as_slice());
        Ok(())
    }
}

impl TryCryptoRng for Given {}
