//! Whether a blob's encoder was honest. Each fragment's hash vouches for its bytes, and
//! nothing yet says that the n fragments belong together: a liar may commit to parity
//! that no content has, and readers of other fragments would read other content. So
//! who decoded a blob codes it again, and compares.
//!
//! Every reader comes to the same verdict, whichever k fragments it read. If all fragments are
//! those of one content, every k of them give that content, and coding it again gives the
//! list. If not, whatever content is decoded has fragments that differ from the list. Which
//! one is named first may differ between readers; that one does, cannot.

use super::{
    encoder::Encoder,
    id::{BlobId, FragmentError, FragmentList},
    layout::LayoutError,
};

/// A check that is fed the decoded content; it holds a stripe of it.
pub struct Reencoding {
    id: BlobId,
    fragments: FragmentList,
    encoder: Encoder,
}

/// How an encoder lied: no content has this identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misencoded {
    #[error("misencoded: fragment {fragment} is not the one that the content has")]
    Fragment { fragment: u16 },
    #[error("misencoded: the fragments give content of another hash than the identity's")]
    Content,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReencodingError {
    #[error("{found} bytes were decoded of a blob of {expected}")]
    Length { expected: u64, found: u64 },
    #[error(transparent)]
    Misencoded(#[from] Misencoded),
}

impl Reencoding {
    pub fn new(id: BlobId, fragments: FragmentList) -> Result<Self, FragmentError> {
        fragments.check(&id)?;
        let encoder = Encoder::bare(id.layout()?.coding());
        Ok(Self { id, fragments, encoder })
    }

    /// The next of the decoded content, of any length.
    pub fn push(&mut self, mut content: &[u8]) -> Result<(), LayoutError> {
        while self.encoder.push(&mut content)?.is_some() {}
        Ok(())
    }

    /// The verdict, once all content was pushed.
    pub fn finish(self) -> Result<(), ReencodingError> {
        let again = self.encoder.finish();
        let (expected, found) = (self.id.length, again.id.length);
        if expected != found {
            return Err(ReencodingError::Length { expected, found });
        }
        let mut pairs = self.fragments.0.iter().zip(&again.fragments.0);
        if let Some(index) = pairs.position(|(committed, own)| committed != own) {
            return Err(Misencoded::Fragment { fragment: index as u16 }.into());
        }
        if again.id != self.id { Err(Misencoded::Content.into()) } else { Ok(()) }
    }
}
