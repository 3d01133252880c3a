//! The agreement's state machine against any sequence of events.
//!
//! Bytes are read as a play: one byte names what happens, the next ones say how. All seats but
//! the machine's own are the fuzzer's, and whatever it has them say is truly signed: more than
//! any committee bears. So blocks may be committed beside each other and the machine may halt;
//! but it must not panic, must hold no more than stated, and what it signs itself must keep the
//! rules all the same.

pub mod kept;
#[path = "../../sim/keys.rs"]
mod keys;
mod play;
mod promises;
mod says;

use play::Play;

/// Events of one play at most.
const EVENTS_MAX: usize = 400;

pub fn machine_events(bytes: &[u8]) -> bool {
    perform(bytes).is_some()
}

/// The installed view and the committed height at the end of a play.
pub fn perform(bytes: &[u8]) -> Option<(u64, u64)> {
    let (seat, rest) = bytes.split_first()?;
    let mut play = Play::new(*seat);
    let mut bytes = Bytes(rest);
    for _ in 0..EVENTS_MAX {
        if play.act(&mut bytes).is_none() {
            break;
        }
    }
    Some(play.end())
}

/// What is left to read.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.byte().map(u64::from)
    }

    /// A length of two bytes, and so many bytes.
    fn piece(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?) | usize::from(self.byte()?) << 8;
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        Some(piece)
    }
}
