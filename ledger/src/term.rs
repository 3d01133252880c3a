//! What the state says of the epoch that a block belongs to: its committee and the one
//! before, and what this node holds of the height below.

use crate::{
    error::LedgerError,
    ledger::{Head, checkpoint},
    look::Look,
    recovery,
    rocks::Order,
};
use twinfold_types::{
    Committee, Digest, Epoch, limits,
    quorum::PastEpoch,
    state_key::{self, Prefix},
    vote::Checkpoint,
};

pub struct Term {
    pub committee: Committee,
    pub before: Option<Committee>,
    pub parent: Checkpoint,
    pub recovered: Option<Recovered>,
}

/// The recovery that the next block begins with.
pub struct Recovered {
    pub statement: Digest,
    /// Of the epoch before the one that it ends.
    pub older: Option<Committee>,
}

impl Term {
    /// Of the block that follows the head.
    pub fn load(look: &Look<'_>, head: &Head) -> Result<Self, LedgerError> {
        let running = running(look)?;
        let missing = || look.0.damaged(format!("checkpoint of height {} is missing", head.height));
        let parent = checkpoint(&look.0, head.height)?.ok_or_else(missing)?;
        let before = newest_past(look)?;
        Ok(match recovery::checked_at(look, head)? {
            Some(recovery) => {
                let statement = recovery.digest();
                let recovered = Some(Recovered { statement, older: before });
                let committee = recovery.statement.committee;
                Self { committee, before: Some(running), parent, recovered }
            }
            None => Self { committee: running, before, parent, recovered: None },
        })
    }

    /// Refuses to go on under rules that this program does not know.
    pub fn check_protocol(&self) -> Result<(), LedgerError> {
        let (epoch, found) = (self.committee.epoch, self.committee.protocol);
        match found <= limits::PROTOCOL_VERSION {
            true => Ok(()),
            false => Err(LedgerError::Protocol { epoch, found, known: limits::PROTOCOL_VERSION }),
        }
    }
}

/// The committee of the newest epoch that has ended.
fn newest_past(look: &Look<'_>) -> Result<Option<Committee>, LedgerError> {
    let past = look.scan::<PastEpoch>(&Prefix::PastEpoch.scan(), None, Order::Backward, 1)?;
    Ok(past.into_iter().next().map(|(_, past)| past.committee))
}

/// The committee of the epoch that runs, as the state says.
pub fn running(look: &Look<'_>) -> Result<Committee, LedgerError> {
    look.expect(&state_key::epoch())
}

/// The committee that a height elected, where it ended an epoch.
pub fn elected_at<'a>(running: &'a Committee, head: &Head) -> Option<&'a Committee> {
    (running.epoch > Epoch(0) && running.anchor == head.height).then_some(running)
}

/// The epoch that a height belongs to, given the one that runs after it.
pub fn epoch_of(running: &Committee, head: &Head) -> Epoch {
    Epoch(running.epoch.0 - u64::from(elected_at(running, head).is_some()))
}
