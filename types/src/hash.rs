//! Tagged BLAKE3 digests. Each purpose has a context string of its own
//! (BLAKE3 `derive_key` mode), so a digest of one kind never equals one of
//! another kind over the same bytes.

use crate::codec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeTuple};
use std::{fmt, str::FromStr};

/// 32 bytes of BLAKE3 (or, in the audit log, SHA-256).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "hex_array")] pub [u8; 32]);

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type, schema::SchemaType};
    /// Digests, keys and signatures are hexadecimal strings in JSON.
    pub fn hex_string(bytes: usize) -> RefOr<Schema> {
        RefOr::T(Schema::Object(
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .pattern(Some(format!("^[0-9a-f]{{{}}}$", bytes * 2)))
                .build(),
        ))
    }
}
#[cfg(feature = "openapi")]
pub use schema::hex_string;

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Digest {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        hex_string(32)
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Digest {}

/// What a digest is of. The context strings are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Genesis,
    Header,
    BlockBody,
    Transaction,
    Committee,
    Blob,
    BlobLeaf,
    ModelBlock,
    ModelNode,
    ModelRecord,
    Tensors,
    Sign,
    StateKey,
    FoldTurn,
    JournalFrame,
    KeyFile,
    TrustedCheckpoint,
    LeaderOrder,
    Checkpoint,
    FoldResult,
    Recovery,
    ContentKey,
    Selection,
    Support,
    MaskSecret,
    MaskShares,
    MaskDegree,
    MaskProof,
    MaskPair,
    MaskOwn,
}

impl Tag {
    fn context(self) -> &'static str {
        match self {
            Tag::Genesis => "twinfold 1 genesis",
            Tag::Header => "twinfold 1 block header",
            Tag::BlockBody => "twinfold 1 block body",
            Tag::Transaction => "twinfold 1 transaction",
            Tag::Committee => "twinfold 1 committee",
            Tag::Blob => "twinfold 1 blob identity",
            Tag::BlobLeaf => "twinfold 1 blob fragment",
            Tag::ModelBlock => "twinfold 1 model block",
            Tag::ModelNode => "twinfold 1 model node",
            Tag::ModelRecord => "twinfold 1 model record",
            Tag::Tensors => "twinfold 1 tensor list",
            Tag::Sign => "twinfold 1 signed statement",
            Tag::StateKey => "twinfold 1 state key",
            Tag::FoldTurn => "twinfold 1 fold turn",
            Tag::JournalFrame => "twinfold 1 journal frame",
            Tag::KeyFile => "twinfold 1 key file",
            Tag::TrustedCheckpoint => "twinfold 1 trusted checkpoint",
            Tag::LeaderOrder => "twinfold 1 leader order",
            Tag::Checkpoint => "twinfold 1 checkpoint",
            Tag::FoldResult => "twinfold 1 fold result",
            Tag::Recovery => "twinfold 1 recovery",
            Tag::ContentKey => "twinfold 1 content key",
            Tag::Selection => "twinfold 1 selection",
            Tag::Support => "twinfold 1 support",
            Tag::MaskSecret => "twinfold 1 mask secret",
            Tag::MaskShares => "twinfold 1 mask shares",
            Tag::MaskDegree => "twinfold 1 mask degree",
            Tag::MaskProof => "twinfold 1 mask proof",
            Tag::MaskPair => "twinfold 1 mask pair",
            Tag::MaskOwn => "twinfold 1 mask own",
        }
    }
}

impl Digest {
    pub const ZERO: Digest = Digest([0; 32]);

    /// Digest of raw bytes under a tag.
    pub fn of_bytes(tag: Tag, bytes: &[u8]) -> Self {
        Self(blake3::derive_key(tag.context(), bytes))
    }

    /// Digest of a value's canonical encoding under a tag.
    pub fn of<T: Serialize>(tag: Tag, value: &T) -> Self {
        Self::of_bytes(tag, &codec::encode(value))
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_hex(text).map(Self)
    }
}

/// Parses exactly `2·N` hexadecimal digits, in lower case: a value has one text.
pub fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if !text.bytes().any(|digit| digit.is_ascii_uppercase()) => Ok(bytes),
        _ => Err(format!("expected {} hexadecimal digits in lower case, got {text:?}", 2 * N)),
    }
}

/// Serde for fixed arrays: a hexadecimal string for people, `N` bare bytes
/// in the canonical encoding, which is little-endian: eight at a time are one number.
pub mod hex_array {
    use super::*;

    pub fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&hex::encode(bytes));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let mut tuple = serializer.serialize_tuple(words.len() + rest.len())?;
        for word in words {
            tuple.serialize_element(&u64::from_le_bytes(*word))?;
        }
        for byte in rest {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return parse_hex(&text).map_err(de::Error::custom);
        }
        deserializer.deserialize_tuple(N / 8 + N % 8, ArrayVisitor::<N>)
    }

    struct ArrayVisitor<const N: usize>;

    impl<'de, const N: usize> de::Visitor<'de> for ArrayVisitor<N> {
        type Value = [u8; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0; N];
            let (words, rest) = bytes.as_chunks_mut::<8>();
            for word in words {
                let value: Option<u64> = seq.next_element()?;
                let value = value.ok_or_else(|| de::Error::invalid_length(N, &self))?;
                *word = value.to_le_bytes();
            }
            for byte in rest {
                let value = seq.next_element()?;
                *byte = value.ok_or_else(|| de::Error::invalid_length(N, &self))?;
            }
            Ok(bytes)
        }
    }
}
