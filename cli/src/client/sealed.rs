//! Sealed payloads and encryption keys, as nodes tell of them. A false wrap does not open; a false
//! encryption key fails its proof.

use super::{Client, ClientError};
use twinfold_types::{BlobDigest, PublicKey, api::SealedView, proof::Bundle};

impl Client {
    /// A sealed payload's record and wraps; none where the payload is not known as sealed.
    pub fn sealed(&self, digest: &BlobDigest) -> Result<Option<SealedView>, ClientError> {
        let request =
            self.get_content(format!("/v1/sealed/{digest}"), "a sealed payload's record")?;
        let found = self.http.fetch(&request, |_, bytes| {
            let view: SealedView =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            match view.record.blob.digest() == *digest && view.record.blob.is_supported() {
                true => Ok(view),
                false => Err("it tells of another payload".into()),
            }
        });
        match found {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Proof of a member and of its encryption key.
    pub fn encryption_key_proof(&self, member: &PublicKey) -> Result<Bundle, ClientError> {
        self.bundle(format!("/v1/proofs/encryption-key/{member}"))
    }
}
