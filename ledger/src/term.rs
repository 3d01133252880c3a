//! What the state says of the epoch that a block belongs to: its committee and the one
//! before, and what this node holds of the height below.

use crate::{
    error::LedgerError,
    ledger::{Head, checkpoint},
    look::Look,
};
use twinfold_types::{Committee, Epoch, limits, quorum::PastEpoch, state_key, vote::Checkpoint};

pub struct Term {
    pub committee: Committee,
    pub before: Option<Committee>,
    pub parent: Checkpoint,
}

impl Term {
    /// Of the block that follows the head.
    pub fn load(look: &Look<'_>, head: &Head) -> Result<Self, LedgerError> {
        let committee = running(look)?;
        let missing = || look.0.damaged(format!("checkpoint of height {} is missing", head.height));
        let parent = checkpoint(&look.0, head.height)?.ok_or_else(missing)?;
        let before = match committee.epoch.0.checked_sub(1) {
            Some(epoch) => {
                let past: PastEpoch = look.expect(&state_key::past_epoch(Epoch(epoch)))?;
                Some(past.committee)
            }
            None => None,
        };
        Ok(Self { committee, before, parent })
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

/// The committee of the epoch that the next height belongs to.
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
