//! Starting from what the disk holds, and saying what it must hold (P2, P10).

use crate::{Config, Forgotten, Head, Machine, Record, Recovered, RecoveryError};
use std::sync::Arc;
use twinfold_types::{
    Epoch, SeatIndex,
    key::{Signer, Verifier},
    limits::PROTOCOL_VERSION,
    vote::{Certificate, Vote, VoteKind},
};

impl Machine {
    /// Rebuilds the state from the ledger's head and the log's records of its epoch. Everything in
    /// the log is synced, so own votes count at once. The driver then sends a tick, and the executed
    /// checkpoint of the head once more.
    pub fn new(
        config: Config,
        signer: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        recovered: Recovered,
    ) -> Result<Machine, RecoveryError> {
        if config.committee.size() == 0 {
            return Err(RecoveryError::NoCommittee);
        }
        let (epoch, wanted) = (config.committee.epoch, config.committee.protocol);
        if wanted > PROTOCOL_VERSION {
            return Err(RecoveryError::Protocol { epoch, wanted, ours: PROTOCOL_VERSION });
        }
        let Recovered { head, certificate, stable, records } = recovered;
        let genesis = Head { digest: config.chain, time: config.genesis_time, ..head };
        let head = if head.height.0 == 0 { genesis } else { head };
        let known = stable.clone();
        let mut machine = Self::blank(config, signer, verifier, head, stable);
        // Seats of another epoch are others.
        let known = known.filter(|stable| stable.checkpoint.epoch == machine.epoch());
        known.iter().for_each(|stable| machine.newest.stable(stable));
        // The log may be older than the ledger: what this validator committed it must claim.
        machine.highest = certificate.filter(|it| it.body.epoch == machine.epoch());
        for record in records {
            // What was signed in an epoch that is over binds nobody any more (P19).
            let epoch = record.epoch();
            if epoch > machine.epoch() {
                machine.later.push(record);
                continue;
            }
            if epoch == machine.epoch() && !(machine.lacks_key() && record.is_signed_here()) {
                machine.replay(record)?;
            }
        }
        if !machine.later.is_empty() {
            machine.seat = None;
        }
        machine.note_lost_ledger();
        machine.bodies.remove_up_to(machine.executed);
        machine.settled = true;
        Ok(machine)
    }

    /// The ledger is older than the log: what this validator signed in a later epoch binds it when it
    /// comes there. Where it cannot be taken up, nothing is signed in that epoch.
    pub(crate) fn take_up_later(&mut self) {
        let epoch = self.epoch();
        for record in std::mem::take(&mut self.later) {
            if record.epoch() > epoch {
                self.later.push(record);
            } else if record.epoch() == epoch
                && !(self.lacks_key() && record.is_signed_here())
                && self.replay(record).is_err()
            {
                self.seat = None;
            }
        }
        if !self.later.is_empty() {
            self.seat = None;
        }
        self.note_lost_ledger();
    }

    /// The ledger has not what the log forgot because the ledger had it: what was signed there is
    /// known nowhere here, as after a restored copy (P20).
    fn note_lost_ledger(&mut self) {
        if let Some(height) = self.lost_up_to.take() {
            let (view, (_, voted, _)) = (self.view, self.newest_own_vote());
            self.restore_silence(Forgotten { view, height: height.max(voted) });
        }
    }

    fn replay(&mut self, record: Record) -> Result<(), RecoveryError> {
        match record {
            Record::Block(block) => self.bodies.insert(*block, true),
            Record::Vote(vote) => self.replay_vote(vote)?,
            Record::Certificate(certificate) => {
                let body = certificate.body;
                if body.view == self.installed.view && body.kind == VoteKind::Prepare {
                    let slot = self.slots.entry(body.height).or_default();
                    slot.prepared = Some(certificate.clone());
                }
                let newer = |old: &Certificate| old.body.height < body.height;
                if body.kind == VoteKind::Commit && self.deciding.as_ref().is_none_or(newer) {
                    self.deciding = Some(certificate.clone());
                }
                self.newest.certificate(&certificate);
                let rank = |highest: &_| rank(highest) < rank(&certificate);
                if self.highest.as_ref().is_none_or(rank) {
                    self.highest = Some(certificate);
                }
            }
            Record::ViewChange(change) => {
                self.check_seat(change.header.seat)?;
                self.view = self.view.max(change.header.body.view);
                self.view_changes.own = Some((*change).clone());
                self.view_changes.insert(*change);
            }
            Record::NewView(new_view) => {
                if new_view.body.view > self.installed.view {
                    self.view = self.view.max(new_view.body.view);
                    self.enter(*new_view);
                }
            }
            Record::Silence { view, height, .. } => {
                self.restore_silence(Forgotten { view, height });
            }
            Record::Settled { height, .. } => {
                self.lost_up_to = (height > self.head.height).then_some(height);
            }
            Record::Checkpoint(vote) => {
                self.check_seat(vote.seat)?;
                self.checkpoints.restore(vote);
            }
        }
        Ok(())
    }

    fn replay_vote(&mut self, vote: Vote) -> Result<(), RecoveryError> {
        let (view, height) = (vote.body.view, vote.body.height);
        self.check_seat(vote.seat)?;
        if view > self.installed.view {
            return Err(RecoveryError::UnknownView {
                vote_view: view,
                installed: self.installed.view,
            });
        }
        if view < self.installed.view {
            return Ok(());
        }
        let slot = self.slots.entry(height).or_default();
        let own = slot.own(vote.body.kind);
        if own.as_ref().is_some_and(|own| own.body != vote.body) {
            return Err(RecoveryError::TwoVotes { view, height });
        }
        *own = Some(vote.clone());
        if vote.body.kind != VoteKind::PrePrepare {
            slot.votes(vote.body.kind).insert(vote.seat, vote);
        }
        Ok(())
    }

    fn check_seat(&self, found: SeatIndex) -> Result<(), RecoveryError> {
        if self.seat != Some(found) {
            let seat = self.seat.map(|seat| format!("seat {seat}"));
            let expected = seat.unwrap_or_else(|| "no seat".into());
            return Err(RecoveryError::ForeignRecord { found, expected });
        }
        Ok(())
    }

    /// The least that rebuilds what must be durable, in an order that replays: a driver
    /// compacts its log to it.
    pub fn durable_records(&self) -> Vec<Record> {
        let (epoch, height) = (self.epoch(), self.executed);
        let mut records = vec![Record::Settled { epoch, height }];
        let new_view = self.installed.new_view.clone();
        records.extend(new_view.map(|new_view| Record::NewView(Box::new(new_view))));
        if self.view > self.installed.view {
            let change = self.view_changes.own.clone();
            records.extend(change.map(|change| Record::ViewChange(Box::new(change))));
        }
        records.extend(self.bodies.durable().map(|block| Record::Block(Box::new(block.clone()))));
        if let Some(seat) = self.seat {
            let votes = self.slots.values().flat_map(|slot| slot.own_votes(seat));
            records.extend(votes.cloned().map(Record::Vote));
        }
        records.extend(self.silence_record());
        let open = |it: &&Certificate| it.body.height > self.executed;
        let deciding = self.deciding.as_ref().filter(open);
        let deciding = deciding.filter(|it| self.highest.as_ref() != Some(*it));
        records.extend(deciding.cloned().map(Record::Certificate));
        records.extend(self.highest.clone().map(Record::Certificate));
        records.extend(self.checkpoints.own_votes().cloned().map(Record::Checkpoint));
        records.extend(self.later.iter().cloned());
        records
    }
}

impl Record {
    fn is_signed_here(&self) -> bool {
        matches!(self, Record::Vote(_) | Record::ViewChange(_) | Record::Checkpoint(_))
    }

    /// The epoch it was made in.
    pub fn epoch(&self) -> Epoch {
        match self {
            Record::Block(block) => block.header.epoch,
            Record::Vote(vote) => vote.body.epoch,
            Record::Certificate(certificate) => certificate.body.epoch,
            Record::ViewChange(change) => change.header.body.epoch,
            Record::NewView(new_view) => new_view.body.epoch,
            Record::Checkpoint(vote) => vote.checkpoint.epoch,
            Record::Silence { epoch, .. } | Record::Settled { epoch, .. } => *epoch,
        }
    }
}

fn rank(certificate: &Certificate) -> (u64, u64) {
    let (view, height) = certificate.body.rank();
    (view.0, height.0)
}
