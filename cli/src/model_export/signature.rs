//! An OpenSSF model signature (v1.0): a Sigstore bundle around an in-toto statement of the file's
//! SHA-256, which `model_signing verify key` accepts. The standard takes ECDSA keys only, so a key
//! of its own signs, on P-256, in a PEM file; members' keys are Ed25519.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use twinfold_types::Digest;
use zeroize::Zeroizing;

/// A key file.
pub const PEM_BYTES_MAX: u64 = 16 << 10;
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// A P-256 public key as a SubjectPublicKeyInfo, up to its point (RFC 5480).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "the signing key is no unencrypted P-256 key in PKCS#8 PEM: {0}; make one with `twinfold model signing-key`, or convert one with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Key(String),
    #[error("the system gave no randomness")]
    Random,
}

pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// A new key, and the PEM to keep it in.
    pub fn generate() -> Result<(Self, Zeroizing<String>), SignatureError> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| SignatureError::Random)?;
        let pem = Zeroizing::new(pem("PRIVATE KEY", der.as_ref()));
        Ok((Self::from_der(der.as_ref())?, pem))
    }

    pub fn from_pem(text: &str) -> Result<Self, SignatureError> {
        let fault = |reason: &str| SignatureError::Key(reason.into());
        let begin = "-----BEGIN PRIVATE KEY-----";
        let (_, rest) = text.split_once(begin).ok_or_else(|| fault(&format!("no {begin}")))?;
        let end = "-----END PRIVATE KEY-----";
        let (body, _) = rest.split_once(end).ok_or_else(|| fault(&format!("no {end}")))?;
        let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        let der = BASE64.decode(body.as_bytes()).map_err(|_| fault("it is not base64"))?;
        Self::from_der(&Zeroizing::new(der))
    }

    fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random)
            .map_err(|error| SignatureError::Key(error.to_string()))?;
        Ok(Self { pair, random })
    }

    /// The public key in PEM, as verifiers take it.
    pub fn public_pem(&self) -> String {
        let der = [&SPKI_HEAD, self.pair.public_key().as_ref()].concat();
        pem("PUBLIC KEY", &der)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The bundle for one file of this name and SHA-256.
pub fn sign(key: &SigningKey, name: &str, sha256: &Digest) -> Result<Value, SignatureError> {
    // The model's digest is over those of its files: here one.
    let whole = hex::encode(Sha256::digest(sha256.0));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": name, "digest": { "sha256": whole } }],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": { "method": "files", "hash_type": "sha256", "allow_symlinks": false },
            "resources": [{ "name": ".", "algorithm": "sha256", "digest": sha256.to_string() }],
        },
    });
    let payload = statement.to_string();
    // DSSE's pre-authentication encoding.
    let signed =
        format!("DSSEv1 {} {PAYLOAD_TYPE} {} {payload}", PAYLOAD_TYPE.len(), payload.len());
    let signature =
        key.pair.sign(&key.random, signed.as_bytes()).map_err(|_| SignatureError::Random)?;
    let hint = hex::encode(Sha256::digest(key.public_pem()));
    Ok(json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": hint }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": BASE64.encode(&payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": BASE64.encode(signature.as_ref()), "keyid": "" }],
        },
    }))
}
