//! One deterministic transition: a block on a state gives receipts and writes.
//! Payloads are never read here. First comes what the block's time brings about
//! (deadlines, lapses), then the transactions in order; each succeeds with all
//! its writes or leaves none.

use crate::{
    action,
    error::LedgerError,
    replay, round,
    state::{State, StateRead, Writes},
};
use twinfold_types::{
    Block, Code, Committee, Digest, Event, Height, Receipt, SignedTx, TimeMs, TxId,
};

/// What execution knows beside the state.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    pub chain: &'a Digest,
    pub committee: &'a Committee,
    pub height: Height,
    pub time: TimeMs,
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
}

pub fn execute_block(
    base: &dyn StateRead,
    env: Env<'_>,
    txs: &[SignedTx],
) -> Result<Transition, LedgerError> {
    let mut exec = Exec::new(base, env);
    let mut receipts = Vec::with_capacity(txs.len() + 1);
    round::run_deadlines(&mut exec)?;
    action::proposal::lapse(&mut exec)?;
    let events = std::mem::take(&mut exec.events);
    if !events.is_empty() {
        receipts.push(Receipt { height: env.height, tx: None, index: 0, code: Code::Ok, events });
    }
    let mut seen = replay::Seen::default();
    for (index, tx) in (1..).zip(txs) {
        let id = tx.id();
        let code = match seen.check(base, tx, &id)? {
            Code::Ok => apply(&mut exec, tx, &id)?,
            replayed => replayed,
        };
        let events = std::mem::take(&mut exec.events);
        receipts.push(Receipt { height: env.height, tx: Some(id), index, code, events });
    }
    Ok(Transition { receipts, writes: changes(base, exec.state)? })
}

/// Applies one transaction, or says why not. The same function decides what a
/// node admits.
pub fn apply(exec: &mut Exec<'_>, tx: &SignedTx, id: &TxId) -> Result<Code, LedgerError> {
    exec.attempt(|exec| {
        require(tx.is_valid_at(exec.env.time), Code::NotValidNow)?;
        action::apply(exec, &tx.body, id)
    })
}

/// What a transaction would come to on this state, leaving no trace.
pub fn admit(base: &dyn StateRead, env: Env<'_>, tx: &SignedTx) -> Result<Code, LedgerError> {
    let id = tx.id();
    match replay::Seen::default().check(base, tx, &id)? {
        Code::Ok => apply(&mut Exec::new(base, env), tx, &id),
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

/// A block whose link to its parent is checked by the caller.
pub fn env_of<'a>(chain: &'a Digest, committee: &'a Committee, block: &Block) -> Env<'a> {
    Env { chain, committee, height: block.header.height, time: block.header.time }
}
