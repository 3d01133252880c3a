//! The restart after more than f validators were lost for good. Accepted statements stand
//! beside the state, by the height that they keep. Nothing of the state changes when one is
//! accepted: the block that follows that height begins with it, so the same block comes to the
//! same state wherever it is executed, today or in a replay from genesis.

use crate::{
    error::{LedgerError, RecoverError},
    joining::Joining,
    ledger::{Head, Ledger, Published, checkpoint},
    look::Look,
    open,
    reader::Reader,
    rocks::Order,
    stake::election,
    stakes,
    store::{self, Batch, Column},
    term,
};
use std::sync::Arc;
use twinfold_types::{
    Committee, Digest, Epoch, Height, PublicKey, TimeMs,
    genesis::{ChainParams, FORMAT_VERSION},
    handover::EpochEnd,
    key::StrictEd25519,
    member::{Member, Role},
    quorum::Seat,
    recovery::{Recovery, RecoveryStatement},
    stake::{Candidate, Jail},
    state_key::{self, Prefix},
};

type Result<T, E = LedgerError> = std::result::Result<T, E>;

/// What a statement is made for, beside what the state says.
pub struct Draft<'a> {
    /// Members who sit, in seat order.
    pub seats: &'a [PublicKey],
    /// The next free one when not given: another where an accepted statement is to be replaced.
    pub epoch: Option<Epoch>,
    pub time: TimeMs,
}

/// What accepting a statement means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Where this ledger stands. Below the kept height the state is compared on the way there.
    pub head: Height,
    /// This very one is accepted already.
    pub known: bool,
    /// Statements that were accepted, never acted upon, and go.
    pub replaces: Vec<Recovery>,
    /// Of the committee that orders nothing any more, where it is known here.
    pub ended: Option<Committee>,
}

// What is accepted.

pub(crate) fn all(look: &Look<'_>) -> Result<Vec<Recovery>> {
    let rows = look.0.rows(Column::Recoveries, &[], None, Order::Forward, usize::MAX)?;
    rows.iter().map(|(_, bytes)| look.decode(bytes, "recovery")).collect()
}

/// The one that goes on from a height.
pub(crate) fn at(look: &Look<'_>, height: Height) -> Result<Option<Recovery>> {
    look.value(Column::Recoveries, &store::height_key(height), "recovery")
}

/// The one that ended an epoch.
pub(crate) fn that_ended(look: &Look<'_>, epoch: Epoch) -> Result<Option<Recovery>> {
    Ok(all(look)?.into_iter().find(|recovery| recovery.statement.kept.epoch == epoch))
}

/// The committee of an epoch that one began.
pub(crate) fn committee_of(look: &Look<'_>, epoch: Epoch) -> Result<Option<Committee>> {
    let mut committees = all(look)?.into_iter().map(|recovery| recovery.statement.committee);
    Ok(committees.find(|committee| committee.epoch == epoch))
}

/// The committee that the block after the head is of.
pub(crate) fn following(look: &Look<'_>, head: &Head) -> Result<Committee> {
    match at(look, head.height)? {
        Some(recovery) => Ok(recovery.statement.committee),
        None => term::running(look),
    }
}

// What a statement must say.

/// What the admins would sign with this state: a function of it and the draft.
pub(crate) fn draft(
    look: &Look<'_>,
    head: &Head,
    draft: &Draft<'_>,
) -> Result<RecoveryStatement, RecoverError> {
    let running = term::running(look)?;
    let kept = checkpoint(&look.0, head.height)?.ok_or_else(|| {
        look.0.damaged(format!("checkpoint of height {} is missing", head.height))
    })?;
    let ended = stakes::expect_committee(look, kept.epoch)?;
    let params: ChainParams = look.expect(&state_key::params())?;
    let seats = draft.seats.iter().map(|key| seat(look, head.height, key));
    let seats = seats.collect::<Result<Vec<_>, RecoverError>>()?;
    check_lost(&[&ended, &running], &seats)?;
    let chain = look.chain()?;
    let epoch = draft.epoch.unwrap_or(running.epoch.next());
    if epoch <= running.epoch {
        return Err(RecoverError::Epoch { epoch, running: running.epoch });
    }
    let protocol: Option<u32> = look.state(&state_key::protocol())?;
    let committee = Committee {
        epoch,
        order: election::leaders(&chain, epoch, &seats),
        seats,
        anchor: head.height,
        ends: draft.time.plus(params.stake.epoch_ms),
        protocol: protocol.unwrap_or(running.protocol),
    };
    let admins = look.all::<Member>(&Prefix::Member.scan())?.into_iter();
    let mut admins: Vec<_> =
        admins.filter(|member| member.has(Role::Admin)).map(|member| member.key).collect();
    admins.sort_unstable();
    let statement = RecoveryStatement {
        format: FORMAT_VERSION,
        chain,
        kept,
        ended: ended.digest(),
        committee,
        admins,
        threshold: params.threshold,
        time: draft.time,
    };
    statement.check(&chain)?;
    Ok(statement)
}

/// The seat of a member whom the state admits as a validator.
fn seat(look: &Look<'_>, height: Height, key: &PublicKey) -> Result<Seat, RecoverError> {
    let no_validator = RecoverError::NoValidator { validator: *key, height };
    let member: Option<Member> = look.state(&state_key::member(key))?;
    let candidate: Option<Candidate> = look.state(&state_key::candidate(key))?;
    let (Some(member), Some(candidate)) = (member, candidate) else { return Err(no_validator) };
    if !member.has(Role::Validator) {
        return Err(no_validator);
    }
    if matches!(candidate.jail, Some(Jail::Guilty | Jail::Expelled)) {
        return Err(RecoverError::Barred { validator: *key });
    }
    let (validator, key, organisation) = (member.key, candidate.key, member.organisation);
    Ok(Seat { validator, key, organisation })
}

/// While a quorum is left the chain has its own ways, and this one could split it.
fn check_lost(committees: &[&Committee], seats: &[Seat]) -> Result<(), RecoverError> {
    let stays = |seat: &&Seat| seats.iter().any(|other| other.validator == seat.validator);
    let left = |committee: &Committee| committee.seats.iter().filter(stays).count();
    match committees.iter().find(|committee| left(committee) >= committee.quorum()) {
        Some(committee) if committees.iter().all(|one| left(one) >= one.quorum()) => {
            let (left, quorum) = (left(committee), committee.quorum());
            Err(RecoverError::QuorumLeft { left, quorum })
        }
        _ => Ok(()),
    }
}

/// Whether a statement says of the head what this state says.
pub(crate) fn check(
    look: &Look<'_>,
    head: &Head,
    statement: &RecoveryStatement,
) -> Result<(), RecoverError> {
    let theirs = statement;
    let seats: Vec<_> = theirs.committee.seats.iter().map(|seat| seat.validator).collect();
    let (epoch, time) = (Some(theirs.committee.epoch), theirs.time);
    let ours = draft(look, head, &Draft { seats: &seats, epoch, time })?;
    let differs = |what, ours: String, theirs: String| {
        Err(RecoverError::Differs { height: head.height, what, ours, theirs })
    };
    let digests = [
        ("block", ours.kept.block, theirs.kept.block),
        ("state root", ours.kept.state_root, theirs.kept.state_root),
        ("audit root", ours.kept.audit_root, theirs.kept.audit_root),
        ("committee that ended", ours.ended, theirs.ended),
    ];
    for (what, ours, theirs) in digests {
        if ours != theirs {
            return differs(what, ours.to_string(), theirs.to_string());
        }
    }
    if (&ours.admins, ours.threshold) != (&theirs.admins, theirs.threshold) {
        let text = |of: &RecoveryStatement| format!("{} of {:?}", of.threshold, of.admins);
        return differs("list of admins", text(&ours), text(theirs));
    }
    match ours == *theirs {
        true => Ok(()),
        false => differs(
            "new committee",
            format!("{:?}", ours.committee),
            format!("{:?}", theirs.committee),
        ),
    }
}

/// What accepting it would mean, or why it is not acceptable.
fn examine(look: &Look<'_>, head: &Head, recovery: &Recovery) -> Result<Examined, RecoverError> {
    let statement = &recovery.statement;
    recovery.verify(&look.chain()?, &StrictEd25519)?;
    let kept = statement.kept.height;
    let (known, replaces) = beside(all(look)?, recovery);
    if !known && head.height > kept {
        return Err(RecoverError::Ahead { head: head.height, kept });
    }
    if !known && head.height == kept {
        check(look, head, statement)?;
    }
    check_later(recovery, &replaces)?;
    let ended = stakes::committee(look, statement.kept.epoch)?;
    Ok(Examined { head: head.height, known, replaces, ended })
}

/// Whether it is accepted already, and if not, which accepted ones are of the same epochs. What a
/// later one builds on is none of these: it stays.
fn beside(accepted: Vec<Recovery>, recovery: &Recovery) -> (bool, Vec<Recovery>) {
    let (digest, statement) = (recovery.digest(), &recovery.statement);
    if accepted.iter().any(|other| other.digest() == digest) {
        return (true, vec![]);
    }
    let conflicts = |other: &Recovery| {
        statement.kept.epoch < other.statement.committee.epoch
            && other.statement.kept.epoch < statement.committee.epoch
    };
    (false, accepted.into_iter().filter(conflicts).collect())
}

/// Votes of a committee that is given up must be of another epoch.
fn check_later(recovery: &Recovery, replaces: &[Recovery]) -> Result<(), RecoverError> {
    let later =
        |other: &&Recovery| other.statement.committee.epoch >= recovery.statement.committee.epoch;
    match replaces.iter().find(later) {
        Some(other) => {
            let (digest, epoch) = (other.digest(), other.statement.committee.epoch);
            Err(RecoverError::Other { digest, epoch })
        }
        None => Ok(()),
    }
}

impl Ledger {
    /// Takes a recovery that this node's operator accepted: from the height that it keeps on,
    /// blocks are of its committee. Accepting one again changes nothing.
    pub fn accept_recovery(&mut self, recovery: &Recovery) -> Result<Examined, RecoverError> {
        let look = Look(self.shared.rocks.view());
        let head = open::load(&look)?.head;
        let examined = examine(&look, &head, recovery)?;
        if !examined.known {
            self.shared.rocks.write(acceptance(recovery, &examined.replaces))?;
            let committee = Arc::new(following(&Look(self.shared.rocks.view()), &head)?);
            self.shared.publish(|published: &mut Published| published.committee = committee);
        }
        Ok(examined)
    }
}

impl Joining {
    /// The same before there is a ledger: nothing of the state is there to compare with. Those
    /// that were accepted before and go.
    pub fn accept_recovery(&self, recovery: &Recovery) -> Result<Vec<Recovery>, RecoverError> {
        recovery.verify(&self.genesis.digest(), &StrictEd25519)?;
        let (known, replaces) = beside(self.recoveries()?, recovery);
        check_later(recovery, &replaces)?;
        if !known {
            self.rocks.write(acceptance(recovery, &replaces))?;
        }
        Ok(replaces)
    }

    /// Every recovery that the operator accepted, in the order of the heights they keep.
    pub fn recoveries(&self) -> Result<Vec<Recovery>> {
        all(&Look(self.rocks.view()))
    }
}

fn acceptance(recovery: &Recovery, replaced: &[Recovery]) -> Batch {
    let key = |recovery: &Recovery| store::height_key(recovery.statement.kept.height);
    let mut batch = Batch::default();
    replaced.iter().for_each(|other| batch.delete(Column::Recoveries, key(other)));
    batch.put(Column::Recoveries, key(recovery), recovery);
    batch
}

impl Reader {
    /// A statement for the admins to sign, that keeps everything this node has executed.
    pub fn draft_recovery(&self, of: &Draft<'_>) -> Result<RecoveryStatement, RecoverError> {
        let look = self.look();
        let head = open::load(&look)?.head;
        draft(&look, &head, of)
    }

    /// What accepting it would mean here.
    pub fn examine_recovery(&self, recovery: &Recovery) -> Result<Examined, RecoverError> {
        let look = self.look();
        let head = open::load(&look)?.head;
        examine(&look, &head, recovery)
    }

    /// Every recovery that the operator accepted, in the order of the heights they keep.
    pub fn recoveries(&self) -> Result<Vec<Recovery>> {
        all(&self.look())
    }

    /// The last recovery from a height that this node has not reached yet.
    pub fn recovery_ahead(&self) -> Result<Option<Recovery>> {
        let look = self.look();
        let head = open::load(&look)?.head.height;
        let last = all(&look)?.pop();
        Ok(last.filter(|recovery| recovery.statement.kept.height > head))
    }

    /// Whether what was accepted from the head on is what the state here says.
    pub fn check_recovery(&self) -> Result<()> {
        let look = self.look();
        let head = open::load(&look)?.head;
        checked_at(&look, &head).map(drop)
    }

    /// What ended an epoch and names the committee of the next, once this node knows it. One that a
    /// recovery left out was ended by it too: somebody may stand in it by a statement that was
    /// given up.
    pub fn end_of(&self, epoch: Epoch) -> Result<Option<EpochEnd>> {
        end_of(&self.look(), epoch)
    }
}

pub(crate) fn end_of(look: &Look<'_>, epoch: Epoch) -> Result<Option<EpochEnd>> {
    let within =
        |it: &Recovery| (it.statement.kept.epoch..it.statement.committee.epoch).contains(&epoch);
    Ok(match all(look)?.into_iter().find(within) {
        Some(recovery) => Some(EpochEnd::Recovery(Box::new(recovery))),
        None => stakes::epoch_end(look, epoch)?.map(|(_, end)| EpochEnd::Checkpoint(end)),
    })
}

/// The recovery from the head on, held against the state once more.
pub(crate) fn checked_at(look: &Look<'_>, head: &Head) -> Result<Option<Recovery>> {
    let Some(recovery) = at(look, head.height)? else { return Ok(None) };
    match check(look, head, &recovery.statement) {
        Ok(()) => Ok(Some(recovery)),
        Err(RecoverError::Ledger(error)) => Err(error),
        Err(error) => Err(LedgerError::Recovery {
            height: head.height,
            digest: recovery.digest(),
            reason: error.to_string(),
        }),
    }
}

impl Look<'_> {
    fn chain(&self) -> Result<Digest> {
        let bytes = self.0.get(Column::Meta, store::META_GENESIS)?;
        let chain = bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest);
        chain.ok_or_else(|| self.0.damaged("no genesis digest".into()))
    }
}
