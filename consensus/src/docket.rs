//! Evidence on its way to the ledger. What a node saw a seat sign twice is brought there as a
//! transaction, and brought again until the ledger has punished it or never will.
//!
//! The ledger takes evidence about an epoch long after the epoch's end, so nothing here ends with
//! the epoch, and neither does it while nothing is ordered: only the ledger's own word closes a
//! case of two statements. A wrong fold result is different. It holds once the ledger took another
//! result for the job, which may never be; so long and no longer is that waited for.
//!
//! The list is in memory. Every honest node that saw the statements keeps it, so what one forgets
//! when it is killed another brings.

use crate::planted::{Choice, Planted};
use twinfold_types::{
    Code, Epoch, Evidence, SeatIndex, TimeMs, TxId,
    evidence::Offence,
    limits::{EVIDENCE_PER_SEAT_MAX, EVIDENCE_WAITING_MAX},
};

/// So long the ledger may refuse a wrong result.
const PATIENCE_MS: u64 = 600_000;

#[derive(Default)]
pub struct Docket {
    cases: Vec<Case>,
    planted: Choice,
}

struct Case {
    evidence: Evidence,
    since: TimeMs,
    /// The transaction that carries it, as last made.
    tx: Option<TxId>,
}

/// What became of evidence that was brought to the ledger's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A transaction waits for a block.
    Waits(TxId),
    /// By the newest state it would be refused.
    Refused(Code),
    /// This node cannot take it now.
    NotNow,
}

impl Docket {
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn with_planted(mut self, mistake: Planted) -> Self {
        self.planted.chosen = Some(mistake);
        self
    }

    /// Keeps evidence, unless the ledger would punish it with what is kept already. One seat can
    /// make any amount of it: it gets a few places.
    pub fn add(&mut self, now: TimeMs, evidence: Evidence) {
        let of_seat = self.cases.iter().filter(|case| case.accused() == evidence.accused());
        let known = of_seat.clone().any(|case| {
            let once = evidence.offence() == Offence::Equivocation;
            case.evidence == evidence || (once && case.evidence.offence() == evidence.offence())
        });
        let room =
            of_seat.count() < EVIDENCE_PER_SEAT_MAX && self.cases.len() < EVIDENCE_WAITING_MAX;
        if !known && room {
            self.cases.push(Case { evidence, since: now, tx: None });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Brings what does not wait for a block to the ledger's door, which `bring` is, and closes
    /// what the ledger is done with. `running` is the epoch of its newest state.
    pub fn tend(
        &mut self,
        now: TimeMs,
        running: Epoch,
        waits: impl Fn(&TxId) -> bool,
        mut bring: impl FnMut(&Evidence) -> Answer,
    ) {
        let dropped = self.planted.is(Planted::EvidenceDropped);
        self.cases.retain(|case| !dropped || case.accused().0 >= running);
        self.cases.retain_mut(|case| {
            // The ledger here is behind, or has it already.
            if case.accused().0 > running || case.tx.is_some_and(|id| waits(&id)) {
                return true;
            }
            let answer = bring(&case.evidence);
            if let Answer::Waits(id) = answer {
                case.tx = Some(id);
            }
            !case.is_closed(now, answer)
        });
    }
}

impl Case {
    fn accused(&self) -> (Epoch, SeatIndex) {
        self.evidence.accused()
    }

    fn is_closed(&self, now: TimeMs, answer: Answer) -> bool {
        match answer {
            Answer::Refused(Code::EvidenceKnown | Code::EvidenceOld) => true,
            Answer::Refused(_) => {
                let passing = self.evidence.offence() == Offence::WrongResult;
                passing && now.0.saturating_sub(self.since.0) > PATIENCE_MS
            }
            // Ordered soon, or lost: the next time the ledger knows it, or takes it again.
            Answer::Waits(_) | Answer::NotNow => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{
        Digest, Height, Signature, View,
        round::{FoldJob, FoldResult, SignedFoldResult},
        vote::{Vote, VoteBody, VoteKind},
    };

    const HOUR_MS: u64 = 3_600_000;
    const TX: TxId = TxId(Digest([7; 32]));

    fn two_votes(epoch: u64, seat: u16, height: u64) -> Evidence {
        let vote = |digest: u8| {
            let (kind, epoch, view) = (VoteKind::Prepare, Epoch(epoch), View(0));
            let (height, digest) = (Height(height), Digest([digest; 32]));
            let body = VoteBody { kind, epoch, view, height, digest };
            Box::new(Vote { body, seat: SeatIndex(seat), signature: Signature([0; 64]) })
        };
        Evidence::Votes(vote(1), vote(2))
    }

    fn result(seat: u16, number: u64) -> Evidence {
        let job = FoldJob::Merge { task: twinfold_types::TaskId(Digest::ZERO), number };
        let result = FoldResult {
            job,
            model: None,
            optimiser: None,
            outcomes: vec![],
            contributions: vec![],
            weight: 0,
            saturations: 0,
        };
        let (seat, signature) = (SeatIndex(seat), Signature([0; 64]));
        let signed = Box::new(SignedFoldResult { seat, result, signature });
        Evidence::Result { epoch: Epoch(0), signed }
    }

    /// Tends the docket at a time; what was brought.
    fn tend(docket: &mut Docket, now: u64, running: u64, answer: Answer) -> Vec<Evidence> {
        let mut brought = Vec::new();
        docket.tend(
            TimeMs(now),
            Epoch(running),
            |_| false,
            |evidence| {
                brought.push(evidence.clone());
                answer
            },
        );
        brought
    }

    #[test]
    fn evidence_outlasts_its_epoch_and_a_network_that_stands_still_for_hours() {
        let mut docket = Docket::default();
        docket.add(TimeMs(0), two_votes(0, 1, 5));
        let refused = Answer::Refused(Code::EvidenceInvalid);
        let answers = [Answer::NotNow, refused, Answer::Waits(TX)];
        for (hour, answer) in (0..9).zip(answers.into_iter().cycle()) {
            assert_eq!(tend(&mut docket, hour * HOUR_MS, hour, answer).len(), 1, "hour {hour}");
        }
        tend(&mut docket, 9 * HOUR_MS, 9, Answer::Refused(Code::EvidenceKnown));
        assert!(docket.is_empty());
    }

    #[test]
    fn evidence_about_an_epoch_that_the_ledger_has_not_reached_waits_for_it() {
        let mut docket = Docket::default();
        docket.add(TimeMs(0), two_votes(1, 1, 5));
        assert!(tend(&mut docket, 0, 0, Answer::Refused(Code::EvidenceInvalid)).is_empty());
        assert_eq!(tend(&mut docket, 2 * HOUR_MS, 1, Answer::Waits(TX)).len(), 1);
    }

    #[test]
    fn what_waits_for_a_block_is_not_brought_again() {
        let mut docket = Docket::default();
        docket.add(TimeMs(0), two_votes(0, 1, 5));
        tend(&mut docket, 0, 0, Answer::Waits(TX));
        docket.tend(TimeMs(1), Epoch(0), |id| *id == TX, |_| panic!("it waits"));
        assert_eq!(tend(&mut docket, 2, 0, Answer::NotNow).len(), 1, "it waits no more");
    }

    #[test]
    fn a_wrong_result_is_waited_for_some_minutes_and_one_that_is_too_old_is_closed_at_once() {
        let mut docket = Docket::default();
        docket.add(TimeMs(0), result(1, 1));
        tend(&mut docket, PATIENCE_MS, 0, Answer::Refused(Code::EvidenceInvalid));
        assert!(!docket.is_empty());
        tend(&mut docket, PATIENCE_MS + 1, 0, Answer::Refused(Code::EvidenceInvalid));
        assert!(docket.is_empty());
        docket.add(TimeMs(0), two_votes(0, 1, 5));
        tend(&mut docket, 0, 3, Answer::Refused(Code::EvidenceOld));
        assert!(docket.is_empty());
    }

    #[test]
    fn one_seat_fills_a_few_places_and_leaves_room_for_the_others() {
        let mut docket = Docket::default();
        (0..1_000).for_each(|number| docket.add(TimeMs(0), result(1, number)));
        (0..1_000).for_each(|height| docket.add(TimeMs(0), two_votes(0, 2, height)));
        docket.add(TimeMs(0), two_votes(1, 2, 1_001));
        let brought = tend(&mut docket, 0, 1, Answer::NotNow);
        assert_eq!(brought.len(), EVIDENCE_PER_SEAT_MAX + 2);
    }
}
