//! Where this node's state differs from the one that a quorum certified: down the two
//! trees, part by part, to the first key. What a peer sends is checked against the
//! certified root, so a liar among them cannot mislead.

use crate::blobs::{BlobError, Exchange};
use std::fmt;
use twinfold_ledger::Reader;
use twinfold_types::{
    Digest,
    subtree::{NIBBLES_MAX, Part, Row, Subtree},
    vote::Checkpoint,
};

/// Shown of a value; the rest is on the disk.
const VALUE_BYTES_SHOWN: usize = 48;

/// The first key, in the tree's order, whose value is another one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub key: Vec<u8>,
    pub ours: Option<Vec<u8>>,
    pub certified: Option<Vec<u8>>,
}

/// Looks for the first difference at a certified checkpoint; none where the states are alike
/// (then the audit logs differ) or where this node has no such height any more.
pub async fn first_difference(
    exchange: &Exchange,
    reader: &Reader,
    certified: &Checkpoint,
) -> Result<Option<Difference>, BlobError> {
    let (height, mut nibbles) = (certified.height, Vec::new());
    let root = certified.state_root;
    let Some(mut ours) = reader.subtree(height, &nibbles)? else { return Ok(None) };
    let mut theirs = exchange.state(height, &nibbles, &root).await?;
    while nibbles.len() < NIBBLES_MAX {
        if let (Subtree::Rows(ours), Subtree::Rows(theirs)) = (&ours, &theirs) {
            return Ok(differing_row(ours, theirs));
        }
        let depth = nibbles.len();
        let (our_parts, their_parts) = (ours.parts(depth), theirs.parts(depth));
        let hash = |parts: &[Part; 16], at: u8| parts[usize::from(at)].hash();
        let differs = |at: &u8| hash(&our_parts, *at) != hash(&their_parts, *at);
        let Some(at) = (0..16).find(differs) else { return Ok(None) };
        nibbles.push(at);
        let expected: Digest = their_parts[usize::from(at)].hash();
        theirs = match theirs.narrowed(depth, at) {
            Some(rows) => rows,
            None => exchange.state(height, &nibbles, &expected).await?,
        };
        let Some(below) = reader.subtree(height, &nibbles)? else { return Ok(None) };
        ours = below;
    }
    Ok(None)
}

/// Both lists are in the order of their places, so the first difference in the lists is
/// the first in the tree.
fn differing_row(ours: &[Row], theirs: &[Row]) -> Option<Difference> {
    let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let value = |rows: &[Row], key: &[u8]| {
        rows.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone())
    };
    let (key, _) = ours.get(same).or_else(|| theirs.get(same))?;
    Some(Difference { key: key.clone(), ours: value(ours, key), certified: value(theirs, key) })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = twinfold_types::state_key::describe(&self.key);
        write!(f, "the first state key that differs is {kind} ({}): ", hex(&self.key))?;
        write!(f, "{} here, {} certified", shown(&self.ours), shown(&self.certified))
    }
}

fn shown(value: &Option<Vec<u8>>) -> String {
    match value {
        None => "no value".into(),
        Some(value) if value.len() <= VALUE_BYTES_SHOWN => format!("value {}", hex(value)),
        Some(value) => {
            format!("{} bytes beginning {}", value.len(), hex(&value[..VALUE_BYTES_SHOWN]))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, value: u8) -> Row {
        (vec![key], vec![value])
    }

    #[test]
    fn the_first_row_that_is_changed_missing_or_too_many_is_named() {
        let certified = [row(1, 1), row(2, 2), row(3, 3)];
        let found = |ours: &[Row]| differing_row(ours, &certified);
        assert_eq!(found(&certified), None);
        let changed = found(&[row(1, 1), row(2, 9), row(3, 3)]).unwrap();
        assert_eq!(
            (changed.key, changed.ours, changed.certified),
            (vec![2], Some(vec![9]), Some(vec![2]))
        );
        let extra = found(&[row(1, 1), row(7, 7), row(2, 2), row(3, 3)]).unwrap();
        assert_eq!((extra.key, extra.certified), (vec![7], None));
        let short = found(&[row(1, 1), row(2, 2)]).unwrap();
        assert_eq!((short.key, short.ours), (vec![3], None));
    }
}
