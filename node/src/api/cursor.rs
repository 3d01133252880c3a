//! Places in the event stream: `HEIGHT-RECEIPT-EVENT`. Of a height comes first the
//! block (0-0), then each receipt of index i as (i+1)-0, each followed by its events
//! from (i+1)-1 on. So the order is that of the numbers, the same at every node.

use std::{fmt, str::FromStr};
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    Block, Height, Receipt,
    api::{EventView, Notice},
};

use super::view;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub height: Height,
    receipt: u32,
    event: u32,
}

impl Cursor {
    /// Before everything: genesis has no events.
    pub const START: Self = Self::end_of(Height(0));

    /// After everything of a height.
    pub const fn end_of(height: Height) -> Self {
        Self { height, receipt: u32::MAX, event: u32::MAX }
    }

    fn block(height: Height) -> Self {
        Self { height, receipt: 0, event: 0 }
    }

    fn receipt(receipt: &Receipt) -> Self {
        let number = receipt.index.saturating_add(1);
        Self { height: receipt.height, receipt: number, event: 0 }
    }

    fn event(receipt: &Receipt, index: usize) -> Self {
        let event = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        Self { event, ..Self::receipt(receipt) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.height, self.receipt, self.event)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.splitn(3, '-');
            let height = Height(parts.next()?.parse().ok()?);
            let receipt = parts.next()?.parse().ok()?;
            let event = parts.next()?.parse().ok()?;
            let cursor = Self { height, receipt, event };
            // One text for each cursor: no leading zeros, nothing behind it.
            (cursor.to_string() == text).then_some(cursor)
        };
        parsed().ok_or_else(|| "expected HEIGHT-RECEIPT-EVENT, such as 12-1-0".into())
    }
}

/// Everything of a height, in order; none when the node has no such block yet.
pub fn notices(reader: &Reader, height: Height) -> Result<Vec<(Cursor, EventView)>, LedgerError> {
    let first = reader.first_block();
    if (Height(1)..first).contains(&height) {
        return Err(LedgerError::Pruned { what: format!("block {height}"), first });
    }
    match reader.block(height)? {
        Some(block) => Ok(notices_of(&block, reader.receipts(height)?)),
        None => Ok(vec![]),
    }
}

fn notices_of(block: &Block, receipts: Vec<Receipt>) -> Vec<(Cursor, EventView)> {
    let (height, time) = (block.header.height, block.header.time);
    let view = |cursor: Cursor, tx, event| {
        (cursor, EventView { cursor: cursor.to_string(), height, time, tx, event })
    };
    let summary = view::block_summary(block);
    let mut notices = vec![view(Cursor::block(height), None, Notice::Block(summary))];
    for receipt in receipts {
        let (tx, events) = (receipt.tx, receipt.events.clone());
        let places: Vec<_> = (0..events.len()).map(|at| Cursor::event(&receipt, at)).collect();
        notices.push(view(Cursor::receipt(&receipt), tx, Notice::Receipt(receipt)));
        for (place, event) in places.into_iter().zip(events) {
            notices.push(view(place, tx, Notice::Event(event)));
        }
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Code, Digest, Epoch, Event, Header, PublicKey, TimeMs, TxId, block::body_digest,
    };

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let cursor = Cursor { height: Height(12), receipt: 3, event: 0 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "12", "12-3", "12-3-0-1", "-1-0-0", "+1-0-0", "1-4294967296-0", "a-b-c"] {
            let error = text.parse::<Cursor>().unwrap_err();
            assert!(error.contains("HEIGHT-RECEIPT-EVENT"), "{text}");
        }
    }

    #[test]
    fn order_is_by_number_and_not_by_text() {
        let parse = |text: &str| text.parse::<Cursor>().unwrap();
        assert!(parse("9-0-0") < parse("10-0-0"));
        assert!(parse("10-9-0") < parse("10-10-0"));
        assert!(Cursor::end_of(Height(9)) < parse("10-0-0"));
        assert!(Cursor::START < parse("1-0-0"));
    }

    #[test]
    fn a_block_comes_before_its_receipts_and_each_receipt_before_its_events() {
        let height = Height(7);
        let header = Header {
            chain: Digest::ZERO,
            protocol: twinfold_types::limits::PROTOCOL_VERSION,
            epoch: Epoch(0),
            height,
            parent: Digest::ZERO,
            time: TimeMs(5),
            body: body_digest(&[]),
        };
        let event = Event::MemberAdded { key: PublicKey([1; 32]) };
        let tx = Some(TxId(Digest([2; 32])));
        let receipt = |index, tx, events| Receipt { height, tx, index, code: Code::Ok, events };
        let receipts =
            vec![receipt(0, None, vec![event.clone()]), receipt(1, tx, vec![event.clone(), event])];
        let notices = notices_of(&Block { header, txs: vec![] }, receipts);
        let cursors: Vec<_> = notices.iter().map(|(_, view)| view.cursor.as_str()).collect();
        assert_eq!(cursors, ["7-0-0", "7-1-0", "7-1-1", "7-2-0", "7-2-1", "7-2-2"]);
        assert!(notices.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(matches!(notices[0].1.event, Notice::Block(_)));
        assert!(matches!(notices[3].1.event, Notice::Receipt(_)));
        assert_eq!((notices[1].1.tx, notices[4].1.tx), (None, tx));
    }
}
