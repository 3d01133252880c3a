//! Bytes with flips, as far as they still decode, and what anybody said long ago.

use crate::{dice::Dice, node::Node};
use twinfold_types::{codec, limits::MESSAGE_BYTES_MAX, message::ConsensusMessage};

/// Flips drawn until one decodes.
const TRIES: usize = 8;
const FLIPS_MAX: u64 = 3;

/// Nothing arrives if no flip decodes: the receiver's decoder refuses it.
pub fn flipped(message: &ConsensusMessage, dice: &mut Dice) -> Option<ConsensusMessage> {
    let honest = codec::encode(message);
    (0..TRIES).find_map(|_| {
        let mut bytes = honest.clone();
        for _ in 0..dice.between(1, FLIPS_MAX) {
            let at = dice.index(bytes.len());
            bytes[at] ^= 1 << dice.between(0, 7);
        }
        codec::decode(&bytes, MESSAGE_BYTES_MAX).ok()
    })
}

/// Old messages, as they were or with a flip.
pub fn replayed(node: &Node, dice: &mut Dice) -> Vec<ConsensusMessage> {
    let Some(liar) = node.liar.as_ref().filter(|liar| !liar.seen.is_empty()) else {
        return Vec::new();
    };
    let old = &liar.seen[dice.index(liar.seen.len())];
    let message = if dice.chance(50) { Some(old.clone()) } else { flipped(old, dice) };
    message.into_iter().collect()
}
