//! What a client sends, on its way in: coded and hashed as it comes, into one file for whole
//! copies, into one for each fragment otherwise. This node keeps the fragment of its own
//! seat; the others lie here until their holders have them.

use super::{
    BlobError, BlobStore,
    fragment::{Body, Draft},
    store::io,
};
use std::path::Path;
use twinfold_types::{
    BlobId,
    blob::{Coding, Encoded, Encoder, Hashes, Stripe},
};

pub struct Staging {
    encoder: Encoder,
    drafts: Vec<Draft>,
}

/// All content has come.
pub struct Staged {
    pub id: BlobId,
    encoded: Encoded,
    drafts: Vec<Option<Draft>>,
}

/// A fragment to be sent; its file goes with it.
pub struct Outgoing {
    pub body: Body,
    _draft: Draft,
}

impl Staging {
    pub fn new(store: &BlobStore, coding: Coding) -> Result<Self, BlobError> {
        let files = if coding.is_whole() { 1 } else { coding.n() };
        let drafts = (0..files).map(|_| store.draft()).collect::<Result<_, _>>()?;
        Ok(Self { encoder: Encoder::new(coding), drafts })
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        let refused =
            |error: twinfold_types::blob::LayoutError| BlobError::Mismatch(error.to_string());
        while let Some(stripe) = self.encoder.push(&mut bytes).map_err(refused)? {
            append(&mut self.drafts, &stripe)?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Staged, BlobError> {
        let encoded = self.encoder.finish();
        append(&mut self.drafts, &encoded.last_stripe())?;
        let drafts = self.drafts.into_iter().map(Some).collect();
        Ok(Staged { id: encoded.id, encoded, drafts })
    }
}

impl Staged {
    /// What a fragment is held against; of whole copies all are alike.
    pub fn hashes(&self, fragment: u16) -> Hashes {
        Hashes::of(&self.encoded, fragment).expect("a fragment of this coding")
    }

    /// The file of a fragment, once; of whole copies there is one for all.
    pub fn take(&mut self, fragment: u16) -> Option<Draft> {
        self.drafts.get_mut(usize::from(fragment))?.take()
    }

    /// A fragment for another seat.
    pub fn outgoing(&mut self, fragment: u16) -> Result<Option<Outgoing>, BlobError> {
        let hashes = self.hashes(fragment);
        let Some(draft) = self.take(fragment) else { return Ok(None) };
        let body = draft.body(hashes).map_err(|error| io(Path::new("incoming"), error))?;
        Ok(Some(Outgoing { body, _draft: draft }))
    }
}

fn append(drafts: &mut [Draft], stripe: &Stripe<'_>) -> Result<(), BlobError> {
    for (draft, piece) in drafts.iter_mut().zip(stripe.pieces()) {
        draft.write(piece).map_err(|error| io(Path::new("incoming"), error))?;
    }
    Ok(())
}
