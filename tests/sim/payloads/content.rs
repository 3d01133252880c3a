//! What is uploaded: content, cut by an honest client or by a liar.

use crate::dice::Dice;
use twinfold_types::{
    BlobId,
    blob::{Coding, Encoder, FragmentList, GroupHasher, Hashes},
};

const BYTES_MAX: u64 = 600;

pub struct Cut {
    pub id: BlobId,
    pub content: Vec<u8>,
    /// Whoever cut it lied: no content has this identity.
    pub lie: bool,
    pieces: Vec<Vec<u8>>,
    hashes: Vec<Hashes>,
}

impl Cut {
    pub fn draw(seats: usize, dice: &mut Dice) -> Self {
        let content: Vec<u8> =
            (0..dice.between(1, BYTES_MAX)).map(|_| dice.number() as u8).collect();
        let whole = dice.chance(30);
        let coding = if whole { Coding::whole_copies(seats) } else { Coding::fragments(seats) };
        Self::new(content, coding.expect("a committee"), !whole && dice.chance(12))
    }

    fn new(content: Vec<u8>, coding: Coding, lie: bool) -> Self {
        let mut encoder = Encoder::new(coding);
        let mut rest = &content[..];
        assert!(encoder.push(&mut rest).expect("short").is_none(), "it is one stripe");
        let encoded = encoder.finish();
        let mut pieces: Vec<Vec<u8>> = encoded.last_stripe().pieces().map(<[u8]>::to_vec).collect();
        if lie {
            pieces[usize::from(coding.k())].iter_mut().for_each(|byte| *byte ^= 1);
        }
        let hash = |piece: &Vec<u8>| {
            let mut hasher = GroupHasher::default();
            hasher.update(piece);
            hasher.finish()
        };
        let groups: Vec<_> = pieces.iter().map(hash).collect();
        let (id, fragments) = match lie {
            false => (encoded.id, encoded.fragments.clone()),
            true => {
                let list = FragmentList(groups.iter().map(|groups| groups.root()).collect());
                let bytes = encoded.id.layout().expect("it was cut").fragment_bytes();
                (BlobId { fragment_root: list.root(bytes), ..encoded.id }, list)
            }
        };
        let hashes =
            groups.into_iter().map(|groups| Hashes { fragments: fragments.clone(), groups });
        let hashes = hashes.collect();
        Self { id, content, lie, pieces, hashes }
    }

    /// A fragment's bytes and what vouches for them; of whole copies all are alike.
    pub fn fragment(&self, index: u16) -> (&[u8], &Hashes) {
        let index = usize::from(index);
        (&self.pieces[index], &self.hashes[index])
    }
}
