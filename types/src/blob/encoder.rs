//! Content in, stripes out, hashed on the way. The content's length need not be known:
//! a stripe leaves when it is certain not to be the last one, and the last is
//! cut at the end. Held are one stripe of content, the code's working space for one, and
//! 32 bytes a group of each fragment.

use super::{
    code::{Code, Parity},
    id::{BlobId, FragmentList},
    layout::{Coding, Layout, LayoutError},
    stream::{GroupHasher, GroupHashes},
};
use crate::Digest;
use blake3::Hasher;

pub struct Encoder {
    coding: Coding,
    /// Content that is not yet coded, at most one stripe.
    buffer: Vec<u8>,
    /// The buffer's stripe has been handed out.
    drained: bool,
    length: u64,
    press: Press,
}

/// n pieces, the next of each fragment.
pub struct Stripe<'a> {
    index: u64,
    coding: Coding,
    /// Length of each piece.
    bytes: usize,
    data: &'a [u8],
    parity: Parity<'a>,
}

/// What coding gives besides the stripes: the last one too, which the end cuts.
pub struct Encoded {
    pub id: BlobId,
    pub fragments: FragmentList,
    /// Of each fragment; of whole copies one for all.
    groups: Vec<GroupHashes>,
    layout: Layout,
    data: Vec<u8>,
    parity: Vec<u8>,
}

impl Encoder {
    pub fn new(coding: Coding) -> Self {
        Self::with(coding, Target::Groups(GroupHasher::default()))
    }

    /// Without lists of groups, whose length grows with the content's.
    pub(super) fn bare(coding: Coding) -> Self {
        Self::with(coding, Target::Whole(Hasher::new()))
    }

    fn with(coding: Coding, hasher: Target) -> Self {
        let hashers = if coding.is_whole() { 1 } else { usize::from(coding.n()) };
        let fragments = vec![hasher; hashers];
        let content = Target::Whole(Hasher::new());
        let press = Press { coding, code: Code::new(coding), content, fragments, stripes: 0 };
        Self { coding, buffer: vec![], drained: false, length: 0, press }
    }

    /// Takes content off the front until a stripe is full, and gives it; `None` once all is taken.
    /// Content over the limit is refused before any of it is taken.
    ///
    /// A stripe's data pieces borrow from the content where it holds a whole one.
    pub fn push<'s, 'c: 's>(
        &'s mut self,
        content: &mut &'c [u8],
    ) -> Result<Option<Stripe<'s>>, LayoutError> {
        Layout::new(self.length.saturating_add(content.len() as u64), self.coding)?;
        self.drop_drained();
        let full = self.coding.stripe_bytes();
        if self.buffer.is_empty() && content.len() > full {
            let data = self.take(content, full);
            return Ok(Some(self.press.stripe(data, full)));
        }
        let part = self.take(content, content.len().min(full - self.buffer.len()));
        self.buffer.extend_from_slice(part);
        if content.is_empty() {
            return Ok(None);
        }
        self.drained = true;
        Ok(Some(self.press.stripe(&self.buffer, full)))
    }

    fn take<'c>(&mut self, content: &mut &'c [u8], bytes: usize) -> &'c [u8] {
        let (taken, rest) = content.split_at(bytes);
        *content = rest;
        self.length += bytes as u64;
        taken
    }

    fn drop_drained(&mut self) {
        if std::mem::take(&mut self.drained) {
            self.buffer.clear();
        }
    }

    /// Cuts the last stripe.
    pub fn finish(mut self) -> Encoded {
        self.drop_drained();
        let layout = Layout::new(self.length, self.coding).expect("checked with every push");
        let last = layout.stripes() - 1;
        let rest = self.buffer.len();
        let bytes = layout.piece_bytes(last).expect("the last stripe is one");
        self.buffer.resize(usize::from(self.coding.k()) * bytes, 0);
        let stripe = self.press.stripe(&self.buffer, rest);
        let mut parity = vec![];
        if !self.coding.is_whole() {
            let pieces = stripe.pieces().skip(self.coding.k().into());
            pieces.for_each(|piece| parity.extend_from_slice(piece));
        }
        drop(stripe);
        self.press.finish(layout, self.buffer, parity)
    }
}

impl Encoded {
    /// The list of a fragment's groups.
    pub fn groups(&self, fragment: u16) -> Option<&GroupHashes> {
        let index = if self.id.k == 1 { 0 } else { usize::from(fragment) };
        self.groups.get(index).filter(|_| fragment < self.id.n)
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Always one, of empty pieces if there was no content.
    pub fn last_stripe(&self) -> Stripe<'_> {
        let coding = self.layout.coding();
        let index = self.layout.stripes() - 1;
        let bytes = self.data.len() / usize::from(coding.k());
        Stripe { index, coding, bytes, data: &self.data, parity: Parity::Kept(&self.parity) }
    }
}

impl<'a> Stripe<'a> {
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The piece of one fragment.
    pub fn piece(&self, fragment: u16) -> Option<&[u8]> {
        if fragment >= self.coding.n() {
            return None;
        }
        if self.coding.is_whole() {
            return Some(self.data);
        }
        let (index, k) = (usize::from(fragment), usize::from(self.coding.k()));
        Some(match index.checked_sub(k) {
            None => &self.data[index * self.bytes..(index + 1) * self.bytes],
            Some(parity) => self.parity.piece(parity, self.bytes),
        })
    }

    /// The pieces of all n fragments in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.coding.n()).filter_map(|fragment| self.piece(fragment))
    }
}

/// Codes and hashes one stripe after another.
struct Press {
    coding: Coding,
    code: Code,
    /// Not fed for whole copies: there the fragment is the content.
    content: Target,
    fragments: Vec<Target>,
    stripes: u64,
}

impl Press {
    /// `data` is k pieces, of which the first `content` bytes are no padding.
    fn stripe<'a>(&'a mut self, data: &'a [u8], content: usize) -> Stripe<'a> {
        let bytes = data.len() / usize::from(self.coding.k());
        let parity = self.code.parity(bytes, data.chunks_exact(bytes.max(1)));
        let stripe = Stripe { index: self.stripes, coding: self.coding, bytes, data, parity };
        self.stripes += 1;
        if !self.coding.is_whole() {
            self.content.update(&data[..content]);
        }
        for (target, piece) in self.fragments.iter_mut().zip(stripe.pieces()) {
            target.update(piece);
        }
        stripe
    }

    fn finish(self, layout: Layout, data: Vec<u8>, parity: Vec<u8>) -> Encoded {
        let (n, k) = (self.coding.n(), self.coding.k());
        let (mut hashes, mut groups) = (vec![], vec![]);
        for target in self.fragments {
            let (hash, list) = target.finish();
            hashes.push(hash);
            groups.extend(list);
        }
        let content = if self.coding.is_whole() { hashes[0] } else { self.content.finish().0 };
        if self.coding.is_whole() {
            hashes = vec![content; usize::from(n)];
        }
        let fragments = FragmentList(hashes);
        let fragment_root = fragments.root(layout.fragment_bytes());
        let id = BlobId { length: layout.length(), content, n, k, fragment_root };
        Encoded { id, fragments, groups, layout, data, parity }
    }
}

#[derive(Clone)]
enum Target {
    Whole(Hasher),
    Groups(GroupHasher),
}

impl Target {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Target::Whole(hasher) => {
                hasher.update(bytes);
            }
            Target::Groups(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> (Digest, Option<GroupHashes>) {
        match self {
            Target::Whole(hasher) => (Digest(*hasher.finalize().as_bytes()), None),
            Target::Groups(hasher) => {
                let groups = hasher.finish();
                (groups.root(), Some(groups))
            }
        }
    }
}
