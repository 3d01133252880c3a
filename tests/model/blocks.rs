//! What can be ordered, and certificates over it, as small numbers; and the same as the types
//! that the guards of the agreement speak of.

use twinfold_types::{
    Digest, Epoch, Height, View,
    vote::{VoteBody, VoteKind},
};

/// Views at most.
pub const VIEWS_MAX: usize = 5;
/// Heights at most.
pub const HEIGHTS_MAX: usize = 2;

/// Number of a block; 0 is genesis or none.
pub type Block = u8;

const PARENTS: [Block; 7] = [0, 0, 0, 1, 1, 2, 2];

/// How much of the agreement is looked at: two values for height 1 (blocks 1 and 2) and, with two
/// heights, two more on each of them (3 and 4 on 1, 5 and 6 on 2).
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub views: usize,
    pub heights: usize,
}

impl Scope {
    pub fn blocks(&self) -> std::ops::RangeInclusive<Block> {
        1..=if self.heights == 1 { 2 } else { 6 }
    }

    /// The renamings of blocks that keep parents: the protocol only compares blocks.
    pub fn renamings(&self) -> &'static [[Block; 7]] {
        const RENAMINGS: [[Block; 7]; 8] = [
            [0, 1, 2, 3, 4, 5, 6],
            [0, 2, 1, 5, 6, 3, 4],
            [0, 1, 2, 4, 3, 5, 6],
            [0, 1, 2, 3, 4, 6, 5],
            [0, 1, 2, 4, 3, 6, 5],
            [0, 2, 1, 6, 5, 3, 4],
            [0, 2, 1, 5, 6, 4, 3],
            [0, 2, 1, 6, 5, 4, 3],
        ];
        if self.heights == 1 { &RENAMINGS[..2] } else { &RENAMINGS }
    }
}

pub fn parent(block: Block) -> Block {
    PARENTS[block as usize]
}

pub fn height(block: Block) -> usize {
    match block {
        0 => 0,
        1 | 2 => 1,
        _ => 2,
    }
}

pub fn is_ancestor(block: Block, of: Block) -> bool {
    block == 0 || block == of || (of != 0 && is_ancestor(block, parent(of)))
}

pub fn digest(block: Block) -> Digest {
    Digest([block; 32])
}

pub fn block(digest: &Digest) -> Block {
    digest.0[0]
}

/// A certificate over a block in a view; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cert(pub u8);

impl Cert {
    pub fn new(view: usize, block: Block) -> Self {
        Self((view as u8) << 3 | block)
    }

    pub fn block(self) -> Block {
        self.0 & 7
    }

    pub fn view(self) -> usize {
        (self.0 >> 3) as usize
    }

    pub fn bit(self) -> u64 {
        1 << self.0
    }

    pub fn rank(self) -> (usize, usize) {
        (self.view(), height(self.block()))
    }

    pub fn renamed(self, names: &[Block; 7]) -> Self {
        Self(self.0 & !7 | names[self.block() as usize])
    }

    /// As the guards know it. A commit certificate ranks like the prepared one that it implies.
    pub fn body(self) -> Option<VoteBody> {
        (self.0 != 0).then(|| VoteBody {
            kind: VoteKind::Prepare,
            epoch: Epoch(0),
            view: View(self.view() as u64),
            height: Height(height(self.block()) as u64),
            digest: digest(self.block()),
        })
    }

    pub fn of(body: Option<VoteBody>) -> Self {
        body.map_or(Self(0), |body| Self::new(body.view.0 as usize, block(&body.digest)))
    }
}

/// The certificates of a set.
pub fn certs(set: u64) -> impl Iterator<Item = Cert> {
    (0..64).filter(move |bit| set >> bit & 1 == 1).map(Cert)
}
