//! One deterministic transition: a block on a state gives receipts and writes.
//! Payloads are never read here. First comes a recovery, where the block is the first after one,
//! then what the block's time brings about
//! (deadlines, lapses, stake that is free), then the transactions in order; each succeeds
//! with all its writes or leaves none; last the epoch's end, where the block is one. What is
//! no transaction's stands on the block's own receipt.

use crate::{
    action,
    error::LedgerError,
    keeping, replay, round, selection, stake,
    state::{State, StateRead, Writes},
    term::{Recovered, Term},
};
use twinfold_types::{
    Code, Committee, Digest, Event, Height, Receipt, SignedTx, TimeMs, TxId,
    key::{StrictEd25519, Verifier},
    state_key,
    vote::Checkpoint,
};

/// What execution knows beside the state.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    pub chain: &'a Digest,
    /// Of the block's epoch.
    pub committee: &'a Committee,
    /// Of the epoch before.
    pub before: Option<&'a Committee>,
    /// Of the height below.
    pub parent: &'a Checkpoint,
    pub height: Height,
    pub time: TimeMs,
    /// Of every signature that an action carries.
    pub verifier: &'a dyn Verifier,
    /// The recovery that the block begins with, if any.
    pub recovered: Option<&'a Recovered>,
}

impl<'a> Env<'a> {
    pub fn new(chain: &'a Digest, term: &'a Term, height: Height, time: TimeMs) -> Self {
        let Term { committee, before, parent, recovered } = term;
        let (before, recovered) = (before.as_ref(), recovered.as_ref());
        let verifier = &StrictEd25519;
        Self { chain, committee, before, parent, height, time, verifier, recovered }
    }

    /// The committees whose word on payloads and folding counts: an update that was stored
    /// under one committee may be ordered under the next.
    pub fn committees(self) -> impl Iterator<Item = &'a Committee> {
        std::iter::once(self.committee).chain(self.before)
    }
}

/// Why an action did not succeed.
#[derive(Debug)]
pub enum Fail {
    /// Refused: the receipt says so.
    Refused(Code),
    /// The ledger itself cannot go on.
    Ledger(LedgerError),
}

impl From<Code> for Fail {
    fn from(code: Code) -> Self {
        Fail::Refused(code)
    }
}

impl From<LedgerError> for Fail {
    fn from(error: LedgerError) -> Self {
        Fail::Ledger(error)
    }
}

pub type Outcome<T = ()> = Result<T, Fail>;

/// Refuses with a code unless the condition holds.
pub fn require(condition: bool, code: Code) -> Outcome {
    if condition { Ok(()) } else { Err(Fail::Refused(code)) }
}

/// A running execution.
pub struct Exec<'a> {
    pub state: State<'a>,
    pub env: Env<'a>,
    pub events: Vec<Event>,
}

impl<'a> Exec<'a> {
    pub fn new(base: &'a dyn StateRead, env: Env<'a>) -> Self {
        Self { state: State::new(base), env, events: Vec::new() }
    }

    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Runs `f`; when it is refused, its writes and events are undone and its code
    /// is returned.
    pub fn attempt(&mut self, f: impl FnOnce(&mut Self) -> Outcome) -> Result<Code, LedgerError> {
        let (attempt, events) = (self.state.begin(), self.events.len());
        let outcome = f(self);
        self.state.end(attempt, outcome.is_ok());
        match outcome {
            Ok(()) => Ok(Code::Ok),
            Err(Fail::Refused(code)) => {
                self.events.truncate(events);
                Ok(code)
            }
            Err(Fail::Ledger(error)) => Err(error),
        }
    }
}

/// What a block came to.
pub struct Transition {
    pub receipts: Vec<Receipt>,
    /// Only real changes.
    pub writes: Writes,
    /// The next epoch's, where the block ended one.
    pub elected: Option<Committee>,
    /// Where the admins end the epoch.
    pub ends_at: Option<Height>,
}

pub fn execute_block(
    base: &dyn StateRead,
    env: Env<'_>,
    txs: &[SignedTx],
) -> Result<Transition, LedgerError> {
    let mut exec = Exec::new(base, env);
    stake::epoch::begin_if_recovered(&mut exec)?;
    round::run_deadlines(&mut exec)?;
    selection::run_draws(&mut exec)?;
    keeping::release_due(&mut exec)?;
    action::proposal::lapse(&mut exec)?;
    stake::begin_block(&mut exec)?;
    let mut own = std::mem::take(&mut exec.events);
    let mut receipts = run_txs(base, &mut exec, txs)?;
    let elected = stake::epoch::close_if_last(&mut exec)?;
    own.append(&mut exec.events);
    if !own.is_empty() {
        receipts.insert(0, receipt(&env, None, 0, Code::Ok, own));
    }
    let ends_at = exec.state.get(&state_key::epoch_end())?;
    Ok(Transition { receipts, writes: changes(base, exec.state)?, elected, ends_at })
}

fn run_txs(
    base: &dyn StateRead,
    exec: &mut Exec<'_>,
    txs: &[SignedTx],
) -> Result<Vec<Receipt>, LedgerError> {
    let mut receipts = Vec::with_capacity(txs.len() + 1);
    let mut seen = replay::Seen::default();
    for (index, tx) in (1..).zip(txs) {
        let id = tx.id();
        let code = match seen.check(base, tx, &id)? {
            Code::Ok => apply(exec, tx, &id)?,
            replayed => replayed,
        };
        let events = std::mem::take(&mut exec.events);
        receipts.push(receipt(&exec.env, Some(id), index, code, events));
    }
    Ok(receipts)
}

fn receipt(env: &Env<'_>, tx: Option<TxId>, index: u32, code: Code, events: Vec<Event>) -> Receipt {
    Receipt { height: env.height, tx, index, code, events }
}

/// Applies one transaction, or says why not. The same function decides what a
/// node admits.
pub fn apply(exec: &mut Exec<'_>, tx: &SignedTx, id: &TxId) -> Result<Code, LedgerError> {
    exec.attempt(|exec| {
        require(tx.is_valid_at(exec.env.time), Code::NotValidNow)?;
        action::apply(exec, &tx.body, id)
    })
}

/// What a transaction would come to on this state, leaving no trace. Where a recovery comes
/// first, it comes first here too: what is said of the epoch that it ended is judged as such.
pub fn admit(base: &dyn StateRead, env: Env<'_>, tx: &SignedTx) -> Result<Code, LedgerError> {
    let id = tx.id();
    match replay::Seen::default().check(base, tx, &id)? {
        Code::Ok => {
            let mut exec = Exec::new(base, env);
            stake::epoch::begin_if_recovered(&mut exec)?;
            apply(&mut exec, tx, &id)
        }
        replayed => Ok(replayed),
    }
}

/// The writes that change something: the root must not depend on the others.
fn changes(base: &dyn StateRead, state: State<'_>) -> Result<Writes, LedgerError> {
    let mut changes = Writes::new();
    for (key, value) in state.into_writes() {
        if base.read(&key)? != value {
            changes.insert(key, value);
        }
    }
    Ok(changes)
}
