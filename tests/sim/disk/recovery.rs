//! A folder whose process is stopped, while the operator makes a recovery or accepts one (P21), as
//! `node/src/recover` does.

use super::Disk;
use twinfold_consensus_planted::Record;
use twinfold_types::{
    Block, Committee, Epoch, Height, SeatIndex, TimeMs,
    genesis::FORMAT_VERSION,
    limits::PROTOCOL_VERSION,
    quorum::Seat,
    recovery::RecoveryStatement,
    vote::{Certificate, VoteKind},
};

impl Disk {
    /// The highest commit certificate that is here.
    fn decided(&self) -> Option<&Certificate> {
        let logged = self.log.iter().filter_map(|record| match record {
            Record::Certificate(it) if it.body.kind == VoteKind::Commit => Some(it),
            _ => None,
        });
        let stored = self.blocks.last().map(|(_, certificate, _)| certificate);
        logged.chain(stored).max_by_key(|certificate| certificate.body.height)
    }

    /// The highest height that is known here to be committed.
    pub fn decided_height(&self) -> Height {
        self.decided().map_or(Height(0), |it| it.body.height).max(self.head.height)
    }

    /// What the log shows to be committed and the ledger has not executed, the lowest first; none
    /// where a body is not here.
    pub fn committed_above(&self) -> Option<Vec<(Block, Certificate)>> {
        let above = |it: &&Certificate| it.body.height > self.head.height;
        let Some(certificate) = self.decided().filter(above) else { return Some(Vec::new()) };
        let (mut path, mut digest) = (Vec::new(), certificate.body.digest);
        while digest != self.head.digest {
            let body = self.log.iter().find_map(|record| match record {
                Record::Block(block) if block.digest() == digest => Some(block),
                _ => None,
            });
            let block = body.filter(|block| block.header.height > self.head.height)?;
            digest = block.header.parent;
            path.push((*block.clone(), certificate.clone()));
        }
        path.reverse();
        Some(path)
    }

    /// What the admins sign: everything executed here is kept, and these seats go on.
    pub fn draft(&self, epoch: Epoch, seats: Vec<Seat>, ends: TimeMs) -> RecoveryStatement {
        let order = (0..seats.len()).rev().map(|seat| SeatIndex(seat as u16)).collect();
        RecoveryStatement {
            format: FORMAT_VERSION,
            chain: self.genesis.digest,
            kept: self.newest_checkpoint(),
            ended: self.voting_committee().digest(),
            committee: Committee {
                epoch,
                seats,
                order,
                anchor: self.head.height,
                ends,
                protocol: PROTOCOL_VERSION,
            },
            admins: Vec::new(),
            threshold: 0,
            time: self.head.time,
        }
    }

    /// The operator's word. What is known here to be committed must not be thrown away; and whoever
    /// is at the kept height can serve its block to those who are not.
    pub fn accept(&mut self, statement: &RecoveryStatement) -> Result<(), String> {
        let kept = &statement.kept;
        if self.ledger.recoveries.get(&kept.height) == Some(statement) {
            return Ok(());
        }
        let (head, height) = (self.head.height, kept.height);
        let decided = self.decided_height();
        if decided > height {
            return Err(format!("height {decided} is decided, the recovery keeps {height}"));
        }
        if head == height && self.newest_checkpoint() != *kept {
            return Err(format!("{:?}, the recovery keeps {kept:?}", self.checkpoint()));
        }
        let serves = || self.base() == height || self.committed(height).is_some();
        if head == height && !serves() {
            return Err(format!("the kept block of height {height} cannot be served"));
        }
        self.ledger.recoveries.insert(height, statement.clone());
        Ok(())
    }

    /// The height that an accepted recovery keeps, while the ledger is below it.
    pub fn recovery_ahead(&self) -> Option<Height> {
        let last = self.ledger.recoveries.keys().next_back();
        last.copied().filter(|kept| *kept > self.head.height)
    }

    /// The committee that goes on from the head by a recovery.
    pub fn recovered(&self) -> Option<&Committee> {
        self.ledger.recoveries.get(&self.head.height).map(|statement| &statement.committee)
    }

    /// Accepts what another operator accepted, before there is a ledger.
    pub fn accept_all_of(&mut self, other: &Disk) {
        self.ledger.recoveries.extend(other.ledger.recoveries.clone());
    }
}
